"""What a terminal would show of output: lines with their colours, and nothing else of what escape sequences could do.

Output is hostile text. Here it becomes plain strings with class names of our own; the template escapes the strings.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

MAX_LINE = 4000
# CSI · OSC with its end · DCS, SOS, PM, APC with theirs · any other escape.
_ESCAPE = re.compile(
    "\x1b\\[([0-?]*)[ -/]*([@-~]?)|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\\\)?|\x1b[ -/]*[0-~]?"
)
_DROPPED = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\x1b"}
# Marks that turn the direction of what follows could make a line read as another one.
_TURNING = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C), "\N{REPLACEMENT CHARACTER}")
_TABLE = _DROPPED | _TURNING


@dataclass
class Style:
    """What a terminal remembers between two characters: a colour each for text and background (0-15), and bold and so on."""

    text: int | None = None
    back: int | None = None
    marks: set[str] = field(default_factory=set)

    @property
    def classes(self) -> str:
        """As class names."""
        names = [f"bn-f{self.text}"] if self.text is not None else []
        names += [f"bn-b{self.back}"] if self.back is not None else []
        return " ".join(names + sorted(self.marks))

    def take(self, parameters: str) -> None:
        """The parameters of an `m` sequence (ECMA-48, "SGR"). Colours beyond the sixteen are left out."""
        numbers = [int(part) if part.isdecimal() and len(part) < 4 else 0 for part in re.split("[;:]", parameters)]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                colour = numbers[1] if numbers[:1] == [5] and len(numbers) > 1 and numbers[1] < 16 else None
                del numbers[: {5: 2, 2: 4}.get(numbers[0] if numbers else 0, 1)]
                if number == 38:
                    self.text = colour
                else:
                    self.back = colour
            else:
                self._set(number)

    def _set(self, number: int) -> None:
        match number:
            case 0:
                self.text, self.back, self.marks = None, None, set()
            case 1 | 2 | 3 | 4:
                self.marks.add(f"bn-m{number}")
            case 22:
                self.marks -= {"bn-m1", "bn-m2"}
            case 23 | 24:
                self.marks.discard(f"bn-m{number - 20}")
            case _ if 30 <= number <= 37 or 90 <= number <= 97:
                self.text = number - 30 if number < 40 else number - 82
            case _ if 40 <= number <= 47 or 100 <= number <= 107:
                self.back = number - 40 if number < 50 else number - 92
            case 39:
                self.text = None
            case 49:
                self.back = None


@dataclass
class Line:
    """A line: its number from 1, when it began (`clock`, UTC), and (classes, text) in order. `part`: it goes on
    in what comes next; `over`: it replaces what the line showed; `returns`: what comes next replaces it."""

    stream: str
    number: int = 0
    clock: str = ""
    raw: str = ""
    part: bool = True
    over: bool = False
    returns: bool = False
    spans: Sequence[tuple[str, str]] = ()
    cut: int = 0


@dataclass(frozen=True)
class Piece:
    """A piece of output as it is stored (`runs.models.RunLog`)."""

    seq: int
    stream: str
    text: str
    line: int = 0
    joined: bool = False
    at: datetime | None = None


class Splitter:
    """Pieces in order, as `lines` in the order in which they began. Each stream has lines of its own; `times` is how their times
    are written."""

    def __init__(self, times: str = "%H:%M:%S") -> None:
        self.lines: list[Line] = []
        self._times = times
        self._going_on: dict[str, Line | None] = {}
        self._first = True

    def feed(self, piece: Piece) -> None:
        """The next piece. A line that began before the first one has no number, unless nothing can have come in between."""
        stream, begun, clock = piece.stream, piece.line, piece.at.strftime(self._times) if piece.at else ""
        unknown = piece.joined and self._going_on.get(stream) is None  # it goes on in a line that is not among these pieces
        for at, part in enumerate(piece.text.split("\n")):
            line = self._going_on.get(stream)
            if line is None and (part or at):
                begun += not unknown
                line = self._begin(stream, begun if self._first or not unknown else 0, clock)
                unknown = False
            if at and line is not None:
                line.part = False
                line = self._going_on[stream] = None
                if part:
                    begun += 1
                    line = self._begin(stream, begun, clock)
            if part and line is not None:
                line.raw += part
        self._first = False

    def _begin(self, stream: str, number: int, clock: str) -> Line:
        line = self._going_on[stream] = Line(stream, number, clock)
        self.lines.append(line)
        return line

    def take(self) -> list[Line]:
        """The lines that have ended, which are forgotten."""
        ended = [line for line in self.lines if not line.part]
        self.lines = [line for line in self.lines if line.part]
        return ended


def split(pieces: Iterable[Piece], times: str = "%H:%M:%S") -> list[Line]:
    """All lines of pieces, as they were printed."""
    splitter = Splitter(times)
    for piece in pieces:
        splitter.feed(piece)
    return splitter.lines


def finish(shown: Sequence[Line]) -> Sequence[Line]:
    """The same lines with their `spans`: what carriage returns and colours say is done."""
    styles: dict[str, Style] = {}
    for line in shown:
        _finish(line, styles.setdefault(line.stream, Style()))
    return shown


def lines(pieces: Iterable[Piece], limit: int, times: str = "%H:%M:%S") -> tuple[list[Line], bool]:
    """The last `limit` lines of pieces, and whether some were left out."""
    found = split(pieces, times)
    return list(finish(found[-limit:])), len(found) > limit


def shows(line: Line, text: str) -> bool:
    """Whether the line shows a text (in lower case), whatever the case and the colours of its letters."""
    raw = line.raw.rstrip("\r").rpartition("\r")[2]
    return text in (_ESCAPE.sub("", raw) if "\x1b" in raw else raw).lower()


def _finish(line: Line, style: Style) -> None:
    """Do what carriage returns and colours say."""
    raw = line.raw.rstrip("\r")
    line.returns = line.part and raw != line.raw
    if "\r" in raw:
        raw, line.over = raw.rsplit("\r", 1)[1], True
    if len(raw) > MAX_LINE:
        raw, line.cut = raw[:MAX_LINE], len(raw) - MAX_LINE
    if "\x1b" not in raw:
        line.spans = ((style.classes, raw.translate(_TABLE)),) if raw else ()
        return
    spans, at = [], 0
    for match in _ESCAPE.finditer(raw):
        if match.start() > at:
            spans.append((style.classes, raw[at : match.start()].translate(_TABLE)))
        if match[2] == "m":
            style.take(match[1])
        at = match.end()
    if at < len(raw):
        spans.append((style.classes, raw[at:].translate(_TABLE)))
    line.spans = spans
