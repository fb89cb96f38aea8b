"""Idle: everything `make run` starts (launcher, web, worker, this machine's connector) with nothing to do.

The second start is timed from the process's start to `/health/ready`; after SETTLE_S the whole tree is measured for SPAN_S:
CPU as a share of one core, memory as what the
processes take together: the sum of their proportional sets (PSS), in which a page that several share counts once.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.results import Figure
from bench.servers import ROOT, Meter, end, environment, free_port, wait_for

SETTLE_S, SPAN_S = 15, 30


def run() -> list[Figure]:
    """Start twice; measure the second."""
    data, port = Path(tempfile.mkdtemp(prefix="binnacle-bench-")), free_port()
    ours = environment(port, data, BINNACLE_LOCAL_CONNECTOR="1")
    try:
        first, _ = _launch(ours, port)
        time.sleep(3)
        end(first)
        second, took = _launch(ours, port)
        time.sleep(SETTLE_S)
        meter = Meter(psutil.Process(second.pid))
        memory, parts = _memory(psutil.Process(second.pid))
        time.sleep(SPAN_S)
        used = meter.usage()
        end(second)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return [
        Figure("idle: memory", f"{memory / 1e6:.0f} MB ({parts})", "< 250 MB", memory < 250e6),
        Figure("idle: CPU", f"{used.cpu:.1%} of a core", "< 3 %", used.cpu < 0.03),
        Figure("idle: second start to ready", f"{took:.1f} s", "< 3 s", took < 3),
    ]


def _launch(ours: dict[str, str], port: int) -> tuple[subprocess.Popen[bytes], float]:
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "app.launcher"], cwd=ROOT, env=ours, stdout=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/health/ready", process)
    return process, time.monotonic() - started


def _memory(root: psutil.Process) -> tuple[int, str]:
    """The memory of all processes in bytes, and of each in words."""
    names = (("gunicorn", "web"), ("app.cli", "worker"), ("binnacle_connector", "connector"), ("app.launcher", "launcher"))
    found, total = [], 0
    for process in (root, *root.children(recursive=True)):
        line = " ".join(process.cmdline())
        name = next((said for part, said in names if part in line), process.name())
        size = process.memory_full_info().pss
        total += size
        found.append(f"{name} {size / 1e6:.0f}")
    return total, ", ".join(found)
