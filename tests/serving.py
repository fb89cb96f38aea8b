"""A real server for tests: gunicorn as the product runs it, on a free loopback port, with a database of its own."""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from websocket import WebSocket, create_connection

ROOT = Path(__file__).resolve().parents[1]
POSTGRES = "postgresql://postgres@127.0.0.1:5432"
ADMIN, PASSWORD = "alice", "a-long-enough-password"


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: Callable[[], Any], seconds: float = 20.0, why: str = "it never happened") -> Any:
    """Wait until `what()` is true, and give its value."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, why
        time.sleep(0.02)
    return value


@cache
def first_start(database: str) -> tuple[Path, str | None, str]:
    """What a first start leaves, made once for each test process: the data directory and the database, to be copied, and the
    admin's key."""
    data = Path(tempfile.mkdtemp(prefix="binnacle-test-first-"))
    atexit.register(shutil.rmtree, data, ignore_errors=True)
    name = f"binnacle_first_{os.getpid()}" if database == "postgresql" else None
    env = environment(data, 1) | ({"DATABASE_URL": f"{POSTGRES}/{name}"} if name else {})
    if name:
        administer(f"CREATE DATABASE {name}")
        atexit.register(administer, f"DROP DATABASE {name}")
    done = subprocess.run([sys.executable, "-c", FIRST_START], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return data, name, done.stdout.strip()


FIRST_START = """
from app import create_app
from app.actors import SYSTEM, Role
from app.api_keys.operations import create_integration_key
from app.database import unit_of_work
from app.extensions import db
from app.system.bootstrap import prepare
app = create_app()
prepare(app)
with app.app_context():
    with unit_of_work():
        print(create_integration_key("tests", Role.ADMIN, actor=SYSTEM, rate_limit=1_000_000)[1])
    db.engine.dispose()
"""


def administer(statement: str) -> None:
    """Create or drop a database."""
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(statement)


def environment(data: Path, port: int) -> dict[str, str]:
    """What the product is told by its environment."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(data), "PYTHONPATH": str(ROOT), "BINNACLE_BIND": f"127.0.0.1:{port}",
        "BINNACLE_DATA_DIR": str(data), "BINNACLE_LOCAL_CONNECTOR": "0", "BINNACLE_ADMIN_USERNAME": ADMIN,
        "BINNACLE_ADMIN_PASSWORD": PASSWORD, "BINNACLE_LOG_FORMAT": "json",
    }  # fmt: skip


class Server:
    """Web process (and worker, when asked) with an admin whose name is ADMIN; `key` is an admin's API key."""

    def __init__(self, database: str = "sqlite", *, worker: bool = False, redis: bool = False, **settings: str) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="binnacle-test-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database_name = f"binnacle_served_{os.getpid()}_{self.port}" if database == "postgresql" else None
        self.env = environment(self.data, self.port) | settings
        first, template, self.key = first_start(database)
        shutil.copytree(first, self.data, dirs_exist_ok=True)
        if self.database_name:
            administer(f"CREATE DATABASE {self.database_name} TEMPLATE {template}")
            self.env["DATABASE_URL"] = f"{POSTGRES}/{self.database_name}"
        if redis:
            own = 8 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8  # each test process counts its own limits
            self.env["REDIS_URL"] = f"redis://127.0.0.1:6379/{own}"
        self.log = (self.data / "log").open("ab")
        self.web: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=30)
        try:
            self.start()
            if worker:
                self.start_worker()
        except BaseException:
            self.stop()
            raise
        self.http.headers["X-API-Key"] = self.key

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=self.env, stdout=self.log, stderr=self.log,
                                start_new_session=True)  # fmt: skip

    def start(self) -> None:
        """Start the web process and wait until it is ready."""
        self.web = self._spawn("gunicorn", "-c", "app/gunicorn_conf.py", "wsgi:app")
        eventually(self.is_ready, 60, f"the server did not start; its words are in {self.data}/log")

    def is_ready(self) -> bool:
        """Whether it says so."""
        assert self.web is None or self.web.poll() is None, self.words()[-3000:]
        try:
            return self.http.get("/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def start_worker(self) -> None:
        """Start the worker."""
        self.worker = self._spawn("app.cli", "worker")

    def command(self, *arguments: str) -> str:
        """Run `binnacle …` against the same database; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def words(self) -> str:
        """Everything that the processes have said."""
        self.log.flush()
        return (self.data / "log").read_text(errors="replace")

    def memory(self) -> int:
        """What the web process and its children hold in memory, in bytes."""
        assert self.web is not None
        web = psutil.Process(self.web.pid)
        return sum(one.memory_info().rss for one in (web, *web.children(recursive=True)))

    def kill_web(self) -> None:
        """`kill -9` of the web process with everything in its group."""
        assert self.web is not None
        os.killpg(self.web.pid, signal.SIGKILL)
        self.web.wait()

    def stop(self) -> None:
        """End what was started, and drop its database."""
        self.http.close()
        for process in (self.web, self.worker):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.log.close()
        if self.database_name:
            administer(f"DROP DATABASE {self.database_name} WITH (FORCE)")

    def computer(self, name: str = "web-1", **fields: Any) -> tuple[str, str]:
        """A computer and its host key: (public id, secret)."""
        made = self.http.post("/api/v1/servers", json={"name": name, **fields}).raise_for_status().json()
        key = self.http.post("/api/v1/api-keys", json={"name": "agent", "server_id": made["id"], "rate_limit": 1_000_000})
        return made["id"], key.raise_for_status().json()["key"]

    def sign_in(self, name: str = ADMIN, password: str = PASSWORD) -> httpx.Client:
        """A browser's client, signed in."""
        client = httpx.Client(base_url=self.url, timeout=30)
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
        assert token
        answer = client.post("/login", data={"csrf_token": token[1], "username": name, "password": password})
        assert answer.status_code == 303, answer.text
        return client


class Agent:
    """A client of `/api/v1/agents/ws`, without any politeness of its own."""

    def __init__(self, server: Server, key: str | None = None) -> None:
        self.ws: WebSocket = create_connection(f"ws://127.0.0.1:{server.port}/api/v1/agents/ws", timeout=15)
        if key is not None:
            self.send(type="auth", api_key=key)
            self.welcome = self.read("auth_success")

    def send(self, **message: Any) -> None:
        """Send one message."""
        self.ws.send(json.dumps(message))

    def read(self, kind: str | None = None) -> dict[str, Any]:
        """The next message, which must be of the kind."""
        message: dict[str, Any] = json.loads(self.ws.recv())
        assert kind is None or message["type"] == kind, message
        return message

    def closed(self) -> int | None:
        """Read until the server closes; the close code."""
        while True:
            opcode, data = self.ws.recv_data()
            if opcode == 8:
                return int.from_bytes(data[:2], "big") if data else None
            if not data:
                return None
