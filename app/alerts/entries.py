"""One alert as evaluation changes it: plain attributes, what has happened to it, and how it is told."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from app.actors import SYSTEM, Actor
from app.alerts.catalogue import About, metric_of
from app.alerts.models import Alert, AlertStatus, Comparison, Severity
from app.alerts.rules import Rule, State
from app.clock import from_ms
from app.journal.operations import Happening, Subject
from app.runs.queries import number_of

_KEPT = (
    "tenant_id", "severity", "status", "message", "value", "limit_value", "pending_since", "fired_at", "acknowledged_at",
    "acknowledged_by", "note", "resolved_at", "resolved_by", "resolve_reason", "muted", "calm_since", "shift_since", "hold_s",
    "due_at", "latched_until", "live", "subject_name",
)  # fmt: skip


def ms(moment: datetime) -> int:
    """Milliseconds since 1970, rounded: what `from_ms` made comes back as it was."""
    return round(moment.timestamp() * 1000)


class Entry:
    """One alert as plain attributes, named as its columns, and what has happened to it."""

    id: str
    threshold_id: str
    threshold_name: str
    metric: str
    argument: str | None
    comparison: Comparison
    subject_kind: str
    subject_id: str
    subject_name: str
    computer_id: int | None
    computer_uuid: str | None
    tenant_id: str | None
    severity: Severity
    status: AlertStatus
    message: str
    value: float | None
    limit_value: float
    pending_since: datetime
    fired_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolve_reason: str | None
    muted: bool
    calm_since: int | None
    shift_since: int | None
    hold_s: int
    due_at: datetime | None
    latched_until: datetime | None
    live: bool
    revision: int
    version: int

    def __init__(self, values: Mapping[str, Any], *, new: bool = False) -> None:
        self.__dict__.update(values)
        self.before = {} if new else dict(values)
        self.new, self.dropped, self.shows = new, False, new
        self.told: list[tuple[str, Actor, dict[str, Any]]] = []

    def state(self) -> State:
        """As rules take it."""
        since = ms(self.pending_since) if self.status is AlertStatus.PENDING else None
        return State(self.status, self.severity, since, self.calm_since, self.shift_since, self.hold_s * 1000)

    def tell(self, type_: str, actor: Actor = SYSTEM, **data: Any) -> None:
        """It shall be journalled."""
        self.shows = True
        self.told.append((type_, actor, data))

    def changes(self) -> dict[str, Any]:
        """The columns that are not as they were."""
        return {name: getattr(self, name) for name in _KEPT if getattr(self, name) != self.before.get(name)}


def describe(metric: str, argument: str | None, comparison: Comparison, value: float | None, limit: float) -> str:
    """A line such as `CPU 97.2 %, above 90 %` or `Proxy blacklisted`."""
    known = metric_of(metric)
    if known is None:
        return f"{metric} {value}"
    label = known.named(argument)
    if known.words:
        word = known.shown(value)
        return label if word == label.lower() else f"{label} {word}"
    return f"{label} {known.shown(value)}, {'above' if comparison.upward else 'below'} {known.shown(limit)}"


def title_of(alert: Alert | Entry) -> str:
    """What one calls it: its subject and its message."""
    return f"{alert.subject_name}: {alert.message}"


def happening_of(entry: Entry, type_: str, actor: Actor, data: dict[str, Any]) -> Happening:
    """An entry of the journal about an alert, as docs/alerts.md says."""
    subject = Subject("alert", entry.id, title_of(entry)[:300], entry.tenant_id)
    return Happening(type_, actor, subject, {
        "severity": entry.severity.value, "status": entry.status.value, "metric": entry.metric, "value": entry.value,
        "limit": entry.limit_value, "message": entry.message, "muted": entry.muted, "computer": entry.computer_uuid,
        "subject": {"kind": entry.subject_kind, "id": entry.subject_id, "name": entry.subject_name},
        "threshold": entry.threshold_id, "threshold_name": entry.threshold_name, **data,
    })  # fmt: skip


def pending(rule: Rule, about: About, state: State, value: float, said: str, moment: datetime) -> Entry:
    """A new alert whose limit is crossed, but not yet for long enough."""
    id_ = str(uuid4())
    severity = Severity.WARNING if rule.warning is not None else Severity.CRITICAL
    limit = rule.limit_of(severity)
    values: dict[str, Any] = dict.fromkeys((
        "fired_at", "acknowledged_at", "acknowledged_by", "note", "resolved_at", "resolved_by", "resolve_reason", "calm_since",
        "due_at", "latched_until",
    ))  # fmt: skip
    values |= {
        "id": id_, "number": number_of(id_), "threshold_id": rule.id, "threshold_name": rule.name, "metric": rule.metric,
        "argument": rule.argument, "comparison": rule.comparison, "subject_kind": about.kind, "subject_id": about.id,
        "subject_name": about.name[:300], "computer_id": about.computer_id, "computer_uuid": about.computer_uuid,
        "tenant_id": about.tenant_id, "severity": severity, "status": AlertStatus.PENDING, "value": value,
        "limit_value": limit,
        "message": (said or describe(rule.metric, rule.argument, rule.comparison, value, limit))[:500],
        "pending_since": moment if state.since is None else from_ms(state.since), "shift_since": state.shift_since,
        "hold_s": rule.hold_ms // 1000, "muted": False, "live": True, "updated_at": moment, "revision": 0, "version": 0,
    }  # fmt: skip
    return Entry(values, new=True)
