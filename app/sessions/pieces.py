"""What bots report, as the domain takes it: beginnings, ends and events, and what became of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from app.actors import Actor
from app.sessions.models import EventType


@dataclass(frozen=True)
class NewSession:
    """What a bot says when a session begins; `proxy` is the whole address, `info` JSON text."""

    session_id: str
    profile_id: str | None = None
    device: str | None = None
    target_url: str | None = None
    proxy: str | None = None
    country: str | None = None
    info: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What a bot says when a session ends."""

    session_id: str
    success: bool
    duration_us: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class NewEvent:
    """What a bot did: `at` in ms since 1970, `details` JSON text, `key` the client's own id."""

    session_id: str
    event_type: EventType
    at: int
    details: str
    key: str | None = None


@dataclass(frozen=True)
class Piece:
    """What one request wants stored, all of it or nothing."""

    actor: Actor
    registers: Sequence[NewSession] = ()
    ends: Sequence[Outcome] = ()
    events: Sequence[NewEvent] = ()

    @property
    def session_ids(self) -> set[str]:
        """The sessions that it names."""
        named = {new.session_id for new in self.registers} | {end.session_id for end in self.ends}
        return named | {event.session_id for event in self.events}

    @property
    def size(self) -> int:
        """How many rows it is."""
        return len(self.registers) + len(self.ends) + len(self.events)


@dataclass
class Stored:
    """What became of a piece: the ids of its events in order, and the active sessions that its caller sees."""

    event_ids: list[int] = field(default_factory=list)
    active: int = 0


def host_of(url: str | None) -> str | None:
    """The host that a target address names, in lower case; None when it names none, or none that could be one."""
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname if url else None
    except ValueError:
        return None
    return host if host and len(host) <= 255 else None


_CREDENTIALS = re.compile(r"(?<=://)[^\s/@\"'\\]{1,400}@")


def without_credentials(text: str) -> str:
    """A bot's words with the user names and passwords of addresses in it masked: errors like to quote the proxy."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text
