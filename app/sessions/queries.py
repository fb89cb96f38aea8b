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
class Place:
    """Where a page begins: past `skip` matching rows with an id below `below`."""

    below: int | None
    skip: int


def place_of(blocks: Blocks, offset: int) -> Place:
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
    _active.clear()


def _page(base: Any, wanted: SessionFilter, limit: int, offset: int, *, oldest_first: bool = False) -> Select[Any]:
    query = _where(base, wanted)
    if oldest_first:
        return query.order_by(BotSession.id).limit(limit).offset(offset)
    if wanted.is_counted and offset:
        place = place_of(session_blocks(wanted), offset)
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


_active: TTLCache[Scope, int] = TTLCache(maxsize=256, ttl=1)


def active_count(scope: Scope) -> int:
    """The same for every page's navigation; at most 1 s old."""
    if (known := _active.get(scope)) is None:
        known = _active[scope] = active_sessions(scope)
    return known


# -- the feed ----------------------------------------------------------------------------------------------------------


def begun_after(version: int, limit: int) -> list[BotSession]:
    """Sessions that began past a number of the clock, in order."""
    return list(session().scalars(select(BotSession).where(BotSession.id > version).order_by(BotSession.id).limit(limit)))


def ended_after(version: int, limit: int) -> list[BotSession]:
    """Sessions that ended past a number of the clock, in order."""
    query = select(BotSession).where(BotSession.ended_version > version).order_by(BotSession.ended_version)
    return list(session().scalars(query.limit(limit)))


def narrow_sessions(query: Select[Any], wanted: SessionFilter) -> Select[Any]:
    """A query over sessions with the filter on it, for exports."""
    return _where(query, wanted)
