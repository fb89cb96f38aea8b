"""How often a rule would have fired in the last days, from the history that is kept: of samples minutes of it, as rolled up; of
the states of other rooms see `histories`.

A minute counts as crossing a limit when all its samples do; for a rule that fires at once, when one of them does. It is well when
all its samples are. Hysteresis, durations and damping are the evaluation's own. Of many computers a part is looked at,
spread evenly, and the answer says how many.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import func, select

from app.actors import Actor
from app.alerts.catalogue import Metric, Source, metric_of
from app.alerts.checks import check_threshold, place
from app.alerts.evaluation import gap_ms
from app.alerts.histories import HISTORIES
from app.alerts.models import AlertStatus, ScopeKind, Threshold
from app.alerts.replay import evenly, hold_after, replay
from app.alerts.rules import Rule, State, Verdict, break_off, decide
from app.clock import from_ms, now, to_ms
from app.database import session
from app.fleet.models import Computer, ComputerTag
from app.fleet.operations import GRACE
from app.metrics.models import MINUTE_MS, RollupCursor, Sample, Sample1m, Sample15m

SHOWN = 10
WITHOUT = {"clock_skew": "clocks that are off", "certificate": "certificates"}
Minute = tuple[int, float, float]  # its beginning (ms), lowest and highest value


@dataclass
class Preview:
    """`fired` is None, with a `reason`, where no history is kept, or too little. `total` subjects (of the kind `subject`, as
    `Metric.subject`) are in scope, `checked` were looked at; `affected` are (id, or None when it is gone; name; times)."""

    subject: str = "computer"
    fired: int | None = 0
    total: int = 0
    checked: int = 0
    affected: list[tuple[str | None, str, int]] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    reason: str | None = None

    def add(self, subject_id: str | None, name: str, times: Sequence[int]) -> None:
        """It would have fired about a subject at these times (ms)."""
        if not times:
            return
        self.fired = (self.fired or 0) + len(times)
        self.affected.append((subject_id, name, len(times)))
        first, last = from_ms(min(times)), from_ms(max(times))
        self.first, self.last = min(first, self.first or first), max(last, self.last or last)

    def in_order(self) -> "Preview":
        """With those that would have fired most often first."""
        self.affected.sort(key=lambda one: (-one[2], one[1]))
        return self


def would_have_fired(values: dict[str, Any], days: int, *, actor: Actor) -> Preview:
    """For the rule that `create_threshold` would make of the values. Raises what that raises."""
    row = Threshold(**(check_threshold(values) | place(values, actor)), id="preview")
    metric = metric_of(row.metric)
    until = to_ms(now())
    since = until - int(timedelta(days=days).total_seconds() * 1000)
    if metric is not None and row.metric in HISTORIES:
        return _of_states(Rule.of(row, metric.least_for_s), metric, actor, since, until)
    if metric is None or row.metric == "clock_skew" or (metric.source is not Source.SAMPLES and row.metric != "offline"):
        return Preview(fired=None, reason=f"No history is kept of {WITHOUT.get(row.metric, row.metric)}")
    rule = Rule.of(row, metric.least_for_s)
    found = _computers(rule, actor)
    part = evenly(found)
    result = Preview(total=len(found), checked=len(part))
    suspects = part if rule.metric == "offline" else _suspects(rule, part, since)
    for computer in suspects:
        times = _silences(rule, computer.id, since, until) if rule.metric == "offline" else _fires(rule, computer, since)
        result.add(computer.uuid, computer.name, times)
    return result.in_order()


def _of_states(rule: Rule, metric: Metric, actor: Actor, since: int, until: int) -> Preview:
    computers = _computers(rule, actor) if metric.subject == "container" else ()
    found = HISTORIES[metric.key](rule, actor.tenant_ids, since, until, computers)
    if found.reason:
        return Preview(subject=metric.subject, fired=None, reason=f"There is not enough history: {found.reason}")
    result = Preview(subject=metric.subject, total=found.total, checked=found.checked)
    for past in found.pasts:
        result.add(past.id, past.name, replay(rule, past))
    for at, subject_id, name in found.fired:
        result.add(subject_id, name, [at])
    return result.in_order()


def _computers(rule: Rule, actor: Actor) -> Sequence[Any]:
    """(id, uuid, name, interval_s) of the computers that the rule is about."""
    query = select(Computer.id, Computer.uuid, Computer.name, Computer.interval_s).order_by(Computer.id)
    if actor.tenant_ids is not None:
        query = query.where(Computer.tenant_id.in_(actor.tenant_ids))
    if rule.tenant_id is not None:
        query = query.where(Computer.tenant_id == rule.tenant_id)
    if rule.scope is ScopeKind.COMPUTER:
        query = query.where(Computer.uuid == rule.scope_id)
    elif rule.scope is ScopeKind.TAG:
        query = query.where(Computer.id.in_(select(ComputerTag.computer_id).where(ComputerTag.tag == rule.scope_id)))
    if rule.metric == "offline" and not rule.include_ephemeral:
        query = query.where(~Computer.ephemeral)
    return session().execute(query).all()  # type: ignore[no-any-return]


# -- sampled metrics -------------------------------------------------------------------------------------------------


def _bounds(rule: Rule, model: Any) -> tuple[Any, Any]:
    """Expressions for the lowest and the highest value of a row."""
    low, high = ("", "") if model is Sample else ("_min", "_max")
    if rule.metric != "network":
        return getattr(model, rule.metric + low), getattr(model, rule.metric + high)
    if rule.argument is not None:
        return getattr(model, f"{rule.argument}_rate{low}"), getattr(model, f"{rule.argument}_rate{high}")
    sums = [getattr(model, f"recv_rate{s}") + func.coalesce(getattr(model, f"sent_rate{s}"), 0) for s in (low, high)]
    return sums[0], sums[1]


def _done(resolution: str) -> int:
    return int(session().scalar(select(RollupCursor.done).where(RollupCursor.resolution == resolution)) or 0)


def _suspects(rule: Rule, computers: Sequence[Any], since: int) -> list[Any]:
    """Those with a value beyond the limit, by the coarsest table that is made."""
    if rule.metric == "disk" and rule.argument and not rule.comparison.upward:
        return list(computers)  # the tables know the fullest disk only
    ids = [computer.id for computer in computers]
    quarters, minutes = _done("15m"), _done("1m")
    found: set[int] = set()
    parts = (
        (Sample15m, since - 15 * MINUTE_MS, quarters),
        (Sample1m, max(since, quarters), minutes),
        (Sample, max(since, minutes), None),
    )
    for model, start, end in parts:
        low, high = _bounds(rule, model)
        beyond = high >= rule.first_limit if rule.comparison.upward else low <= rule.first_limit
        query = select(model.computer_id).where(model.computer_id.in_(ids), model.at >= start, beyond).distinct()
        found |= set(session().scalars(query if end is None else query.where(model.at < end)))
    return [computer for computer in computers if computer.id in found]


def _minutes(rule: Rule, computer_id: int, since: int) -> Iterator[Minute]:
    """The minutes of a computer, oldest first; those that are not rolled up yet from their samples."""
    made = _done("1m")
    for model, start, end in ((Sample1m, since // MINUTE_MS * MINUTE_MS, made), (Sample, max(since, made), None)):
        query: Any = select(model.at, *_bounds(rule, model), model.detail) if rule.argument and rule.metric == "disk" else (
            select(model.at, *_bounds(rule, model)))  # fmt: skip
        query = query.where(model.computer_id == computer_id, model.at >= start).order_by(model.at)
        rows: Iterable[Any] = session().execute(query if end is None else query.where(model.at < end))
        if rule.argument and rule.metric == "disk":
            rows = _of_path(rows, rule.argument)
        yield from _folded(rows) if model is Sample else ((row[0], row[1], row[2]) for row in rows if row[1] is not None)


def _of_path(rows: Iterable[Any], path: str) -> Iterator[Any]:
    for row in rows:
        percent = next((disk[4] for disk in orjson.loads(row[3]).get("d", []) if disk[0] == path), None)
        if percent is not None:
            yield row[0], percent, percent


def _folded(rows: Iterable[Any]) -> Iterator[Minute]:
    current: list[Any] | None = None
    for at, low, high, *_ in rows:
        if low is None:
            continue
        minute = at // MINUTE_MS * MINUTE_MS
        if current is not None and current[0] == minute:
            current[1], current[2] = min(current[1], low), max(current[2], high)
            continue
        if current is not None:
            yield current[0], current[1], current[2]
        current = [minute, low, high]
    if current is not None:
        yield current[0], current[1], current[2]


def _fires(rule: Rule, computer: Any, since: int) -> list[int]:
    """When it would have fired (ms)."""
    state, fired, before, resolved = State(hold_ms=rule.hold_ms), [], None, None
    gap, at_once = gap_ms(computer.interval_s), rule.for_ms < MINUTE_MS
    for at, low, high in _minutes(rule, computer.id, since):
        worst, best = (high, low) if rule.comparison.upward else (low, high)
        if before is not None and at - before > gap:
            break_off(state)
        before = at
        if state.is_active:
            state.calm_since = _since(state.calm_since, at, rule.is_calm(worst))
        else:
            state.since = _since(state.since, at, rule.level(worst if at_once else best) > 0)
        match decide(rule, state, at):
            case Verdict.FIRE:
                fired.append(at)
                state = State(AlertStatus.ACTIVE, hold_ms=hold_after(rule, state, at, resolved))
            case Verdict.RESOLVE:
                resolved, state = at, State(hold_ms=state.hold_ms)
            case _:
                pass
    return fired


def _since(before: int | None, at: int, holds: bool) -> int | None:
    return (at if before is None else before) if holds else None


# -- silence ---------------------------------------------------------------------------------------------------------


def _silences(rule: Rule, computer_id: int, since: int, until: int) -> list[int]:
    """When a computer would have been offline for too long: gaps between its minutes."""
    made = _done("1m")
    rolled = select(Sample1m.at).where(Sample1m.computer_id == computer_id, Sample1m.at >= since, Sample1m.at < made)
    heard: list[int] = list(session().scalars(rolled.order_by(Sample1m.at)))
    raw = select(Sample.at).where(Sample.computer_id == computer_id, Sample.at >= max(since, made)).order_by(Sample.at)
    heard += sorted({at // MINUTE_MS * MINUTE_MS for at in session().scalars(raw)} - set(heard))
    least = max(rule.for_ms, int(GRACE.total_seconds() * 1000))
    fired: list[int] = []
    back: int | None = None
    for at, following in zip(heard, [*heard[1:], until], strict=True):
        silent_from = at + MINUTE_MS
        if following - silent_from >= least:
            if back is None or silent_from - back >= rule.hold_ms:
                fired.append(silent_from + rule.for_ms)
            back = following
    return fired
