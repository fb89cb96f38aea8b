"""What can be asked about events. Totals and far pages come from the block counters, never from counting rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from app.database import session
from app.sessions.models import BotSession, Event, EventCount, EventType
from app.sessions.queries import Blocks, Scope, place_of, within

EVENT_TYPES = tuple(kind.value for kind in EventType)


@dataclass(frozen=True)
class EventFilter:
    """Which events. `session_row` is the internal id of a session."""

    scope: Scope = None
    tenant: str = ""
    event_type: str = ""
    session_row: int | None = None


def _events(base: Select[Any], wanted: EventFilter) -> Select[Any]:
    query = base.where(*within(Event.tenant_id, wanted.scope, wanted.tenant))
    if wanted.event_type:
        query = query.where(Event.event_type == wanted.event_type)
    if wanted.session_row is not None:
        query = query.where(Event.session_row == wanted.session_row)
    return query


def _event_blocks(wanted: EventFilter) -> Blocks:
    query = select(EventCount.block, func.sum(EventCount.n)).where(*within(EventCount.tenant_id, wanted.scope, wanted.tenant))
    if wanted.event_type:
        query = query.where(EventCount.event_type == wanted.event_type)
    rows = session().execute(query.group_by(EventCount.block).order_by(EventCount.block.desc()))
    return [(int(block), int(n)) for block, n in rows if n]


def count_events(wanted: EventFilter) -> int:
    """How many match, exactly."""
    if wanted.session_row is None:
        query = select(func.sum(EventCount.n)).where(*within(EventCount.tenant_id, wanted.scope, wanted.tenant))
        if wanted.event_type:
            query = query.where(EventCount.event_type == wanted.event_type)
        return int(session().scalar(query) or 0)
    if not wanted.event_type:
        return int(session().scalar(select(BotSession.events).where(BotSession.id == wanted.session_row)) or 0)
    return int(session().scalar(_events(select(func.count(Event.id)), wanted)) or 0)


def _on_the_way(wanted: EventFilter, offset: int) -> Blocks:
    """The blocks that the way to a far page leads past; none for the first page, nor for one session, whose events are few."""
    return _event_blocks(wanted) if offset and wanted.session_row is None else []


def _event_page(base: Any, wanted: EventFilter, limit: int, offset: int, blocks: Blocks) -> Select[Any]:
    query = _events(base, wanted)
    if blocks:
        place = place_of(blocks, offset)
        query, offset = query.where(Event.id < place.below), place.skip
    return query.order_by(Event.id.desc()).limit(limit).offset(offset)


def page_of_events(wanted: EventFilter, limit: int, offset: int = 0) -> tuple[list[Event], int]:
    """One page, newest first, and how many match in all."""
    blocks = _on_the_way(wanted, offset)
    total = sum(n for _, n in blocks) if blocks else count_events(wanted)
    rows = session().scalars(_event_page(select(Event), wanted, limit, offset, blocks)) if offset < total else ()
    return list(rows), total


def event_versions(wanted: EventFilter, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of events; an event never changes, so its id is its version."""
    rows = session().execute(_event_page(select(Event.id), wanted, limit, offset, _on_the_way(wanted, offset)))
    return [(row[0], str(row[0]), row[0]) for row in rows]


def events_by_ids(ids: Iterable[int]) -> dict[int, Event]:
    """Events by id."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(Event).where(Event.id.in_(wanted)))} if wanted else {}


def timeline(row: BotSession, limit: int, after: int = 0) -> list[Event]:
    """The events of a session past an id, oldest first."""
    query = select(Event).where(Event.session_row == row.id, Event.id > after)
    return list(session().scalars(query.order_by(Event.id).limit(limit)))


def timeline_versions(row_id: int, event_type: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of a session's events, oldest first; `event_type` may be empty."""
    query = _events(select(Event.id), EventFilter(event_type=event_type, session_row=row_id))
    return [(i, str(i), i) for i in session().scalars(query.order_by(Event.id).limit(limit).offset(offset))]


def place_of_event(row_id: int, event_id: int) -> int:
    """How many events of a session come before one."""
    query = select(func.count(Event.id)).where(Event.session_row == row_id, Event.id < event_id)
    return int(session().scalar(query) or 0)


def events_after(version: int, limit: int) -> list[Event]:
    """Events past a number of the clock `sessions`, oldest first."""
    return list(session().scalars(select(Event).where(Event.id > version).order_by(Event.id).limit(limit)))


def narrow_events(query: Select[Any], wanted: EventFilter) -> Select[Any]:
    """A query over events with the filter on it, for exports."""
    return _events(query, wanted)
