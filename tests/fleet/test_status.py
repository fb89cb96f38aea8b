"""Online, offline, unknown from real contact; deadlines are stored and claimed, so that several workers never say it twice."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from conftest import Cast
from factories import make_computer, make_samples

from app import clock
from app.database import session, unit_of_work
from app.fleet import operations, queries
from app.fleet.models import Computer, ComputerStatus
from app.journal.queries import after


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Turn the clock's hands: later(seconds)."""
    real = clock.now

    def turn(seconds: float) -> None:
        for module in ("app.clock", "app.fleet.operations", "app.metrics.operations", "app.journal.operations"):
            monkeypatch.setattr(f"{module}.now", lambda: real() + timedelta(seconds=seconds))

    return turn  # type: ignore[return-value]


def sweep() -> int:
    with unit_of_work():
        return operations.sweep_offline()


def status(computer: int) -> ComputerStatus:
    found = queries.by_ids([computer])[computer].status
    session().remove()
    return found


def test_a_quiet_computer_is_offline_within_two_intervals_and_twenty_seconds(cast: Cast, later) -> None:  # type: ignore[no-untyped-def]
    with cast.app.app_context():
        computer = make_computer()[0]
        assert status(computer) is ComputerStatus.UNKNOWN
        make_samples(computer, 1)
        assert status(computer) is ComputerStatus.ONLINE
        later(2 * 10 + 14)
        assert sweep() == 0
        later(2 * 10 + 20 - 2)
        assert sweep() == 1
        assert status(computer) is ComputerStatus.OFFLINE
        assert queries.by_ids([computer])[computer].cpu is None, "an offline computer has no CPU now"
        assert [(e.data["before"], e.data["after"]) for e in after(0, ("computer.status_changed",))] == [
            ("unknown", "online"),
            ("online", "offline"),
        ]
        session().remove()


def test_a_longer_interval_is_waited_for(cast: Cast, later) -> None:  # type: ignore[no-untyped-def]
    with cast.app.app_context():
        computer = make_computer()[0]
        with unit_of_work():
            operations.note_connection(computer, "x" * 36, "1", 300, {})
        make_samples(computer, 1)
        later(600)
        assert sweep() == 0
        later(619)
        assert sweep() == 1


def test_a_lost_socket_is_offline_after_fifteen_seconds_unless_it_comes_back(cast: Cast, later) -> None:  # type: ignore[no-untyped-def]
    with cast.app.app_context():
        computer = make_computer()[0]
        make_samples(computer, 1)
        with unit_of_work():
            operations.connection_lost(computer)
        later(14)
        assert sweep() == 0
        with unit_of_work():
            operations.contact(computer)
        later(30)
        assert sweep() == 0, "it came back"
        with unit_of_work():
            operations.connection_lost(computer)
        later(30 + 16)
        assert sweep() == 1


def test_a_computer_that_returns_is_online_at_once(cast: Cast, later) -> None:  # type: ignore[no-untyped-def]
    with cast.app.app_context():
        computer = make_computer()[0]
        make_samples(computer, 1)
        later(100)
        sweep()
        make_samples(computer, 1, end=clock.to_ms(clock.now()) + 100_000)
        assert status(computer) is ComputerStatus.ONLINE
        assert sweep() == 0


def test_workers_at_the_same_time_say_it_once(cast: Cast, later) -> None:  # type: ignore[no-untyped-def]
    with cast.app.app_context():
        for i in range(30):
            make_samples(make_computer(f"c{i}")[0], 1)
        later(120)
    counts: list[int] = []

    def work() -> None:
        with cast.app.app_context():
            counts.append(sweep())

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 30
    with cast.app.app_context():
        offline = [e for e in after(0, ("computer.status_changed",)) if e.data["after"] == "offline"]
        assert len(offline) == 30
        assert session().query(Computer).filter_by(status=ComputerStatus.OFFLINE).count() == 30
        session().remove()
