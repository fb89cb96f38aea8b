"""A real WebSocket server that speaks the server's side of docs/connector-protocol.md, and real connectors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import simple_websocket
from wsproto.utilities import LocalProtocolError

ROOT = Path(__file__).resolve().parents[2] / "connector"
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from binnacle_connector.config import Settings  # noqa: E402
from binnacle_connector.run import Connector  # noqa: E402
from binnacle_connector.session import Timing  # noqa: E402
from binnacle_connector.state import StateDir  # noqa: E402

KEY = "chatops_canary7Hk2mQ9xZtR4vWpL8sNdYcBf3"
QUICK = Timing(opening=5, ack=0.4, dead=60, ping=30, longest_retry=0.2, backoff_first=0.05, backoff_cap=0.1, settled=0.0)


def _eventually(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until `what()` is true, and give its value; fail when it never becomes so."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return value


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """`eventually(what)` waits until `what()` is true, and gives its value."""
    return _eventually


@pytest.fixture
def key() -> str:
    """The one key that the console accepts."""
    return KEY


@pytest.fixture
def timing() -> Timing:
    """Patience for tests: tenths of a second instead of seconds."""
    return QUICK


@pytest.fixture
def package_root() -> Path:
    """The folder that makes `binnacle_connector` importable."""
    return ROOT


class Peer:
    """One accepted connection."""

    def __init__(self, sock: socket.socket, tls: Any = None) -> None:
        if tls:
            sock = tls.wrap_socket(sock, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(65536)
            if not piece:
                raise ConnectionError
            head += piece
        lines = head.decode("latin-1").split("\r\n")
        self.path = lines[0].split(" ")[1]
        pairs = (line.split(": ", 1) for line in lines[1:] if ": " in line)
        self.headers = {name.lower(): value for name, value in pairs}
        environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in self.headers.items()}
        self.raw = sock
        self._sending = threading.Lock()
        self.ws = simple_websocket.Server.accept({**environ, "werkzeug.socket": sock}, max_message_size=5 * 1024 * 1024)

    def send(self, message: Any) -> None:
        with self._sending:
            self.ws.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def receive(self) -> dict[str, Any]:
        return json.loads(self.ws.receive())

    def close(self, code: int = 1000, reason: str = "") -> None:
        try:
            self.ws.close(code, reason)
        except (simple_websocket.ConnectionClosed, LocalProtocolError):
            return

    def cut(self) -> None:
        """As if the cable was pulled."""
        try:
            self.raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class Console:
    """A console that stores what it acknowledges. Replace its `on_…` to make it behave otherwise."""

    def __init__(self, tls: Any = None) -> None:
        self.tls = tls
        self.port = 0
        self.stored: dict[int, dict[str, Any]] = {}
        self.arrivals: list[int] = []
        self.duplicates: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.peers: list[Peer] = []
        self.accepts_key = True
        self.attempts = 0
        self.hello_ok: dict[str, Any] = {}
        self.on_auth: Callable[[Peer], bool] = self.admit
        self.on_samples: Callable[[Peer, dict[str, Any]], None] = self.store
        self.on_other: Callable[[Peer, dict[str, Any]], None] = lambda peer, message: None
        self._listener: socket.socket | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Nobody listens, nobody is connected."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            try:
                listener.shutdown(socket.SHUT_RDWR)
            finally:
                listener.close()
        self.cut()

    def cut(self) -> None:
        for peer in self.peers:
            peer.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self.attempts += 1
        try:
            peer = Peer(sock, self.tls)
            self.peers.append(peer)
            if not self.on_auth(peer):
                return
            while True:
                message = peer.receive()
                self.messages.append(message)
                if message["type"] == "samples":
                    self.on_samples(peer, message)
                elif message["type"] == "ping":
                    peer.send({"type": "pong"})
                else:
                    self.on_other(peer, message)
        except (simple_websocket.ConnectionClosed, LocalProtocolError, OSError):
            return

    def admit(self, peer: Peer) -> bool:
        auth = peer.receive()
        if not self.accepts_key or auth != {"type": "auth", "api_key": KEY}:
            peer.close(1008, "bad key")
            return False
        peer.send({"type": "auth_success", "server_id": "9b2f", "message": "welcome"})
        self.messages.append(peer.receive())
        peer.send({"type": "hello_ok", "acked": max(self.stored, default=0), "time": "2026-01-01T00:00:00Z", **self.hello_ok})
        return True

    def keep(self, samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            self.arrivals.append(sample["seq"])
            if sample["seq"] in self.stored:
                self.duplicates.append(sample["seq"])
            self.stored[sample["seq"]] = sample

    def store(self, peer: Peer, message: dict[str, Any]) -> None:
        self.keep(message["samples"])
        peer.send({"type": "samples_ack", "seq": message["samples"][-1]["seq"]})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in list(self.messages) if message["type"] == kind]


@pytest.fixture
def console() -> Iterator[Console]:
    server = Console()
    yield server
    server.shut()


class Machine:
    """Connectors that run in this process, with a beat of 20 ms, and stop with the test."""

    def __init__(self, folder: Path) -> None:
        self.state = StateDir(folder / "state")
        self.running: list[Connector] = []

    def start(
        self,
        url: str,
        timing: Timing = QUICK,
        interval: Any = 0.02,
        ca_file: str | None = None,
        commands: bool = True,
        containers: str = "off",
    ) -> Connector:
        settings = Settings(url, KEY, interval, self.state.path, ca_file, "info", commands, containers)
        connector = Connector(settings, self.state, timing)
        self.running.append(connector)
        connector.start()
        return connector

    def stop(self) -> None:
        while self.running:
            self.running.pop().stop()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.stop()


class Programs:
    """Subprocesses of the command line, ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BINNACLE_")}
        return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), **more}

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "binnacle_connector", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment(**env), timeout=60)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "binnacle_connector", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, env=self.environment(**env), **pipes)  # type: ignore[call-overload]
        self.started.append(process)
        return process

    def config(self, console: Console, **more: Any) -> Path:
        path = self.folder / "config.json"
        path.write_text(json.dumps({"server": console.url, "key": KEY, "state_dir": str(self.folder / "state"), **more}))
        path.chmod(0o600)
        return path

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.end()
