"""What a rule would have done: it is tried on what the last 7 days were like, with the same steps as the evaluation.

Samples older than the last few minutes are only kept as minutes with their lowest and highest value, so a limit counts as crossed
throughout a minute when none of its samples was on the good side. That a computer was offline is known from the journal.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import select

from app.alerts.catalogue import Source, metric_of
from app.alerts.models import AlertStatus, ScopeKind, Severity
from app.alerts.rules import Rule, State, Verdict, break_off, decide, step
from app.clock import from_ms, now, to_ms
from app.database import session
from app.fleet.models import Computer, ComputerTag
from app.journal.models import JournalEntry
from app.metrics.models import MINUTE_MS, RollupCursor, Sample, Sample1m, Sample15m

Scope = frozenset[str] | None
WEEK = timedelta(days=7)
MOST_COMPUTERS = 2_000  # of a scope that are looked at
PATIENCE_S = 2.0
GAP_MS = 4 * MINUTE_MS
COLUMNS = {"cpu": ("cpu",), "memory": ("memory",), "disk": ("disk",), "load": ("load",), "network": ("recv_rate", "sent_rate"),
           "network:recv": ("recv_rate",), "network:sent": ("sent_rate",)}  # fmt: skip


@dataclass
class Firing:
    """How often it would have fired about one computer, and when last."""

    uuid: str
    name: str
    times: list[int] = field(default_factory=list)

    @property
    def last(self) -> Any:
        """When it would have fired last."""
        return from_ms(self.times[-1])


@dataclass
class Trial:
    """What came out. `computers` are those that it would have fired about, the most often first; `looked` of `total` computers
    were looked at; without `is_possible` the past does not say."""

    is_possible: bool = True
    computers: list[Firing] = field(default_factory=list)
    looked: int = 0
    total: int = 0

    @property
    def times(self) -> int:
        """How often it would have fired."""
        return sum(len(one.times) for one in self.computers)


def try_on_history(rule: Rule, scope: Scope) -> Trial:
    """Try a rule on the last 7 days of the computers that it is about, within the scope."""
    metric = metric_of(rule.metric)
    if metric is None or (metric.source is not Source.SAMPLES and rule.metric != "offline") or rule.metric == "clock_skew":
        return Trial(is_possible=False)
    rows = _computers(rule, scope)
    trial = Trial(total=len(rows), looked=min(len(rows), MOST_COMPUTERS))
    start, end = to_ms(now() - WEEK), to_ms(now())
    suspects = _suspects(rule, [row[0] for row in rows[:MOST_COMPUTERS]], start) if metric.source is Source.SAMPLES else None
    deadline = time.monotonic() + PATIENCE_S
    for position, (computer_id, uuid, name) in enumerate(rows[:MOST_COMPUTERS]):
        if time.monotonic() > deadline:
            trial.looked = position
            break
        if suspects is not None and computer_id not in suspects:
            continue
        values = _offline(uuid, start, end) if suspects is None else _samples(rule, computer_id, start)
        if times := list(_fired(rule, values, gaps=suspects is not None, end=end)):
            trial.computers.append(Firing(uuid, name, times))
    trial.computers.sort(key=lambda one: (-len(one.times), one.name))
    return trial


def _computers(rule: Rule, scope: Scope) -> list[Any]:
    """(internal id, public id, name) of what the rule is about."""
    query: Any = select(Computer.id, Computer.uuid, Computer.name).order_by(Computer.name_key, Computer.id)
    if scope is not None:
        query = query.where(Computer.tenant_id.in_(scope))
    if rule.tenant_id is not None:
        query = query.where(Computer.tenant_id == rule.tenant_id)
    if rule.metric == "offline" and not rule.include_ephemeral:
        query = query.where(Computer.ephemeral.is_(False))
    match rule.scope:
        case ScopeKind.COMPUTER:
            query = query.where(Computer.uuid == rule.scope_id)
        case ScopeKind.TENANT:
            query = query.where(Computer.tenant_id == rule.scope_id)
        case ScopeKind.TAG:
            query = query.where(Computer.id.in_(select(ComputerTag.computer_id).where(ComputerTag.tag == rule.scope_id)))
        case _:
            pass
    return list(session().execute(query))


# -- samples -----------------------------------------------------------------------------------------------------------


def _names(rule: Rule) -> tuple[str, ...]:
    return COLUMNS[f"{rule.metric}:{rule.argument}" if rule.metric == "network" and rule.argument else rule.metric]


def _is_path(rule: Rule) -> bool:
    return rule.metric == "disk" and rule.argument is not None


def _done(resolution: str) -> int:
    return int(session().scalar(select(RollupCursor.done).where(RollupCursor.resolution == resolution)) or 0)


def _value(model: Any, names: tuple[str, ...], suffix: str) -> Any:
    """The metric as a column: what is received and sent is added."""
    columns = [getattr(model, name if model is Sample else name + suffix) for name in names]
    return columns[0] if len(columns) == 1 else columns[0] + columns[1]


def _suspects(rule: Rule, ids: list[int], start: int) -> set[int]:
    """The computers with a value beyond the first limit: the others need not be gone through. A disk's own path is not in a
    column, and it can only be as full as the fullest."""
    upward = rule.comparison.upward
    if _is_path(rule) and not upward:
        return set(ids)
    names, found = _names(rule), set[int]()
    quarters, minutes = _done("15m"), _done("1m")
    for model, since, until in (
        (Sample15m, start, quarters),
        (Sample1m, max(start, quarters), minutes),
        (Sample, max(start, minutes), None),
    ):
        value = _value(model, names, "_max" if upward else "_min")
        beyond = value >= rule.first_limit if upward else value <= rule.first_limit
        for first in range(0, len(ids), 1000):
            query = select(model.computer_id).where(model.computer_id.in_(ids[first : first + 1000]), model.at >= since, beyond)
            if until is not None:
                query = query.where(model.at < until)
            found |= set(session().scalars(query.distinct()))
    return found


def _samples(rule: Rule, computer_id: int, start: int) -> Iterator[tuple[int, float]]:
    """(time, value) of a computer; of a minute with several values the worst, and then the best one."""
    minutes, names = _done("1m"), _names(rule)
    for model, since, until in ((Sample1m, start, minutes), (Sample, max(start, minutes), None)):
        columns = [model.detail] if _is_path(rule) else [_value(model, names, "_min"), _value(model, names, "_max")]
        query = select(model.at, *columns).where(model.computer_id == computer_id, model.at >= since).order_by(model.at)
        for row in session().execute(query if until is None else query.where(model.at < until)):
            values = [_of_path(row[1], rule.argument)] if _is_path(rule) else [row[1], row[2]]
            known = [float(value) for value in values if value is not None]
            if not known:
                continue
            worst, best = (max(known), min(known)) if rule.comparison.upward else (min(known), max(known))
            yield row[0], worst
            if best != worst:
                yield row[0] + MINUTE_MS // 2, best


def _of_path(detail: str, path: str | None) -> float | None:
    return next((disk[4] for disk in orjson.loads(detail).get("d", ()) if disk[0] == path), None)


# -- offline -----------------------------------------------------------------------------------------------------------


def _offline(uuid: str, start: int, end: int) -> Iterator[tuple[int, float]]:
    """(time, 1 when it went offline and 0 when it came back), of what the journal knows."""
    query = select(JournalEntry.at, JournalEntry.data).where(
        JournalEntry.subject_kind == "computer", JournalEntry.subject_id == uuid, JournalEntry.type == "computer.status_changed",
    )  # fmt: skip
    for at, data in session().execute(query.order_by(JournalEntry.seq)):
        if start <= to_ms(at) <= end:
            yield to_ms(at), float(data.get("after") == "offline")


def _fired(rule: Rule, values: Iterator[tuple[int, float]], *, gaps: bool, end: int) -> Iterator[int]:
    """The times (ms) at which it would have fired. What has no gaps holds until its next value, and until now."""
    state, before = State(hold_ms=rule.hold_ms), None
    for at, value in values:
        if gaps and before is not None and at - before > GAP_MS:
            break_off(state)
        elif not gaps and _moves(rule, state, at):
            yield (state.since or at) + rule.for_ms
            _fire(state, rule)
        before = at
        step(rule, state, at, value)
        if _moves(rule, state, at):
            yield at
            _fire(state, rule)
    if not gaps and before is not None and _moves(rule, state, end):
        yield (state.since or end) + rule.for_ms


def _moves(rule: Rule, state: State, at: int) -> bool:
    """Whether it fires at this time; a recovery that is due is taken note of."""
    verdict = decide(rule, state, at)
    if verdict is Verdict.RESOLVE:
        state.status = state.since = state.calm_since = state.shift_since = None
    return verdict is Verdict.FIRE


def _fire(state: State, rule: Rule) -> None:
    state.status, state.severity = AlertStatus.ACTIVE, Severity.CRITICAL if rule.warning is None else Severity.WARNING
    state.calm_since = state.shift_since = None
