"""JSON shapes of contract 003's sessions, events and statistics, and the columns of its CSV files."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, Field

from app.clock import from_ms, now, to_ms
from app.errors import field_error
from app.proxies.schemas import IpHealth, ProxyStats
from app.sessions.models import BotSession, Event, EventType, SessionStatus
from app.sessions.pieces import NewEvent, NewSession, Outcome, without_credentials
from app.shapes import Answer, Body, Query

MAX_BATCH = 1_000
MAX_DETAILS = 64 << 10
OLDEST_MS, NEWEST_MS = 7 * 86_400_000, 5 * 60_000


def _plain(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Short = Annotated[str, Field(max_length=100), AfterValidator(_plain)]
Country = Annotated[str, Field(max_length=50), AfterValidator(_plain)]
Address = Annotated[str, Field(max_length=500), AfterValidator(_plain)]
Json = dict[str, Any]


class RegisterIn(Body):
    """Contract 003, `POST /api/sessions/register`. A proxy may carry credentials; they are never shown again."""

    session_id: Name
    profile_id: Name
    device: Short | None = None
    target_url: Annotated[str, Field(max_length=2000), AfterValidator(_plain)] | None = None
    proxy: Address | None = None
    country: Country | None = None
    metadata: Json | None = None
    tenant_id: Annotated[str, Field(max_length=36)] | None = None

    def new(self) -> NewSession:
        """As the domain takes it. Raises Invalid when the metadata is too large."""
        info = None if self.metadata is None else _document("metadata", self.metadata)
        target = None if self.target_url is None else without_credentials(self.target_url)
        return NewSession(self.session_id, self.profile_id, self.device, target, self.proxy or None, self.country, info,
                          self.tenant_id)  # fmt: skip


class EndIn(Body):
    """Contract 003, `POST /api/sessions/end`; `duration` in seconds."""

    session_id: Name
    success: bool
    duration: Annotated[float, Field(ge=0, le=31_536_000)] | None = None
    error: Annotated[str, Field(max_length=20_000)] | None = None

    def outcome(self) -> Outcome:
        """As the domain takes it."""
        duration = None if self.duration is None else round(self.duration * 1e6)
        error = None if self.error is None else without_credentials(self.error)
        return Outcome(self.session_id, self.success, duration, error)


class EventIn(Body):
    """Contract 003, `POST /api/events`; `event_id` is the client's own id: sending it again stores nothing."""

    session_id: Name
    event_type: EventType = Field(strict=False)
    details: Json | None = None
    data: Json | None = None
    timestamp: Annotated[datetime, Field(strict=False)] | None = None
    event_id: Name | None = None

    def new(self, moment: int) -> NewEvent:
        """As the domain takes it. Raises Invalid for details that are too large or a clock that is too far away."""
        details = self.details if self.details is not None else self.data
        return NewEvent(self.session_id, self.event_type, _checked(self.timestamp, moment), _document("details", details or {}),
                        self.event_id)  # fmt: skip


def _document(name: str, value: Json) -> str:
    raw = orjson.dumps(value)
    if len(raw) > MAX_DETAILS:
        raise field_error(name, f"at most {MAX_DETAILS // 1024} KiB of JSON")
    return without_credentials(raw.decode())


def _checked(given: datetime | None, moment: int) -> int:
    if given is None:
        return moment
    try:
        at = to_ms(given.replace(tzinfo=UTC) if given.tzinfo is None else given)
    except (OverflowError, ValueError):
        raise field_error("timestamp", "is not a time that can be stored") from None
    if at > moment + NEWEST_MS:
        raise field_error("timestamp", "is more than 5 minutes ahead of the server")
    if at < moment - OLDEST_MS:
        raise field_error("timestamp", "is more than 7 days old")
    return at


class Registered(Answer):
    """The answer to a registration; a list is answered with `session_ids`."""

    status: str = "registered"
    session_id: str | None = None
    session_ids: list[str] | None = None
    active_count: int


class Ended(Answer):
    """The answer to an end."""

    status: str = "ended"
    active_count: int


class Logged(Answer):
    """The answer to an event; a list is answered with `event_ids`, in its order."""

    status: str = "logged"
    event_id: int | None = None
    event_ids: list[int] | None = None


class SessionOut(Answer):
    """Contract 003's session; `duration` in seconds."""

    id: str
    session_id: str
    profile_id: str | None
    device: str | None
    target_url: str | None
    proxy: str | None
    country: str | None
    start_time: str
    end_time: str | None
    duration: float | None
    success: bool | None
    error: str | None
    status: SessionStatus
    metadata: Json
    tenant_id: str
    event_count: int


class EventOut(Answer):
    """Contract 003's event."""

    id: int
    session_id: str
    event_type: EventType
    timestamp: str
    details: Json
    data: Json


class SessionList(Answer):
    """A page of sessions, newest first."""

    sessions: list[SessionOut]
    total: int
    page: int
    per_page: int
    total_pages: int


class EventList(Answer):
    """A page of events, newest first."""

    events: list[EventOut]
    total: int
    page: int
    per_page: int
    total_pages: int


class SessionDetail(Answer):
    """A session with its events, oldest first (at most 1,000; `/api/events?session_id=` pages through all)."""

    session: SessionOut
    events: list[EventOut]
    event_count: int


class Stats(Answer):
    """Contract 003, `GET /api/stats`; `success_rate` 0–100, durations in seconds."""

    total_sessions: int
    active_sessions: int
    successful_sessions: int
    failed_sessions: int
    total_events: int
    average_duration: float
    success_rate: float
    proxy_stats: list[ProxyStats]
    ip_health: IpHealth


Page = Annotated[int, Field(ge=1, le=10_000_000)]


class SessionsQuery(Query):
    """Contract 003, `GET /api/sessions`."""

    page: Page = 1
    per_page: int = Field(20, ge=1, le=100)
    status: SessionStatus | None = None
    country: str = Field("", max_length=50)
    search: str = Field("", max_length=500)


class SessionsExport(Query):
    """Contract 003, `GET /api/sessions/export`."""

    status: SessionStatus | None = None
    country: str = Field("", max_length=50)


class EventsQuery(Query):
    """Contract 003, `GET /api/events`."""

    page: Page = 1
    per_page: int = Field(50, ge=1, le=200)
    event_type: EventType | None = None
    session_id: str = Field("", max_length=200)


class EventsExport(Query):
    """Contract 003, `GET /api/events/export`."""

    event_type: EventType | None = None
    session_id: str = Field("", max_length=200)


def stamp(ms: int | None) -> str | None:
    """A time as contract 003 writes it, with +00:00."""
    return None if ms is None else from_ms(ms).isoformat()


def session_out(row: BotSession) -> dict[str, Any]:
    """A session in contract 003's shape."""
    return {
        "id": row.session_id, "session_id": row.session_id, "profile_id": row.profile_id, "device": row.device,
        "target_url": row.target_url, "proxy": row.proxy, "country": row.country, "start_time": stamp(row.started_at),
        "end_time": stamp(row.ended_at), "duration": None if row.duration_us is None else row.duration_us / 1e6,
        "success": row.success, "error": row.error, "status": row.status,
        "metadata": orjson.Fragment(row.info) if row.info else {}, "tenant_id": row.tenant_id, "event_count": row.events,
    }  # fmt: skip


def event_out(row: Event) -> dict[str, Any]:
    """An event in contract 003's shape. The details go out as they are stored, unparsed."""
    details = orjson.Fragment(row.details)
    return {"id": row.id, "session_id": row.session_id, "event_type": row.event_type, "timestamp": stamp(row.at),
            "details": details, "data": details}  # fmt: skip


def paged(name: str, rows: list[dict[str, Any]], total: int, page: int, per_page: int) -> dict[str, Any]:
    """A page in contract 003's shape."""
    return {name: rows, "total": total, "page": page, "per_page": per_page, "total_pages": -(-total // per_page)}


def moment_ms() -> int:
    """The server's clock in ms since 1970."""
    return to_ms(now())
