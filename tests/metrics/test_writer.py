"""Group commit: an answer only after the commit; a failure fails everybody who waited on it, and nobody else."""

import threading
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer

from app import group_commit
from app.clock import now, to_ms
from app.database import session
from app.errors import NotFound, Unavailable
from app.metrics import writer as writer_module
from app.metrics.models import Sample
from app.metrics.operations import NewSample
from app.metrics.writer import writer_of


def sample(computer: int, offset: int = 0) -> NewSample:
    return NewSample(computer, to_ms(now()) + offset, 10.0, 20.0)


def count(cast: Cast) -> int:
    with cast.app.app_context():
        number = session().query(Sample).count()
        session().remove()
        return number


def test_a_hundred_threads_share_commits_and_each_finds_its_sample(cast: Cast) -> None:
    with cast.app.app_context():
        computers = [make_computer(f"c{i}")[0] for i in range(10)]
    writer, missing = writer_of(cast.app), []

    def one(i: int) -> None:
        mine = sample(computers[i % 10], i)
        writer.submit_one(mine)
        with cast.app.app_context():
            if session().get(Sample, (mine.computer_id, mine.at)) is None:
                missing.append(i)
            session().remove()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    assert count(cast) == 100


def test_a_failed_commit_is_an_error_for_those_who_waited_and_the_writer_lives_on(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cast.app.app_context():
        computer = make_computer()[0]
    writer = writer_of(cast.app)
    real = writer_module.store

    def fails(samples: Any) -> set[int]:
        real(samples)
        raise OSError("the disk went away before the commit")

    monkeypatch.setattr(writer_module, "store", fails)
    with pytest.raises(OSError, match="disk went away"):
        writer.submit_one(sample(computer))
    assert count(cast) == 0
    monkeypatch.setattr(writer_module, "store", real)
    writer.submit_one(sample(computer))
    assert count(cast) == 1


def test_a_deleted_computers_sample_is_refused_and_the_others_of_the_batch_are_stored(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer()[0]
    writer = writer_of(cast.app)
    assert writer.submit([sample(computer), sample(999_999)]) == {999_999}
    with pytest.raises(NotFound):
        writer.submit_one(sample(999_999))
    assert count(cast) == 1


def test_a_full_queue_says_so_at_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING", 2)
    with pytest.raises(Unavailable, match="nothing was stored"):
        writer_of(cast.app).submit([sample(1), sample(2), sample(3)])


def test_a_sample_that_a_database_cannot_hold_fails_alone(cast: Cast) -> None:
    """SQLite's driver raises OverflowError, PostgreSQL's DataError: neither may take along whoever shares the transaction."""
    with cast.app.app_context():
        bad, good = make_computer("bad")[0], make_computer("good")[0]
    writer, failed = writer_of(cast.app), []
    together = threading.Barrier(2)

    def push(mine: NewSample) -> None:
        together.wait()
        try:
            writer.submit_one(mine)
        except Exception as error:
            failed.append((mine.computer_id, error))

    for round_number in range(3):
        huge = sample(bad, round_number)
        huge.recv = huge.sent = 2**64
        threads = [threading.Thread(target=push, args=(one,)) for one in (huge, sample(good, round_number))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [computer for computer, _ in failed] == [bad] * 3
    assert count(cast) == 3


def test_what_waits_too_long_is_taken_back_and_what_has_begun_is_waited_for(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE_S", 1.5)
    with cast.app.app_context():
        computer = make_computer()[0]
    writer, real = writer_of(cast.app), writer_module.store
    begun, go_on, results = threading.Event(), threading.Event(), []

    def slow(samples: Any) -> set[int]:
        begun.set()
        assert go_on.wait(20)
        return real(samples)

    monkeypatch.setattr(writer_module, "store", slow)
    first = threading.Thread(target=lambda: results.append(writer.submit([sample(computer)])))
    first.start()
    assert begun.wait(20)
    with pytest.raises(Unavailable, match="nothing was stored"):
        writer.submit_one(sample(computer, 1))
    go_on.set()
    first.join()
    assert results == [set()]
    writer.submit_one(sample(computer, 2))
    assert count(cast) == 2
