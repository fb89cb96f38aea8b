"""The engine in real worker processes, some of which are killed: claims, leases, requests, limits, and what is left of it all."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Cast
from flask import Flask
from serving import ROOT, eventually
from workshop import KIND, TOGETHER, WORKSHOP, register_all, request

from app.database import session, unit_of_work
from app.factory import settings_of, vault_of
from app.runs import drivers, operations
from app.runs.models import Run


class Workers:
    """A worker process on the database of the test; it serves one test after the other, as starting it takes long."""

    def __init__(self, cast: Cast, folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
        self.cast, self.folder, self.running = cast, folder, running
        self.http = cast.client("alice")

    @property
    def one(self) -> subprocess.Popen[bytes]:
        """The one that runs, or a new one."""
        for worker in self.running:
            if worker.poll() is None:
                return worker
        return self.start()

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Another one."""
        settings = settings_of(self.cast.app)
        assert settings.secret_key is not None
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
            "DATABASE_URL": settings.sqlalchemy_url, "BINNACLE_DATA_DIR": str(settings.data_dir), "BINNACLE_LOG_FORMAT": "json",
            "SECRET_KEY": settings.secret_key.get_secret_value(),
        } | environment  # fmt: skip
        log = (self.folder / "log").open("ab")
        worker = subprocess.Popen([sys.executable, str(ROOT / "tests/workshop.py")], cwd=ROOT, env=env, stdout=log, stderr=log)
        self.running.append(worker)
        return worker

    def request(self, *steps: dict[str, Any], **fields: Any) -> str:
        with self.cast.app.app_context(), unit_of_work():
            return request(steps, **fields).id

    def run(self, run_id: str) -> Any:
        answer = self.http.get(f"/api/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json

    def until(self, run_id: str, *statuses: str, seconds: float = 60) -> Any:
        return eventually(
            lambda: (r := self.run(run_id))["status"] in statuses and r, seconds, f"never {statuses}: {self.words()}"
        )

    def post(self, run_id: str, verb: str) -> Any:
        return self.http.post(f"/api/v1/runs/{run_id}/{verb}")

    def text(self, run_id: str) -> str:
        return "".join(line["text"] for line in self.http.get(f"/api/v1/runs/{run_id}/log").json["lines"])

    def let_leases_end(self) -> None:
        """As if the half minute had passed."""
        from datetime import timedelta

        from app.clock import now

        with self.cast.app.app_context(), unit_of_work():
            session().query(Run).filter(Run.lease_until.is_not(None)).update({"lease_until": now() - timedelta(seconds=1)})

    def words(self) -> str:
        return (self.folder / "log").read_text()[-3000:] if (self.folder / "log").exists() else ""


@pytest.fixture(scope="module")
def processes(built: Flask) -> Iterator[tuple[list[subprocess.Popen[bytes]], Path]]:
    folder = Path(tempfile.mkdtemp(prefix="binnacle-workers-"))
    running: list[subprocess.Popen[bytes]] = []
    yield running, folder
    for worker in running:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


@pytest.fixture
def workers(cast: Cast, processes: tuple[list[subprocess.Popen[bytes]], Path]) -> Iterator[Workers]:
    register_all()
    yield Workers(cast, processes[1], processes[0])
    for driver in (WORKSHOP, TOGETHER):
        drivers.forget(driver.kind)


def statuses(run: Any) -> list[str]:
    return [step["status"] for step in run["steps"]]


def test_a_worker_carries_out_step_after_step(workers: Workers, tmp_path: Path) -> None:
    done = tmp_path / "done"
    steps = [{"append": str(done), "print": [f"line {n}"]} for n in range(3)]
    run = workers.request(*steps)
    failing = workers.request(
        {"append": str(done), "mark": "f"}, {"fail": "no more screws"}, {"append": str(done), "mark": "never"}
    )
    tolerated = workers.request({"fail": "a scratch", "then": "go_on"}, {"append": str(done), "mark": "t"})
    broken = workers.request({"raise": "boom"})
    slow = workers.request({"hold": 60, "timeout": 1}, {"append": str(done), "mark": "never"})
    long = workers.request({"hold": 60}, timeout_s=1)
    assert workers.one.poll() is None
    found = workers.until(run, "succeeded")
    assert (found["succeeded"], found["failed"], statuses(found)) == (3, 0, ["succeeded"] * 3)
    assert found["steps"][2]["result"] == {"position": 2, "before": {"position": 1, "before": {"position": 0, "before": None}}}
    assert workers.text(run) == "line 0\nline 1\nline 2\n"
    found = workers.until(failing, "failed")
    assert statuses(found) == ["succeeded", "failed", "pending"]
    assert found["reason"] == "1 of 3 failed" or "no more screws" in found["reason"]
    found = workers.until(tolerated, "succeeded")
    assert statuses(found) == ["failed", "succeeded"]
    assert "RuntimeError: boom" in workers.until(broken, "failed")["reason"]
    found = workers.until(slow, "timed_out")
    assert "longer than 1 s" in found["reason"] and found["steps"][0]["outcome"] == "timeout"
    assert "longer than 1 s" in workers.until(long, "timed_out")["reason"]
    assert sorted(done.read_text().split()) == ["0", "1", "2", "f", "t"]


def test_a_killed_worker_leaves_a_lost_run_with_what_it_has_done(workers: Workers, tmp_path: Path) -> None:
    """RELIABILITY 25: lost with the reason, finished steps kept, each side effect at most once, never run again by itself."""
    done, gate = tmp_path / "done", tmp_path / "gate"
    steps = [{"append": str(done)}, {"append": str(done), "wait_for": str(gate)}, {"append": str(done)}]
    run = workers.request(*steps)
    first = workers.one
    eventually(lambda: done.exists() and done.read_text() == "0\n1\n", 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    workers.start()
    workers.let_leases_end()
    found = workers.until(run, "lost", seconds=45)
    assert "worker" in found["reason"] and statuses(found) == ["succeeded", "failed", "pending"]
    assert found["steps"][1]["outcome"] == "lost"
    gate.touch()
    time.sleep(1.5)  # longer than a worker takes to look again
    assert workers.run(run)["status"] == "lost" and done.read_text() == "0\n1\n"
    assert {"resume", "again", "delete"} <= set(found["can"])
    assert workers.post(run, "resume").status_code == 200
    found = workers.until(run, "succeeded")
    assert statuses(found) == ["succeeded"] * 3 and [step["attempt"] for step in found["steps"]] == [1, 2, 1]
    assert done.read_text() == "0\n1\n1\n2\n"


def test_pause_resume_skip_and_cancel_are_obeyed_between_steps(workers: Workers, tmp_path: Path) -> None:
    done, gate, far = tmp_path / "done", tmp_path / "gate", str(tmp_path / "never")
    run = workers.request(
        {"append": str(done), "wait_for": str(gate)}, *[{"append": str(done), "mark": n} for n in range(1, 5)], key="one"
    )
    assert workers.one.poll() is None
    eventually(done.exists, 60)
    waits = workers.request({"append": str(done), "mark": "w"}, key="one")
    assert workers.post(waits, "skip").status_code == 409
    assert workers.post(waits, "pause").json["status"] == "paused"
    assert workers.post(run, "pause").json["status"] == "pausing"
    assert workers.post(run, "pause").status_code == 409
    gate.touch()
    found = workers.until(run, "paused")
    assert statuses(found) == ["succeeded"] + ["pending"] * 4
    found = workers.post(run, "skip").json
    assert (found["status"], statuses(found)[1]) == ("paused", "skipped")
    assert workers.post(run, "resume").status_code == 200
    found = workers.until(run, "succeeded")
    assert statuses(found) == ["succeeded", "skipped", "succeeded", "succeeded", "succeeded"]
    assert done.read_text().split() == ["0", "2", "3", "4"]
    assert workers.run(waits)["status"] == "paused"
    assert workers.post(waits, "cancel").json["status"] == "cancelled"
    endless = workers.request({"wait_for": far}, {"append": str(done), "mark": "never"})
    eventually(lambda: statuses(workers.run(endless))[0] == "running", 60)
    assert workers.post(endless, "cancel").status_code == 200
    found = workers.until(endless, "cancelled", seconds=5)
    assert "alice" in found["reason"] and statuses(found) == ["failed", "pending"]
    assert workers.post(endless, "cancel").status_code == 409
    again = workers.post(run, "again")
    assert again.status_code == 201 and again.json["id"] != run
    workers.until(again.json["id"], "succeeded")


def test_a_run_that_stays_keeps_what_its_steps_share_while_it_is_paused(workers: Workers, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = workers.request({"wait_for": str(gate)}, {"fail": "it slipped", "then": "pause"}, {}, kind="together")
    assert workers.one.poll() is None
    workers.until(run, "running")
    workers.post(run, "pause")
    gate.touch()
    workers.until(run, "paused")
    workers.post(run, "resume")
    eventually(lambda: "it slipped. Resume" in workers.text(run))
    found = workers.until(run, "paused")
    assert statuses(found) == ["succeeded", "pending", "pending"]
    assert workers.post(run, "skip").json["steps"][1]["status"] == "skipped"
    workers.post(run, "resume")
    workers.until(run, "succeeded")
    assert "so far [0, 1, 2]" in workers.text(run)


def test_sigterm_hands_back_what_is_between_two_steps(workers: Workers, tmp_path: Path) -> None:
    """RELIABILITY 27: the step under way ends, the rest is another worker's; what has not begun is left alone."""
    done, gate = tmp_path / "done", tmp_path / "gate"
    run = workers.request({"append": str(done), "wait_for": str(gate)}, {"append": str(done)})
    first = workers.one
    eventually(done.exists, 60)
    first.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    later = workers.request({"append": str(done), "mark": "later"})
    assert first.poll() is None, "a step is under way"
    gate.touch()
    assert first.wait(10) == 0
    assert (workers.run(run)["status"], workers.run(later)["status"]) == ("queued", "queued")
    assert done.read_text() == "0\n"
    workers.start()
    workers.until(run, "succeeded")
    workers.until(later, "succeeded")
    assert sorted(done.read_text().split()) == ["0", "1", "later"]


def test_of_a_key_one_run_at_a_time_and_of_a_worker_as_many_as_it_may(workers: Workers, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    same = [workers.request({"wait_for": str(gate)}, key="playbook:backup") for _ in range(3)]
    others = [workers.request({"wait_for": str(gate)}) for _ in range(4)]
    assert workers.one.poll() is None
    eventually(lambda: sum(workers.run(run)["status"] == "running" for run in others + same) == 4, 60)
    assert sum(workers.run(run)["status"] == "running" for run in same) == 1
    gate.touch()
    for run in same + others:
        workers.until(run, "succeeded")
    ended = [workers.run(run) for run in same]
    assert [r["id"] for r in sorted(ended, key=lambda r: r["started_at"])] == same
    for earlier, later in pairwise(ended):
        assert earlier["finished_at"] <= later["started_at"]


def test_secrets_of_a_run_are_masked_and_its_files_are_kept(workers: Workers) -> None:
    canary = "canary-S3cret/Value"
    with workers.cast.app.app_context(), unit_of_work():
        run = request(
            [{"secret": "PASSWORD", "keep": "<script>1</script>"}], secrets={"PASSWORD": canary}, vault=vault_of(workers.cast.app)
        ).id
    assert workers.one.poll() is None
    workers.until(run, "succeeded")
    assert "the secret is ••••••!" in workers.text(run) and "canary" not in workers.text(run)
    assert "Y2FuYXJ5" not in workers.text(run)
    found = workers.http.get(f"/api/v1/runs/{run}/artefacts").json
    assert (found["total"], found["artefacts"][0]["name"], found["artefacts"][0]["size"]) == (1, "note.html", 18)
    answer = workers.http.get(f"/api/v1/runs/{run}/artefacts/{found['artefacts'][0]['id']}")
    assert (answer.data, answer.mimetype) == (b"<script>1</script>", "application/octet-stream")
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Content-Disposition"].startswith(
        "attachment"
    )
    assert workers.cast.client("charlie").get(f"/api/v1/runs/{run}/artefacts").status_code in (200, 404)
    folder = settings_of(workers.cast.app).data_dir / "artefacts" / run
    assert len(list(folder.iterdir())) == 1
    assert workers.http.delete(f"/api/v1/runs/{run}").status_code == 204
    assert not folder.exists() and workers.http.get(f"/api/v1/runs/{run}").status_code == 404
    assert KIND in workers.http.get("/api/v1/audit?type=workshop.deleted").text


def test_a_lost_doorbell_costs_a_second(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers.one.poll() is None
    workers.until(workers.request({}), "succeeded")
    monkeypatch.setattr(operations, "work_bells", [])
    run = workers.request({})
    found = workers.until(run, "succeeded", seconds=10)
    assert found["failed"] == 0


def test_killed_again_and_again_a_worker_does_no_step_twice(workers: Workers, tmp_path: Path) -> None:
    """TEST_ROUNDS rounds with twenty runs going: each is lost or finished, each step's side effect at most once."""
    done = tmp_path / "done"
    for _ in range(int(os.environ.get("TEST_ROUNDS", "1"))):
        done.write_text("")
        first = workers.one
        runs = [workers.request(*[{"append": str(done), "mark": f"{n}-{s}", "hold": 0.05} for s in range(4)]) for n in range(20)]
        eventually(lambda: done.read_text().count("\n") > 10, 60)
        first.kill()
        first.wait()
        workers.let_leases_end()
        ended = [workers.until(run, "succeeded", "lost") for run in runs if workers.one.poll() is None]
        assert len(ended) == 20
        lines = done.read_text().split()
        assert len(lines) == len(set(lines))
        for number, run in enumerate(ended):
            finished = [step["position"] for step in run["steps"] if step["status"] == "succeeded"]
            assert all(f"{number}-{position}" in lines for position in finished)
            assert run["status"] == "lost" or len(finished) == 4
