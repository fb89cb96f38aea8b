"""Contract 002 `/api/v1/metrics…`: latest, history, and the push of agents without a socket."""

from typing import Any

from flask import Flask, current_app, g, request

from app.actors import Actor, ActorKind, Permission
from app.clock import from_ms, iso
from app.database import release
from app.errors import Forbidden, NotFound
from app.factory import settings_of
from app.fleet.models import Computer
from app.fleet.queries import get_computer
from app.metrics import bp, queries
from app.metrics.operations import NewSample
from app.metrics.schemas import AgentData, AgentPush, HistoryQuery, MetricsOut, SampleIn, Stored, shown
from app.metrics.writer import writer_of
from app.web import access
from app.web.body import MAX_INGEST, parse_object, read_raw, validate_json


def _latest(computer: Computer) -> dict[str, Any]:
    point = queries.latest(computer.id)
    if point is None:
        raise NotFound
    return shown(computer.uuid, point, "1m" if point.spans else "raw")


@bp.api("GET", "/api/v1/metrics/<uuid>", permission=Permission.FLEET_READ, returns=MetricsOut)
def latest(uuid: str) -> dict[str, Any]:
    """Get a server's latest metrics; 404 while there are none."""
    return _latest(get_computer(uuid, access.actor()))


@bp.api("GET", "/api/v1/metrics/<uuid>/latest", permission=Permission.FLEET_READ, returns=MetricsOut, endpoint="latest_alias")
def latest_alias(uuid: str) -> dict[str, Any]:
    """The same as `/metrics/{server_id}`."""
    return _latest(get_computer(uuid, access.actor()))


@bp.api("GET", "/api/v1/metrics/<uuid>/history", permission=Permission.FLEET_READ, query=HistoryQuery, returns=list[MetricsOut])
def history(uuid: str, query: HistoryQuery) -> list[dict[str, Any]]:
    """Get a server's metrics over time, oldest first, in the resolution that fits the range (at most 1,500 points)."""
    computer = get_computer(uuid, access.actor())
    start, end = query.span_ms()
    found = queries.history(
        computer.id, start, end, queries.Retention.of(settings_of(current_app)), interval_s=computer.interval_s, with_detail=True
    )
    return [shown(computer.uuid, point, found.resolution) for point in found.points[-query.limit :]]


def _read_sample(raw: bytes, body: dict[str, Any], computer_id: int) -> NewSample:
    if "data" in body:
        return validate_json(AgentPush, raw).data.sample(computer_id)
    if "cpu" in body and "cpu_percent" not in body:
        return validate_json(AgentData, raw).sample(computer_id)
    return validate_json(SampleIn, raw).sample(computer_id)


def _target(who: Actor, uuid: str | None) -> tuple[int, str]:
    """The computer that a pushed sample is for. A host key speaks for its own computer only."""
    if who.kind is ActorKind.HOST and who.computer_id is not None and who.computer_uuid is not None:
        if uuid is not None and uuid.lower() != who.computer_uuid:
            raise Forbidden("This key belongs to another server")
        return who.computer_id, who.computer_uuid
    if uuid is None:
        raise Forbidden("Send the key of the server, or name the server in the path")
    computer = get_computer(uuid, who)
    return computer.id, computer.uuid


def _checked(who: Actor, raw: bytes, uuid: str | None) -> tuple[NewSample, str]:
    body = parse_object(raw)
    named = body.get("server_id") if uuid is None else uuid
    computer_id, own = _target(who, named if isinstance(named, str) else None)
    return _read_sample(raw, body, computer_id), own


def _store(app: Flask, pushed: tuple[NewSample, str]) -> dict[str, Any]:
    sample, uuid = pushed
    writer_of(app).submit_one(sample)
    return {"status": "ok", "server_id": uuid, "timestamp": iso(from_ms(sample.at))}


@bp.express("/api/v1/metrics", permission=Permission.METRICS_PUSH, when=lambda who: who.kind is ActorKind.HOST, act=_store,
            body=SampleIn, returns=Stored, status=201)  # fmt: skip
def push(who: Actor, raw: bytes) -> tuple[NewSample, str]:
    """Push a sample with a host key; 201 after it is stored."""
    return _checked(who, raw, None)


@bp.api("POST", "/api/v1/metrics/<uuid>", permission=Permission.METRICS_PUSH, returns=Stored, status=201, begins_own_write=True,
        endpoint="push_for", documented=SampleIn)  # fmt: skip
def push_for(uuid: str) -> dict[str, Any]:
    """Push a sample for the named server; 201 after it is stored."""
    checked = _checked(access.actor(), read_raw(request, MAX_INGEST), uuid)
    release()
    g.quiet = True
    return _store(current_app, checked)
