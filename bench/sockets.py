"""Sockets: 2,000 simulated computers at 10 s against web and worker, over the real connector protocol.

`binnacle simulate` runs SETTLE_S (dialling, hellos with inventory) + STEADY_S seconds; CPU and memory are those of the web
process tree over the steady part; the acknowledgement times are those of the whole run, dialling included. No sample may be
lost: the rows in `samples` at the end are as many as the acknowledgements that the computers got.
"""

import json
import subprocess
import sys
import time

from bench.results import Figure
from bench.servers import ROOT, Meter, Product, inside, product

COMPUTERS, INTERVAL, SETTLE_S, STEADY_S = 2000, 10, 40, 60


def run() -> list[Figure]:
    """One run."""
    with product(worker=True) as made:
        command = [sys.executable, "-m", "app.cli", "simulate", "--computers", str(COMPUTERS), "--interval", str(INTERVAL),
                   "--duration", str(SETTLE_S + STEADY_S)]  # fmt: skip
        fleet = subprocess.Popen(
            command, cwd=ROOT, env=made.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        made.processes.append(fleet)  # type: ignore[arg-type]
        assert fleet.stderr is not None
        for line in fleet.stderr:
            if "connecting them" in line:
                break
        time.sleep(SETTLE_S)
        web, workers = Meter(made.web), Meter(_process(made))
        simulator = Meter(_process(made, -1))
        for _ in range(STEADY_S - 4):
            time.sleep(1)
            web.look()
        used, worker, fleet_used = web.usage(), workers.usage(), simulator.usage()
        out, _ = fleet.communicate(timeout=60)
        return _figures(json.loads(out), _rows(made), used, worker, fleet_used)


def _process(made: Product, at: int = 1):  # type: ignore[no-untyped-def]
    import psutil

    return psutil.Process(made.processes[at].pid)


def _rows(made: Product) -> int:
    from sqlalchemy import func, select

    from app.database import session
    from app.metrics.models import Sample

    with inside(made):
        return int(session().scalar(select(func.count()).select_from(Sample)))


def _figures(said: dict, rows: int, web, worker, fleet) -> list[Figure]:  # type: ignore[no-untyped-def, type-arg]
    lost = said["acked"] != rows or said["sent"] != said["acked"] or said["refused"]
    counts = f"{said['acked']:,} acknowledged, {rows:,} rows stored, {said['sent']:,} sent, {said['refused']} refused"
    acks = f"{said['ack_p99_ms']:.0f} ms (p50 {said['ack_p50_ms']:.0f}, max {said['ack_max_ms']:.0f}; {said['connected']:,} connected)"
    cpu = f"{web.cpu:.0%} of a core (worker {worker.cpu:.0%}, simulator {fleet.cpu:.0%})"
    return [
        Figure("sockets: samples lost", counts, "none", not lost),
        Figure("sockets: ack p99", acks, "< 1 s", said["ack_p99_ms"] < 1000),
        Figure("sockets: web CPU", cpu, "< 50 % of a core", web.cpu < 0.5),
        Figure("sockets: web memory", f"{web.rss / 1e6:.0f} MB", "< 350 MB", web.rss < 350e6),
    ]
