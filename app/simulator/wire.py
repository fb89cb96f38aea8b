"""A lean WebSocket client for asyncio (RFC 6455): one Protocol object a socket, no task, no extension, whole text messages.

2,000 of these in one process share two cores with the server they talk to; that is why it is not one of the libraries.
"""

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG, CONTINUED = 1, 8, 9, 10, 0
MAX_HEAD = 16_384


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame: final, masked with a fresh key."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    key = os.urandom(4)
    mask = (key * (size // 4 + 1))[:size]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


@dataclass(frozen=True)
class Address:
    """Where a WebSocket is, made from the server's http(s) address and a path."""

    host: str
    port: int
    path: str
    authority: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str, path: str) -> "Address":
        """From `http://host:port` or `https://…`."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        tls = ssl.create_default_context() if secure else None
        return cls(parts.hostname or "", parts.port or (443 if secure else 80), parts.path.rstrip("/") + path, parts.netloc, tls)


class Wire(asyncio.Protocol):
    """One socket. `on_open()`, `on_text(bytes)` and `on_lost(reason)` are called from the loop; `on_lost` exactly once."""

    def __init__(self, address: Address, on_open: Callable[[], None], on_text: Callable[[bytes], None],
                 on_lost: Callable[[str], None], headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self._address, self._headers = address, headers or {}
        self._on_open, self._on_text, self._on_lost = on_open, on_text, on_lost
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._key = base64.b64encode(os.urandom(16))
        self._transport: asyncio.Transport | None = None
        self._open = False
        self._why = ""

    async def connect(self) -> None:
        """Dial. Raises OSError or ssl.SSLError; after that, `on_lost` speaks of every end."""
        to = self._address
        await asyncio.get_running_loop().create_connection(lambda: self, to.host, to.port, ssl=to.tls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        lines = [f"GET {self._address.path} HTTP/1.1", f"Host: {self._address.authority}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {self._key.decode()}"]  # fmt: skip
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open and not self._shake_hands():
            return
        while self._open and self._next_frame():
            continue

    def connection_lost(self, exc: Exception | None) -> None:
        self._open, self._transport = False, None
        self._on_lost(self._why or (str(exc) if exc else "closed"))

    def send(self, payload: bytes) -> None:
        """Send a text message; nothing when the socket has gone."""
        if self._transport is not None and self._open:
            self._transport.write(frame(payload))

    def close(self) -> None:
        """Say goodbye and close."""
        if self._transport is not None:
            if self._open:
                self._transport.write(frame((1000).to_bytes(2, "big"), CLOSE))
            self._transport.close()

    def cut(self, why: str) -> None:
        """End it at once, as a computer does that loses its network."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def _shake_hands(self) -> bool:
        head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            if len(head) > MAX_HEAD:
                self.cut("an endless answer to the handshake")
            return False
        wanted = base64.b64encode(hashlib.sha1(self._key + MAGIC, usedforsecurity=False).digest())
        status = head.split(b"\r\n", 1)[0]
        if b" 101" not in status or wanted not in head:
            self.cut(f"refused: {status.decode('latin-1')[9:60]}")
            return False
        self._buffer, self._open = bytearray(rest), True
        self._on_open()
        return True

    def _next_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        final, opcode, size, start = buffer[0] & 0x80, buffer[0] & 15, buffer[1] & 127, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return False
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return False
        with memoryview(buffer) as view:
            payload = bytes(view[start : start + size])
        del buffer[: start + size]
        self._take(opcode, payload, bool(final))
        return True

    def _take(self, opcode: int, payload: bytes, final: bool) -> None:
        if opcode in (TEXT, CONTINUED):
            self._parts.append(payload)
            if final:
                whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._parts.clear()
                self._on_text(whole)
        elif opcode == PING and self._transport is not None:
            self._transport.write(frame(payload, PONG))
        elif opcode == CLOSE:
            self._why = f"closed by the server: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode('utf-8', 'replace')}"
            self.close()
