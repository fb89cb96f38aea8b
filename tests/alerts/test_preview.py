"""How often a rule would have fired: against a recount that knows only the samples, and against what the evaluation itself did."""

import random
from itertools import pairwise
from typing import Any

from alerts_kit import Desk, ScopeKind
from conftest import Cast
from factories import make_computer, make_samples

from app.actors import SYSTEM
from app.alerts.preview import would_have_fired
from app.clock import now, to_ms
from app.database import session, unit_of_work
from app.metrics.models import MINUTE_MS
from app.metrics.operations import NewSample, store
from app.metrics.rollups import roll_up


def walk(seed: int, minutes: int) -> list[float]:
    """A load that wanders."""
    chance, value, values = random.Random(seed), 50.0, []
    for _ in range(minutes):
        value = min(100.0, max(0.0, value + chance.choice((-15, -5, 0, 5, 15))))
        values.append(value)
    return values


def fill(computer: int, values: list[float], end: int) -> list[int]:
    """A sample a minute, the last at `end` (ms); returns their times."""
    times = [end - (len(values) - 1 - i) * MINUTE_MS for i in range(len(values))]
    with unit_of_work():
        store([NewSample(computer, at, value, 10.0) for at, value in zip(times, values, strict=True)])
    return times


def ask(**values: Any) -> Any:
    with unit_of_work():
        return would_have_fired({"metric": "cpu"} | values, 7, actor=SYSTEM)


def recount(values: list[float], limit: float, recovery: float, for_minutes: int, hold_minutes: int) -> int:
    """The plain reading of a rule over samples a minute apart: no damping (the cases leave it out)."""
    fired, active, above, calm = 0, False, 0, 0
    for value in values:
        above = above + 1 if value > limit else 0
        calm = calm + 1 if value <= recovery else 0
        if not active and above > for_minutes:
            fired, active, calm = fired + 1, True, 0
        elif active and calm > hold_minutes:
            active, above = False, 0
    return fired


def test_the_count_is_that_of_a_recount_over_the_samples(desk: Desk) -> None:
    end = to_ms(desk.at) // MINUTE_MS * MINUTE_MS
    computers = [make_computer(f"c{i}") for i in range(3)]
    histories = [walk(seed, 500) for seed in range(3)]
    for computer, values in zip(computers, histories, strict=True):
        fill(computer[0], values, end)
    for rolled in (False, True):
        if rolled:
            roll_up("1m")
            roll_up("15m")
        for limit, recovery, minutes, hold in ((80, 60, 0, 20), (70, 70, 5, 20), (90, 50, 2, 30), (101 - 1, 20, 0, 20)):
            found = ask(warning_value=float(limit), recovery_value=float(recovery), for_seconds=minutes * 60,
                        recovery_for_seconds=hold * 60)  # fmt: skip
            expected = [recount(values, limit, recovery, minutes, hold) for values in histories]
            assert found.fired == sum(expected), (limit, rolled)
            assert {name: n for _, name, n in found.affected} == {f"c{i}": n for i, n in enumerate(expected) if n}
            assert (found.total, found.checked) == (3, 3)


def test_the_count_is_what_the_evaluation_did(desk: Desk) -> None:
    """The same samples, evaluated as they came: also with damping, a lower limit, and a gap."""
    computer, other = make_computer("c"), make_computer("other")
    rules: list[dict[str, Any]] = [
        {"warning_value": 70.0, "recovery_for_seconds": 60, "name": "flaps"},
        {"warning_value": 60.0, "for_seconds": 180, "recovery_value": 40.0, "recovery_for_seconds": 120, "name": "held"},
        {"comparison": "lt", "warning_value": 25.0, "for_seconds": 60, "recovery_for_seconds": 60, "name": "low"},
    ]
    for rule in rules:
        desk.rule(scope=ScopeKind.COMPUTER, scope_id=computer[1], **({"warning": rule["warning_value"]} | rule))
    for number, value in enumerate(walk(11, 120)):
        desk.later(60 if number != 60 else 600, work=False)
        desk.sample(computer[0], value)
    fired = [entry.data["threshold_name"] for entry in desk.entries() if entry.type == "alert.fired"]
    with unit_of_work():
        store([NewSample(other[0], to_ms(desk.at), 50.0, 10.0)])
    roll_up("1m")
    for rule in rules:
        found = ask(scope=ScopeKind.COMPUTER, scope_id=computer[1], **rule)
        assert found.fired == fired.count(rule["name"]) > 0, rule


def test_peaks_inside_a_minute_count_for_a_rule_that_fires_at_once_and_not_for_one_that_must_hold(desk: Desk) -> None:
    computer = make_computer()
    end = to_ms(desk.at) // MINUTE_MS * MINUTE_MS
    for minute in range(100):
        make_samples(computer[0], 1, cpu=99.0 if minute == 50 else 10.0, end=end - minute * MINUTE_MS)
        make_samples(computer[0], 1, cpu=10.0, end=end - minute * MINUTE_MS + 30_000)
    roll_up("1m")
    assert ask(warning_value=90.0).fired == 1
    assert ask(warning_value=90.0, for_seconds=60).fired == 0


def test_silences_count_for_offline(desk: Desk) -> None:
    computer = make_computer()
    end = to_ms(desk.at) // MINUTE_MS * MINUTE_MS
    minutes = [m for m in range(200) if not (50 < m < 90 or 150 < m < 154)]
    with unit_of_work():
        store([NewSample(computer[0], end - m * MINUTE_MS, 10.0, 10.0) for m in reversed(minutes)])
    roll_up("1m")
    assert ask(metric="offline", critical_value=0.0, for_seconds=300).fired == 1
    assert ask(metric="offline", critical_value=0.0, for_seconds=120).fired == 2
    assert ask(metric="offline", critical_value=0.0, for_seconds=3600).fired == 0
    assert all(b - a == 1 for a, b in pairwise(minutes) if a not in (50, 150))


def test_the_api_says_how_many_and_where(cast: Cast) -> None:
    with cast.app.app_context():
        ours, theirs = make_computer("ours", tenant_id=cast.acme), make_computer("theirs", tenant_id=cast.globex)
        for computer in (ours, theirs):
            fill(computer[0], [10.0] * 30 + [95.0] * 5 + [10.0] * 30, to_ms(now()))
        session().remove()
    path = "/api/v1/alerts/thresholds/preview"
    body = {"metric_type": "cpu", "threshold_value": 90.0}
    answer = cast.client("rita").post(path, json=body)
    assert answer.status_code == 200
    assert (answer.json["would_have_fired"], answer.json["days"], answer.json["servers"]) == (1, 7, 1)
    assert answer.json["worst"] == [{"server_id": ours[1], "subject_id": ours[1], "name": "ours", "count": 1}]
    assert answer.json["first_at"] == answer.json["last_at"] is not None
    assert cast.client("alice").post(path, json=body).json["would_have_fired"] == 2
    assert cast.client("alice").post(path, json=body | {"server_id": theirs[1], "days": 30}).json["servers_affected"] == 1
    nothing = cast.client("alice").post(path, json={"metric_type": "clock_skew", "threshold_value": 30}).json
    assert nothing["would_have_fired"] is None
    assert "No history" in nothing["reason"]
    for wrong in ({"days": 0}, {"days": 31}, {"threshold_value": 500}, {"metric_type": "mood"}):
        assert cast.client("alice").post(path, json=body | wrong).status_code == 422
