"""Evaluation against a model that knows nothing of it, and under several processes at once."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from alerts_kit import Desk
from factories import make_computer
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from app.actors import SYSTEM
from app.alerts.deadlines import settle_due
from app.alerts.models import Alert, AlertStatus, Comparison, ScopeKind
from app.alerts.operations import create_threshold
from app.alerts.rules import Rule, State, Verdict, decide, severity_at, step
from app.clock import now, to_ms
from app.database import session, unit_of_work
from app.journal.models import JournalEntry
from app.metrics.operations import NewSample, store

STEP = 10_000


def naive(rule: Rule, values: Sequence[float]) -> list[tuple[int, str]]:
    """What happens, told from the whole history at each moment, with lists and no state but the alert itself."""
    told: list[tuple[int, str]] = []
    alert: dict[str, Any] | None = None

    def run_length(since: int, until: int, holds: list[bool]) -> int | None:
        """How long (ms) it has held without a break up to `until`, looking back no further than `since`; None when it does not."""
        first = until + 1
        while first > since and holds[first - 1]:
            first -= 1
        return None if first > until else (until - first) * STEP

    def beyond(value: float, limit: float | None) -> bool:
        if limit is None:
            return False
        return {"gt": value > limit, "gte": value >= limit, "lt": value < limit, "lte": value <= limit}[rule.comparison.value]

    first_limit = rule.warning if rule.warning is not None else rule.critical
    bad = [beyond(v, rule.warning) or beyond(v, rule.critical) for v in values]
    very_bad = [beyond(v, rule.critical) for v in values]
    if rule.recovery is None:
        calm = [not beyond(v, first_limit) for v in values]
    else:
        calm = [v <= rule.recovery if rule.comparison.value.startswith("g") else v >= rule.recovery for v in values]
    start = 0  # nothing before counts for an alert that is to come
    for i in range(len(values)):
        if alert is None:
            held = run_length(start, i, bad)
            if held is not None and held >= rule.for_ms:
                worst = run_length(start, i, very_bad)
                critical = rule.warning is None or (worst is not None and worst >= rule.for_ms)
                alert = {"since": i + 1, "critical": critical, "changed": i + 1}
                told.append((i, "critical" if critical else "warning"))
            continue
        quiet = run_length(alert["since"], i, calm)
        if quiet is not None and quiet >= rule.hold_ms:
            told.append((i, "resolved"))
            alert, start = None, i + 1
        elif not alert["critical"]:
            held = run_length(alert["changed"], i, very_bad)
            if held is not None and held >= rule.for_ms:
                alert |= {"critical": True, "changed": i + 1}
                told.append((i, "escalated"))
        elif rule.warning is not None:
            better = run_length(alert["changed"], i, [not v for v in very_bad])
            if better is not None and better >= rule.hold_ms:
                alert |= {"critical": False, "changed": i + 1}
                told.append((i, "deescalated"))
    return told


def evaluated(rule: Rule, values: Sequence[float]) -> list[tuple[int, str]]:
    """The same from the state machine, value by value."""
    told, state = [], State(hold_ms=rule.hold_ms)
    for i, value in enumerate(values):
        step(rule, state, i * STEP, value)
        match decide(rule, state, i * STEP):
            case Verdict.FIRE:
                severity = severity_at(rule, state, i * STEP)
                state = State(AlertStatus.ACTIVE, severity, hold_ms=rule.hold_ms)
                told.append((i, severity.value))
            case Verdict.RESOLVE:
                state = State(hold_ms=rule.hold_ms)
                told.append((i, "resolved"))
            case Verdict.ESCALATE | Verdict.DEESCALATE as verdict:
                critical = verdict is Verdict.ESCALATE
                state.severity, state.shift_since = type(state.severity)("critical" if critical else "warning"), None
                told.append((i, "escalated" if critical else "deescalated"))
            case _:
                pass
    return told


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    comparison = draw(st.sampled_from(list(Comparison)))
    warning = draw(st.one_of(st.none(), st.integers(3, 6)))
    away = 1 if comparison.upward else -1
    base = 5 if warning is None else warning
    critical = draw(st.integers(1, 3)) * away + base if warning is None or draw(st.booleans()) else None
    first = warning if warning is not None else critical
    recovery = draw(st.one_of(st.none(), st.integers(1, 3).map(lambda d: float(first - d * away))))
    durations = st.sampled_from([0, STEP, 2 * STEP, 25_000, 5 * STEP])
    return Rule("r", "r", "cpu", None, comparison, None if warning is None else float(warning),
                None if critical is None else float(critical), recovery, draw(durations), draw(durations), ScopeKind.ALL, None, None,
                False)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules(), st.lists(st.integers(0, 9).map(float), max_size=60))
def test_the_state_machine_says_what_the_whole_history_says(rule: Rule, values: list[float]) -> None:
    assert evaluated(rule, values) == naive(rule, values)


def test_the_stored_states_say_the_same(desk: Desk) -> None:
    """Through the database, each sample in a transaction of its own, for rules of several kinds at once."""
    import random

    chance = random.Random(5)
    computer = make_computer()
    kinds = [
        {"warning_value": 60.0, "for_seconds": 20, "recovery_for_seconds": 20, "name": "a"},
        {"warning_value": 50.0, "critical_value": 80.0, "recovery_value": 40.0, "recovery_for_seconds": 30, "name": "b"},
        {"comparison": Comparison.LTE, "warning_value": 30.0, "critical_value": 10.0, "for_seconds": 10, "name": "c"},
    ]
    made = {kind["name"]: desk.rule("cpu", **({"warning": kind["warning_value"]} | kind)) for kind in kinds}
    values, value = [], 50.0
    for _ in range(120):
        value = min(100.0, max(0.0, value + chance.choice((-25, -10, 0, 10, 25))))
        values.append(value)
        desk.later(10, work=False)
        desk.sample(computer[0], value)
    with desk.reading():
        query = select(JournalEntry).where(JournalEntry.type.like("alert.%")).order_by(JournalEntry.seq)
        told: dict[str, list[str]] = {name: [] for name in made}
        for entry in session().scalars(query):
            kind = entry.type.removeprefix("alert.")
            told[entry.data["threshold_name"]].append(entry.data["severity"] if kind == "fired" else kind)
    for kind in kinds:
        rule = Rule("x", "x", "cpu", None, Comparison(kind.get("comparison", "gt")), kind.get("warning_value"), kind.get("critical_value"),
                    kind.get("recovery_value"), kind.get("for_seconds", 0) * 1000, kind.get("recovery_for_seconds", 0) * 1000,
                    ScopeKind.ALL, None, None, False)  # fmt: skip
        assert told[kind["name"]] == damped(rule, values), kind
    assert min(map(len, told.values())) >= 3, "each rule had something to say"


def damped(rule: Rule, values: Sequence[float]) -> list[str]:
    """The naive story with the damping of what fires again soon: it must be well for twice as long, ten minutes at least."""
    told: list[str] = []
    offset, hold, resolved = 0, rule.hold_ms, None
    while True:
        part = naive(_with_hold(rule, hold), values[offset:])
        first = next((i for i, word in part if word in ("warning", "critical")), None)
        if first is None:
            return told
        at = (offset + first) * STEP
        again = resolved is not None and at - resolved < 15 * 60_000
        hold = min(3_600_000, max(rule.hold_ms, 600_000, 2 * hold)) if again else rule.hold_ms
        for i, word in naive(_with_hold(rule, hold), values[offset:]):
            told.append(word)
            if word == "resolved":
                resolved, offset = (offset + i) * STEP, offset + i + 1
                break
        else:
            return told


def _with_hold(rule: Rule, hold_ms: int) -> Rule:
    from dataclasses import replace

    return replace(rule, hold_ms=hold_ms)


# -- several processes at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("for_seconds", [0, 1], ids=["at once", "after a second"])
def test_those_who_race_never_fire_twice(app: Flask, for_seconds: int) -> None:
    """Eight that store samples and two that settle deadlines, each with a connection of its own, for the same computers."""
    with app.app_context():
        computers = [make_computer(f"c{i}")[0] for i in range(4)]
        with unit_of_work():
            create_threshold({"metric": "cpu", "warning_value": 80.0, "for_seconds": for_seconds, "name": "race"}, actor=SYSTEM)
    base, failures, stop = to_ms(now()) - 20_000, [], threading.Event()

    def push(number: int) -> None:
        try:
            with app.app_context():
                for turn in range(12):
                    with unit_of_work():
                        store([NewSample(c, base + turn * 1000 + number, 99.0, 10.0) for c in computers])
        except Exception as error:
            failures.append(error)

    def settle() -> None:
        try:
            with app.app_context():
                while not stop.is_set():
                    settle_due()
        except Exception as error:
            failures.append(error)

    pushing = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    settling = [threading.Thread(target=settle) for _ in range(2)]
    for thread in (*pushing, *settling):
        thread.start()
    for thread in pushing:
        thread.join()
    stop.set()
    for thread in settling:
        thread.join()
    assert not failures
    with app.app_context():
        active = session().scalars(select(Alert).where(Alert.threshold_name == "race")).all()
        assert sorted(a.computer_id for a in active) == computers
        assert {a.status for a in active} == {AlertStatus.ACTIVE}
        fired = select(func.count()).select_from(JournalEntry).where(JournalEntry.type == "alert.fired")
        assert session().scalar(fired) == len(computers)
        session().remove()


def test_the_database_holds_that_one_alert_is_open_per_rule_and_subject(desk: Desk) -> None:
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.orm import make_transient

    computer = make_computer()
    desk.rule()
    desk.sample(computer[0], 99)
    (alert,) = desk.alerts()
    make_transient(alert)
    alert.id, alert.number = "another", 5
    with pytest.raises(IntegrityError), unit_of_work():
        session().add(alert)
        session().flush()
