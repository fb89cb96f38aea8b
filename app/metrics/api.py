"""Contract 002 `/api/v1/metrics…`: latest, history, and the push of agents without a socket."""

from typing import Any

from cachetools import TTLCache
from flask import Response, current_app, g, request

from app.actors import Actor, ActorKind, Permission
from app.clock import from_ms, iso
from app.database import release
from app.errors import Forbidden, NotFound
from app.factory import settings_of
from app.fleet.models import Computer
from app.fleet.queries import by_ids, get_computer
from app.metrics import bp, queries
from app.metrics.operations import NewSample
from app.metrics.schemas import AgentData, AgentPush, HistoryQuery, MetricsOut, SampleIn, Stored, shown
from app.metrics.writer import writer_of
from app.web import access
from app.web.body import MAX_INGEST, read_object, validate_json
from app.web.routing import json_response

_own: TTLCache[str, str] = TTLCache(maxsize=20_000, ttl=30)


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
    if who.kind is ActorKind.HOST and who.computer_id is not None:
        own = _own.get(who.key_id or "")
        if own is None:
            row = by_ids([who.computer_id]).get(who.computer_id)
            if row is None:
                raise NotFound
            own = _own[who.key_id or ""] = row.uuid
            release()
        if uuid is not None and uuid.lower() != own:
            raise Forbidden("This key belongs to another server")
        return who.computer_id, own
    if uuid is None:
        raise Forbidden("Send the key of the server, or name the server in the path")
    computer = get_computer(uuid, who)
    return computer.id, computer.uuid


def _push(uuid: str | None) -> Response:
    raw, body = read_object(request, MAX_INGEST)
    named = body.get("server_id") if uuid is None else uuid
    computer_id, own = _target(access.actor(), named if isinstance(named, str) else None)
    sample = _read_sample(raw, body, computer_id)
    release()
    writer_of(current_app).submit_one(sample)
    g.quiet = True
    return json_response({"status": "ok", "server_id": own, "timestamp": iso(from_ms(sample.at))}, 201)


@bp.api("POST", "/api/v1/metrics", permission=Permission.METRICS_PUSH, returns=Stored, status=201, hash_first=True)
def push() -> Response:
    """Push a sample with a host key; 201 after it is stored."""
    return _push(None)


@bp.api("POST", "/api/v1/metrics/<uuid>", permission=Permission.METRICS_PUSH, returns=Stored, status=201, hash_first=True,
        endpoint="push_for")  # fmt: skip
def push_for(uuid: str) -> Response:
    """Push a sample for the named server; 201 after it is stored."""
    return _push(uuid)
