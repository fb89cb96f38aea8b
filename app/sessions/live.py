"""Which rows the sessions push to live tables: the list of sessions, one session's head and timeline, and the feed of events."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import current_app
from markupsafe import Markup
from pydantic import Field, field_validator

from app.actors import SYSTEM, Permission
from app.clock import now, to_ms
from app.errors import Invalid, NotFound
from app.proxies.queries import by_ids as proxies_by_ids
from app.sessions import queries, rows, statistics
from app.sessions.events import EVENT_TYPES, EventFilter, count_events, event_versions, events_by_ids, timeline_versions
from app.sessions.models import BotSession, EventType
from app.sessions.operations import CLOCK
from app.sessions.queries import Scope, SessionFilter
from app.sessions.statistics import Totals
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("session", "Session", sortable=False),
    Column("status", "Status", sortable=False),
    Column("target", "Target", sortable=False),
    Column("proxy", "Proxy", sortable=False),
    Column("country", "Country", sortable=False),
    Column("device", "Device", sortable=False),
    Column("events", "Events", sortable=False, align="end"),
    Column("started", "Started"),
    Column("duration", "Duration", sortable=False, align="end"),
    Column("error", "Error", sortable=False),
    Column("tenant", "Tenant", sortable=False, default=False),
)
STATUSES = (("active", "Active"), ("completed", "Completed"), ("failed", "Failed"))
DEVICES = ("desktop", "mobile", "tablet")
HOUR = 3_600_000
RANGES = {"1h": ("Last hour", HOUR), "24h": ("Last 24 hours", 24 * HOUR), "7d": ("Last 7 days", 168 * HOUR)}
TIMELINE_PAGE = 500
MOST_COUNTED = 5_000  # events of a session among which screenshots are counted, again with each change


class SessionsPage(ListQuery):
    """The Sessions page's URL. `range` ends now; `start` and `end` (UTC) narrow it further; `error` is the key of an error group,
    `proxy` a proxy's public id."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "-started"

    status: str = Field("", pattern="^(|active|completed|failed)$")
    country: str = Field("", max_length=50)
    device: str = Field("", max_length=100)
    profile: str = Field("", max_length=200)
    proxy: str = Field("", max_length=36)
    target: str = Field("", max_length=255)
    tenant: str = Field("", max_length=36)
    text: str = Field("", max_length=200)
    error: str = Field("", max_length=32)
    range: str = Field("", pattern="^(|1h|24h|7d)$")
    start: datetime | None = None
    end: datetime | None = None

    @field_validator("start", "end", mode="before")
    @classmethod
    def _unset(cls, value: Any) -> Any:
        return None if value == "" else value  # a form without JavaScript sends its empty fields too

    @field_validator("start", "end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        try:
            return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))
        except OverflowError:
            raise ValueError("must be a time between the years 1 and 9999") from None

    def filter(self, scope: Scope) -> SessionFilter:
        """As the domain takes it. A range begins at a whole minute, so that counts can be kept for some seconds."""
        start = to_ms(self.start) if self.start else None
        if self.range:
            since = to_ms(now()) // 60_000 * 60_000 - RANGES[self.range][1]
            start = since if start is None else max(since, start)
        same = {name: getattr(self, name) for name in ("tenant", "status", "country", "device", "profile", "proxy", "target",
                                                       "error", "q", "text")}  # fmt: skip
        return SessionFilter(scope=scope, start=start, end=to_ms(self.end) if self.end else None, **same)

    @property
    def is_oldest_first(self) -> bool:
        return self.sort_key == "started"


class EventsPage(ListQuery):
    """The Events page's URL; `session` is the bot's id of a session. With `follow=off` the page stands still."""

    type: str = Field("", pattern=f"^(|{'|'.join(EVENT_TYPES)})$")
    session: str = Field("", max_length=200)
    follow: str = Field("", pattern="^(|off)$")

    def view(self) -> str:
        """See ListQuery; whether somebody follows changes no row."""
        return self.model_copy(update={"follow": "", "q": ""})._canonical(paging=True, columns=False)

    def filter(self, scope: Scope) -> EventFilter:
        """As the domain takes it. Raises NotFound when there is no such session in the scope."""
        row = queries.get_session(self.session, replace(SYSTEM, tenant_ids=scope)).id if self.session else None
        return EventFilter(scope=scope, event_type=self.type, session_row=row)


class TimelinePage(ListQuery):
    """A page of a session's events."""

    id: int = Field(ge=1, lt=1 << 63)
    type: str = Field("", pattern=f"^(|{'|'.join(EVENT_TYPES)})$")


def _offset(query: ListQuery, per_page: int | None = None) -> int:
    return (query.page - 1) * (per_page or query.per_page)


def _markup(name: str, **values: Any) -> str:
    return Markup(current_app.jinja_env.get_template(name).render(values).strip())  # noqa: S704 (rendered with autoescape)


# -- sessions ------------------------------------------------------------------------------------------------------------


def session_rows(found: Sequence[BotSession]) -> list[rows.SessionRow]:
    """Sessions as their rows show them."""
    proxies = proxies_by_ids({s.proxy_id for s in found if s.proxy_id is not None})
    public = {i: proxy.uuid for i, proxy in proxies.items()}
    return [rows.session_row(s, public) for s in found]


def figures(totals: Totals) -> dict[str, Any]:
    """What stands over the list; the texts are as the page shows them."""
    ended = totals.completed + totals.failed
    return {"total": totals.total, "active": totals.active, "completed": totals.completed, "failed": totals.failed,
            "success_rate": f"{totals.success_rate:.1f}%" if ended else "–",
            "average": rows.lasting(totals.average_s) if totals.timed else "–"}  # fmt: skip


def _session_keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = SessionsPage.parse(query_string)
    return queries.versions(query.filter(scope), query.per_page, _offset(query), oldest_first=query.is_oldest_first)


def _session_counts(query_string: str, scope: Scope) -> dict[str, Any]:
    found = figures(statistics.totals(scope, tenant := SessionsPage.parse(query_string).tenant))
    return found if tenant else found | {"sessions_active": found["active"]}


def _render_sessions(ids: Sequence[int]) -> Mapping[int, str]:
    found = session_rows(list(queries.by_ids(ids).values()))
    return {row.id: _markup("sessions/_row.html", row=row) for row in found}


READ = Permission.SESSIONS_READ
SESSIONS = live.LiveList(
    "sessions", CLOCK, READ, lambda q: SessionsPage.parse(q).view(), _session_keys, _render_sessions, _session_counts
)


# -- one session ---------------------------------------------------------------------------------------------------------


def _one(query_string: str) -> str:
    if not re.fullmatch(r"id=[1-9][0-9]{0,17}", query_string):
        raise Invalid("session?id=<number>")
    return query_string


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(int(query_string.removeprefix("id=")), scope)


def _render_heads(ids: Sequence[int]) -> Mapping[int, str]:
    return {row.id: _head(row) for row in session_rows(list(queries.by_ids(ids).values()))}


def _head(row: rows.SessionRow) -> str:
    shots = EventFilter(event_type=EventType.SCREENSHOT, session_row=row.id)
    count = count_events(shots) if row.events <= MOST_COUNTED else None
    first = {"error": _first(row, EventType.ERROR, row.errors), "screenshot": _first(row, EventType.SCREENSHOT, count or 0)}
    plain, json = rows.metadata(row)
    return _markup("sessions/_now.html", row=row, screenshots=count, first=first, plain=plain, json=json)


def _first(row: rows.SessionRow, kind: EventType, count: int) -> int | None:
    """The first event of a type, when it is on the first page of the timeline."""
    if not count or row.events > TIMELINE_PAGE:
        return None
    found = timeline_versions(row.id, kind, 1, 0)
    return found[0][0] if found else None


def _timeline_keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = TimelinePage.parse(query_string)
    if not queries.version_of(query.id, scope):
        return []
    return timeline_versions(query.id, query.type, TIMELINE_PAGE, _offset(query, TIMELINE_PAGE))


def timeline_counts(query_string: str, scope: Scope) -> dict[str, Any]:
    """How many events a session has, of the type that its timeline is narrowed to."""
    query = TimelinePage.parse(query_string)
    if not queries.version_of(query.id, scope):
        return {}
    return {"timeline": count_events(EventFilter(event_type=query.type, session_row=query.id))}


def _render_steps(ids: Sequence[int]) -> Mapping[int, str]:
    found = events_by_ids(ids)
    begun = queries.by_ids({event.session_row for event in found.values()})
    at = {row.id: row.started_at for row in begun.values()}
    return {i: _markup("sessions/_step.html", row=rows.event_row(e, at.get(e.session_row))) for i, e in found.items()}


SESSION = live.LiveList("session", CLOCK, READ, _one, _one_key, _render_heads, lambda _q, _s: {}, switched=False)
TIMELINE = live.LiveList(
    "session-events", CLOCK, READ, lambda q: TimelinePage.parse(q).view(), _timeline_keys, _render_steps, timeline_counts,
    switched=False,
)  # fmt: skip


# -- the feed ------------------------------------------------------------------------------------------------------------


def _event_keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = EventsPage.parse(query_string)
    try:
        return event_versions(query.filter(scope), query.per_page, _offset(query))
    except NotFound:
        return []


def event_counts(query_string: str, scope: Scope) -> dict[str, Any]:
    """How many events match a query of the feed."""
    try:
        return {"total": count_events(EventsPage.parse(query_string).filter(scope))}
    except NotFound:
        return {"total": 0}


def _render_events(ids: Sequence[int]) -> Mapping[int, str]:
    found = events_by_ids(ids)
    return {i: _markup("sessions/_event.html", row=rows.event_row(e)) for i, e in found.items()}


EVENTS = live.LiveList("events", CLOCK, READ, lambda q: EventsPage.parse(q).view(), _event_keys, _render_events, event_counts)
for _list in (SESSIONS, SESSION, TIMELINE, EVENTS):
    live.register(_list)
