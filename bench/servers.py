"""Real servers for benchmarks: gunicorn as the product runs it, on a free loopback port over a temporary directory."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
USERNAME, PASSWORD = "bench", "correct-horse-battery-9"


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Product:
    """A running Binnacle: where it is, its environment, its processes."""

    port: int
    environment: dict[str, str]
    data: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def web(self) -> psutil.Process:
        """gunicorn's master; its child does the work."""
        return psutil.Process(self.processes[0].pid)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start one more process of the product."""
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=self.environment)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End its processes, the youngest first."""
        while self.processes:
            end(self.processes.pop())


def environment(port: int, data: Path, **more: str) -> dict[str, str]:
    """The product's settings for a benchmark, on top of what the shell has."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BINNACLE_")}
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        ours.pop(name, None)
    return ours | {
        "BINNACLE_BIND": f"127.0.0.1:{port}", "BINNACLE_DATA_DIR": str(data), "BINNACLE_LOCAL_CONNECTOR": "0",
        "BINNACLE_ADMIN_USERNAME": USERNAME, "BINNACLE_ADMIN_PASSWORD": PASSWORD, "BINNACLE_LOG_LEVEL": "warning",
    } | more  # fmt: skip


def wait_for(url: str, process: subprocess.Popen[bytes], patience: float = 60) -> None:
    """Until it answers 200. Raises RuntimeError when the process ends or takes too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not get ready in {patience} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop one process that we started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def product(*, worker: bool = False, database_url: str | None = None, prepare: bool = False) -> Iterator[Product]:
    """A fresh Binnacle. With `prepare` only its database is made; the caller fills it, then calls `serve`."""
    data = Path(tempfile.mkdtemp(prefix="binnacle-bench-"))
    port = free_port()
    more = {"DATABASE_URL": database_url} if database_url else {}
    made = Product(port, environment(port, data, **more), data)
    try:
        if prepare:
            subprocess.run(
                [sys.executable, "-m", "app.cli", "migrate"],
                cwd=ROOT,
                env=made.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        else:
            serve(made, worker=worker)
        yield made
    finally:
        made.stop()
        shutil.rmtree(data, ignore_errors=True)


def serve(made: Product, *, worker: bool = False) -> None:
    """Start the web process, and the worker if wanted."""
    web = made.start("gunicorn", "-c", "app/gunicorn_conf.py", "wsgi:app")
    wait_for(f"{made.url}/health/ready", web)
    if worker:
        made.start("app.cli", "worker")


@contextmanager
def hello() -> Iterator[int]:
    """The yardstick's port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "app/gunicorn_conf.py", "bench.hello:app"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "BINNACLE_BIND": f"127.0.0.1:{port}", "BINNACLE_WEB_PROCESSES": "1"}
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield port
    finally:
        end(process)


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a database of our own, dropped afterwards."""
    name = f"binnacle_bench_{os.getpid()}_{uuid4().hex[:6]}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def inside(made: Product) -> Iterator[object]:
    """The application of this product in our own process, with its app context: to fill the database."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(made.environment)
    try:
        from app import create_app

        app = create_app()
        with app.app_context():
            yield app
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass
class Usage:
    """What a process tree used over a span: share of one core, and its resident memory at the end (and at most) in bytes."""

    cpu: float = 0.0
    rss: int = 0


class Meter:
    """Measures the process trees of some processes between two moments."""

    def __init__(self, *roots: psutil.Process) -> None:
        self._roots = roots
        self._peak = 0
        self.restart()

    def _tree(self) -> list[psutil.Process]:
        return [p for root in self._roots for p in (root, *root.children(recursive=True))]

    def _cpu(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in self._tree())

    def restart(self) -> None:
        """Begin anew."""
        self._started, self._before, self._peak = time.monotonic(), self._cpu(), 0

    def look(self) -> int:
        """The memory now, in bytes; the highest look counts."""
        rss = sum(p.memory_info().rss for p in self._tree())
        self._peak = max(self._peak, rss)
        return rss

    def usage(self) -> Usage:
        """Since the last restart."""
        self.look()
        return Usage((self._cpu() - self._before) / (time.monotonic() - self._started), self._peak)
