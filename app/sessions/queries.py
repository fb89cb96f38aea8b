"""What can be asked about sessions and events. Totals and far pages come from the block counters, never from counting rows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cachetools import TTLCache
from sqlalchemy import Select, func, or_, select

from app.actors import Actor
from app.database import contains, session
from app.errors import NotFound
from app.proxies.models import Proxy
from app.sessions.models import (
    BLOCK,
    BotSession,
    Event,
    EventCount,
    EventType,
    SessionCount,
    SessionStatus,
)  # fmt: skip

Scope = frozenset[str] | None
Blocks = list[tuple[int, int]]  # (block, matching rows in it), newest first


@dataclass(frozen=True)
class SessionFilter:
    """Which sessions. `q` is text in session, profile or proxy; `start` and `end` (ms) say when they began; `proxy` is a proxy's
    public id; `target` a host; `error` the key of an error group; `text` is in the error message or the target's address."""

    scope: Scope = None
    tenant: str = ""
    status: str = ""
    country: str = ""
    device: str = ""
    profile: str = ""
    proxy: str = ""
    target: str = ""
    error: str = ""
    q: str = ""
    text: str = ""
    start: int | None = None
    end: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the block counters know how many match."""
        return replace(self, scope=None, tenant="", status="") == SessionFilter()


@dataclass(frozen=True)
class EventFilter:
    """Which events. `session_row` is the internal id of a session."""

    scope: Scope = None
    tenant: str = ""
    event_type: str = ""
    session_row: int | None = None


@dataclass(frozen=True)
class Place:
    """Where a page begins: past `skip` matching rows with an id below `below`."""

    below: int | None
    skip: int


def _place(blocks: Blocks, offset: int) -> Place:
    """Walk the (block, rows) of what matches, newest first, to the block in which the row at `offset` is."""
    for block, rows in blocks:
        if offset < rows:
            return Place((block + 1) * BLOCK, offset)
        offset -= rows
    return Place(0, 0)


def within(column: Any, scope: Scope, tenant: str = "") -> list[Any]:
    """The conditions that keep a query within a scope, and within one tenant of it."""
    found = [] if scope is None else [column.in_(scope)]
    return [*found, column == tenant] if tenant else found


# -- sessions ----------------------------------------------------------------------------------------------------------


def _where(query: Select[Any], wanted: SessionFilter) -> Select[Any]:
    query = query.where(*within(BotSession.tenant_id, wanted.scope, wanted.tenant))
    for name in ("status", "country", "device"):
        if value := getattr(wanted, name):
            query = query.where(getattr(BotSession, name) == value)
    if wanted.profile:
        query = query.where(BotSession.profile_id == wanted.profile)
    if wanted.proxy:
        query = query.where(BotSession.proxy_id == select(Proxy.id).where(Proxy.uuid == wanted.proxy).scalar_subquery())
    if wanted.target:
        query = query.where(BotSession.target_host == wanted.target.lower())
    if wanted.error:
        query = query.where(BotSession.error_key == wanted.error)
    for word in wanted.q.split():
        query = query.where(or_(*(contains(c, word) for c in (BotSession.session_id, BotSession.profile_id, BotSession.proxy))))
    for word in wanted.text.split():
        query = query.where(or_(contains(BotSession.error, word), contains(BotSession.target_url, word)))
    if wanted.start is not None:
        query = query.where(BotSession.started_at >= wanted.start)
    if wanted.end is not None:
        query = query.where(BotSession.started_at < wanted.end)
    return query


def session_blocks(wanted: SessionFilter) -> Blocks:
    """How many sessions each block holds, for a filter that the counters know."""
    query = select(SessionCount.block, func.sum(SessionCount.n)).where(
        *within(SessionCount.tenant_id, wanted.scope, wanted.tenant)
    )
    if wanted.status:
        query = query.where(SessionCount.status == wanted.status)
    rows = session().execute(query.group_by(SessionCount.block).order_by(SessionCount.block.desc()))
    return [(int(block), int(n)) for block, n in rows if n]


_counted: TTLCache[SessionFilter, int] = TTLCache(maxsize=512, ttl=2)


def count_sessions(wanted: SessionFilter) -> int:
    """How many match; at most 2 s old when rows have to be counted."""
    if wanted.is_counted:
        return sum(n for _, n in session_blocks(wanted))
    known = _counted.get(wanted)
    if known is None:
        known = int(session().scalar(_where(select(func.count(BotSession.id)), wanted)) or 0)
        _counted[wanted] = known
    return known


def forget_counts() -> None:
    """Make this process count anew."""
    _counted.clear()


def _page(base: Any, wanted: SessionFilter, limit: int, offset: int, *, oldest_first: bool = False) -> Select[Any]:
    query = _where(base, wanted)
    if oldest_first:
        return query.order_by(BotSession.id).limit(limit).offset(offset)
    if wanted.is_counted and offset:
        place = _place(session_blocks(wanted), offset)
        query, offset = query.where(BotSession.id < place.below), place.skip
    return query.order_by(BotSession.id.desc()).limit(limit).offset(offset)


def page_of_sessions(wanted: SessionFilter, limit: int, offset: int) -> list[BotSession]:
    """One page, newest first."""
    return list(session().scalars(_page(select(BotSession), wanted, limit, offset)))


def versions(wanted: SessionFilter, limit: int, offset: int, *, oldest_first: bool = False) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of rows, in order: what a live list needs."""
    columns: Any = select(BotSession.id, BotSession.version)
    rows = session().execute(_page(columns, wanted, limit, offset, oldest_first=oldest_first))
    return [(row[0], str(row[0]), row[1]) for row in rows]


def version_of(row_id: int, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one session; empty when it is gone or out of scope."""
    columns: Any = select(BotSession.id, BotSession.version).where(BotSession.id == row_id)
    rows = session().execute(columns.where(*within(BotSession.tenant_id, scope, "")))
    return [(row[0], str(row[0]), row[1]) for row in rows]


def by_ids(ids: Iterable[int]) -> dict[int, BotSession]:
    """Sessions by internal id."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(BotSession).where(BotSession.id.in_(wanted)))} if wanted else {}


def get_session(session_id: str, actor: Actor) -> BotSession:
    """One session by the bot's id. Raises NotFound when there is none, or none that the actor may see."""
    query = select(BotSession).where(BotSession.session_id == session_id, *within(BotSession.tenant_id, actor.tenant_ids, ""))
    row: BotSession | None = session().scalar(query.order_by(BotSession.id).limit(1))
    if row is None:
        raise NotFound("Session not found")
    return row


def get_row(row_id: int, actor: Actor) -> BotSession:
    """One session by internal id. Raises NotFound when there is none, or none that the actor may see."""
    row: BotSession | None = session().get(BotSession, row_id)
    if row is None or not actor.sees(row.tenant_id):
        raise NotFound("Session not found")
    return row


def active_sessions(scope: Scope = None) -> int:
    """How many are active."""
    query = select(func.sum(SessionCount.n)).where(SessionCount.status == SessionStatus.ACTIVE)
    return int(session().scalar(query.where(*within(SessionCount.tenant_id, scope, ""))) or 0)


# -- events ------------------------------------------------------------------------------------------------------------


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
        place = _place(blocks, offset)
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


# -- the feed ----------------------------------------------------------------------------------------------------------


def events_after(version: int, limit: int) -> list[Event]:
    """Events past a number of the clock `sessions`, oldest first."""
    return list(session().scalars(select(Event).where(Event.id > version).order_by(Event.id).limit(limit)))


def begun_after(version: int, limit: int) -> list[BotSession]:
    """Sessions that began past a number of the clock, in order."""
    return list(session().scalars(select(BotSession).where(BotSession.id > version).order_by(BotSession.id).limit(limit)))


def ended_after(version: int, limit: int) -> list[BotSession]:
    """Sessions that ended past a number of the clock, in order."""
    query = select(BotSession).where(BotSession.ended_version > version).order_by(BotSession.ended_version)
    return list(session().scalars(query.limit(limit)))


EVENT_TYPES = tuple(kind.value for kind in EventType)


def narrow_sessions(query: Select[Any], wanted: SessionFilter) -> Select[Any]:
    """A query over sessions with the filter on it, for exports."""
    return _where(query, wanted)


def narrow_events(query: Select[Any], wanted: EventFilter) -> Select[Any]:
    """A query over events with the filter on it, for exports."""
    return _events(query, wanted)
