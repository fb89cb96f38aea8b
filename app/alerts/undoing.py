"""What takes back a person's word on alerts and silences."""

from collections.abc import Sequence
from typing import Any

from app.actors import Actor
from app.alerts.book import CLOCK, Book, open_book
from app.alerts.checks import refuse_wider
from app.alerts.deadlines import mute_anew
from app.alerts.models import Alert, AlertStatus, Silence
from app.alerts.operations import delete_silences
from app.alerts.queries import get_silence
from app.clock import iso
from app.database import session
from app.errors import Forbidden, NotFound
from app.journal.operations import Subject, record, tick

_ALERTS: Any = Alert.__table__


def _loaded(book: Book, ids: Sequence[str], actor: Actor) -> list[Any]:
    """Those of the alerts that the actor may see and that the evaluation still looks at."""
    parts = (ids[start : start + 1000] for start in range(0, len(ids), 1000))
    return [entry for part in parts for entry in book.load(_ALERTS.c.id.in_(part)) if actor.sees(entry.tenant_id)]


def unacknowledge(ids: Sequence[str], *, actor: Actor) -> list[str]:
    """Nobody has them in hand any more. Returns the ids of those that changed; what is not acknowledged, or of another tenant, is
    left out."""
    book = open_book()
    for entry in _loaded(book, ids, actor):
        if entry.status is AlertStatus.ACKNOWLEDGED:
            entry.status, entry.acknowledged_at, entry.acknowledged_by, entry.note = AlertStatus.ACTIVE, None, None, None
            entry.tell("alert.unacknowledged", actor, by=actor.name)
    return [entry.id for entry in book.save()]


def reopen(ids: Sequence[str], *, actor: Actor) -> list[str]:
    """They were not over: as they were before a person resolved them. Returns the ids of those that changed; what has recovered
    since, or came again, stays as it is."""
    book = open_book()
    for entry in _loaded(book, ids, actor):
        if entry.status is AlertStatus.RESOLVED and entry.resolve_reason == "person":
            entry.status = AlertStatus.ACKNOWLEDGED if entry.acknowledged_at is not None else AlertStatus.ACTIVE
            entry.resolved_at = entry.resolved_by = entry.resolve_reason = entry.latched_until = entry.due_at = None
            entry.tell("alert.reopened", actor, by=actor.name)
    return [entry.id for entry in book.save()]


def end_silences(ids: Sequence[str], *, actor: Actor) -> int:
    """Delete silences that were made a moment ago; returns how many. What is gone, or not the actor's to end, is left out."""
    rows = []
    for one in ids:
        try:
            row = get_silence(one, actor)
            refuse_wider(row.tenant_id, actor)
        except (NotFound, Forbidden):
            continue
        rows.append(row)
    if rows:
        delete_silences(rows, actor=actor)
    return len(rows)


def end_early(row: Silence, *, actor: Actor) -> None:
    """End a silence that is on now; it stays in the list as one that is over. Raises Forbidden."""
    book = open_book()
    refuse_wider(row.tenant_id, actor)
    planned, row.ends_at, row.due_at, row.version = row.ends_at, book.moment, None, tick(CLOCK)
    session().flush()
    subject = Subject("silence", row.id, row.reason[:100] or "silence", row.tenant_id)
    record("silence.updated", actor, subject, before={"ends_at": iso(planned)}, after={"ends_at": iso(row.ends_at)})
    mute_anew(book)
    book.save()
