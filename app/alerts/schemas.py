"""Contract 002's alerts, with our additions, and the columns of the CSV."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, field_validator

from app.alerts.catalogue import metric_of
from app.alerts.models import Alert, AlertStatus, Comparison, Severity
from app.alerts.queries import AlertFilter
from app.clock import now
from app.errors import field_error
from app.fleet.models import Computer
from app.shapes import Answer, Body, Query


def utc(value: datetime | None) -> datetime | None:
    """A time in UTC; without a zone it is. Raises ValueError for one that cannot be stored on every database."""
    if value is None:
        return None
    if not 1971 <= value.year <= 9000:
        raise ValueError("is not between the years 1971 and 9000")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AlertsQuery(Query):
    """`GET /api/v1/alerts`. `status=active` includes those that somebody has acknowledged; `pending` ones are shown only when
    asked for."""

    status: AlertStatus | None = None
    resolved: bool | None = None
    server_id: str = Field("", max_length=64)
    severity: Severity | None = None
    type: str = Field("", max_length=32)
    metric_type: str = Field("", max_length=32)
    tenant_id: str = Field("", max_length=64)
    threshold_id: str = Field("", max_length=64)
    muted: bool | None = None
    q: str = Field("", max_length=200)
    start: datetime | None = None
    end: datetime | None = None
    skip: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(1_000, ge=1, le=10_000)

    @field_validator("start", "end")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return utc(value)

    def filter(self, scope: frozenset[str] | None) -> AlertFilter:
        """As the domain takes it. Raises Invalid for an unknown metric, or when `status` and `resolved` exclude each other."""
        metric = self.type or self.metric_type
        if metric and metric_of(metric) is None:
            raise field_error("type" if self.type else "metric_type", "there is no such metric", "query", "enum")
        status = self.status.value if self.status is not None else ""
        if self.resolved is not None:
            if status and self.resolved is not (status == "resolved"):
                raise field_error("resolved", "excludes that status", "query")
            status = status or ("resolved" if self.resolved else "active")
        return AlertFilter(
            scope=scope, status=status, severity=self.severity.value if self.severity else "", metric=metric,
            computer=self.server_id, tenant=self.tenant_id, threshold=self.threshold_id, muted=self.muted, q=self.q,
            start=self.start, end=self.end, )  # fmt: skip


class SubjectOut(Answer):
    """What an alert is about: a computer, a proxy, a run, the sessions of a tenant, …"""

    kind: str
    id: str
    name: str


class AlertOut(Answer):
    """An alert. `threshold` is the limit that is crossed, `current_value` the value now (of a resolved one: its last)."""

    id: str
    server_id: str | None
    type: str
    severity: Severity
    status: AlertStatus
    message: str
    threshold: float
    current_value: float | None
    resolved: bool
    created_at: datetime
    resolved_at: datetime | None
    metric_type: str
    argument: str | None
    comparison: Comparison
    value: float | None
    subject: SubjectOut
    server_name: str | None
    tenant_id: str | None
    threshold_id: str
    threshold_name: str
    pending_since: datetime
    fired_at: datetime | None
    acknowledged: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    resolved_by: str | None
    resolve_reason: str | None
    muted: bool
    duration_seconds: float | None
    updated_at: datetime

    @classmethod
    def of(cls, row: Alert, computer: Computer | None = None) -> "AlertOut":
        return cls(
            id=row.id, server_id=row.computer_uuid, type=row.metric, metric_type=row.metric, severity=row.severity,
            status=row.status, message=row.message, threshold=row.limit, current_value=current_value(row, computer),
            value=row.value, resolved=row.status is AlertStatus.RESOLVED, created_at=row.fired_at or row.pending_since,
            resolved_at=row.resolved_at, argument=row.argument, comparison=row.comparison, tenant_id=row.tenant_id,
            threshold_id=row.threshold_id, subject=SubjectOut(kind=row.subject_kind, id=row.subject_id, name=row.subject_name),
            server_name=computer.name if computer else row.subject_name if row.subject_kind == "computer" else None,
            threshold_name=row.threshold_name, pending_since=row.pending_since, fired_at=row.fired_at,
            acknowledged=row.status is AlertStatus.ACKNOWLEDGED, acknowledged_at=row.acknowledged_at,
            acknowledged_by=row.acknowledged_by, note=row.note, resolved_by=row.resolved_by, resolve_reason=row.resolve_reason,
            muted=row.muted, duration_seconds=duration_s(row), updated_at=row.updated_at,
        )  # fmt: skip


def current_value(row: Alert, computer: Computer | None) -> float | None:
    """The value of now where the computer's row has it, else the one that the alert was last about."""
    live = None
    if computer is not None and row.status is not AlertStatus.RESOLVED and row.argument is None:
        live = {"cpu": computer.cpu, "memory": computer.memory, "disk": computer.disk}.get(row.metric)
    return row.value if live is None else live


def duration_s(row: Alert) -> float | None:
    """Seconds from firing until it was resolved, or until now."""
    return None if row.fired_at is None else round(((row.resolved_at or now()) - row.fired_at).total_seconds(), 1)


class AcknowledgeIn(Body):
    """`POST /alerts/{id}/acknowledge`; the body may be empty."""

    note: Annotated[str | None, Field(max_length=2000)] = None


CSV_COLUMNS = ("id", "status", "severity", "metric", "argument", "message", "value", "limit", "subject_kind", "subject_id",
               "subject_name", "server_id", "tenant_id", "threshold", "fired_at", "acknowledged_at", "acknowledged_by", "note",
               "resolved_at", "resolved_by", "resolve_reason", "duration_seconds", "muted")  # fmt: skip


def csv_row(a: Alert) -> tuple[Any, ...]:
    """One line of `/alerts.csv`."""
    return (
        a.id, a.status.value, a.severity.value, a.metric, a.argument, a.message, a.value, a.limit, a.subject_kind, a.subject_id,
        a.subject_name, a.computer_uuid, a.tenant_id, a.threshold_name, a.fired_at, a.acknowledged_at, a.acknowledged_by, a.note,
        a.resolved_at, a.resolved_by, a.resolve_reason, duration_s(a), a.muted,
    )  # fmt: skip
