"""What is stored of alerts: the rules (thresholds), what they raised, and the windows in which nobody is to be told."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.clock import now
from app.database import Base, UtcDateTime, enum_column


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for a warning, 2 for a critical one."""
        return 2 if self is Severity.CRITICAL else 1


class AlertStatus(StrEnum):
    """The life of an alert. PENDING: the limit is crossed, but not yet for long enough; nobody has been told."""

    PENDING = "pending"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


ACTIVE = (AlertStatus.ACTIVE, AlertStatus.ACKNOWLEDGED)  # what counts as active in filters and in a computer's health
OPEN = (AlertStatus.PENDING, *ACTIVE)


class Comparison(StrEnum):
    """On which side of its limit a value is bad."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"

    @property
    def upward(self) -> bool:
        """Whether high values are bad."""
        return self in (Comparison.GT, Comparison.GTE)

    @property
    def sign(self) -> str:
        """As one writes it."""
        return {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤"}[self.value]


class ScopeKind(StrEnum):
    """What a threshold or a silence is about. THRESHOLD is for silences alone."""

    ALL = "all"
    TENANT = "tenant"
    TAG = "tag"
    COMPUTER = "computer"
    THRESHOLD = "threshold"


class Repeat(StrEnum):
    """How often a window comes again."""

    DAILY = "daily"
    WEEKLY = "weekly"

    @property
    def period(self) -> timedelta:
        """From the beginning of one to the beginning of the next."""
        return timedelta(days=1 if self is Repeat.DAILY else 7)


class Threshold(Base):
    """A rule. `tenant_id` None: it was made by somebody who sees every tenant, and reaches them all; else only that tenant's.

    `warning_value` and `critical_value` are limits in the metric's unit, at least one of them set; `recovery_value` None means
    the first limit itself. `for_seconds`: how long a limit must be crossed; `recovery_for_seconds`: how long it must be well
    again. `argument` narrows the metric (a disk's path). `scope_id` is a tenant's id, a tag or a computer's public id. An
    ephemeral computer may be offline unless `include_ephemeral`.
    """

    __tablename__ = "thresholds"
    __table_args__ = (
        Index("ix_thresholds_scope", "scope", "scope_id"),
        Index("ix_thresholds_tenant", "tenant_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(200))
    metric: Mapped[str] = mapped_column(String(32))
    argument: Mapped[str | None] = mapped_column(String(1024))
    comparison: Mapped[Comparison] = mapped_column(enum_column(Comparison), default=Comparison.GT)
    warning_value: Mapped[float | None] = mapped_column(Float)
    critical_value: Mapped[float | None] = mapped_column(Float)
    recovery_value: Mapped[float | None] = mapped_column(Float)
    for_seconds: Mapped[int] = mapped_column(Integer, default=0)
    recovery_for_seconds: Mapped[int] = mapped_column(Integer, default=0)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    scope: Mapped[ScopeKind] = mapped_column(enum_column(ScopeKind), default=ScopeKind.ALL)
    scope_id: Mapped[str | None] = mapped_column(String(64))
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    include_ephemeral: Mapped[bool] = mapped_column(Boolean, default=False)
    created_by: Mapped[str] = mapped_column(String(200), default="system")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    version: Mapped[int] = mapped_column(BigInteger, default=0)

    @property
    def limit(self) -> float:
        """The limit that is crossed first."""
        return self.warning_value if self.warning_value is not None else self.critical_value or 0.0

    @property
    def severity(self) -> Severity:
        """What crossing that limit means."""
        return Severity.WARNING if self.warning_value is not None else Severity.CRITICAL


class Alert(Base):
    """What a threshold raised about a subject; at most one of them is not resolved. `number` is what live lists key its row by.

    It keeps copies of names, because it outlives its threshold and its subject. `value` and `limit` are those of the last change
    of its state. `muted`: a silence is on now. Internal: `calm_since`, `shift_since` (ms) say since when its value is well, or on
    the other side of the critical limit; `hold_s` how long it must be well; `due_at` when the worker has to look at it;
    `latched_until` until when one that a person resolved does not come again while nothing has changed; `live`: the evaluation
    has to look at it (it is open or latched); `revision` guards updates.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        Index("uq_alerts_open", "threshold_id", "subject_kind", "subject_id", unique=True,
              sqlite_where=text("status != 'resolved'"), postgresql_where=text("status != 'resolved'")),
        Index("ix_alerts_status", "status", "fired_at"),
        Index("ix_alerts_computer", "computer_id", "status"),
        Index("ix_alerts_subject", "subject_kind", "subject_id", "live"),
        Index("ix_alerts_fired", "fired_at"),
        Index("ix_alerts_due", "due_at"),
        Index("ix_alerts_resolved", "status", "resolved_at"),
        Index("ix_alerts_tenant", "tenant_id", "status"),
        Index("ix_alerts_version", "version"),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    number: Mapped[int] = mapped_column(BigInteger, unique=True)
    threshold_id: Mapped[str] = mapped_column(String(36))
    threshold_name: Mapped[str] = mapped_column(String(200))
    metric: Mapped[str] = mapped_column(String(32))
    argument: Mapped[str | None] = mapped_column(String(1024))
    comparison: Mapped[Comparison] = mapped_column(enum_column(Comparison))
    subject_kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(64))
    subject_name: Mapped[str] = mapped_column(String(300))
    computer_id: Mapped[int | None] = mapped_column(ForeignKey("computers.id", ondelete="SET NULL"))
    computer_uuid: Mapped[str | None] = mapped_column(String(36))
    tenant_id: Mapped[str | None] = mapped_column(String(36))
    severity: Mapped[Severity] = mapped_column(enum_column(Severity))
    status: Mapped[AlertStatus] = mapped_column(enum_column(AlertStatus))
    message: Mapped[str] = mapped_column(String(500))
    value: Mapped[float | None] = mapped_column(Float)
    limit: Mapped[float] = mapped_column("limit_value", Float)
    pending_since: Mapped[datetime] = mapped_column(UtcDateTime)
    fired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(200))
    note: Mapped[str | None] = mapped_column(String(2000))
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_by: Mapped[str | None] = mapped_column(String(200))
    resolve_reason: Mapped[str | None] = mapped_column(String(64))
    muted: Mapped[bool] = mapped_column(Boolean, default=False)
    calm_since: Mapped[int | None] = mapped_column(BigInteger)
    shift_since: Mapped[int | None] = mapped_column(BigInteger)
    hold_s: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    latched_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    live: Mapped[bool] = mapped_column(Boolean, default=True)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    revision: Mapped[int] = mapped_column(Integer, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=0)

    @property
    def is_active(self) -> bool:
        """Whether it has fired and is not resolved."""
        return self.status in ACTIVE


class Silence(Base):
    """A silence or maintenance window: alerts within its scope are raised, but muted. `tenant_id` as for a threshold.

    With `repeat` the window `starts_at`–`ends_at` comes again each day or week, at the same UTC time, until `repeat_until`.
    `due_at` is when it next begins or ends; None when it is over.
    """

    __tablename__ = "silences"
    __table_args__ = (Index("ix_silences_due", "due_at"), Index("ix_silences_ends", "ends_at"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(uuid4()))
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    repeat: Mapped[Repeat | None] = mapped_column(enum_column(Repeat))
    repeat_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scope: Mapped[ScopeKind] = mapped_column(enum_column(ScopeKind), default=ScopeKind.ALL)
    scope_id: Mapped[str | None] = mapped_column(String(64))
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(String(500), default="")
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    version: Mapped[int] = mapped_column(BigInteger, default=0)

    def is_on(self, moment: datetime) -> bool:
        """Whether it mutes at this moment."""
        shifted = self._shifted(moment)
        return shifted is not None and self.starts_at <= shifted < self.ends_at

    def _shifted(self, moment: datetime) -> datetime | None:
        """The moment as if its window were the first one; None past the last."""
        if self.repeat is None or moment < self.starts_at:
            return moment
        start = self.starts_at + (moment - self.starts_at) // self.repeat.period * self.repeat.period
        if self.repeat_until is not None and start >= self.repeat_until:
            return None
        return moment - (start - self.starts_at)

    def next_change(self, moment: datetime) -> datetime | None:
        """When it next begins or ends after this moment; None when never again."""
        if moment < self.starts_at:
            return self.starts_at
        if self.repeat is None:
            return self.ends_at if moment < self.ends_at else None
        start = self.starts_at + (moment - self.starts_at) // self.repeat.period * self.repeat.period
        if self.repeat_until is not None and start >= self.repeat_until:
            return None
        if moment < (end := start + (self.ends_at - self.starts_at)):
            return end
        following = start + self.repeat.period
        return following if self.repeat_until is None or following < self.repeat_until else None


class AlertMark(Base):
    """A number that outlives processes: `journal` is the last entry that was looked at, `defaults` says that the default rules
    have been made (once, and never again)."""

    __tablename__ = "alert_marks"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    n: Mapped[int] = mapped_column(BigInteger, default=0)
