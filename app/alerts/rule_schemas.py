"""Contract 002's thresholds, with our additions, their preview, and silences in the same style."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, field_validator

from app.alerts.catalogue import metric_of
from app.alerts.models import Comparison, Repeat, ScopeKind, Severity, Silence, Threshold
from app.alerts.preview import SHOWN, Preview
from app.alerts.schemas import utc
from app.clock import now
from app.errors import field_error
from app.shapes import Answer, Body, Query

RECOVERY_FOR_S = 90  # of a rule that does not say: what is crossed to and fro every minute is then one alert
MAX_SECONDS = 7 * 86_400
Id = Annotated[str, Field(min_length=1, max_length=64)]
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]


class ThresholdPatch(Body):
    """`PUT /alerts/thresholds/{id}`: what is given changes. `threshold_value` is the limit of `severity`; a rule may have
    limits for both as `warning_value` and `critical_value`. `server_id` is the same as `scope: computer` with its `scope_id`."""

    name: Annotated[str | None, Field(max_length=200)] = None
    server_id: Id | None = None
    metric_type: Annotated[str | None, Field(max_length=32)] = None
    argument: Annotated[str | None, Field(max_length=1024)] = None
    threshold_value: float | None = None
    comparison: Comparison | None = None
    severity: Severity | None = None
    warning_value: float | None = None
    critical_value: float | None = None
    recovery_value: float | None = None
    for_seconds: Seconds | None = None
    recovery_for_seconds: Seconds | None = None
    enabled: bool | None = None
    include_ephemeral: bool | None = None
    scope: ScopeKind | None = None
    scope_id: Annotated[str | None, Field(max_length=64)] = None
    tenant_id: Id | None = None

    @field_validator("scope")
    @classmethod
    def _of_rules(cls, value: ScopeKind | None) -> ScopeKind | None:
        if value is ScopeKind.THRESHOLD:
            raise ValueError("a threshold's scope is all, tenant, tag or computer")
        return value

    def changes(self, row: Threshold | None = None) -> dict[str, Any]:
        """Columns of Threshold, only those that the body names. Raises Invalid."""
        nullable = {"argument", "warning_value", "critical_value", "recovery_value", "scope_id", "tenant_id"}
        apart = {"server_id", "metric_type", "threshold_value", "severity"}
        given = {name: value for name in self.model_fields_set - apart
                 if (value := getattr(self, name)) is not None or name in nullable}  # fmt: skip
        if self.metric_type is not None:
            given["metric"] = self.metric_type
        return given | self._limits(row) | placed(self.server_id, self.scope)

    def _limits(self, row: Threshold | None) -> dict[str, Any]:
        if self.threshold_value is None and self.severity is None:
            return {}
        severity = self.severity or (row.severity if row is not None else Severity.WARNING)
        limit = self.threshold_value if self.threshold_value is not None else (row.limit if row is not None else None)
        if limit is None:
            return {}
        own, other = ("warning_value", "critical_value") if severity is Severity.WARNING else ("critical_value", "warning_value")
        limits: dict[str, Any] = {} if getattr(self, own) is not None else {own: limit}
        return limits if severity is Severity.WARNING or getattr(self, other) is not None else limits | {other: None}


class ThresholdIn(ThresholdPatch):
    """`POST /alerts/thresholds`. Without `for_seconds` it fires at once; without `recovery_value` it recovers at its own
    value."""

    metric_type: Annotated[str, Field(max_length=32)]

    def values(self) -> dict[str, Any]:
        """Columns of Threshold. Raises Invalid."""
        values: dict[str, Any] = {"recovery_for_seconds": RECOVERY_FOR_S} | self.changes()
        metric = metric_of(self.metric_type)
        if metric is not None and metric.words and values.get("warning_value") is None and values.get("critical_value") is None:
            critical = (self.severity or metric.severity) is Severity.CRITICAL
            values["critical_value" if critical else "warning_value"] = metric.limit
        return values


def placed(server_id: str | None, scope: ScopeKind | None) -> dict[str, Any]:
    """`server_id` as a scope. Raises Invalid when another scope is given with it."""
    if server_id is None:
        return {}
    if scope not in (None, ScopeKind.COMPUTER):
        raise field_error("scope", "is not computer, but server_id is given")
    return {"scope": ScopeKind.COMPUTER, "scope_id": server_id}


class ThresholdOut(Answer):
    """A threshold. `threshold_value` is the limit that is crossed first, and `severity` what that means."""

    id: str
    server_id: str | None
    metric_type: str
    threshold_value: float
    comparison: Comparison
    enabled: bool
    name: str
    severity: Severity
    argument: str | None
    warning_value: float | None
    critical_value: float | None
    recovery_value: float | None
    for_seconds: int
    recovery_for_seconds: int
    include_ephemeral: bool
    scope: ScopeKind
    scope_id: str | None
    tenant_id: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Threshold) -> "ThresholdOut":
        own = {
            name: getattr(row, name) for name in cls.model_fields if name not in ("server_id", "metric_type", "threshold_value")
        }
        server_id = row.scope_id if row.scope is ScopeKind.COMPUTER else None
        return cls(server_id=server_id, metric_type=row.metric, threshold_value=row.limit, **own)


class ThresholdsQuery(Query):
    """`GET /api/v1/alerts/thresholds`. `server_id`: the rules of that server alone; `applies_to`: all that apply to it."""

    server_id: str = Field("", max_length=64)
    applies_to: str = Field("", max_length=64)
    metric_type: str = Field("", max_length=32)
    skip: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(1_000, ge=1, le=100_000)


class PreviewIn(ThresholdIn):
    """`POST /alerts/thresholds/preview`: a rule as for `POST /alerts/thresholds`, and over how many days."""

    days: Annotated[int, Field(ge=1, le=30)] = 7


class PreviewSubject(Answer):
    """About what the rule would have fired, and how often; `server_id` is null for what is no server, `subject_id` for what is
    gone."""

    server_id: str | None
    subject_id: str | None
    name: str
    count: int


class PreviewOut(Answer):
    """How often the rule would have fired. `would_have_fired` is null, with a `reason`, where no history is kept, or too little.
    `subject` is what the metric is about, as in `GET /alerts/metrics`. Of more than 200 subjects in scope (or the containers of
    more than 200 servers) that many are looked at: `subjects_checked`. The fields about servers are 0 for other subjects."""

    would_have_fired: int | None
    days: int
    subject: str
    subjects: int
    subjects_checked: int
    subjects_affected: int
    servers: int
    servers_checked: int
    servers_affected: int
    worst: list[PreviewSubject]
    first_at: datetime | None
    last_at: datetime | None
    reason: str | None

    @classmethod
    def of(cls, found: Preview, days: int) -> "PreviewOut":
        is_server = found.subject == "computer"
        worst = [PreviewSubject(server_id=id_ if is_server else None, subject_id=id_, name=name, count=count)
                 for id_, name, count in found.affected[:SHOWN]]  # fmt: skip
        numbers = {"": found.total, "_checked": found.checked, "_affected": len(found.affected)}
        servers = {f"servers{name}": number if is_server else 0 for name, number in numbers.items()}
        return cls(would_have_fired=found.fired, days=days, subject=found.subject, worst=worst, first_at=found.first,
                   last_at=found.last, reason=found.reason, **servers,
                   **{f"subjects{name}": number for name, number in numbers.items()})  # fmt: skip


class SilencePatch(Body):
    """`PUT /alerts/silences/{id}`: what is given changes. Times without a zone are UTC; `duration_seconds` is instead of
    `ends_at`."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None
    duration_seconds: Annotated[int | None, Field(ge=1, le=366 * 86_400)] = None
    repeat: Repeat | None = None
    repeat_until: datetime | None = None
    scope: ScopeKind | None = None
    scope_id: Annotated[str | None, Field(max_length=64)] = None
    server_id: Id | None = None
    tenant_id: Id | None = None
    reason: Annotated[str, Field(max_length=500)] = ""

    @field_validator("starts_at", "ends_at", "repeat_until")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        return utc(value)

    def changes(self, row: Silence | None = None) -> dict[str, Any]:
        """Columns of Silence, only those that the body names. Raises Invalid."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"server_id", "duration_seconds"}}
        if self.duration_seconds is not None:
            start = self.starts_at or (row.starts_at if row is not None else now())
            try:
                given |= {"starts_at": start, "ends_at": start + timedelta(seconds=self.duration_seconds)}
            except OverflowError:
                raise field_error("duration_seconds", "ends at a time that cannot be stored") from None
        for name in ("starts_at", "ends_at", "scope"):
            if given.get(name, ...) is None:
                del given[name]
        return given | placed(self.server_id, self.scope)


class SilenceOut(Answer):
    """A silence or maintenance window. `active`: it is on now; `over`: never again."""

    id: str
    starts_at: datetime
    ends_at: datetime
    repeat: Repeat | None
    repeat_until: datetime | None
    scope: ScopeKind
    scope_id: str | None
    server_id: str | None
    tenant_id: str | None
    reason: str
    created_by: str
    created_at: datetime
    active: bool
    over: bool
    next_change: datetime | None

    @classmethod
    def of(cls, row: Silence) -> "SilenceOut":
        moment = now()
        following = row.next_change(moment)
        special = {"server_id", "active", "over", "next_change"}
        own = {name: getattr(row, name) for name in cls.model_fields if name not in special}
        return cls(server_id=row.scope_id if row.scope is ScopeKind.COMPUTER else None, active=row.is_on(moment),
                   over=following is None, next_change=following, **own)  # fmt: skip


class SilencesQuery(Query):
    """`GET /api/v1/alerts/silences`, newest first; those that are over only with `over=true`."""

    over: bool = False
    skip: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(1_000, ge=1, le=100_000)


class MetricOut(Answer):
    """What a threshold can be about. `argument`: "" none, `path` a disk's path or that of a certificate's file, else
    the words it may be."""

    metric_type: str
    label: str
    unit: str
    subject: str
    lowest: float
    highest: float
    argument: str
