"""Which computers are connected to this process, and the watch that cuts those whose key or computer is gone."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from app.database import reading
from app.journal.queries import after, last_seq
from app.logging import get_logger
from app.web.sockets import POLICY_VIOLATION, Socket

WATCH_S = 1.0
HELLO_S = 1.0
BATCH = 500
CUTTING = ("api_key.revoked", "computer.deleted")
log = get_logger(__name__)
# What rooms above do: with messages of a type, after a `hello`, and when a connection has ended.
message_handlers: dict[str, Callable[["Connection", dict[str, Any]], None]] = {}
greeted_hooks: list[Callable[["Connection"], None]] = []
metrics_hooks: list[Callable[["Connection", list[Any] | None], None]] = []  # with the containers of an original agent
gone_hooks: list[Callable[["Connection"], None]] = []


@dataclass(eq=False)
class Connection:
    """One socket of one computer. Whoever sends to it takes `sending`."""

    socket: Socket
    computer_id: int
    uuid: str
    key_id: str
    capabilities: frozenset[str] = frozenset()
    memory: str | None = None  # names what the connector remembers of commands; another one has forgotten
    greeted: bool = False  # by a `hello`, which original agents do not send
    since: float = field(default_factory=time.monotonic)
    sending: threading.Lock = field(default_factory=threading.Lock)

    @property
    def settled(self) -> bool:
        """Whether it is known what it can do: it has said hello, or has not within a second, as an original agent."""
        return self.greeted or time.monotonic() - self.since > HELLO_S

    def send(self, text: str) -> None:
        """Send one message. Raises ConnectionClosed or OSError."""
        with self.sending:
            self.socket.send(text)


class Registry:
    """The connections of this process by computer."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._by_computer: dict[int, Connection] = {}
        self._pid = 0
        self._seen = 0

    def __len__(self) -> int:
        return len(self._by_computer)

    def connected(self) -> dict[int, Connection]:
        """Every connection by computer."""
        return dict(self._by_computer)

    def get(self, computer_id: int) -> Connection | None:
        """The connection of a computer, if it is connected here."""
        return self._by_computer.get(computer_id)

    def add(self, connection: Connection, seen: int) -> None:
        """Register a connection, authenticated when the journal stood at `seen`; an older one of the same computer is closed."""
        with self._lock:
            older = self._by_computer.get(connection.computer_id)
            self._by_computer[connection.computer_id] = connection
            if self._pid != os.getpid():
                self._pid, self._seen = os.getpid(), seen
                threading.Thread(target=self._watch, name="connector-watch", daemon=True).start()
            self._seen = min(self._seen, seen)
        if older is not None:
            older.socket.close(1000, "replaced by a newer connection")

    def remove(self, connection: Connection) -> bool:
        """Forget a connection; False when a newer one has taken its place."""
        with self._lock:
            if self._by_computer.get(connection.computer_id) is not connection:
                return False
            del self._by_computer[connection.computer_id]
            return True

    def _watch(self) -> None:
        with self._app.app_context():
            while True:
                time.sleep(WATCH_S)
                if not self._by_computer:
                    continue
                try:
                    self._cut_revoked()
                except Exception as error:  # the database may be away for a while; the watch goes on
                    log.warning("connector watch failed", error=str(error)[:300])

    def _cut_revoked(self) -> None:
        with reading():
            newest = last_seq()
            found = after(self._seen, CUTTING, BATCH) if newest > self._seen else []
            entries = [(e.type, e.subject_id) for e in found]
        with self._lock:
            self._seen = found[-1].seq if len(found) == BATCH else newest  # a full batch: the next look reads on
            keys = {subject for kind, subject in entries if kind == "api_key.revoked"}
            computers = {subject for kind, subject in entries if kind == "computer.deleted"}
            doomed = [c for c in self._by_computer.values() if c.key_id in keys or c.uuid in computers]
        for connection in doomed:
            log.info("cutting a connector", computer=connection.uuid)
            connection.socket.close(POLICY_VIOLATION, "the key was revoked")
            connection.socket.cut()


def registry_of(app: Flask) -> Registry:
    """The process's registry."""
    registry: Registry = app.extensions["binnacle_connections"]
    return registry
