"""Rules on plain values: when a limit is crossed, when it is well again, and what follows for an alert. No database here.

A value goes through `step`, which keeps since when the limit is crossed, the critical one is crossed (or not any more), and
all is well; `decide` then says what has to happen. Both go by the time of the values, so that samples that come late mean what
they meant.
"""

from dataclasses import dataclass
from enum import Enum
from math import isnan

from app.alerts.models import AlertStatus, Comparison, ScopeKind, Severity, Threshold


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold as evaluation takes it; times in ms."""

    id: str
    name: str
    metric: str
    argument: str | None
    comparison: Comparison
    warning: float | None
    critical: float | None
    recovery: float | None
    for_ms: int
    hold_ms: int
    scope: ScopeKind
    scope_id: str | None
    tenant_id: str | None
    include_ephemeral: bool

    @classmethod
    def of(cls, row: Threshold, least_for_s: int = 0) -> "Rule":
        return cls(
            row.id, row.name, row.metric, row.argument, row.comparison, row.warning_value, row.critical_value, row.recovery_value,
            max(row.for_seconds, least_for_s) * 1000, row.recovery_for_seconds * 1000, row.scope, row.scope_id, row.tenant_id,
            row.include_ephemeral,
        )  # fmt: skip

    @property
    def first_limit(self) -> float:
        """The limit that is crossed first."""
        return self.warning if self.warning is not None else self.critical or 0.0

    def limit_of(self, severity: Severity) -> float:
        """The limit of a severity."""
        found = self.critical if severity is Severity.CRITICAL else self.warning
        return self.first_limit if found is None else found

    def level(self, value: float) -> int:
        """0: no limit is crossed; 1: the warning's; 2: the critical one."""
        if self.critical is not None and crossed(self.comparison, value, self.critical):
            return 2
        return int(self.warning is not None and crossed(self.comparison, value, self.warning))

    def is_calm(self, value: float) -> bool:
        """Whether the value is well: past the recovery value, or past the first limit when there is none."""
        if self.recovery is None:
            return not crossed(self.comparison, value, self.first_limit)
        return value <= self.recovery if self.comparison.upward else value >= self.recovery


def crossed(comparison: Comparison, value: float, limit: float) -> bool:
    """Whether the value is on the bad side of the limit."""
    match comparison:
        case Comparison.GT:
            return value > limit
        case Comparison.GTE:
            return value >= limit
        case Comparison.LT:
            return value < limit
        case Comparison.LTE:
            return value <= limit


class Verdict(Enum):
    """What has to happen to an alert."""

    NOTHING = "nothing"
    WAIT = "wait"  # the limit is crossed: it becomes, or stays, pending
    DROP = "drop"  # it was pending, and the limit is not crossed any more
    FIRE = "fire"
    ESCALATE = "escalate"
    DEESCALATE = "deescalate"
    RESOLVE = "resolve"


@dataclass(slots=True)
class State:
    """Where one rule stands for one subject. `since`: when the limit was crossed; `status` None: there is no alert."""

    status: AlertStatus | None = None
    severity: Severity = Severity.WARNING
    since: int | None = None
    calm_since: int | None = None
    shift_since: int | None = None
    hold_ms: int = 0

    @property
    def is_active(self) -> bool:
        """Whether it has fired."""
        return self.status in (AlertStatus.ACTIVE, AlertStatus.ACKNOWLEDGED)


def step(rule: Rule, state: State, at: int, value: float) -> None:
    """Note a value of this time (ms, not before the one before). A value that is no number says nothing."""
    if isnan(value):
        return
    level = rule.level(value)
    if not state.is_active:
        state.since = _since(state.since, at, level > 0)
        state.shift_since = _since(state.shift_since, at, level == 2)
        return
    state.calm_since = _since(state.calm_since, at, rule.is_calm(value))
    if state.severity is Severity.WARNING:
        state.shift_since = _since(state.shift_since, at, level == 2)
    else:
        state.shift_since = _since(state.shift_since, at, level < 2 and rule.warning is not None)


def _since(before: int | None, at: int, holds: bool) -> int | None:
    if not holds:
        return None
    return at if before is None else before


def break_off(state: State) -> None:
    """Nothing was heard for too long to say that anything held meanwhile. (An alert that has fired stays: silence is not
    recovery.)"""
    state.calm_since = state.shift_since = None
    if not state.is_active:
        state.since = None


def decide(rule: Rule, state: State, at: int, *, is_now: bool = True) -> Verdict:
    """What follows at this time (ms). Without `is_now` the moment is over: nothing is raised for it, but it may end."""
    if not state.is_active:
        if state.since is None:
            return Verdict.DROP if state.status is AlertStatus.PENDING else Verdict.NOTHING
        return Verdict.FIRE if is_now and at - state.since >= rule.for_ms else Verdict.WAIT
    if state.calm_since is not None and at - state.calm_since >= state.hold_ms:
        return Verdict.RESOLVE
    if state.shift_since is None:
        return Verdict.NOTHING
    held = at - state.shift_since
    if state.severity is Severity.WARNING:
        return Verdict.ESCALATE if is_now and held >= rule.for_ms else Verdict.NOTHING
    return Verdict.DEESCALATE if held >= state.hold_ms else Verdict.NOTHING


def severity_at(rule: Rule, state: State, at: int) -> Severity:
    """How bad it is when it fires at this time: critical when the critical limit has been crossed for long enough."""
    held = state.shift_since is not None and at - state.shift_since >= rule.for_ms
    return Severity.CRITICAL if rule.warning is None or held else Severity.WARNING


def deadline(rule: Rule, state: State, *, sampled: bool) -> int | None:
    """When to look again though nothing is heard (ms). What a sampled metric recovers from, only samples can say."""
    if not state.is_active:
        return None if state.since is None else state.since + rule.for_ms
    moments = []
    if state.calm_since is not None and not sampled:
        moments.append(state.calm_since + state.hold_ms)
    if state.shift_since is not None and (state.severity is Severity.WARNING or not sampled):
        moments.append(state.shift_since + (rule.for_ms if state.severity is Severity.WARNING else state.hold_ms))
    return min(moments, default=None)
