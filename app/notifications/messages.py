"""What people read: one message for one alert, or one for all of a storm. Pure functions of what was stored."""

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from app.apprise_call import Message
from app.deliveries.models import Delivery

TEST = "channel.test"
GROUP_FROM = 4  # that many at once are told in one message
SHOWN = 20  # lines of such a message
_KINDS = {"warning": "warning", "critical": "failure"}
_REASONS = {
    "person": "resolved by a person",
    "threshold_changed": "its rule was changed",
    "subject_gone": "what it was about is gone",
    "expired": "nobody looked at it",
}
_RANK = {"warning": 1, "critical": 2}


@dataclass(frozen=True)
class Note:
    """What is to be said of an alert, as it was when it happened. `what` is fired, escalated, repeated, resolved or test."""

    what: str
    alert_id: str = ""
    severity: str = "warning"
    title: str = ""
    message: str = ""
    since: str = ""
    duration_s: float | None = None
    reason: str | None = None

    def dump(self) -> str:
        """As the payload of a delivery."""
        return orjson.dumps(asdict(self)).decode()

    @staticmethod
    def load(payload: str) -> "Note":
        """Of a delivery's payload."""
        values: dict[str, Any] = orjson.loads(payload)
        return Note(**values)


def severity_of(row: Delivery) -> int:
    """How bad the alert was when this delivery was made: 1 or 2."""
    return _RANK.get(Note.load(row.payload).severity, 0)


def rank(severity: str) -> int:
    """1 for a warning, 2 for a critical one."""
    return _RANK.get(severity, 0)


def pack(rows: list[Delivery]) -> list[list[Delivery]]:
    """The parcels in which deliveries to one channel go out: tests by themselves, many alerts as one, few one by one."""
    tests, alerts = [row for row in rows if row.event == TEST], [row for row in rows if row.event != TEST]
    grouped = [alerts] if len(alerts) >= GROUP_FROM else [[row] for row in alerts]
    return [*([row] for row in tests), *grouped]


def harmless(text: str) -> str:
    """Names come from computers: one called `@everyone` must not wake everyone, nor begin a line of its own."""
    flat = " ".join(text.split())
    return flat.replace("@", "@\N{ZERO WIDTH SPACE}").replace("<!", "<\N{ZERO WIDTH SPACE}!")


def lasted(seconds: float | None) -> str:
    """A duration in words."""
    if seconds is None:
        return "some time"
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def write(notes: list[Note], own_url: str) -> Message:
    """The message for one note, or for many at once."""
    return _one(notes[0], own_url) if len(notes) == 1 else _many(notes, own_url)


def _one(note: Note, own_url: str) -> Message:
    if note.what == "test":
        return Message("Binnacle: test", f"{harmless(note.message)}\n{own_url}/settings/channels", "info")
    link = f"{own_url}/alerts/{note.alert_id}/"
    if note.what == "resolved":
        return Message(
            f"Resolved: {harmless(note.title)}", f"Over after {lasted(note.duration_s)}{_why(note)}.\n{link}", "success"
        )
    word = {"escalated": "Now critical", "repeated": f"Still {note.severity}"}.get(note.what, note.severity.capitalize())
    lines = [harmless(note.message), f"Since {note.since}" if note.since else "", link]
    return Message(
        f"{word}: {harmless(note.title)}", "\n".join(line for line in lines if line), _KINDS.get(note.severity, "warning")
    )


def _why(note: Note) -> str:
    said = _REASONS.get(note.reason or "")
    return f" ({said})" if said else ""


def _many(notes: list[Note], own_url: str) -> Message:
    over = [note for note in notes if note.what == "resolved"]
    open_ = sorted((note for note in notes if note.what != "resolved"), key=lambda note: -rank(note.severity))
    critical = sum(note.severity == "critical" for note in open_)
    heads = [f"{len(open_)} alerts ({critical} critical)" if open_ else "", f"{len(over)} resolved" if over else ""]
    lines = [_line(note) for note in (*open_, *over)]
    if len(lines) > SHOWN:
        lines = [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more"]
    kind = ("failure" if critical else "warning") if open_ else "success"
    return Message(", ".join(head for head in heads if head), "\n".join([*lines, f"{own_url}/alerts/"]), kind)


def _line(note: Note) -> str:
    if note.what == "resolved":
        return f"Resolved: {harmless(note.title)} (after {lasted(note.duration_s)})"
    word = {"escalated": "Now critical", "repeated": f"Still {note.severity}"}.get(note.what, note.severity.capitalize())
    return f"{word}: {harmless(note.title)}"
