"""Secrets in what a run prints: found and replaced on the way in, whole or split over pieces, plain or encoded.

A piece of text may end in the beginning of a secret. That end is held back until what follows shows what it is.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "••••••"
SHORTEST = 4  # characters of a secret that can be masked: anything shorter is everywhere
LONGEST = 8192
_LINE = 8  # a line of a secret of several lines is a secret itself from this length on
_BREAK = r"(?:\r?\n)?"  # base64 and xxd break their lines where they like


def _base64(value: bytes) -> set[str]:
    """What every base64 text that holds the bytes has in common, at each of the three alignments."""
    found = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + value).decode().rstrip("=")
        first = (0, 2, 3)[before]  # characters that also depend on what comes before
        last = len(text) - ((before + len(value)) % 3 != 0)  # the last one also on what comes after
        found.add(text[first:last])
    return found | {text.translate(str.maketrans("+/", "-_")) for text in found}


def _url(value: str) -> set[str]:
    found = {quote(value, safe=""), quote(value), quote_plus(value)}
    return found | {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in found}


def _encodings(value: str) -> tuple[set[str], set[str]]:
    """The ways in which it may be printed: as one piece, and with line ends in between."""
    raw = value.encode()
    whole = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]} | _url(value)
    broken = _base64(raw) | {raw.hex(), raw.hex().upper()}
    if "\n" in value:
        whole.add(value.replace("\n", "\r\n"))
        for line in value.splitlines():
            if len(line.strip()) >= _LINE:
                more = _encodings(line.strip())
                whole, broken = whole | more[0], broken | more[1]
    return whole, broken


class Masker:
    """Masks the secrets of one run."""

    def __init__(self, values: Iterable[str]) -> None:
        whole: set[str] = set()
        broken: set[str] = set()
        for value in values:
            more = _encodings(value)
            whole, broken = whole | more[0], broken | more[1]
        whole = {text for text in whole if len(text) >= SHORTEST}
        broken = {text for text in broken if len(text) >= SHORTEST} - whole
        self._whole, self._broken = sorted(whole), sorted(broken)
        self._firsts = {text[0] for text in whole | broken}
        self._reach = max((len(text) * 2 for text in whole | broken), default=0)
        self._patterns = [re.compile(_BREAK.join(map(re.escape, text))) for text in self._broken]

    def mask(self, text: str) -> str:
        """A whole text without the secrets."""
        return _covered(text, self._spans(text))

    def mask_json(self, value: Any) -> Any:
        """A JSON value without the secrets, in texts, names of fields and whole numbers; nothing else changes."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {self.mask(str(name)): self.mask_json(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.mask_json(one) for one in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return MASK if self.mask(json.dumps(value)) == MASK else value
        return value

    def feed(self, held: str, text: str) -> tuple[str, str]:
        """What can be shown of what was held back and what has come, and what is held back now."""
        text = held + text
        spans, cut = self._spans(text), self._beginning(text)
        for start, end in spans:
            if start < cut < end:
                cut = start
        return _covered(text[:cut], [span for span in spans if span[1] <= cut]), text[cut:]

    def flush(self, held: str) -> str:
        """The end: what was held back did not become a whole secret, but most of one is not shown either."""
        return MASK if len(held) >= SHORTEST else self.mask(held)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for one in self._whole:
            at = text.find(one)
            while at >= 0:
                found.append((at, at + len(one)))
                at = text.find(one, at + 1)  # the next may overlap
        for pattern in self._patterns:
            match = pattern.search(text)
            while match:
                found.append(match.span())
                match = pattern.search(text, match.start() + 1)
        merged: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        return merged

    def _beginning(self, text: str) -> int:
        """Where the longest end of the text starts that may be the beginning of a secret."""
        for at in range(max(0, len(text) - self._reach), len(text)):
            if text[at] not in self._firsts:
                continue
            end = text[at:]
            if any(len(whole) > len(end) and whole.startswith(end) for whole in self._whole):
                return at
            joined = end.replace("\r", "").replace("\n", "")
            if any(len(one) > len(joined) and one.startswith(joined) for one in self._broken):
                return at
        return len(text)


def _covered(text: str, spans: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], MASK]
        at = end
    return "".join([*parts, text[at:]])
