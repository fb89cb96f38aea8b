"""What waits for the server survives everything but its bounds."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from binnacle_connector.spool import ROW_OVERHEAD, Spool


def fill(spool: Spool, count: int, at: float = 1000.0, step: float = 10.0) -> None:
    for number in range(count):
        spool.append(f'{{"n":{number}}}', at + number * step)


def seqs(spool: Spool) -> list[int]:
    return [row.seq for row in spool.batch(10_000)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def test_samples_come_out_in_order_with_their_bodies(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 1203)
    batch = spool.batch()
    assert [row.seq for row in batch] == list(range(1, 501))
    assert batch[7].body == '{"n":7}' and batch[7].at == 1070.0
    assert spool.acknowledge(500) == 500
    assert [row.seq for row in spool.batch()] == list(range(501, 1001))
    assert spool.pending == 703


def test_a_batch_is_bounded_in_bytes_but_never_empty(path: Path) -> None:
    spool = Spool(path)
    for _ in range(5):
        spool.append("x" * 1000, 0.0)
    assert len(spool.batch(max_bytes=2500)) == 2
    assert len(spool.batch(max_bytes=10)) == 1


def test_seq_and_what_waits_survive_a_restart(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 5)
    spool.batch()
    spool.acknowledge(5)
    spool.close()
    again = Spool(path)
    assert again.pending == 0 and again.append("{}", 2000.0) == 6
    again.close()
    assert seqs(Spool(path)) == [6]


def test_the_oldest_go_first_when_the_spool_is_too_old(path: Path) -> None:
    spool = Spool(path, max_age=100.0)
    fill(spool, 20)
    assert seqs(spool) == list(range(10, 21)) and spool.dropped == 9


def test_the_oldest_go_first_when_the_spool_is_too_large_and_drops_are_remembered(path: Path) -> None:
    spool = Spool(path, max_bytes=10 * (7 + ROW_OVERHEAD))
    fill(spool, 10)
    assert spool.dropped == 0
    fill(spool, 4)
    assert seqs(spool) == list(range(5, 15)) and spool.dropped == 4
    spool.close()
    again = Spool(path)
    assert again.dropped == 4 and again.pending == 10


def test_the_file_gives_room_back_after_a_long_replay(path: Path) -> None:
    spool = Spool(path)
    with spool._db:
        spool._db.executemany("INSERT INTO samples VALUES (?, 0, ?)", ((n, "x" * 2000) for n in range(1, 4001)))
        spool._set(last_seq=4000)
    spool.close()
    full = path.stat().st_size
    again = Spool(path)
    while again.pending:
        again.acknowledge(again.batch()[-1].seq)
    again.close()
    assert path.stat().st_size < full / 2


def test_an_acknowledgement_forgets_only_what_was_handed_out(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 4)
    spool.batch(2)
    assert spool.acknowledge(10**6) == 2
    assert seqs(spool) == [3, 4]
    assert spool.acknowledge(1) == 0


def test_kill_9_loses_no_stored_sample_and_repeats_no_number(path: Path, package_root: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(package_root)!r})\n"
        "from binnacle_connector.spool import Spool\nfrom pathlib import Path\n"
        f"spool = Spool(Path({str(path)!r}))\n"
        "while True: print(spool.append('{}', 0.0), flush=True)\n"
    )
    last = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            printed = [int(process.stdout.readline()) for _ in range(40)]
            process.kill()
            printed += [int(line) for line in process.stdout.read().splitlines()]
        assert printed[0] > last
        last = printed[-1]
    found = seqs(Spool(path))
    assert found == list(range(1, len(found) + 1)) and found[-1] >= last


@pytest.mark.parametrize("rubbish", [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_corrupt_file_is_set_aside_and_said_so(path: Path, rubbish: bytes, caplog) -> None:
    path.write_bytes(rubbish)
    with caplog.at_level(logging.ERROR, "binnacle_connector"):
        logging.getLogger("binnacle_connector").propagate = True
        spool = Spool(path)
    assert spool.append("{}", 0.0) == 1
    (aside,) = path.parent.glob("spool.db.corrupt-*")
    assert aside.read_bytes() == rubbish and aside.name in caplog.text


def test_a_database_of_something_else_is_set_aside(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE samples (colour TEXT)")
    other.commit()
    other.close()
    assert Spool(path).append("{}", 0.0) == 1
    assert list(path.parent.glob("spool.db.corrupt-*"))


def test_a_file_that_breaks_under_a_running_spool_costs_what_was_in_it_and_no_more(path: Path, eventually) -> None:
    spool = Spool(path)
    fill(spool, 50)
    with spool._db:
        spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.write(b"\x00" * path.stat().st_size)
    spool._db.execute("PRAGMA cache_size = 0")
    spool._db.execute("PRAGMA shrink_memory")

    def append() -> bool:
        spool.append("{}", 0.0)
        return bool(list(path.parent.glob("spool.db.corrupt-*")))

    eventually(append)
    after = spool.append("{}", 0.0)
    assert after > 51 and seqs(spool)[-1] == after


def test_samples_wait_in_memory_while_the_disk_refuses_and_reach_it_later(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 2)
    spool._db.execute("PRAGMA query_only = 1")
    fill(spool, 3)
    assert seqs(spool) == [1, 2, 3, 4, 5] and spool.pending == 5
    assert spool.acknowledge(4) == 2, "those in memory go at once, those on the disk later"
    assert seqs(spool) == [5]
    spool._db.execute("PRAGMA query_only = 0")
    fill(spool, 1)
    spool.close()
    again = Spool(path)
    assert again.last_seq == 6 and seqs(again)[-2:] == [5, 6]


def test_the_servers_word_ends_what_it_has(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 6)
    assert spool.resume_from(0) == 0 and spool.pending == 6
    spool.batch(4)
    assert spool.resume_from(3) == 0
    assert seqs(spool) == [4, 5, 6]


def test_after_a_lost_spool_numbers_go_on_where_the_server_is(path: Path) -> None:
    spool = Spool(path)
    fill(spool, 3)
    spool.close()
    again = Spool(path)
    assert again.resume_from(5000) == 3
    assert [(row.seq, row.body) for row in again.batch()] == [(5001, '{"n":0}'), (5002, '{"n":1}'), (5003, '{"n":2}')]
    assert again.append("{}", 0.0) == 5004
    again.close()
    assert seqs(Spool(path)) == [5001, 5002, 5003, 5004]


def test_numbers_given_twice_after_a_set_back_file_are_given_anew(path: Path) -> None:
    spool = Spool(path)
    spool.resume_from(0)
    fill(spool, 5)
    spool.close()
    again = Spool(path)  # the server has 1 to 8, this file knows of 1 to 5
    fill(again, 2)
    assert again.resume_from(8) == 2
    assert [row.body for row in again.batch()] == ['{"n":0}', '{"n":1}'] and seqs(again) == [9, 10]


@pytest.mark.parametrize("acked", [-1, 2**53 + 1])
def test_an_impossible_word_of_the_server_is_refused(path: Path, acked: int) -> None:
    spool = Spool(path)
    with pytest.raises(ValueError, match="range"):
        spool.resume_from(acked)
