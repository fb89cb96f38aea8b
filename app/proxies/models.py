"""What is stored of proxies. Addresses are kept as they may be shown, without credentials; the whole is sealed beside it."""

from datetime import datetime
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.clock import now
from app.database import Base, UtcDateTime, enum_column
from app.tenants.models import Tenant


class ProxyStatus(StrEnum):
    """Contract 003, "Proxy Status Values"."""

    HEALTHY = "healthy"
    FLAGGED = "flagged"
    BLACKLISTED = "blacklisted"


class CheckStatus(StrEnum):
    """The life of an active check."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Proxy(Base):
    """One exit of one tenant. `fingerprint` is a keyed hash of its whole address: two logins at one gateway are two proxies.

    `uses` counts sessions that named it, `successes` and `failures` those that ended; `latency_us` is the sum over its
    `latency_count` successful sessions. `recent` and `latencies` are small windows (see `app.proxies.health`).
    """

    __tablename__ = "proxies"
    __table_args__ = (
        UniqueConstraint("tenant_id", "fingerprint"),
        Index("ix_proxies_status", "status"),
        Index("ix_proxies_cooldown", "cooldown_until"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True, default=lambda: str(uuid4()))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    tenant: Mapped[Tenant] = relationship(lazy="joined", innerjoin=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(500))
    sealed: Mapped[str | None] = mapped_column(Text)
    country: Mapped[str | None] = mapped_column(String(50))
    status: Mapped[ProxyStatus] = mapped_column(enum_column(ProxyStatus), default=ProxyStatus.HEALTHY)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_by: Mapped[str | None] = mapped_column(String(200))
    uses: Mapped[int] = mapped_column(BigInteger, default=0)
    successes: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(BigInteger, default=0)
    latency_us: Mapped[int] = mapped_column(BigInteger, default=0)
    latency_count: Mapped[int] = mapped_column(BigInteger, default=0)
    failures_in_row: Mapped[int] = mapped_column(Integer, default=0)
    good_in_row: Mapped[int] = mapped_column(Integer, default=0)
    offences: Mapped[int] = mapped_column(Integer, default=0)
    cooldown_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    recent: Mapped[str] = mapped_column(Text, default="[]")
    latencies: Mapped[str] = mapped_column(Text, default="[]")
    last_used: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(String(500))
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    check_ok: Mapped[bool | None] = mapped_column(Boolean)
    check_latency_ms: Mapped[float | None] = mapped_column(Float)
    check_error: Mapped[str | None] = mapped_column(String(500))
    exit_address: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    def in_cooldown(self, moment: datetime) -> bool:
        """Whether it rests after failures."""
        return self.cooldown_until is not None and self.cooldown_until > moment


class ProxyTarget(Base):
    """How one proxy does for one target host: an exit can be dead for one target alone."""

    __tablename__ = "proxy_targets"

    proxy_id: Mapped[int] = mapped_column(ForeignKey("proxies.id", ondelete="CASCADE"), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    successes: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(BigInteger, default=0)
    failures_in_row: Mapped[int] = mapped_column(Integer, default=0)
    recent: Mapped[str] = mapped_column(Text, default="[]")
    last_error: Mapped[str | None] = mapped_column(String(500))
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ProxyCheck(Base):
    """One active check: a request through the proxy, asked for by somebody (or the clock) and made by the worker."""

    __tablename__ = "proxy_checks"
    __table_args__ = (
        Index("ix_proxy_checks_due", "status", "lease_until"),
        Index("ix_proxy_checks_proxy", "proxy_id", "requested_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    proxy_id: Mapped[int] = mapped_column(ForeignKey("proxies.id", ondelete="CASCADE"))
    status: Mapped[CheckStatus] = mapped_column(enum_column(CheckStatus), default=CheckStatus.QUEUED)
    target: Mapped[str] = mapped_column(String(500))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    requested_by: Mapped[str] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ok: Mapped[bool | None] = mapped_column(Boolean)
    latency_ms: Mapped[float | None] = mapped_column(Float)
    http_status: Mapped[int | None] = mapped_column(Integer)
    exit_address: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[str | None] = mapped_column(String(500))
