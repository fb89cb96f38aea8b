"""What commands wrote and the server has not stored yet: in order, numbered, and within bounds."""

from __future__ import annotations

import codecs
import os
import threading
import time
from collections import deque
from typing import Callable, NamedTuple

MAX_DATA = 32 * 1024
MAX_OUTPUT = 4 * 1024 * 1024
MAX_TOTAL = 16 * 1024 * 1024
TAIL = 64 * 1024
JOIN = 0.025
RATE = 10.0
BURST = 20.0
IN_ORDER = 16
SLACK = 256 * 1024
_CHARACTERS = MAX_DATA // 4
_ENCODING = "oem" if os.name == "nt" else "utf-8"


class Part(NamedTuple):
    """One message's worth: `dropped` bytes are missing right before it."""

    seq: int
    stream: str
    data: str
    dropped: int


class _Block:
    """UTF-8 text of one stream; it grows until it is full or has been given its number."""

    __slots__ = ("at", "data", "dropped", "full", "seq", "stream")

    def __init__(self, stream: str, dropped: int) -> None:
        self.stream, self.dropped = stream, dropped
        self.data = bytearray()
        self.at = time.monotonic()
        self.seq = 0
        self.full = False


class Buffers:
    """All outputs of this connector, and whether a server takes them. `lock` guards everything in them.

    `ring` is called when there is something new to send; `patience` is in seconds.
    """

    def __init__(self, ring: Callable[[], None], patience: float) -> None:
        self.lock = threading.RLock()
        self.ring, self.patience = ring, patience
        self.size = 0
        self.outputs: list[Output] = []
        self.connected = False
        self.waiting_since: float | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the server acknowledges what it is sent; one that has not for `patience` seconds does not."""
        waiting = self.waiting_since
        return waiting is None or time.monotonic() - waiting < self.patience

    @property
    def flowing(self) -> bool:
        """Whether it is worth while to make a command wait until there is room again."""
        return self.connected and self.acknowledged

    def shed(self) -> None:
        """Drop the oldest of the largest until all fit; hold the lock."""
        while self.size > MAX_TOTAL:
            max(self.outputs, key=lambda output: output.size).drop_oldest()


class Output:
    """One command's output. Bytes are counted as they came; everything else is text in UTF-8."""

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._decoders = {name: codecs.getincrementaldecoder(_ENCODING)("replace") for name in ("stdout", "stderr")}
        self._blocks: deque[_Block] = deque()
        self._unnumbered = 0
        self._missing = 0
        self._tail = bytearray()
        self._tokens, self._counted_at = BURST, time.monotonic()
        self.received = {"stdout": 0, "stderr": 0}
        self.size = 0
        self.dropped = 0
        self.last_seq = 0
        self._handed_out = 0
        with buffers.lock:
            buffers.outputs.append(self)

    @property
    def room(self) -> bool:
        """Whether more may be read without dropping anything."""
        return self.size < MAX_OUTPUT and self._buffers.size < MAX_TOTAL

    def feed(self, stream: str, data: bytes) -> None:
        """Take what was read. Beyond the bounds the oldest goes, unless a server is about to make room."""
        with self._buffers.lock:
            self.received[stream] += len(data)
            self._append(stream, self._decoders[stream].decode(data))
            while self.size > MAX_OUTPUT + (SLACK if self._buffers.flowing else 0):
                self.drop_oldest()
            self._buffers.shed()

    def finish(self) -> None:
        """No more will come: give everything its number."""
        with self._buffers.lock:
            for stream, decoder in self._decoders.items():
                self._append(stream, decoder.decode(b"", True))
            for block in self._blocks:
                self._number(block)

    def tail(self) -> str:
        """The last 64 KiB of both streams, as they came."""
        with self._buffers.lock:
            return bytes(self._tail[-TAIL:]).decode("utf-8", "ignore")

    def due(self, after: int) -> float | None:
        """When (monotonic) something with a number above `after` may be sent; none when there is nothing."""
        with self._buffers.lock:
            block = self._first(after)
            if block is None:
                return None
            if block.seq or block.full:
                return 0.0
            self._earn()
            return max(block.at + JOIN, self._counted_at + max(0.0, 1.0 - self._tokens) / RATE)

    def take(self, after: int) -> Part | None:
        """What to send next after number `after`, if it is time for it; it stays here until it is acknowledged."""
        with self._buffers.lock:
            moment = self.due(after)
            block = self._first(after)
            if block is None or moment is None or moment > time.monotonic():
                return None
            if not block.seq and not block.full:
                self._tokens -= 1.0
            self._number(block)
            self._handed_out = max(self._handed_out, block.seq)
            return Part(block.seq, block.stream, block.data.decode("utf-8"), block.dropped)

    def in_flight(self, sent: int) -> int:
        """Bytes that are numbered up to `sent` and not acknowledged."""
        with self._buffers.lock:
            total = 0
            for block in self._blocks:
                if not 0 < block.seq <= sent:
                    break
                total += len(block.data)
            return total

    def acknowledge(self, seq: int) -> None:
        """The server has stored everything up to `seq`; nothing that was never handed out goes."""
        with self._buffers.lock:
            while self._blocks and 0 < self._blocks[0].seq <= min(seq, self._handed_out):
                self._shorten()

    def forget(self) -> None:
        """Nobody will ask for it again."""
        with self._buffers.lock:
            while self._blocks:
                self._shorten()
            if self in self._buffers.outputs:
                self._buffers.outputs.remove(self)

    def drop_oldest(self) -> None:
        """Give up the oldest part, and note before which one it is missing; hold the lock."""
        block = self._blocks[0]
        self._shorten()
        self.dropped += len(block.data)
        self._missing += block.dropped + len(block.data)
        if self._blocks:
            self._blocks[0].dropped += self._missing
            self._missing = 0

    def _append(self, stream: str, text: str) -> None:
        text = text.replace("\0", "\ufffd")
        for start in range(0, len(text), _CHARACTERS):
            piece = text[start : start + _CHARACTERS].encode("utf-8")
            self._block_for(stream, len(piece)).data.extend(piece)
            self._tail.extend(piece)
            self.size += len(piece)
            self._buffers.size += len(piece)
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]

    def _block_for(self, stream: str, size: int) -> _Block:
        """Where to write on. When many wait, the two streams are joined out of order rather than split ever smaller."""
        for place in range(1, 1 + min(len(self._blocks), 2 if self._unnumbered > IN_ORDER else 1)):
            block = self._blocks[-place]
            if block.stream == stream and not block.seq and not block.full:
                if len(block.data) + size <= MAX_DATA:
                    return block
                block.full = True
        block = _Block(stream, self._missing)
        self._missing = 0
        self._blocks.append(block)
        if self._buffers.connected:
            self._buffers.ring()
        self._unnumbered += 1
        return block

    def _first(self, after: int) -> _Block | None:
        return next((block for block in self._blocks if not block.seq or block.seq > after), None)

    def _number(self, block: _Block) -> None:
        if not block.seq:
            self.last_seq += 1
            block.seq = self.last_seq
            self._unnumbered -= 1

    def _shorten(self) -> None:
        block = self._blocks.popleft()
        self.size -= len(block.data)
        self._buffers.size -= len(block.data)
        self._unnumbered -= not block.seq

    def _earn(self) -> None:
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._counted_at) * RATE)
        self._counted_at = now
