"""`make run`: web, worker and this machine's connector as child processes. Standard library only, so that it stays small
and starts at once. A child that dies is started again, sooner or later by how often it does; Ctrl-C ends all of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_S = 60.0
STOP_S = 30.0


@dataclass
class Child:
    """One process to keep alive."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only the launcher, which then ends all in order."""
        env = {**os.environ, **self.environment}
        self.process = subprocess.Popen(self.command, cwd=ROOT, env=env, start_new_session=True)
        self.started = time.monotonic()

    def check(self) -> None:
        """Start it again when it has died: at once the first time, then after 1, 2, 4 … 30 s."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.next_start:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            if now - self.started > 60:
                self.failures = 0
            return
        with suppress(OSError):  # what it started outlives it, and would still hold the port
            os.killpg(self.process.pid, signal.SIGKILL)
        pause = min(30.0, 2.0 ** (self.failures - 1)) if self.failures else 0.0
        self.failures += 1
        self.process, self.next_start = None, now + pause
        say(f"{self.name} ended ({_why(code)}); starting it again" + (f" in {pause:.0f} s" if pause else ""))

    def stop(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for its end, and enforce it at the deadline."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _why(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def say(text: str) -> None:
    """A line for the person in front of it."""
    print(f"binnacle: {text}", flush=True)


def where() -> tuple[str, int] | None:
    """The host and the port to ask on this machine, or None when BINNACLE_BIND is neither. The web process checks the rest."""
    host, _, port = os.environ.get("BINNACLE_BIND", "127.0.0.1:8000").rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        return None
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host), int(port)


def _wait_ready(web: Child, address: str, stop: dict[str, bool]) -> bool:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and not stop["asked"]:
        if web.process is not None and web.process.poll() is not None:
            return False
        if _status(address, "/health/ready", 5) == 200:
            return True
        time.sleep(0.05)
    return False


def _status(address: str, path: str, patience: float) -> int:
    """The HTTP status of a GET, 0 when nobody answers. By hand: urllib and its TLS would cost 8 MB for as long as we run."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), patience) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            return int((connection.recv(1024) or b"HTTP/1.1 000")[9:12])
    except (OSError, ValueError):
        return 0


def _children(data: Path) -> tuple[Child, Child, Child]:
    python, state = sys.executable, data / "connector"
    web = Child("web", [python, "-m", "gunicorn", "-c", "app/gunicorn_conf.py", "wsgi:app"])
    worker = Child("worker", [python, "-m", "app.cli", "worker"])
    connector = Child(
        "connector",
        [python, "-m", "binnacle_connector", "--config", str(data / "connector.json"), "--state-dir", str(state)],
        environment={"PYTHONPATH": str(ROOT / "connector")},
    )
    return web, worker, connector


def port_is_taken(host: str, port: int) -> bool:
    """Whether something answers there."""
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=1):
            return True
    except OSError:
        return False


def _greet(address: str, data: Path) -> None:
    public = os.environ.get("BINNACLE_PUBLIC_URL", "").rstrip("/")
    say(f"ready at {address}" + (f", for people at {public}" if public else ""))
    token = data / "setup-token"
    if token.exists():
        say("no admin yet; create the first one with this one-time link:")
        print(f"\n    {public or address}/setup?token={token.read_text(encoding='utf-8').strip()}\n", flush=True)
    say("Ctrl-C ends it")


def run() -> int:
    """Start everything, keep it running until Ctrl-C or SIGTERM; returns the exit status."""
    place, data = where(), Path(os.environ.get("BINNACLE_DATA_DIR", "data")).absolute()
    if place is None:
        say("BINNACLE_BIND must look like 127.0.0.1:8000 or [::1]:8000")
        return 2
    address = f"http://{place[0]}:{place[1]}"
    if port_is_taken(*place):
        say(f"something answers at {address} already; stop it, or choose another BINNACLE_BIND")
        return 1
    stop = {"asked": False}
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.update(asked=True))
    web, worker, connector = _children(data)
    running = [web]
    web.start()
    try:
        if not _wait_ready(web, address, stop) and not stop["asked"]:
            say("the web process did not get ready; its last words are above")
            return 1
        running += [worker, connector] if _local_connector(data) else [worker]
        if not stop["asked"]:
            for child in running[1:]:
                child.start()
            _greet(address, data)
        while not stop["asked"]:
            for child in running:
                child.check()
            time.sleep(0.2)
        say("stopping")
        return 0
    finally:
        deadline = time.monotonic() + STOP_S
        for child in reversed(running):
            child.stop()
        for child in reversed(running):
            child.wait(deadline)


def _local_connector(data: Path) -> bool:
    """Whether the web process has enrolled this machine."""
    path = data / "connector.json"
    if os.environ.get("BINNACLE_LOCAL_CONNECTOR") in ("0", "false", "no"):
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("key"))
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(run())
