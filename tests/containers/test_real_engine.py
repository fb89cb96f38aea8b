"""Containers from the engine to the API and back: a real server with its worker, a real connector process, real Podman."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving import ROOT, Server, eventually

pytestmark = pytest.mark.xdist_group("engine")


class Real:
    """A server, and a connector of this machine that finds the engine by DOCKER_HOST."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.server = Server("sqlite", worker=True, BINNACLE_LOG_LEVEL="warning")
        self.uuid, key = self.server.computer("this-machine")
        state = self.server.data / "connector"
        command = [sys.executable, "-m", "binnacle_connector", "--server", self.server.url, "--key", key,
                   "--state-dir", str(state), "--interval", "1"]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.server.data), "PYTHONPATH": str(ROOT / "connector"),
                       "DOCKER_HOST": engine.host}  # fmt: skip
        self.connector = subprocess.Popen(command, env=environment, stdout=self.server.log, stderr=self.server.log)
        eventually(lambda: self.get("").status_code == 200, 30, "the connector did not connect")

    def get(self, path: str) -> httpx.Response:
        return self.server.http.get(f"/api/v1/docker/{self.uuid}/containers{path}", timeout=60)

    def post(self, path: str) -> httpx.Response:
        return self.server.http.post(f"/api/v1/docker/{self.uuid}/containers{path}", timeout=60)

    def container(self, name: str, state: str) -> dict[str, Any]:
        def found() -> Any:
            return next((one for one in self.get("").json() if (one["name"], one["state"]) == (name, state)), None)

        return dict(eventually(found, 45, f"{name} did not become {state}"))

    def stop(self) -> None:
        self.connector.send_signal(signal.SIGTERM)
        self.connector.wait(10)
        self.server.stop()


@pytest.fixture(scope="module")
def real(engine: Any) -> Iterator[Real]:
    made = Real(engine)
    yield made
    made.stop()


def test_a_container_is_listed_stopped_started_and_restarted(real: Real, engine: Any) -> None:
    engine.remove("r1")
    long_id = engine.run("r1")
    assert real.container("r1", "running")["id"] == long_id
    assert real.post("/r1/stop?timeout=2").json()["status"] == "success"
    assert engine.state("r1") == "exited"
    eventually(lambda: real.container("r1", "exited")["exit_code"] == 0)  # known a moment later
    assert real.post(f"/{long_id[:12]}/start").json()["status"] == "success"
    before = real.container("r1", "running")["started_at"]
    began = time.monotonic()
    assert real.post("/r1/restart?timeout=1").json()["message"] == "Container r1 restarted"
    assert time.monotonic() - began < 10
    eventually(lambda: real.container("r1", "running")["started_at"] > before, 10)
    engine.remove("r1")
    eventually(lambda: all(one["name"] != "r1" for one in real.get("").json()), 10)


def test_a_container_that_ignores_the_request_is_killed_after_the_timeout(real: Real, engine: Any) -> None:
    engine.remove("r2")
    engine.run("r2", "trap '' TERM; while true; do sleep 0.1; done")
    real.container("r2", "running")
    began = time.monotonic()
    assert real.post("/r2/stop?timeout=1").status_code == 200
    assert 1 <= time.monotonic() - began < 10
    assert engine.state("r2") == "exited"
    engine.remove("r2")


def test_a_container_that_dies_by_itself_shows_as_exited_with_figures_gone(real: Real, engine: Any) -> None:
    engine.remove("r3")
    engine.run("r3", "sleep 1; exit 4")
    real.container("r3", "running")
    ended = real.container("r3", "exited")
    assert (ended["exit_code"], ended["cpu_percent"], ended["memory_usage"]) == (4, None, None)
    journal = real.server.http.get("/api/v1/audit", params={"type": "container.state_changed"})
    assert journal.status_code == 200
    assert "container.state_changed" in journal.text
    engine.remove("r3")


def test_logs_also_hostile_and_long_ones_come_as_lines(real: Real, engine: Any) -> None:
    engine.remove("r4")
    engine.run("r4", r"printf 'caf\303\251 <script>\033[31m \377\000\n'; yes " + "y" * 999 + " | head -n 3000; echo last")
    real.container("r4", "exited")
    assert real.get("/r4/logs?tail=2").json()[1] == "last"
    many = real.get("/r4/logs?tail=200").json()
    assert (len(many), set("".join(many[:-1])), many[-1]) == (200, {"y"}, "last")
    page = real.server.sign_in()
    uuid = page.get("/containers.csv?q=r4").text.splitlines()[1].split(",")[0]
    whole = page.get(f"/containers/{uuid}/logs/all", timeout=120)
    lines = whole.text.splitlines()
    assert whole.headers["Content-Type"].startswith("text/plain")
    assert len(lines) == 3002
    assert lines[0].endswith("café <script>\x1b[31m \ufffd\ufffd")
    plain = page.get(f"/containers/{uuid}/logs")
    assert plain.status_code == 200
    page.close()
    engine.remove("r4")


def test_actions_on_many_are_one_run(real: Real, engine: Any) -> None:
    made = [f"r5-{number}" for number in range(3)]
    engine.remove(*made)
    for name in made:
        engine.run(name)
        real.container(name, "running")
    page = real.server.sign_in()
    rows = [line.split(",") for line in page.get("/containers.csv?q=r5-").text.splitlines()[1:]]
    token = page.get("/containers/").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    form = {"csrf_token": token, "ids": [row[0] for row in rows], "confirmed": "1", "timeout": "1"}
    answer = page.post("/containers/bulk/stop", data=form)
    run_id = answer.headers["Location"].strip("/").split("/")[-1]
    run = eventually(lambda: (r := real.server.http.get(f"/api/v1/runs/{run_id}").json())["finished_at"] and r, 30)
    assert (run["status"], run["total"], run["succeeded"]) == ("succeeded", 3, 3)
    assert [engine.state(name) for name in made] == ["exited"] * 3
    page.close()
    engine.remove(*made)


def test_a_killed_connector_is_not_told_twice(real: Real, engine: Any) -> None:
    """The connector dies while the engine stops a container: the run ends, as lost, and nothing is done again."""
    engine.remove("r6")
    engine.run("r6", "trap '' TERM; while true; do sleep 0.1; done")
    real.container("r6", "running")
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(real.post("/r6/stop?timeout=3")))
    thread.start()
    runs = "/api/v1/runs?kind=container&status=running"
    eventually(lambda: real.server.http.get(runs).json()["runs"], 10)
    time.sleep(0.5)
    real.connector.kill()
    real.connector.wait()
    command, environment = real.connector.args, {"PATH": os.environ["PATH"], "HOME": str(real.server.data),
        "PYTHONPATH": str(ROOT / "connector"), "DOCKER_HOST": engine.host}  # fmt: skip
    real.connector = subprocess.Popen(command, env=environment, stdout=real.server.log, stderr=real.server.log)  # type: ignore[arg-type]
    thread.join(60)
    assert answers[0].status_code == 504
    assert "may" in answers[0].json()["detail"] or "not known" in answers[0].json()["detail"]
    engine.remove("r6")
