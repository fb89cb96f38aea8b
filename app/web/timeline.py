"""What happened to a thing, in order. The thing's own room shows it; rooms that come later hang in what they did about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Moment:
    """Something that happened: when, what in a word, more in words, and who did it. `tone` is "", "ok", "warn" or "bad"."""

    at: datetime
    icon: str
    title: str
    text: str = ""
    who: str = ""
    tone: str = ""
    href: str = ""


_sources: dict[str, list[Callable[[Any], Iterable[Moment]]]] = {}


def add_moments(kind: str, moments: Callable[[Any], Iterable[Moment]]) -> None:
    """A room announces what it knows of a kind of thing, such as `alert` (at import; twice is once)."""
    known = _sources.setdefault(kind, [])
    if moments not in known:
        known.append(moments)


def moments_of(kind: str, thing: Any) -> list[Moment]:
    """Everything that happened to a thing, oldest first."""
    found = [moment for moments in _sources.get(kind, ()) for moment in moments(thing)]
    return sorted(found, key=lambda moment: moment.at)
