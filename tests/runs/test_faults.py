"""`kill -9` of web, worker and connector in turn, with 20 runs going: none stuck, each lost or finished within 45 s, nothing run twice.

TEST_ROUNDS says how often; three by default, one of each. All of it: `TEST_ROUNDS=50 python -m pytest tests/runs/test_faults.py`.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from real import Real
from serving import eventually

ROUNDS = int(os.environ.get("TEST_ROUNDS", "3"))
RUNS = 20
ENDED_WITHIN_S = 45.0


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    made = Real(tmp_path / "connector")
    yield made
    made.stop()


def kill(real: Real, victim: str) -> None:
    """`kill -9`, and start it again as its supervisor would."""
    if victim == "web":
        real.server.kill_web()
        real.server.start()
    elif victim == "worker":
        assert real.server.worker is not None
        os.killpg(real.server.worker.pid, signal.SIGKILL)
        real.server.worker.wait()
        real.server.start_worker()
    else:
        real.kill_connector()
        real.launch()


def test_whatever_is_killed_no_run_is_stuck_and_no_command_runs_twice(real: Real, tmp_path: Path) -> None:
    chance, oracle, slowest = random.Random(4), tmp_path / "oracle", 0.0
    oracle.touch()
    for number in range(ROUNDS):
        marks = {}
        for _ in range(RUNS):
            mark = str(uuid4())
            command = f"echo {mark} >> {oracle}; sleep {chance.uniform(0.05, 0.4):.2f}; echo {mark}"
            marks[real.begin(command, queue=True, timeout=60)] = mark
        eventually(lambda m=marks: any(mark in oracle.read_text() for mark in m.values()), 30)
        time.sleep(chance.uniform(0, 0.5))
        began = time.monotonic()
        kill(real, ("web", "worker", "connector")[number % 3])
        ended = {run: real.ended(run, ENDED_WITHIN_S - (time.monotonic() - began)) for run in marks}
        slowest = max(slowest, time.monotonic() - began)
        lines = Counter(oracle.read_text().split())
        assert max(lines.values()) == 1, "a command ran twice"
        for run, found in ended.items():
            assert found["status"] in ("succeeded", "lost"), found
            if found["status"] == "succeeded":
                assert lines[marks[run]] == 1 and real.text(run) == f"{marks[run]}\n"
            else:
                assert found["reason"]
        if number % 3 != 2:
            assert {found["status"] for found in ended.values()} == {"succeeded"}, "work on computers outlives the server"
        assert real.server.http.get("/api/v1/runs", params={"status": "running"}).json()["total"] == 0
    print(f"{ROUNDS} rounds of {RUNS} runs, the slowest was over after {slowest:.1f} s")
