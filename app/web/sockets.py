"""WebSockets under gevent: whole frames, one writer at a time, bounded input, exact Origin (RELIABILITY 18).

simple-websocket writes with `sock.send`, which truncates large frames under gevent, from several greenlets, and reads
without bound; the two small classes here mend that from outside.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from flask import Flask, request
from simple_websocket import ConnectionClosed, Server
from wsproto.events import Ping
from wsproto.frame_protocol import FrameProtocol

from app.actors import Actor, ActorKind, Permission
from app.errors import Forbidden, Malformed
from app.extensions import db, sock
from app.logging import get_logger
from app.web import access
from app.web.routing import Room

PEOPLE_MAX_BYTES = 64 << 10
CONNECTOR_MAX_BYTES = 5 << 20
MAX_WAITING_MESSAGES = 16
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
PING_S = 30.0
# Never simple-websocket's own `ping_interval`: it waits in a selector on a file descriptor that gunicorn closes under it, and
# libev then aborts the whole process. `Socket.receive` pings instead.
log = get_logger(__name__)
SERVER_OPTIONS = {"max_message_size": PEOPLE_MAX_BYTES, "receive_bytes": 65536}


class _WholeSocket:
    """A socket whose `send` sends everything, one sender at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._lock = threading.Lock()

    def send(self, data: bytes) -> int:
        with self._lock:
            self._raw.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _BoundedInput(list[Any]):
    """The reader's buffer; full, it makes the reader wait, so that TCP slows the peer down."""

    def append(self, item: Any) -> None:
        while len(self) >= MAX_WAITING_MESSAGES:
            time.sleep(0.01)
        super().append(item)


def text_frame(payload: str) -> bytes:
    """A server's text frame (RFC 6455, section 5.2), built once and sent to many."""
    return bytes(FrameProtocol(client=False, extensions=[]).send_data(payload))


class Socket:
    """One accepted WebSocket."""

    def __init__(self, server: Server, max_bytes: int) -> None:
        self._server = server
        server.sock = _WholeSocket(server.sock)
        server.input_buffer = _BoundedInput(server.input_buffer)
        server.max_message_size = max_bytes

    @property
    def connected(self) -> bool:
        return bool(self._server.connected)

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message, or None after `timeout` seconds. Raises ConnectionClosed, also when a ping is not answered."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = PING_S if deadline is None else min(PING_S, deadline - time.monotonic())
            message: str | bytes | None = self._server.receive(timeout=max(0.0, left))
            if message is not None or (deadline is not None and time.monotonic() >= deadline):
                return message
            self._ping()

    def _ping(self) -> None:
        if not self._server.pong_received:
            self.close(POLICY_VIOLATION, "Ping/Pong timeout")
            self.cut()
            raise ConnectionClosed(POLICY_VIOLATION, "Ping/Pong timeout")
        self._server.pong_received = False
        self._server.sock.send(self._server.ws.send(Ping()))

    def send(self, text: str) -> None:
        """Send one text message. Raises ConnectionClosed or OSError."""
        self._server.send(text)

    def send_frame(self, frame: bytes) -> None:
        """Send a frame that `text_frame` built. Raises ConnectionClosed or OSError."""
        if not self._server.connected:
            raise ConnectionClosed(self._server.close_reason, self._server.close_message)
        self._server.sock.send(frame)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close; safe to call twice."""
        try:
            self._server.close(code, reason)
        except (ConnectionClosed, OSError):
            return

    def cut(self) -> None:
        """End the connection at once, also when a writer is stuck in it."""
        try:
            self._server.sock.shutdown(2)
        except OSError:
            return


def route(room: Room, rule: str, *, permission: Permission, max_bytes: int = PEOPLE_MAX_BYTES) -> Callable[..., Any]:
    """Declare a WebSocket. The handler gets `(socket, actor, **path)`, holds no database session and no transaction.

    A foreign Origin, or credentials that do not allow `permission`, end the handshake with 403 or 401.
    """

    def decorate(handler: Callable[..., None]) -> Callable[..., None]:
        def run(server: Server, **path: Any) -> None:
            db.session.remove()
            socket = Socket(server, max_bytes)
            _open.add(socket)
            try:
                handler(socket, access.actor(), **path)
            except (ConnectionClosed, OSError):
                return
            except Exception:  # an error page would be written into the open socket
                log.exception("unhandled error in a socket", path=rule)
                socket.close(INTERNAL_ERROR, "internal error")
            finally:
                _open.discard(socket)
                db.session.remove()

        run.__name__ = handler.__name__
        run.permission = permission  # type: ignore[attr-defined]
        sock.route(rule, bp=room, endpoint=handler.__name__)(run)
        return handler

    return decorate


def check_opening(who: Actor, permission: Permission) -> None:
    """Raises Malformed for half a handshake, Forbidden for a foreign Origin (a cookie needs one, and whatever is sent must be
    ours); and as `authorise`."""
    if not request.headers.get("Sec-WebSocket-Key") or request.headers.get("Sec-WebSocket-Version") != "13":
        raise Malformed(details="A WebSocket opens with Sec-WebSocket-Key and Sec-WebSocket-Version: 13 (RFC 6455, section 4)")
    origin = request.headers.get("Origin")
    own = f"{request.scheme}://{request.host}"
    if (origin is not None and origin != own) or (origin is None and who.kind is ActorKind.USER):
        raise Forbidden("WebSocket from a foreign origin")
    access.authorise(who, permission)


class Watched(Protocol):
    """A connection that ends when its caller's credentials do."""

    actor: Actor
    socket: Socket
    checked_at: float

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and end."""

    def is_stuck(self) -> bool:
        """Whether its writer has been held up for too long."""


_watched: set[Watched] = set()
_watches: list[Callable[[Flask], None]] = []


def set_watch(start: Callable[[Flask], None]) -> None:
    """The room `live` says here how the watch over connections begins (again and again is once)."""
    _watches[:] = [start]


def watch(app: Flask, connection: Watched) -> None:
    """Have a connection ended within seconds of a sign-out, a revoked key or a change of rights."""
    _watched.add(connection)
    for start in _watches:
        start(app)


def unwatch(connection: Watched) -> None:
    """The connection has ended."""
    _watched.discard(connection)


def watched() -> list[Watched]:
    """Every connection to watch."""
    return list(_watched)


_open: set[Socket] = set()


def close_all(code: int, reason: str) -> None:
    """Close every socket of this process (when it stops)."""
    for socket in list(_open):
        socket.close(code, reason)
        socket.cut()
