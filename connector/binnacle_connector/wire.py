"""One WebSocket as the client needs it: whole text messages, wake-ups, bounded sizes, and one way to fail."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Any

from .log import brief

MAX_MESSAGE = 5 * 1024 * 1024
CONNECT_TIMEOUT = 10.0
SEND_TIMEOUT = 10.0
RECEIVE_TIMEOUT = 1.0
STALL_LIMIT = 30.0


class ConnectionLost(Exception):
    """The socket could not be opened, broke, or was closed by the server with `code` (None when it was not)."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


class Waker:
    """Ends another thread's `Connection.receive` early; safe to ring from any thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """For select."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Wake whoever waits; ringing twice is ringing once."""
        try:
            self._writer.send(b"!")
        except OSError:
            return  # full, so it is rung already; or closed, so nobody waits

    def hush(self) -> None:
        """Forget all rings so far."""
        try:
            while self._reader.recv(4096):
                pass
        except OSError:
            return

    def close(self) -> None:
        """Give both ends back."""
        self._reader.close()
        self._writer.close()


class Connection:
    """A WebSocket client connection. All methods but `abort` and `check` belong to one thread."""

    def __init__(self, waker: Waker) -> None:
        import websocket

        class Bounded(websocket.frame_buffer):
            """Refuses a frame above the limit before any of it is read."""

            def recv_strict(self, bufsize: int) -> bytes:
                if bufsize > MAX_MESSAGE:
                    raise websocket.WebSocketPayloadException(f"a frame of {bufsize} bytes is too large")
                return super().recv_strict(bufsize)

        self._library = websocket
        self._ws = websocket.WebSocket(enable_multithread=False)
        self._ws.frame_buffer = Bounded(self._ws._recv, True)
        self._waker = waker
        self._parts: list[bytes] = []
        self._parts_kind = 0
        self._stalled_at: float | None = None
        self.heard = time.monotonic()

    def open(self, url: str, ca_file: str | None) -> None:
        """Dial `url` (ws or wss); certificates are verified, redirects refused. Raises ConnectionLost."""
        options: dict[str, Any] = {"timeout": CONNECT_TIMEOUT, "suppress_origin": True, "redirect_limit": 0}
        if url.startswith("wss:"):
            import ssl

            self._ws.sock_opt.sslopt = {"context": ssl.create_default_context(cafile=ca_file)}
        self._guarded(self._ws.connect, url, **options)
        if self._ws.getstatus() != 101:
            raise ConnectionLost(f"the server answered the handshake with HTTP {self._ws.getstatus()}")
        self.heard = time.monotonic()

    def send(self, text: str) -> None:
        """Send one text message. Raises ConnectionLost, also when the server does not read for 10 s."""
        self._timeout(SEND_TIMEOUT)
        self._guarded(self._ws.send, text)

    def receive(self, timeout: float) -> str | None:
        """The next text message; none when `timeout` seconds passed, the waker rang or something else came.

        Any frame counts as a sign of life (`heard`). Raises ConnectionLost; ValueError for a message that is not text.
        """
        sock = self._ws.sock
        if sock is None:
            raise ConnectionLost("the socket is closed")
        if not (hasattr(sock, "pending") and sock.pending()):
            readable = self._readable(sock, max(0.0, timeout))
            if self._waker in readable:
                self._waker.hush()
            if sock not in readable:
                return None
        self._timeout(RECEIVE_TIMEOUT)
        try:
            frame = self._guarded(self._ws.recv_frame)
        except TimeoutError:
            return None  # the rest of the frame comes later; the library keeps what it has
        self.heard = time.monotonic()
        return self._take(frame)

    def _readable(self, sock: Any, timeout: float) -> list[Any]:
        try:
            return select.select([sock, self._waker], [], [], timeout)[0]
        except (OSError, ValueError) as error:
            raise ConnectionLost(f"the socket broke: {error}") from None

    def _take(self, frame: Any) -> str | None:
        abnf = self._library.ABNF
        if frame.opcode == abnf.OPCODE_CLOSE:
            self._answer_close(frame.data)
        if frame.opcode == abnf.OPCODE_PING:
            self._timeout(SEND_TIMEOUT)
            self._guarded(self._ws.pong, frame.data[:125])
        if frame.opcode in (abnf.OPCODE_PING, abnf.OPCODE_PONG):
            return None
        if frame.opcode != abnf.OPCODE_CONT:
            self._parts, self._parts_kind = [], frame.opcode
        self._parts.append(frame.data)
        if sum(len(part) for part in self._parts) > MAX_MESSAGE or len(self._parts) > 1000:
            raise ConnectionLost("a message was too large")
        if not frame.fin:
            return None
        whole, self._parts = b"".join(self._parts), []
        if self._parts_kind != abnf.OPCODE_TEXT:
            raise ValueError("a message was not text")
        return whole.decode("utf-8")

    def _answer_close(self, data: bytes) -> None:
        code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None
        try:
            self._guarded(self._ws.send_close, code or 1000)
        except ConnectionLost:
            pass
        finally:
            self._ws.shutdown()  # type: ignore[no-untyped-call]
        words = brief(data[2:].decode("utf-8", "replace"))
        raise ConnectionLost(f"closed by the server with {code or 'no code'}: {words or 'no reason'}", code)

    def close(self) -> None:
        """Say goodbye without waiting for the answer, and let the socket go."""
        try:
            if self._ws.connected:
                self._timeout(0.5)
                self._guarded(self._ws.send_close, 1001)
        except ConnectionLost:
            pass
        finally:
            self._ws.shutdown()  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """From another thread: break whatever the connection waits for."""
        sock = self._ws.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def check(self) -> None:
        """From another thread: abort when one send or one frame has taken longer than 30 s."""
        stalled_at = self._stalled_at
        if stalled_at is not None and time.monotonic() > stalled_at:
            self.abort()

    def _timeout(self, seconds: float) -> None:
        if self._ws.sock is not None:
            self._ws.sock.settimeout(seconds)

    def _guarded(self, call: Any, *arguments: Any, **named: Any) -> Any:
        """Run one library call under the stall limit; whatever it raises becomes ConnectionLost or TimeoutError."""
        receiving = call == self._ws.recv_frame
        if not receiving or self._stalled_at is None:
            self._stalled_at = time.monotonic() + STALL_LIMIT
        try:
            result = call(*arguments, **named)
        except self._library.WebSocketTimeoutException:
            if receiving:
                if self._ws.frame_buffer.header is None and not self._ws.frame_buffer.recv_buffer:
                    self._stalled_at = None  # nothing of a frame came; TLS had something to say to itself
                raise TimeoutError from None
            self._stalled_at = None
            raise ConnectionLost("the server takes too long") from None
        except self._library.WebSocketBadStatusException as error:
            self._stalled_at = None
            raise ConnectionLost(f"the server answered the handshake with HTTP {error.status_code}") from None
        except Exception as error:
            self._stalled_at = None
            raise ConnectionLost(brief(f"{type(error).__name__}: {error}")) from None
        self._stalled_at = None
        return result
