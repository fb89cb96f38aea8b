"""What the pages of sessions show of a session and of an event. All of it comes from bots: it is cut to a readable length, and
terminal colours, control characters and marks that turn the direction of reading are taken out of it (RELIABILITY 13)."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.clock import from_ms
from app.sessions.counters import COLOURS
from app.sessions.models import BotSession, Event, EventType

SHORT, LONG = 160, 2_000
JSON_IN_ROW, JSON_ALONE = 4_000, 100_000
MOST_FACTS = 6
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_BEFORE_HOST = re.compile(r"^[a-z0-9+.-]+://(?:[^@/]*@)?", re.IGNORECASE)
# What each type of event is called, and its icon.
TYPES = {
    EventType.NAVIGATION: ("Navigation", "compass"),
    EventType.PAGE_LOAD: ("Page load", "world"),
    EventType.CLICK: ("Click", "pointer"),
    EventType.SCROLL: ("Scroll", "arrow-down"),
    EventType.TYPE: ("Typing", "keyboard"),
    EventType.SCREENSHOT: ("Screenshot", "camera"),
    EventType.ERROR: ("Error", "alert-triangle"),
    EventType.CUSTOM: ("Custom", "bolt"),
}


def clean(text: str, limit: int) -> str:
    """Text of a bot as it may be shown, at most `limit` characters and an ellipsis."""
    plain = _HIDDEN.sub("", COLOURS.sub("", text[: limit * 2 + 500])).strip()
    return plain if len(plain) <= limit and len(text) <= limit * 2 + 500 else plain[:limit].rstrip() + "…"


def one_line(text: str | None, limit: int = SHORT) -> str:
    """The same in one line."""
    return " ".join(clean(text, limit).split()) if text else ""


def lasting(seconds: float) -> str:
    """A duration: "340 ms", "4.2 s", "12 s", "4 min 10 s", "1 h 02 min"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def offset(ms: int) -> str:
    """How long after the beginning of a session: "+1.2 s"; bots' clocks differ, so it can be before it."""
    sign = "−" if ms < 0 else "+"
    return f"{sign}{abs(ms) / 1000:.1f} s" if abs(ms) < 60_000 else f"{sign}{lasting(abs(ms) / 1000)}"


@dataclass(frozen=True)
class SessionRow:
    """What `sessions/_row.html` and `sessions/_now.html` show; `error` is one line, `whole_error` as it came,
    `exit` the proxy's host and port."""

    id: int
    name: str
    profile: str
    profile_id: str | None
    status: str
    target: str
    host: str | None
    address: str
    proxy: str
    exit: str
    proxy_uuid: str | None
    country: str
    country_id: str | None
    device: str
    device_id: str | None
    tenant_id: str
    tenant: str
    events: int
    errors: int
    started: datetime
    ended: datetime | None
    duration: str
    error: str
    whole_error: str
    error_key: str | None
    session_id: str
    info: str | None


def session_row(s: BotSession, proxies: dict[int, str]) -> SessionRow:
    """A session as a row; `proxies` are public ids of proxies by internal id."""
    return SessionRow(
        id=s.id, name=one_line(s.session_id) or str(s.id), profile=one_line(s.profile_id), profile_id=s.profile_id,
        status=s.status.value, target=one_line(s.target_host or s.target_url, 100), host=s.target_host,
        address=one_line(s.target_url, 300), proxy=one_line(s.proxy),
        exit=_BEFORE_HOST.sub("", one_line(s.proxy)),
        proxy_uuid=None if s.proxy_id is None else proxies.get(s.proxy_id), country=one_line(s.country, 50), country_id=s.country,
        device=one_line(s.device, 100), device_id=s.device, tenant_id=s.tenant_id, tenant=s.tenant.name, events=s.events,
        errors=s.errors, started=from_ms(s.started_at), ended=None if s.ended_at is None else from_ms(s.ended_at),
        duration="" if s.duration_us is None else lasting(s.duration_us / 1e6), error=one_line(s.error),
        whole_error=clean(s.error or "", LONG), error_key=s.error_key, session_id=s.session_id, info=s.info,
    )  # fmt: skip


@dataclass(frozen=True)
class EventRow:
    """What `sessions/_event.html` and `sessions/_step.html` show: the details that say most in words, and all of them as
    `json`, "" when the words have said everything. `picture` is the address of a screenshot that may be linked."""

    id: int
    session: int
    name: str
    type: str
    word: str
    icon: str
    at: datetime
    offset: str
    message: str
    url: str
    load: str
    picture: str
    path: str
    facts: tuple[tuple[str, str], ...]
    json: str
    is_cut: bool


def event_row(e: Event, started_at: int | None = None, limit: int = JSON_IN_ROW) -> EventRow:
    """An event as a row; `started_at` (ms) of its session gives the offset."""
    word, icon = TYPES[e.event_type]
    found = _Details(e)
    json, is_cut = ("", False) if found.all_said else pretty(e.details, limit)
    return EventRow(
        id=e.id, session=e.session_row, name=one_line(e.session_id), type=e.event_type.value, word=word, icon=icon,
        at=from_ms(e.at), offset="" if started_at is None else offset(e.at - started_at), message=found.message, url=found.url,
        load=found.load, picture=found.picture, path=found.path, facts=tuple(found.facts), json=json, is_cut=is_cut,
    )  # fmt: skip


class _Details:
    """The details of an event, those first that say most."""

    def __init__(self, event: Event) -> None:
        loaded = orjson.loads(event.details or "{}")
        self._left: dict[str, Any] = loaded if isinstance(loaded, dict) else {"value": loaded}
        self.all_said = True
        self.picture = self.path = ""
        if event.event_type is EventType.SCREENSHOT:
            self.picture = web_address(self._left.get("url"))
            self.path = self._take("path", 300)
        self.message = self._take("message", 500) or self._take("error", 500)
        self.url = self._take("url", 300)
        self.load = ""
        took = self._left.get("load_time_ms")
        if isinstance(took, (int, float)) and not isinstance(took, bool) and 0 <= took < 1e12:
            self.load = lasting(took / 1000)
            del self._left["load_time_ms"]
        self.facts = [fact for fact in map(self._fact, list(self._left.items())[:MOST_FACTS]) if fact]
        self.all_said = self.all_said and len(self._left) <= MOST_FACTS

    def _said(self, text: str, limit: int) -> str:
        shown = one_line(text, limit)
        self.all_said = self.all_said and shown == text
        return shown

    def _take(self, name: str, limit: int) -> str:
        return self._said(self._left.pop(name), limit) if isinstance(self._left.get(name), str) else ""

    def _fact(self, item: tuple[str, Any]) -> tuple[str, str] | None:
        name, value = item
        if isinstance(value, (dict, list)):
            self.all_said = False
            return None
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return self._said(name, 40).replace("_", " "), self._said(text, SHORT)


def web_address(value: Any) -> str:
    """The address when it is one of the web (http, https with a host) that may be linked, else ""."""
    try:
        if isinstance(value, str) and len(value) <= LONG and value.isprintable():
            parts = urlsplit(value)
            return value if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:
        pass
    return ""


def pretty(document: str, limit: int = JSON_ALONE) -> tuple[str, bool]:
    """JSON text with line breaks, at most `limit` characters, and whether it was cut."""
    text = _HIDDEN.sub("", orjson.dumps(orjson.loads(document), option=orjson.OPT_INDENT_2).decode())
    return text[:limit], len(text) > limit


def metadata(row: SessionRow) -> tuple[tuple[tuple[str, str], ...], str]:
    """The bot's metadata: what is plain as (name, text), and all of it as JSON when that is more."""
    found = orjson.loads(row.info) if row.info else {}
    plain = [(one_line(k, 60), one_line(v if isinstance(v, str) else orjson.dumps(v).decode(), 300)) for k, v in found.items()
             if not isinstance(v, (dict, list))][:20]  # fmt: skip
    return tuple(plain), "" if len(plain) == len(found) else pretty(row.info or "{}")[0]
