"""Runs: how long work waits, and how much output comes through.

- A synchronous `true` on this machine through the real connector, SYNC times one after the other over the API, while OTHERS simulated
  computers are connected with samples every 10 s.
- One command on MANY simulated computers: from the commit to the last result.
- Queue to running, from the row's own times (`created_at` to `started_at`): a command for a connected computer (the dispatcher's
  bell), and a run that a worker executes (huey's), one at a time on an idle server; the same with WAITING runs queued before it that
  wait for a busy key.
- LINES lines through the real connector: from the request to the stored result, and then the run's page, over HTTP and drawn in a
  real Chromium (where there is one), at its end and at a line in its middle.
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.people import sign_in
from bench.results import Figure
from bench.servers import PASSWORD, ROOT, USERNAME, Product, inside, product

OTHERS, SYNC, MANY, ALONE, WAITING, LINES = 200, 300, 500, 100, 50, 100_000
KIND = "bench"
CHROMIUM = "/usr/bin/chromium"


def worker_kind() -> None:
    """A kind of run whose one step does nothing, or waits for a file."""
    from app.runs.drivers import Driver, Work, register

    def step(context: Any) -> None:
        while (gate := context.step_spec.get("gate")) and not Path(gate).exists():
            context.sleep(0.05)

    register(Driver(KIND, "Bench", lambda *_a, **_k: None, work=Work(step)))


def run() -> list[Figure]:
    """All of them, on one server."""
    with product() as made:
        made.start("bench.runs", "worker")
        key = _command(made, "keys", "create", "--role", "admin", "--name", "bench", "--rate-limit", "1000000").strip()
        http = httpx.Client(base_url=made.url, headers={"X-API-Key": key}, timeout=120)
        with _connector(made, http) as computer:
            with _fleet(made, OTHERS):
                sync = _sync(http, computer)
            alone = [_dispatched(http, computer) for _ in range(ALONE)]
            lines, page, drawn = _flood(made, http, computer)
        with _fleet(made, MANY):
            many = _many(made)
        work, crowded = _worked(made)
    p50, p99 = _percentiles(sync)
    d50, d99 = _percentiles(alone)
    w50, w99 = _percentiles(work)
    c50, c99 = _percentiles(crowded)
    return [
        Figure("runs: synchronous `true`, 200 others connected", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms", "p50 < 60, p99 < 300 ms",
               p50 < 60 and p99 < 300),
        Figure(f"runs: one command on {MANY} computers", f"{many:.1f} s to the last result", "< 15 s", many < 15),
        Figure("runs: queue to running, a command", f"p50 {d50:.0f} ms, p99 {d99:.0f} ms", "p50 < 30, p99 < 150 ms",
               d50 < 30 and d99 < 150),
        Figure("runs: queue to running, in a worker", f"p50 {w50:.0f} ms, p99 {w99:.0f} ms", "p50 < 30, p99 < 150 ms",
               w50 < 30 and w99 < 150),
        Figure(f"runs: queue to running, {WAITING} waiting", f"p50 {c50:.0f} ms, p99 {c99:.0f} ms", "p99 < 500 ms", c99 < 500),
        Figure("runs: lines of output", f"{lines:,.0f} a second", ">= 10,000 a second", lines >= 10_000),
        Figure(f"runs: a log of {LINES:,} lines opens", f"{page * 1000:.0f} ms", "< 1 s", page < 1),
        *(Figure(f"runs: it opens in Chromium at {where}", f"{took * 1000:.0f} ms", "< 1 s", took < 1) for where, took in drawn.items()),
    ]  # fmt: skip


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def _command(made: Product, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "app.cli", *arguments], cwd=ROOT, env=made.environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    return done.stdout


def _until(what: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > end:
            raise RuntimeError("it never happened")
        time.sleep(0.02)
    return value


@contextmanager
def _connector(made: Product, http: httpx.Client) -> Iterator[str]:
    """This machine's real connector; its computer."""
    computer = http.post("/api/v1/servers", json={"name": "this-machine"}).raise_for_status().json()["id"]
    body = {"name": "agent", "server_id": computer, "rate_limit": 1_000_000}
    key = http.post("/api/v1/api-keys", json=body).raise_for_status().json()["key"]
    command = [sys.executable, "-m", "binnacle_connector", "--server", made.url, "--key", key, "--state-dir",
               str(made.data / "bench-connector")]  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(made.data), "PYTHONPATH": str(ROOT / "connector")}
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: http.post(f"/api/v1/commands/{computer}", json={"command": "true"}).status_code == 200)
        yield computer
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def _fleet(made: Product, computers: int) -> Iterator[None]:
    """At least so many; a few more are simulated, as some of them are quiet at any time of the day."""
    several = computers + max(5, computers // 20)
    command = [sys.executable, "-m", "app.cli", "simulate", "--computers", str(several), "--interval", "10"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=made.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said = re.search(r"connected ([\d,]+) of", line)
            if said and int(said[1].replace(",", "")) >= computers:
                break
        else:
            raise RuntimeError("the simulator ended")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _sync(http: httpx.Client, computer: str) -> list[float]:
    took = []
    for _ in range(SYNC):
        began = time.monotonic()
        answer = http.post(f"/api/v1/commands/{computer}", json={"command": "true"})
        took.append(time.monotonic() - began)
        if answer.status_code != 200 or answer.json()["exit_code"] != 0:
            raise RuntimeError(answer.text)
    return took


def _between(run: dict[str, Any]) -> float:
    from datetime import datetime

    times = [datetime.fromisoformat(run[name]) for name in ("created_at", "started_at")]
    return (times[1] - times[0]).total_seconds()


def _ended(http: httpx.Client, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = _until(lambda: (r := http.get(f"/api/v1/runs/{run_id}").json())["finished_at"] and r)
    return found


def _dispatched(http: httpx.Client, computer: str) -> float:
    begun = http.post(f"/api/v1/commands/{computer}", json={"command": "true", "wait": False}).json()["run_id"]
    return _between(_ended(http, begun))


def _flood(made: Product, http: httpx.Client, computer: str) -> tuple[float, float, dict[str, float]]:
    """Lines a second, and how many seconds the page of such a run takes: over HTTP, and drawn, by where in it."""
    command = {"command": f"seq -f 'line %.0f of a build that says what it does' {LINES}", "wait": False, "timeout": 300}
    began = time.monotonic()
    run_id = http.post(f"/api/v1/commands/{computer}", json=command).json()["run_id"]
    found = _ended(http, run_id)
    took = time.monotonic() - began
    kept = http.get(f"/api/v1/runs/{run_id}/output").text.count("\n")
    if found["status"] != "succeeded" or kept != LINES or found["steps"][0]["dropped_bytes"]:
        raise RuntimeError(f"{found['status']}, {kept:,} lines kept")
    cookie = sign_in(made.url, USERNAME, PASSWORD)
    page = []
    for _ in range(5):
        began = time.monotonic()
        answer = httpx.get(f"{made.url}/runs/{run_id}/", headers={"Cookie": cookie}, timeout=60)
        page.append(time.monotonic() - began)
        if 'id="output"' not in answer.text:
            raise RuntimeError("that is not the page")
    where = {"its end": "", "a line": f"?step=0&line={LINES // 2}#L{LINES // 2}"}
    drawn = _drawn(made.url, cookie, [f"/runs/{run_id}/{place}" for place in where.values()])
    return LINES / took, sorted(page)[2], dict(zip(where, drawn, strict=False))


def _drawn(url: str, cookie: str, paths: list[str]) -> list[float]:
    """Seconds until a page is drawn in a real Chromium, the middle of five of each; nothing without one."""
    if not Path(CHROMIUM).exists():
        return []
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([dict(zip(("name", "value"), one.split("=", 1), strict=True), url=url) for one in cookie.split("; ")])  # type: ignore[arg-type]
        for path in paths:
            took = []
            for _ in range(6):  # the first one fills the cache
                page = context.new_page()
                began = time.monotonic()
                page.goto(url + path)
                page.wait_for_selector("#L" + path.rpartition("#L")[2] if "#" in path else f"#L{LINES}")
                page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
                took.append(time.monotonic() - began)
                page.close()
            found.append(sorted(took[1:])[2])
        browser.close()
    return found


def _many(made: Product) -> float:
    """Seconds from the request for MANY computers to the last result."""
    from sqlalchemy import select

    from app.actors import SYSTEM
    from app.commands.operations import request_command
    from app.database import reading, session, unit_of_work
    from app.fleet.models import Computer, ComputerStatus
    from app.runs.models import Run

    with inside(made):
        simulated = Computer.name != "this-machine"  # its connector has just ended
        online = select(Computer).where(Computer.status == ComputerStatus.ONLINE, simulated)
        with unit_of_work():
            computers = list(session().scalars(online))
            if len(computers) < MANY:
                raise RuntimeError(f"only {len(computers)} computers are online")
            run_id = request_command(computers[:MANY], "true", actor=SYSTEM, queue=True, timeout_s=60).id
        began = time.monotonic()

        def over() -> Run | None:
            with reading():
                found: Run | None = session().get(Run, run_id)
                return found if found is not None and not found.is_open else None

        found = _until(over)
        took = time.monotonic() - began
        if found.succeeded != MANY:
            raise RuntimeError(f"{found.succeeded} of {MANY} have succeeded")
    return took


def _worked(made: Product) -> tuple[list[float], list[float]]:
    """Queue to running of runs that a worker executes: alone, and behind those that wait for a key."""
    gate = str(made.data / "gate")
    with inside(made):
        worker_kind()
        alone = [_one(None) for _ in range(ALONE)]
        for _ in range(WAITING + 1):
            _request({"gate": gate}, "busy")
        time.sleep(1)
        crowded = [_one(None) for _ in range(ALONE)]
        Path(gate).touch()
    return alone, crowded


def _request(spec: dict[str, Any], key: str | None) -> str:
    from app.actors import SYSTEM
    from app.database import unit_of_work
    from app.runs.operations import NewRun, NewStep, create_work

    with unit_of_work():
        return create_work(NewRun(KIND, "bench", {}, 60, key=key), [NewStep("one", spec=spec)], actor=SYSTEM).id


def _one(key: str | None) -> float:
    from app.database import reading, session
    from app.runs.models import Run

    run_id = _request({}, key)

    def over() -> Run | None:
        with reading():
            found: Run | None = session().get(Run, run_id)
            return found if found is not None and not found.is_open else None

    found = _until(over)
    return float((found.started_at - found.created_at).total_seconds())


if __name__ == "__main__" and sys.argv[1:] == ["worker"]:
    from app import create_app
    from app.worker import run as run_worker

    app = create_app()
    worker_kind()
    run_worker(app)
