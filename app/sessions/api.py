"""Contract 003 `/api/sessions…`, `/api/events…` and `/api/stats`."""

from typing import Any, TypeVar

from flask import Flask, Response
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.actors import Actor, ActorKind, Permission
from app.clock import now
from app.errors import Malformed, field_error
from app.proxies.queries import all_proxies
from app.proxies.schemas import health_counts, stats_of
from app.sessions import bp, queries, statistics
from app.sessions.events import EventFilter, count_events, narrow_events, page_of_events, timeline
from app.sessions.export import EVENT_EXPORT, SESSION_EXPORT
from app.sessions.pieces import Piece, Stored
from app.sessions.queries import SessionFilter
from app.sessions.schemas import (
    MAX_BATCH,
    Ended,
    EndIn,
    EventIn,
    EventList,
    EventsExport,
    EventsQuery,
    Logged,
    Registered,
    RegisterIn,
    SessionDetail,
    SessionList,
    SessionsExport,
    SessionsQuery,
    Stats,
    event_out,
    moment_ms,
    paged,
    session_out,
)  # fmt: skip
from app.sessions.writer import writer_of
from app.web import access, export
from app.web.body import field_errors, parse_json, parse_object, validate_json

TIMELINE = 1_000
M = TypeVar("M", bound=BaseModel)
_REGISTERS = TypeAdapter(list[RegisterIn], config=ConfigDict(defer_build=True))
_EVENTS = TypeAdapter(list[EventIn], config=ConfigDict(defer_build=True))


def _is_bot(who: Actor) -> bool:
    return who.kind is ActorKind.KEY


def _read(raw: bytes, one: type[M], many: TypeAdapter[list[M]]) -> tuple[list[M], bool]:
    """The body as a list of models, and whether it was a list. Raises Malformed, Invalid."""
    value = parse_json(raw)
    if not isinstance(value, (list, dict)):
        raise Malformed("Invalid request", details="The body must be a JSON object or a list of them")
    if isinstance(value, list) and not 1 <= len(value) <= MAX_BATCH:
        raise field_error("body", f"a list has 1 to {MAX_BATCH:,} items")
    try:
        if isinstance(value, list):
            return many.validate_json(raw), True
        return [one.model_validate_json(raw)], False
    except ValidationError as error:
        raise field_errors(error, "body") from None


def _submit(app: Flask, piece: Piece) -> Stored:
    return writer_of(app).submit(piece)


def _do_register(app: Flask, checked: tuple[Piece, bool]) -> dict[str, Any]:
    piece, is_list = checked
    ids = [new.session_id for new in piece.registers]
    named = {"session_ids": ids} if is_list else {"session_id": ids[0]}
    return {"status": "registered", **named, "active_count": _submit(app, piece).active}


@bp.express("/api/sessions/register", permission=Permission.SESSIONS_WRITE, when=_is_bot, act=_do_register, body=RegisterIn,
            returns=Registered)  # fmt: skip
def register(who: Actor, raw: bytes) -> tuple[Piece, bool]:
    """Register a session, or a list of up to 1,000, all or nothing; an id that is known is updated."""
    items, is_list = _read(raw, RegisterIn, _REGISTERS)
    return Piece(who, registers=[item.new() for item in items]), is_list


def _do_end(app: Flask, piece: Piece) -> dict[str, Any]:
    return {"status": "ended", "active_count": _submit(app, piece).active}


@bp.express("/api/sessions/end", permission=Permission.SESSIONS_WRITE, when=_is_bot, act=_do_end, body=EndIn, returns=Ended)
def end(who: Actor, raw: bytes) -> Piece:
    """End a session; ending it again changes nothing, an unknown id is recorded as ended."""
    parse_object(raw)
    return Piece(who, ends=[validate_json(EndIn, raw).outcome()])


def _do_log(app: Flask, checked: tuple[Piece, bool]) -> dict[str, Any]:
    piece, is_list = checked
    ids = _submit(app, piece).event_ids
    return {"status": "logged", "event_ids": ids} if is_list else {"status": "logged", "event_id": ids[0]}


@bp.express("/api/events", permission=Permission.SESSIONS_WRITE, when=_is_bot, act=_do_log, body=EventIn, returns=Logged)
def log(who: Actor, raw: bytes) -> tuple[Piece, bool]:
    """Log an event, or a list of up to 1,000, all or nothing; 404 when a session is unknown."""
    items, is_list = _read(raw, EventIn, _EVENTS)
    moment = moment_ms()
    return Piece(who, events=[item.new(moment) for item in items]), is_list


@bp.api("GET", "/api/sessions", permission=Permission.SESSIONS_READ, query=SessionsQuery, returns=SessionList)
def list_sessions(query: SessionsQuery) -> dict[str, Any]:
    """List sessions, newest first."""
    wanted = SessionFilter(scope=access.actor().tenant_ids, status=query.status or "", country=query.country, q=query.search)
    total = queries.count_sessions(wanted)
    rows = queries.page_of_sessions(wanted, query.per_page, (query.page - 1) * query.per_page)
    return paged("sessions", [session_out(row) for row in rows], total, query.page, query.per_page)


@bp.api("GET", "/api/sessions/export", permission=Permission.SESSIONS_READ, query=SessionsExport, media="text/csv",
        endpoint="export_sessions")  # fmt: skip
def export_sessions(query: SessionsExport) -> Response:
    """Export sessions as CSV, newest first."""
    wanted = SessionFilter(scope=access.actor().tenant_ids, status=query.status or "", country=query.country)
    return export.stream(SESSION_EXPORT, lambda statement: queries.narrow_sessions(statement, wanted))


@bp.api("GET", "/api/sessions/<path:session_id>", permission=Permission.SESSIONS_READ, returns=SessionDetail)
def get_session(session_id: str) -> dict[str, Any]:
    """Get a session with its events, oldest first (the first 1,000)."""
    row = queries.get_session(session_id, access.actor())
    events = [event_out(event) for event in timeline(row, TIMELINE)]
    return {"session": session_out(row), "events": events, "event_count": row.events}


def _event_filter(event_type: str, session_id: str) -> EventFilter:
    who = access.actor()
    row = queries.get_session(session_id, who).id if session_id else None
    return EventFilter(scope=who.tenant_ids, event_type=event_type, session_row=row)


@bp.api("GET", "/api/events", permission=Permission.SESSIONS_READ, query=EventsQuery, returns=EventList)
def list_events(query: EventsQuery) -> dict[str, Any]:
    """List events, newest first."""
    wanted = _event_filter(query.event_type or "", query.session_id)
    rows, total = page_of_events(wanted, query.per_page, (query.page - 1) * query.per_page)
    return paged("events", [event_out(row) for row in rows], total, query.page, query.per_page)


@bp.api("GET", "/api/events/export", permission=Permission.SESSIONS_READ, query=EventsExport, media="text/csv",
        endpoint="export_events")  # fmt: skip
def export_events(query: EventsExport) -> Response:
    """Export events as CSV, newest first."""
    wanted = _event_filter(query.event_type or "", query.session_id)
    return export.stream(EVENT_EXPORT, lambda statement: narrow_events(statement, wanted))


@bp.api("GET", "/api/stats", permission=Permission.SESSIONS_READ, returns=Stats)
def stats() -> dict[str, Any]:
    """Get overall statistics and the health of every proxy."""
    scope, moment = access.actor().tenant_ids, now()
    totals = statistics.totals(scope)
    proxies = [stats_of(proxy, moment) for proxy in all_proxies(scope)]
    return {
        "total_sessions": totals.total, "active_sessions": totals.active, "successful_sessions": totals.completed,
        "failed_sessions": totals.failed, "total_events": count_events(EventFilter(scope=scope)),
        "average_duration": totals.average_s, "success_rate": totals.success_rate, "proxy_stats": proxies,
        "ip_health": health_counts(proxies),
    }  # fmt: skip
