"""One viewer: a bounded mailbox and the one writer of its socket. Who cannot keep up gets one `stale`, never a backlog."""

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
from simple_websocket import ConnectionClosed

from app.actors import Actor
from app.web.live import LiveList
from app.web.sockets import Socket, text_frame

if TYPE_CHECKING:
    from app.live.hub import View

MAILBOX = 16
HEARTBEAT_S = 20.0
STUCK_S = 60.0
_HEARTBEAT = text_frame('{"op":"hb"}')


class Viewer:
    """A connection to `/ws/live`. `push` is called by the hub, `write` runs in a thread of its own."""

    def __init__(self, socket: Socket, who: Actor, tenant: str | None) -> None:
        self.socket = socket
        self.actor = who
        self.tenant = tenant
        self.views: dict[str, View] = {}
        self.told_stale: set[str] = set()
        self.checked_at = time.monotonic()
        self._mail: deque[bytes] = deque()
        self._ready = threading.Event()
        self._stale = False
        self._closing: tuple[int, str] | None = None
        self._writing_since: float | None = None

    def scope_for(self, who: Actor, live_list: LiveList) -> frozenset[str] | None:
        """The tenants whose rows this viewer sees: the one chosen in the top bar, else all that the actor may see."""
        chosen = self.tenant if live_list.switched else None
        return frozenset({chosen}) if chosen and who.sees(chosen) else who.tenant_ids

    def push(self, data: bytes) -> None:
        """Put a frame into the mailbox; when it is full, drop everything for one `stale`."""
        if len(self._mail) >= MAILBOX:
            self._mail.clear()
            self._stale = True
        elif not self._stale:
            self._mail.append(data)
        self._ready.set()

    def close(self, code: int, reason: str) -> None:
        """Let the writer say goodbye and end."""
        self._closing = self._closing or (code, reason)
        self._ready.set()

    def is_stuck(self) -> bool:
        """Whether the writer has been held up by a dead or slow peer for too long."""
        since = self._writing_since
        return since is not None and time.monotonic() - since > STUCK_S

    def write(self) -> None:
        """Write the mailbox out until the socket closes."""
        try:
            while self.socket.connected:
                if not self._ready.wait(HEARTBEAT_S):
                    self._send(_HEARTBEAT)
                    continue
                self._ready.clear()
                if self._closing:
                    self.socket.close(*self._closing)
                    return
                while self._mail:
                    self._send(self._mail.popleft())
                if self._stale:
                    self._say_stale()
        except (ConnectionClosed, OSError):
            return
        finally:
            self.socket.cut()

    def _say_stale(self) -> None:
        self._stale = False
        for key, view in list(self.views.items()):
            self._send(text_frame(orjson.dumps({"op": "stale", "view": key, "rev": view.rev}).decode()))

    def _send(self, data: bytes) -> None:
        self._writing_since = time.monotonic()
        self.socket.send_frame(data)
        self._writing_since = None


def message(**fields: Any) -> bytes:
    """A message as a frame."""
    return text_frame(orjson.dumps(fields).decode())
