"""The rules of a proxy's health on plain values: windows, streaks, rests, limits, reasons."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clock import to_ms
from app.proxies import health
from app.proxies.health import Streak
from app.proxies.models import ProxyStatus

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COUNTS = st.integers(0, 10_000)
HALF_HOUR = timedelta(minutes=30)


@dataclass
class Row:
    """What of a proxy's row the rules read."""

    successes: int = 0
    failures: int = 0
    uses: int = 0
    enabled: bool = True
    disabled_by: str | None = None
    cooldown_until: datetime | None = None
    offences: int = 0
    recent: str = "[]"
    check_ok: bool | None = None
    check_error: str | None = None


@pytest.mark.parametrize(
    ("successes", "failures", "status"),
    [(0, 0, "healthy"), (1, 0, "healthy"), (0, 1, "blacklisted"), (4, 1, "healthy"), (8, 2, "healthy"), (80, 20, "healthy"),
     (799, 201, "flagged"), (7, 3, "flagged"), (1, 1, "flagged"), (500, 500, "flagged"), (499, 501, "blacklisted"), (1, 2, "blacklisted")],
)  # fmt: skip
def test_the_limits_are_exactly_80_and_50_percent(successes: int, failures: int, status: str) -> None:
    assert health.status_of(Row(successes, failures), NOON) == status


@given(COUNTS, COUNTS)
def test_the_status_follows_from_whole_numbers(successes: int, failures: int) -> None:
    ended = successes + failures
    expected = ProxyStatus.HEALTHY
    if ended and successes * 100 < 80 * ended:
        expected = ProxyStatus.FLAGGED if successes * 100 >= 50 * ended else ProxyStatus.BLACKLISTED
    assert health.status_of(Row(successes, failures), NOON) is expected


def test_who_is_disabled_or_rests_is_blacklisted_and_a_rest_ends_to_the_moment() -> None:
    assert health.status_of(Row(10, 0, enabled=False), NOON) is ProxyStatus.BLACKLISTED
    resting = Row(10, 0, cooldown_until=NOON + HALF_HOUR)
    assert health.status_of(resting, NOON) is ProxyStatus.BLACKLISTED
    assert health.status_of(resting, NOON + HALF_HOUR - timedelta(microseconds=1)) is ProxyStatus.BLACKLISTED
    assert health.status_of(resting, NOON + HALF_HOUR) is ProxyStatus.HEALTHY


OUTCOMES = st.lists(st.tuples(st.integers(0, 4 * 3600), st.booleans()), max_size=60).map(sorted)


@given(OUTCOMES)
def test_the_window_counts_what_the_last_hour_saw_to_five_minutes(outcomes: list[tuple[int, bool]]) -> None:
    recent, start = "[]", to_ms(NOON)
    for second, success in outcomes:
        recent = health.add_outcome(recent, start + second * 1000, success)
    last = outcomes[-1][0] if outcomes else 0
    moment = NOON + timedelta(seconds=last)
    slot = last // 300
    inside = [success for second, success in outcomes if second // 300 > slot - 12]
    assert health.window(recent, moment) == (sum(inside), len(inside) - sum(inside))
    assert len(orjson.loads(recent)) <= health.SLOTS
    assert health.window(recent, moment + timedelta(hours=1)) == (0, 0)


@given(st.lists(st.integers(0, 3600), max_size=30))
def test_an_outcome_that_comes_late_is_counted_all_the_same(seconds: list[int]) -> None:
    recent = "[]"
    for second in seconds:
        recent = health.add_outcome(recent, to_ms(NOON) + second * 1000, True)
    assert sum(entry[1] for entry in orjson.loads(recent)) <= len(seconds)
    if seconds and max(seconds) - min(seconds) < 300:
        assert sum(entry[1] for entry in orjson.loads(recent)) == len(seconds)


def test_latencies_are_means_of_hours_and_a_gap_is_none() -> None:
    kept = "[]"
    for hour, value in ((0, 100.0), (0, 300.0), (3, 50.0)):
        kept = health.add_latency(kept, to_ms(NOON + timedelta(hours=hour)), value)
    day = health.hourly_latency(kept, NOON + timedelta(hours=3))
    assert (len(day), day[-4:], set(day[:-4])) == (24, [200.0, None, None, 50.0], {None})
    assert health.hourly_latency(kept, NOON + timedelta(hours=26))[:2] == [50.0, None]
    assert set(health.hourly_latency(kept, NOON + timedelta(hours=27))) == {None}


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1e6)), max_size=200))
def test_no_more_than_a_day_of_latencies_is_kept(measured: list[tuple[int, float]]) -> None:
    kept = "[]"
    for hour, value in measured:
        kept = health.add_latency(kept, to_ms(NOON + timedelta(hours=hour)), value)
    assert len(orjson.loads(kept)) <= health.HOURS


def fail(streak: Streak, times: int, moment: datetime) -> None:
    for _ in range(times):
        streak.ended(False, moment)


def test_three_failures_in_a_row_rest_a_proxy_twice_as_long_each_time_up_to_a_day() -> None:
    streak, moment, rests = Streak(0, 0, 0, None), NOON, []
    for _ in range(9):
        fail(streak, 2, moment)
        assert streak.cooldown_until is None or streak.cooldown_until <= moment
        fail(streak, 1, moment)
        assert streak.cooldown_until is not None
        rests.append(int((streak.cooldown_until - moment).total_seconds() // 60))
        moment = streak.cooldown_until
    assert rests == [30, 60, 120, 240, 480, 960, 1440, 1440, 1440]
    assert streak.offences == 9


def test_a_success_in_between_breaks_the_row() -> None:
    streak = Streak(0, 0, 0, None)
    for _ in range(20):
        fail(streak, 2, NOON)
        streak.ended(True, NOON)
    assert (streak.cooldown_until, streak.offences) == (None, 0)


def test_what_fails_while_it_rests_does_not_prolong_the_rest() -> None:
    streak = Streak(0, 0, 0, None)
    fail(streak, 3, NOON)
    until = streak.cooldown_until
    fail(streak, 10, NOON + timedelta(minutes=29))
    assert (streak.cooldown_until, streak.offences) == (until, 1)


def test_twenty_successes_in_a_row_forgive_one_offence() -> None:
    streak = Streak(0, 0, 3, None)
    for _ in range(19):
        streak.ended(True, NOON)
    assert streak.offences == 3
    streak.ended(True, NOON)
    assert streak.offences == 2
    fail(streak, 1, NOON)
    for _ in range(40):
        streak.ended(True, NOON)
    assert streak.offences == 0
    for _ in range(40):
        streak.ended(True, NOON)
    assert streak.offences == 0, "never below"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7200)), max_size=300), st.integers(0, 10_000))
def test_a_rest_is_between_30_minutes_and_a_day_whatever_happens(steps: list[tuple[bool, int]], offences: int) -> None:
    streak, moment = Streak(0, 0, offences, None), NOON
    for success, later in steps:
        moment += timedelta(seconds=later)
        before = streak.cooldown_until
        streak.ended(success, moment)
        assert streak.offences >= 0
        assert not (streak.failures_in_row and streak.good_in_row)
        if streak.cooldown_until != before:
            assert not success
            assert before is None or before <= moment
            assert HALF_HOUR <= (streak.cooldown_until or moment) - moment <= timedelta(hours=24)


ROWS = st.builds(
    Row, successes=COUNTS, failures=COUNTS, uses=COUNTS, enabled=st.booleans(), disabled_by=st.sampled_from([None, "bob"]),
    cooldown_until=st.sampled_from([None, NOON - HALF_HOUR, NOON + HALF_HOUR]), offences=st.integers(0, 200),
    check_ok=st.sampled_from([None, True, False]), check_error=st.sampled_from([None, "timed out after 15 s"]),
    recent=st.builds(lambda good, bad: orjson.dumps([[to_ms(NOON) // health.SLOT_MS, good, bad]]).decode(), COUNTS, COUNTS),
)  # fmt: skip


@given(ROWS)
def test_a_reason_reads_well_and_fits_the_status(row: Row) -> None:
    said = health.reason(row, NOON)
    assert said == said.strip()
    assert said[0].isupper() or said[0].isdigit()
    for ugly in ("%%", "  ", "None", ";;", "; ;", " ,"):
        assert ugly not in said, said
    for number, ending in re.findall(r"(\d+)(st|nd|rd|th) time", said):
        usual = {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
        assert ending == ("th" if number[-2:] in ("11", "12", "13") else usual)
    if not row.enabled:
        assert said.startswith("Disabled")
        return
    status, ended = health.status_of(row, NOON), row.successes + row.failures
    below = "below 50 %" in said or "below 80 %" in said
    resting = "Rests after 3 failures" in said
    assert (status is ProxyStatus.HEALTHY) == (not below and not resting)
    assert resting == (row.cooldown_until is not None and row.cooldown_until > NOON)
    if ended:
        shown = int(said.split(" % of ")[0].rsplit(" ", 1)[-1])
        assert ("below 50 %" in said) == (shown < 50)
        assert ("below 80 %" in said) == (50 <= shown < 80)
        assert (shown == 100) == (row.failures == 0)


def test_reasons_word_for_word() -> None:
    assert health.reason(Row(), NOON) == "Not used yet"
    assert health.reason(Row(uses=3), NOON) == "No session has ended yet"
    assert health.reason(Row(1, 0), NOON) == "100 % of 1 session succeeded"
    assert health.reason(Row(7_996, 2_004), NOON) == "79 % of 10,000 sessions succeeded, below 80 %", (
        "never rounded up to its limit"
    )
    assert health.reason(Row(9_999, 1), NOON) == "99 % of 10,000 sessions succeeded"
    resting = Row(9, 3, cooldown_until=NOON + HALF_HOUR, offences=1)
    assert health.reason(resting, NOON) == "Rests after 3 failures in a row; 75 % of 12 sessions succeeded, below 80 %"
    for offences, ordinal in ((2, "second"), (3, "third"), (4, "4th"), (11, "11th"), (13, "13th"), (21, "21st"), (112, "112th")):
        resting.offences = offences
        assert f"in a row, for the {ordinal} time;" in health.reason(resting, NOON)
    burning = Row(90, 10, recent=orjson.dumps([[to_ms(NOON) // health.SLOT_MS, 1, 3]]).decode())
    assert health.reason(burning, NOON) == "90 % of 100 sessions succeeded; in the last hour 25 % of 4"
    checked = Row(5, 0, check_ok=False, check_error="the proxy answered 407: wrong user name or password")
    assert health.reason(checked, NOON).endswith("; the last check failed: the proxy answered 407: wrong user name or password")
    assert health.reason(Row(enabled=False, disabled_by="bob"), NOON) == "Disabled by bob"
