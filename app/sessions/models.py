"""What is stored of sessions and events.

Times are milliseconds since 1970, durations whole microseconds (their sums are then exact, and equal to a recount). Ids of events
and sessions come from one counter, the change clock `sessions`, so they are in the order of the commits.
"""

from enum import StrEnum

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.database import Base, enum_column
from app.tenants.models import Tenant

BLOCK = 8192  # ids that one row of a block counter covers
HOUR_MS = 3_600_000
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # an INTEGER key is SQLite's own row id: one tree fewer


class SessionStatus(StrEnum):
    """Contract 003."""

    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"


class EventType(StrEnum):
    """Contract 003, "Event Types"."""

    NAVIGATION = "navigation"
    PAGE_LOAD = "page_load"
    CLICK = "click"
    SCROLL = "scroll"
    TYPE = "type"
    SCREENSHOT = "screenshot"
    ERROR = "error"
    CUSTOM = "custom"


class BotSession(Base):
    """One session as its bot reported it. `id` is also its place in the feed (`started_version`); `version` grows with each
    change, `ended_version` is the change that ended it. `proxy` is as it may be shown; `info` is the bot's metadata as JSON."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("session_id", "tenant_id"),
        Index("ix_sessions_tenant", "tenant_id", "id"),
        Index("ix_sessions_status", "status", "id"),
        Index("ix_sessions_country", "country", "id"),
        Index("ix_sessions_proxy", "proxy_id", "id"),
        Index("ix_sessions_error", "error_key", "id"),
        Index("ix_sessions_ended", "ended_version"),
        Index("ix_sessions_started", "started_at"),
    )

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    tenant: Mapped[Tenant] = relationship(lazy="joined", innerjoin=True)
    session_id: Mapped[str] = mapped_column(String(200))
    profile_id: Mapped[str | None] = mapped_column(String(200))
    device: Mapped[str | None] = mapped_column(String(100))
    target_url: Mapped[str | None] = mapped_column(String(2000))
    target_host: Mapped[str | None] = mapped_column(String(255))
    proxy: Mapped[str | None] = mapped_column(String(500))
    proxy_id: Mapped[int | None] = mapped_column(ForeignKey("proxies.id", ondelete="SET NULL"))
    country: Mapped[str | None] = mapped_column(String(50))
    info: Mapped[str | None] = mapped_column(Text)
    status: Mapped[SessionStatus] = mapped_column(enum_column(SessionStatus), default=SessionStatus.ACTIVE)
    started_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    duration_us: Mapped[int | None] = mapped_column(BigInteger)
    success: Mapped[bool | None] = mapped_column(Boolean)
    error: Mapped[str | None] = mapped_column(Text)
    error_key: Mapped[str | None] = mapped_column(String(32))
    events: Mapped[int] = mapped_column(Integer, default=0)
    errors: Mapped[int] = mapped_column(Integer, default=0)
    last_event_at: Mapped[int | None] = mapped_column(BigInteger)
    ended_version: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)


class Event(Base):
    """Something a bot did inside a session. `event_key` is the id that the client gave it, if it did."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_tenant", "tenant_id", "id"),
        Index("ix_events_type", "event_type", "id"),
        Index("ix_events_session", "session_row", "id"),
        Index("ix_events_at", "at"),
    )

    id: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    tenant_id: Mapped[str] = mapped_column(String(36))
    session_row: Mapped[int] = mapped_column(BigInteger)
    session_id: Mapped[str] = mapped_column(String(200))
    event_type: Mapped[EventType] = mapped_column(enum_column(EventType))
    at: Mapped[int] = mapped_column(BigInteger)
    details: Mapped[str] = mapped_column(Text)


class EventKey(Base):
    """The event that a client's own id stands for: sending it again stores nothing and answers the same id."""

    __tablename__ = "event_keys"

    tenant_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    event_id: Mapped[int] = mapped_column(BigInteger, index=True)


class SessionCount(Base):
    """How many sessions of a status a block of ids holds, and the sum of the durations of those that have one."""

    __tablename__ = "session_counts"

    tenant_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    status: Mapped[SessionStatus] = mapped_column(enum_column(SessionStatus), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)
    timed: Mapped[int] = mapped_column(BigInteger)
    duration_us: Mapped[int] = mapped_column(BigInteger)


class SessionHour(Base):
    """Sessions that began in an hour, by status: altogether (`kind` empty), by country and by target host."""

    __tablename__ = "session_hours"

    tenant_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    hour: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    value: Mapped[str] = mapped_column(String(255), primary_key=True)
    status: Mapped[SessionStatus] = mapped_column(enum_column(SessionStatus), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)


class EventCount(Base):
    """How many events of a type a block of ids holds: totals, and where a far page begins, without counting events."""

    __tablename__ = "event_counts"

    tenant_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    event_type: Mapped[EventType] = mapped_column(enum_column(EventType), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger)


class ErrorGroup(Base):
    """Session errors whose messages differ only in numbers, ids and addresses."""

    __tablename__ = "error_groups"
    __table_args__ = (Index("ix_error_groups_last", "last_at"),)

    tenant_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    message: Mapped[str] = mapped_column(String(500))
    n: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)
