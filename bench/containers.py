"""Containers: what the connector's watch over them costs while nothing happens.

A real connector against a real server and Podman behind Docker's API (tests/container_engine.py) with CONTAINERS running containers. After SETTLE_S the
connector is measured for SPAN_S; the same without the watch (`--containers off`), in the same minutes. CPU is a share of one core, memory the
proportional set (PSS). Then: from `podman kill` to the changed row in the API, TIMES times, by asking every 20 ms.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from bench.results import Figure
from bench.servers import ROOT, Meter, Product, end, inside, product

CONTAINERS, TIMES = 10, 10
SETTLE_S, SPAN_S = 20, int(os.environ.get("BENCH_SPAN_S", "60"))


def run() -> list[Figure]:
    """Nothing to measure where no engine can be had."""
    sys.path.insert(0, str(ROOT / "tests"))
    from container_engine import NoEngine, PodmanEngine

    try:
        engine = PodmanEngine()
    except NoEngine as error:
        return [Figure("containers: not measured", str(error)[:120], "an engine", False)]
    try:
        for number in range(CONTAINERS):
            engine.run(f"b{number}", "sleep 100000")
        with product(worker=True) as made:
            return _measure(made, engine)
    finally:
        engine.stop()


def _connector(made: Product, name: str, where: str) -> tuple[str, subprocess.Popen[bytes]]:
    from app.actors import SYSTEM
    from app.api_keys.operations import create_host_key
    from app.database import unit_of_work
    from app.fleet.operations import create_computer

    with inside(made), unit_of_work():
        computer = create_computer(name, actor=SYSTEM)
        uuid = computer.uuid
        _, key = create_host_key("bench", computer.id, uuid, computer.tenant_id, actor=SYSTEM)
    state = Path(made.data) / name
    command = [sys.executable, "-m", "binnacle_connector", "--server", made.url, "--key", key, "--state-dir", str(state),
               "--containers", where]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(made.data), "PYTHONPATH": str(ROOT / "connector")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    made.processes.append(process)
    return uuid, process


def _measure(made: Product, engine: object) -> list[Figure]:
    from app.actors import SYSTEM, Role
    from app.api_keys.operations import create_integration_key
    from app.database import unit_of_work

    with inside(made), unit_of_work():
        key = create_integration_key("bench", Role.ADMIN, actor=SYSTEM, rate_limit=1_000_000)[1]
    uuid, watching = _connector(made, "watching", engine.host)  # type: ignore[attr-defined]
    _, plain = _connector(made, "plain", "off")
    time.sleep(SETTLE_S)
    meters = [Meter(psutil.Process(one.pid)) for one in (watching, plain)]
    sizes = [psutil.Process(one.pid).memory_full_info().pss / 1e6 for one in (watching, plain)]
    time.sleep(SPAN_S)
    used = [meter.usage().cpu for meter in meters]
    http = httpx.Client(base_url=made.url, headers={"X-API-Key": key}, timeout=30)
    took = [_change(http, uuid, engine) for _ in range(TIMES)]
    end(watching)
    end(plain)
    return [
        Figure(f"containers: connector's CPU, {CONTAINERS} running", f"{used[0]:.2%} of a core ({used[1]:.2%} without)", "< 1 %",
               used[0] < 0.01),
        Figure("containers: connector's memory", f"{sizes[0]:.0f} MB ({sizes[1]:.0f} without)", "< 60 MB", sizes[0] < 60),
        Figure("containers: change to row", f"p50 {statistics.median(took):.2f} s, slowest {max(took):.2f} s", "p50 < 1 s",
               statistics.median(took) < 1),
    ]  # fmt: skip


def _change(http: httpx.Client, uuid: str, engine: object) -> float:
    def state() -> str:
        rows = http.get(f"/api/v1/docker/{uuid}/containers").raise_for_status().json()
        return str(next(row["state"] for row in rows if row["name"] == "b0"))

    engine.podman("kill", "b0")  # type: ignore[attr-defined]
    begun = time.monotonic()
    while state() != "exited":
        time.sleep(0.02)
    took = time.monotonic() - begun
    engine.podman("start", "b0")  # type: ignore[attr-defined]
    while state() != "running":
        time.sleep(0.02)
    return took
