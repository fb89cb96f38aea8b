"""Lines of a container's log, made of what engines send, and which of them were read before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

MAX_LINE = 16 * 1024

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?")
_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}


class Line(NamedTuple):
    """A line without its end: `at` is RFC 3339 as the engine tells it, or none."""

    stream: str
    at: str | None
    text: str

    @property
    def size(self) -> int:
        """About its bytes in a message."""
        return len(self.text.encode("utf-8")) + len(self.at or "") + 24


class Lines:
    """Turns chunks of an engine's log, in frames or (a terminal's) without, into lines, wherever they were split."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._raw = b""
        self._open: dict[str, bytes] = {}

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this chunk."""
        if self._terminal:
            yield from self._cut("stdout", chunk)
            return
        raw, place = self._raw + chunk, 0
        while len(raw) >= place + 8:
            end = place + 8 + int.from_bytes(raw[place + 4 : place + 8], "big")
            if len(raw) < end:
                break
            yield from self._frame(_STREAMS.get(raw[place], "stdout"), raw[place + 8 : end])
            place = end
        self._raw = raw[place:]

    def rest(self) -> Iterator[Line]:
        """What is left when the log has ended without a line's end."""
        for stream, data in self._open.items():
            if data:
                yield _line(stream, data)
        self._open = {}

    def _frame(self, stream: str, data: bytes) -> Iterator[Line]:
        """One frame. Engines cut long lines, and put the time before each part."""
        stamp = _STAMP.match(data)
        yield from self._cut(stream, data[stamp.end() :] if stamp and self._open.get(stream) else data)

    def _cut(self, stream: str, data: bytes) -> Iterator[Line]:
        whole = self._open.get(stream, b"") + data
        *ended, left = whole.split(b"\n")
        for one in ended:
            yield _line(stream, one)
        while len(left) > 4 * MAX_LINE:  # a line without an end goes on below
            yield _line(stream, left[: 4 * MAX_LINE])
            left = left[4 * MAX_LINE :]
        self._open[stream] = left


def _line(stream: str, data: bytes) -> Line:
    found = _STAMP.match(data)
    at = found.group(1).decode("ascii") if found else None
    text = data[found.end() if found else 0 :].decode("utf-8", "replace").replace("\0", "\ufffd")
    text = text[:-1] if text.endswith("\r") else text
    if len(text) > MAX_LINE:
        text = text[:MAX_LINE] + f" … {len(text) - MAX_LINE:,} more characters"
    return Line(stream, at, text)


class Told:
    """Which lines were read already when a log is read anew from the moment of the last one.

    Engines say when a container was started later than it begins to print, and some tell times to the second only: so
    reading goes on from the last line's own time, and as many lines of that time as were read before are left out.
    """

    def __init__(self) -> None:
        self._last: str | None = None
        self._same: Counter[tuple[str, str]] = Counter()
        self._again: Counter[tuple[str, str]] = Counter()

    def again(self) -> str | None:
        """The log is read anew: gives the moment to begin from, none when there was no line."""
        self._again = Counter(self._same)
        return self._last

    def is_new(self, line: Line) -> bool:
        """Whether a line was not read before; it is now."""
        key = (line.stream, line.text)
        if line.at != self._last:
            self._last = line.at or self._last
            self._same.clear()
            self._again.clear()
        elif self._again[key] > 0:
            self._again[key] -= 1
            return False
        self._same[key] += 1
        return True
