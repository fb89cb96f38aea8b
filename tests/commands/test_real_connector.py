"""Commands through the real connector on this machine: output as it comes, timeouts, cancelling, and processes killed in between."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real import Real
from serving import eventually


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    made = Real(tmp_path_factory.mktemp("connector"))
    yield made
    made.stop()


def test_a_command_runs_on_this_machine(real: Real) -> None:
    body = real.post("echo out; echo err >&2; exit 3").json()
    assert (body["stdout"], body["stderr"], body["exit_code"], body["success"]) == ("out\n", "err\n", 3, False)
    assert body["duration_ms"] >= 0
    assert real.post("pwd", cwd="/tmp").json()["stdout"] == "/tmp\n"
    assert real.post("echo ${BASH_VERSION:+bash}", shell="bash").json()["stdout"] == "bash\n"


def test_output_arrives_while_it_runs(real: Real) -> None:
    run = real.begin("for i in 1 2 3; do echo line $i; sleep 0.7; done")
    eventually(lambda: real.text(run) == "line 1\n", 5)
    assert real.run(run)["status"] == "running"
    assert real.ended(run)["status"] == "succeeded"
    assert real.text(run) == "line 1\nline 2\nline 3\n"


def test_a_timeout_ends_the_command_and_its_children(real: Real, tmp_path: Path) -> None:
    answer = real.post(f"(sleep 3; touch {tmp_path}/survived) & sleep 100", timeout=1)
    assert answer.status_code == 504
    time.sleep(3)
    assert not (tmp_path / "survived").exists()


def test_a_cancelled_command_is_ended_on_the_computer(real: Real, tmp_path: Path) -> None:
    run = real.begin(f"touch {tmp_path}/began; sleep 100; touch {tmp_path}/survived", timeout=200)
    eventually((tmp_path / "began").exists)
    real.server.http.post(f"/api/v1/runs/{run}/cancel").raise_for_status()
    assert real.ended(run, 15)["status"] == "cancelled"


def test_a_killed_web_process_loses_no_command(real: Real, tmp_path: Path) -> None:
    run = real.begin(f"echo begin; echo x >> {tmp_path}/ran; sleep 3; echo end", timeout=60)
    eventually(lambda: "begin" in real.text(run))
    real.server.kill_web()
    real.server.start()
    assert real.ended(run)["status"] == "succeeded"
    assert real.text(run) == "begin\nend\n"
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_killed_worker_loses_no_command(real: Real) -> None:
    run = real.begin("sleep 2; echo done", timeout=60)
    assert real.server.worker is not None
    os.killpg(real.server.worker.pid, signal.SIGKILL)
    real.server.worker.wait()
    real.server.start_worker()
    assert real.ended(run)["status"] == "succeeded"


def test_a_killed_connector_leaves_a_lost_run_and_runs_nothing_twice(real: Real, tmp_path: Path) -> None:
    run = real.begin(f"echo x >> {tmp_path}/ran; sleep 30", timeout=60)
    eventually((tmp_path / "ran").exists)
    real.kill_connector()
    real.start()
    found = real.ended(run)
    assert (found["status"], found["steps"][0]["outcome"]) == ("lost", "lost")
    time.sleep(1)
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_flood_is_kept_up_to_the_limit(real: Real) -> None:
    run = real.begin("head -c 60000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo the end", timeout=120)
    found = real.ended(run, 120)
    assert found["status"] == "succeeded"
    step = found["steps"][0]
    assert step["log_bytes"] > 50 << 20
    assert step["dropped_bytes"] > 0


def test_binary_output_and_escape_sequences_do_no_harm(real: Real) -> None:
    body = real.post(r"printf '\000\377\033[31mred\033[0m\n'; cat").json()
    assert body["exit_code"] == 0
    assert "red" in body["output"]
    assert "\x00" not in body["output"]
