"""The log of a container as lines: read in a thread, given away piece by piece, at the reader's pace."""

from __future__ import annotations

import datetime
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .engine import Engine, EngineError, Finder, is_running, started
from .lines import Line, Lines, Told
from .log import logger
from .request import Refused

PIECE = 32 * 1024
IN_FLIGHT = 256 * 1024
HELD = 512 * 1024
JOINED = 0.1
MAX_TAIL = 10_000
LOOK = 0.5  # between two looks whether it was started again
LET_GO = 3.0  # a container counts as running for a moment after its log has ended
MAX_ANSWER = 2 * 1024 * 1024


def parse_tail(message: dict[str, Any], default: int | None) -> int | None:
    """How many last lines; "all" is none. Raises Refused."""
    value: Any = message.get("tail")
    if value is None:
        return default
    if value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TAIL:
        raise Refused(f'The tail must be a whole number from 0 to {MAX_TAIL:,}, or "all".')
    return value


class Reader(threading.Thread):
    """Reads one log. `take` and `acknowledge` belong to the connection; it waits while too much is not taken."""

    def __init__(
        self,
        request_id: str,
        container_id: str,
        tail: int | None,
        follow: bool,
        finder: Finder,
        ring: Callable[[], None],
    ) -> None:
        super().__init__(name="container-log", daemon=True)
        self.request_id = request_id
        self._container, self._tail, self._following = container_id, tail, follow
        self._finder, self._ring = finder, ring
        self._room = threading.Condition()
        self._lines: deque[Line] = deque()
        self._held = 0
        self._since = 0.0
        self._flying: deque[tuple[int, int]] = deque()
        self._seq = 0
        self._stream: Any = None
        self._stopping = False
        self._told = Told()
        self.ending: tuple[str, str | None] | None = None  # why it ended, and what there is to say

    def run(self) -> None:
        reason, words = "ended", None
        try:
            engine = self._finder.open()
            try:
                self._read_all(engine)
            finally:
                engine.close()
        except EngineError as error:
            reason, words = "not_found" if error.status == 404 else "failed", str(error)
        except Exception as error:
            if not self._stopping:
                logger.warning("a container's log failed: %s: %s", type(error).__name__, error)
                reason, words = "failed", f"The log broke off: {type(error).__name__}."
        with self._room:
            self.ending = ("stopped", None) if self._stopping else (reason, words)
        self._ring()

    def _read_all(self, engine: Engine) -> None:
        """Read, and when the container is started again, go on: engines end a log with the container."""
        tail, since = self._tail, None
        begun = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        while not self._stopping:
            log = engine.logs(self._container, tail, self._following, since)
            self._stream = log.chunks
            if self._stopping:
                log.chunks.close()
            self._read(log.chunks, Lines(log.terminal))
            if not self._following or not self._started_again(engine, log.started):
                return
            tail, since = None, self._told.again() or begun

    def _started_again(self, engine: Engine, before: str) -> bool:
        """Wait until it is started again; false when the log ended for another reason."""
        patience = time.monotonic() + LET_GO
        while not self._stopping:
            told = engine.inspect(self._container)
            if is_running(told):
                if started(told) != before:
                    return True
                if time.monotonic() >= patience:
                    return False
            with self._room:
                self._room.wait(LOOK)
        return False

    def _read(self, chunks: Any, lines: Lines) -> None:
        for chunk in chunks:
            for line in lines.feed(chunk):
                self._put(line)
            if self._stopping:
                return
        for line in lines.rest():
            self._put(line)

    def _put(self, line: Line) -> None:
        if not self._told.is_new(line):
            return
        with self._room:
            while self._held >= HELD and not self._stopping:
                self._room.wait()
            if not self._lines:
                self._since = time.monotonic()
            self._lines.append(line)
            self._held += line.size
            rings = len(self._lines) == 1 or self._held >= PIECE
        if rings:
            self._ring()

    def due(self) -> float | None:
        """When (monotonic) there is something to take; none when there is nothing, or the other side has enough."""
        with self._room:
            if not self._lines or sum(size for _, size in self._flying) >= IN_FLIGHT:
                return None
            return 0.0 if self._held >= PIECE or self.ending else self._since + JOINED

    @property
    def finished(self) -> bool:
        """Whether it has ended and all of it was taken."""
        with self._room:
            return self.ending is not None and not self._lines

    def take(self) -> tuple[int, list[Line]]:
        """The next piece and its number; call it when one is due."""
        with self._room:
            taken, size = [], 0
            while self._lines and (not taken or size + self._lines[0].size <= PIECE):
                line = self._lines.popleft()
                taken.append(line)
                size += line.size
            self._held -= size
            self._since = time.monotonic()
            self._seq += 1
            self._flying.append((self._seq, size))
            self._room.notify()
            return self._seq, taken

    def acknowledge(self, seq: int) -> None:
        """The other side has everything up to a number."""
        with self._room:
            while self._flying and self._flying[0][0] <= seq:
                self._flying.popleft()

    def stop(self) -> None:
        """Nobody reads it any more."""
        with self._room:
            self._stopping = True
            self._room.notify()
        stream = self._stream
        if stream is not None:
            try:
                stream.close()
            except Exception as error:
                logger.debug("a log was closed already: %s", error)


class Tail(threading.Thread):
    """Reads the last lines of a log for one answer of at most 2 MiB; the oldest give way."""

    def __init__(
        self,
        request_id: str,
        container_id: str,
        tail: int | None,
        finder: Finder,
        done: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(name="container-tail", daemon=True)
        self._request_id, self._container, self._tail = request_id, container_id, tail
        self._finder, self._done = finder, done

    def run(self) -> None:
        try:
            answer = self._answer()
        except EngineError as error:
            reason = "not_found" if error.status == 404 else "failed"
            answer = {"type": "error", "message": str(error), "data": {"reason": reason}}
        except Exception as error:
            words = f"The connector failed: {type(error).__name__}."
            answer = {"type": "error", "message": words, "data": {"reason": "failed"}}
        self._done({**answer, "request_id": self._request_id})

    def _answer(self) -> dict[str, Any]:
        kept: deque[Line] = deque(maxlen=self._tail)
        size, dropped = 0, False
        engine = self._finder.open()
        try:
            log = engine.logs(self._container, self._tail, follow=False)
            for line in self._lines(log.chunks, Lines(log.terminal)):
                if kept.maxlen and len(kept) == kept.maxlen:
                    size -= kept[0].size
                kept.append(line)
                size += line.size
                while size > MAX_ANSWER:
                    size -= kept.popleft().size
                    dropped = True
        finally:
            engine.close()
        data = {"logs": [line.text for line in kept], "truncated": dropped}
        return {"type": "container_logs", "data": data}

    @staticmethod
    def _lines(chunks: Any, lines: Lines) -> Iterator[Line]:
        for chunk in chunks:
            yield from lines.feed(chunk)
        yield from lines.rest()
