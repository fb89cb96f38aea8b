"""A lean HTTP/1.1 client for asyncio: POSTs JSON over connections that stay open, so many at a time and no more.

Thousands of requests a second share two cores with the server they go to; that is why it is not one of the libraries.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import orjson

from app.simulator.wire import MAX_HEAD, Address

ANSWER_S = 45.0  # the server itself gives up after 30
MAX_BODY = 1 << 24


@dataclass(frozen=True)
class Answer:
    """What the server said. `retry_after` in seconds, None when it named none; `seconds` is how long it took."""

    status: int
    body: bytes
    retry_after: float | None
    seconds: float

    @property
    def words(self) -> str:
        """Its reason, as far as it gave one."""
        with suppress(orjson.JSONDecodeError, AttributeError):
            said = orjson.loads(self.body)
            return str(said.get("detail") or said.get("error") or self.status)[:200]
        return str(self.status)


@dataclass(frozen=True)
class _Channel:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Client:
    """Connections to one server, at most `limit` of them."""

    def __init__(self, url: str, limit: int) -> None:
        self._address = Address.of(url, "")
        self._room = asyncio.Semaphore(limit)
        self._idle: list[_Channel] = []

    async def post(self, path: str, key: str, payload: bytes) -> Answer:
        """Send JSON. Raises OSError when no whole answer came; whether the server has taken it is then unknown."""
        async with self._room:
            channel: _Channel | None = None
            began = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_S):
                    channel = await self._channel()
                    channel.writer.write(self._head(path, key, len(payload)) + payload)
                    await channel.writer.drain()
                    answer, stays = await _read(channel.reader, began)
            except BaseException as error:
                if channel is not None:
                    channel.writer.transport.abort()
                if isinstance(error, (EOFError, ValueError, asyncio.LimitOverrunError)):
                    raise ConnectionError(f"no whole answer ({type(error).__name__})") from None
                raise
            if stays:
                self._idle.append(channel)
            else:
                channel.writer.close()
            return answer

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().writer.close()

    async def _channel(self) -> _Channel:
        while self._idle:
            channel = self._idle.pop()
            if not channel.reader.at_eof() and not channel.writer.is_closing():
                return channel
            channel.writer.close()
        to = self._address
        return _Channel(*await asyncio.open_connection(to.host, to.port, ssl=to.tls, limit=MAX_HEAD))

    def _head(self, path: str, key: str, size: int) -> bytes:
        return (
            f"POST {self._address.path}{path} HTTP/1.1\r\nHost: {self._address.authority}\r\nX-API-Key: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        ).encode()


async def _read(reader: asyncio.StreamReader, began: float) -> tuple[Answer, bool]:
    """An answer, and whether the connection stays open. Raises EOFError, ValueError when it is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    version, _, rest = first.partition(" ")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(fields["content-length"]) if "content-length" in fields else -1
    if "transfer-encoding" in fields or size < 0 or size > MAX_BODY:
        raise ValueError("an answer without a length")
    body = await reader.readexactly(size)
    after = fields.get("retry-after", "")
    stays = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
    wait = float(after) if after.isdecimal() else None
    return Answer(int(rest[:3]), body, wait, time.monotonic() - began), stays
