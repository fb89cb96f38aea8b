"""Rollups equal a recount of the samples, whenever those arrived; retention removes only what is old and rolled up."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.clock import now, to_ms
from app.database import session, unit_of_work
from app.metrics import queries, rollups
from app.metrics.models import MINUTE_MS, LateBucket, RollupCursor, Sample, Sample1m, Sample15m
from app.metrics.operations import NewSample, store

KEPT = timedelta(hours=48)
HOUR = 3_600_000


@pytest.fixture
def computer(cast: Cast) -> Iterator[int]:
    with cast.app.app_context():
        yield make_computer()[0]


def roll_all() -> None:
    rollups.roll_up("1m")
    rollups.roll_up("15m")


def recount(computer: int, step: int, before: int) -> dict[int, tuple[int, float, float, float]]:
    """bucket → (count, mean, min, max) of the CPU, from the raw samples."""
    buckets: dict[int, list[float]] = {}
    for row in session().query(Sample).filter(Sample.computer_id == computer, Sample.at < before):
        buckets.setdefault(row.at // step * step, []).append(row.cpu)
    session().rollback()
    return {at: (len(v), round(sum(v) / len(v), 6), min(v), max(v)) for at, v in buckets.items()}


def stored(model: Any, computer: int) -> dict[int, tuple[int, float, float, float]]:
    rows = session().query(model).filter(model.computer_id == computer).all()
    found = {r.at: (r.count, round(r.cpu, 6), r.cpu_min, r.cpu_max) for r in rows}
    session().rollback()
    return found


def check_equal(computer: int) -> None:
    for name, model, step in (("1m", Sample1m, MINUTE_MS), ("15m", Sample15m, 15 * MINUTE_MS)):
        done = session().get(RollupCursor, name).done
        session().rollback()
        assert stored(model, computer) == recount(computer, step, done), name


def put(computer: int, samples: list[tuple[int, float]]) -> None:
    with unit_of_work():
        store([NewSample(computer, at, cpu, memory=30.0, disk=None) for at, cpu in samples])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 5400), st.floats(0, 100, width=32)), min_size=1, max_size=30), min_size=1, max_size=4
    )
)
def test_rollups_equal_a_recount_however_late_the_samples_come(computer: int, batches: list[list[tuple[int, float]]]) -> None:
    end = to_ms(now())
    for batch in batches:
        put(computer, [(end - ago * 1000, round(cpu, 2)) for ago, cpu in batch])
        roll_all()
    check_equal(computer)
    assert not session().query(LateBucket).filter_by(resolution="1m").count()
    with unit_of_work():  # the next example starts empty
        for model in (Sample, Sample1m, Sample15m, RollupCursor, LateBucket):
            session().query(model).delete()


def test_an_hour_offline_replayed_leaves_no_gap_and_changes_the_buckets_made_meanwhile(computer: int) -> None:
    end = to_ms(now())
    put(computer, [(end - 2 * HOUR, 10.0), (end, 50.0)])
    roll_all()
    put(computer, [(end - 2 * HOUR + i * 10_000, float(i % 100)) for i in range(1, 720)])
    roll_all()
    check_equal(computer)
    history = queries.history(computer, end - 2 * HOUR, end, queries.Retention(), interval_s=1)
    assert history.resolution == "1m"
    steps = {b.at - a.at for a, b in zip(history.points, history.points[1:], strict=False)}
    assert steps == {MINUTE_MS}


def test_a_spike_survives_every_resolution(computer: int) -> None:
    end = to_ms(now()) // HOUR * HOUR
    put(computer, [(end - HOUR + i * 10_000, 100.0 if i == 100 else 5.0) for i in range(360)])
    roll_all()
    for most in (1500, 60, 4):
        points = queries.history(computer, end - HOUR, end, queries.Retention(), most=most).points
        assert len(points) <= most + 1
        assert max(p.spans["cpu"][1] if p.spans else p.values["cpu"] for p in points) == 100.0


def test_a_late_sample_of_a_purged_bucket_is_merged_into_it(computer: int) -> None:
    end = to_ms(now())
    old = (end - 72 * HOUR) // MINUTE_MS * MINUTE_MS
    put(computer, [(old, 10.0), (old + 10_000, 20.0)])
    roll_all()
    rollups.retain(KEPT, timedelta(days=30), timedelta(days=365))
    assert not session().query(Sample).filter(Sample.at < end - 48 * HOUR).count()
    session().rollback()
    put(computer, [(old + 20_000, 60.0)])
    roll_all()
    assert stored(Sample1m, computer)[old] == (3, 30.0, 10.0, 60.0)
    quarter = old // (15 * MINUTE_MS) * 15 * MINUTE_MS
    assert stored(Sample15m, computer)[quarter] == (3, 30.0, 10.0, 60.0)


def test_retention_keeps_what_is_young_or_not_rolled_up_yet(computer: int) -> None:
    end = to_ms(now())
    put(computer, [(end - 100 * HOUR, 1.0), (end - 10 * HOUR, 2.0), (end, 3.0)])
    rollups.retain(KEPT, timedelta(days=30), timedelta(days=365))
    assert session().query(Sample).count() == 3, "nothing was rolled up yet"
    session().rollback()
    roll_all()
    rollups.retain(KEPT, timedelta(days=30), timedelta(days=365))
    assert {r.cpu for r in session().query(Sample)} == {2.0, 3.0}
    session().rollback()
    rollups.retain(KEPT, timedelta(hours=20), timedelta(hours=50))
    assert len(stored(Sample1m, computer)) >= 1


def test_a_computer_silent_for_long_still_has_a_latest_point(computer: int) -> None:
    end = to_ms(now())
    put(computer, [(end - 100 * HOUR, 77.0)])
    roll_all()
    rollups.retain(KEPT, timedelta(days=30), timedelta(days=365))
    latest = queries.latest(computer)
    assert latest is not None
    assert latest.values["cpu"] == 77.0


def test_deleted_computers_leave_no_samples(cast: Cast) -> None:
    from app.actors import SYSTEM
    from app.fleet.operations import delete_computers

    with cast.app.app_context():
        gone, kept = make_computer("gone")[0], make_computer("kept")[0]
        for each in (gone, kept):
            make_samples(each, 30)
        roll_all()
        with unit_of_work():
            delete_computers([gone], actor=SYSTEM)
        rollups.retain(KEPT, timedelta(days=30), timedelta(days=365))
        for model in (Sample, Sample1m):
            assert not session().query(model).filter(model.computer_id == gone).count()
        assert session().query(Sample).filter(Sample.computer_id == kept).count() == 30
        session().rollback()


@pytest.mark.parametrize(("span_h", "resolution"), [(1, "raw"), (6, "1m"), (24, "1m"), (7 * 24, "15m"), (365 * 24, "360m")])
def test_the_resolution_fits_the_range(span_h: int, resolution: str) -> None:
    end = to_ms(now())
    base, step = queries.choose(end - span_h * HOUR, end, queries.Retention(), 10)
    label = base if step in (0, MINUTE_MS, 15 * MINUTE_MS) else f"{step // MINUTE_MS}m"
    assert label == resolution
    assert not step or span_h * HOUR / step <= 1500
