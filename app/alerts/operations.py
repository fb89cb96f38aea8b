"""What people can do with alerts, rules and silences, and what other rooms use: `offer` a metric, `observe` its values.

What they tell the journal is in docs/alerts.md.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from app.actors import SYSTEM, Actor
from app.alerts.book import CLOCK, Book, open_book
from app.alerts.catalogue import About, Metric, Observation, Source, metric_of, offer
from app.alerts.checks import check_silence, check_threshold, place, refuse_wider
from app.alerts.deadlines import mute_anew
from app.alerts.evaluation import observe, on_samples
from app.alerts.models import ACTIVE, Alert, AlertMark, AlertStatus, Comparison, ScopeKind, Silence, Threshold
from app.clock import now
from app.database import insert_ignore, session, unit_of_work, upsert
from app.errors import Conflict
from app.fleet.models import Computer
from app.fleet.operations import PLACEMENT
from app.journal.operations import Happening, Subject, record, record_all, tick

__all__ = ["CLOCK", "About", "Metric", "Observation", "Source", "observe", "offer", "on_samples"]
DEFAULTS = "defaults"
_ALERTS: Any = Alert.__table__
# What a fresh installation watches: quiet, and what one would be sorry to have missed.
DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"name": "Disk nearly full", "metric": "disk", "warning_value": 90.0, "critical_value": 97.0, "recovery_value": 88.0,
     "for_seconds": 600, "recovery_for_seconds": 600},
    {"name": "Computer offline", "metric": "offline", "comparison": Comparison.GT, "critical_value": 0.0, "for_seconds": 300,
     "recovery_for_seconds": 60},
    {"name": "Memory nearly full", "metric": "memory", "warning_value": 95.0, "recovery_value": 90.0, "for_seconds": 900,
     "recovery_for_seconds": 300},
)  # fmt: skip


# -- alerts ----------------------------------------------------------------------------------------------------------


def acknowledge(ids: Sequence[str], *, actor: Actor, note: str | None = None) -> list[str]:
    """Take active alerts in hand: they are not repeated. Again, it changes the note. Returns the ids of those that changed;
    what is pending, resolved or of another tenant is left out."""
    book = open_book()
    for entry in _chosen(book, ids, actor):
        if entry.status not in ACTIVE or (entry.status is AlertStatus.ACKNOWLEDGED and note in (None, entry.note)):
            continue
        entry.status, entry.acknowledged_at, entry.acknowledged_by = AlertStatus.ACKNOWLEDGED, book.moment, actor.name[:200]
        entry.note = note[:2000] if note is not None else entry.note
        entry.tell("alert.acknowledged", actor, by=actor.name, note=entry.note)
    return [entry.id for entry in book.save()]


def resolve(ids: Sequence[str], *, actor: Actor) -> list[str]:
    """End active alerts. While the limit stays crossed they do not come again for an hour, unless it gets worse. Returns the
    ids of those that changed."""
    book = open_book()
    for entry in _chosen(book, ids, actor):
        if entry.status in ACTIVE:
            metric = metric_of(entry.metric)
            book.resolve(entry, "person", actor=actor, latch=metric is not None and metric.source is not Source.EVENT)
    return [entry.id for entry in book.save()]


def _chosen(book: Book, ids: Sequence[str], actor: Actor) -> list[Any]:
    found = [entry for start in range(0, len(ids), 1000) for entry in book.load(_ALERTS.c.id.in_(ids[start : start + 1000]))]
    return [entry for entry in found if actor.sees(entry.tenant_id)]


def acknowledge_one(alert: Alert, *, actor: Actor, note: str | None = None) -> Alert:
    """The same for one, as it is then. Raises Conflict when it is resolved or has not fired."""
    acknowledge([alert.id], actor=actor, note=note)
    session().refresh(alert)
    if alert.status is not AlertStatus.ACKNOWLEDGED:
        raise Conflict("The alert is not active")
    return alert


def resolve_one(alert: Alert, *, actor: Actor) -> Alert:
    """The same for one; ending it again changes nothing. Raises Conflict when it has not fired."""
    resolve([alert.id], actor=actor)
    session().refresh(alert)
    if alert.status is not AlertStatus.RESOLVED:
        raise Conflict("The alert has not fired yet")
    return alert


# -- thresholds --------------------------------------------------------------------------------------------------------


def threshold_subject(row: Threshold) -> Subject:
    """A rule as the subject of a journal entry."""
    return Subject("threshold", row.id, row.name, row.tenant_id)


_SHOWN = ("name", "metric", "argument", "comparison", "warning_value", "critical_value", "recovery_value", "for_seconds",
          "recovery_for_seconds", "enabled", "scope", "scope_id", "tenant_id", "include_ephemeral")  # fmt: skip


def _plain(row: Threshold) -> dict[str, Any]:
    return {name: getattr(value := getattr(row, name), "value", value) for name in _SHOWN}


def create_threshold(values: dict[str, Any], *, actor: Actor) -> Threshold:
    """Make a rule of columns of Threshold. Raises Invalid (a value, or an id that names nothing the actor may see), Forbidden."""
    open_book()
    row = Threshold(**(check_threshold(values) | place(values, actor)), created_by=actor.name[:200], version=tick(PLACEMENT))
    session().add(row)
    session().flush()
    record("threshold.created", actor, threshold_subject(row), **_plain(row))
    return row


def update_threshold(row: Threshold, changes: dict[str, Any], *, actor: Actor) -> Threshold:
    """Change what is given. Open alerts stay, unless it is switched off or about something else now. Raises as
    `create_threshold`."""
    book = open_book()
    refuse_wider(row.tenant_id, actor)
    before = _plain(row)
    values = {name: getattr(row, name) for name in _SHOWN} | changes
    placed = _moved(row, values, changes, actor)
    for name, value in (check_threshold(values) | placed).items():
        setattr(row, name, value)
    row.updated_at, row.version = now(), tick(PLACEMENT)
    session().flush()
    after = _plain(row)
    if not row.enabled or (after["metric"], after["argument"]) != (before["metric"], before["argument"]):
        _close(book, row, actor)
    changed = {name: value for name, value in before.items() if after[name] != value}
    record("threshold.updated", actor, threshold_subject(row), before=changed, after={name: after[name] for name in changed})
    return row


def _moved(row: Threshold | Silence, values: dict[str, Any], changes: dict[str, Any], actor: Actor) -> dict[str, Any]:
    """Its new scope, if the changes name another one than it has; without a tenant of its own it gets that of the scope."""
    if all(getattr(row, name) == changes[name] for name in changes.keys() & {"scope", "scope_id", "tenant_id"}):
        return {}
    keeps = "scope" not in changes and row.scope in (ScopeKind.ALL, ScopeKind.TAG)  # another tag of the same tenant
    return place(values | {"tenant_id": changes.get("tenant_id", row.tenant_id if keeps else None)}, actor)


def delete_threshold(row: Threshold, *, actor: Actor) -> None:
    """Delete a rule; its open alerts are over, the history stays. Raises Forbidden."""
    book = open_book()
    refuse_wider(row.tenant_id, actor)
    _close(book, row, actor)
    tick(PLACEMENT)
    record("threshold.deleted", actor, threshold_subject(row))
    session().delete(row)
    session().flush()


def _close(book: Book, row: Threshold, actor: Actor) -> None:
    for entry in book.load(_ALERTS.c.threshold_id == row.id):
        book.resolve(entry, "threshold_changed", actor=actor)
    book.save()


def make_default_rules() -> bool:
    """Make the default rules once in the life of a database; returns whether this call did."""
    known = session().get(AlertMark, DEFAULTS)
    session().rollback()
    if known is not None:
        return False
    with unit_of_work():
        statement = insert_ignore(upsert(AlertMark.__table__, session().get_bind().dialect.name).values(name=DEFAULTS, n=1))
        if not session().execute(statement).rowcount:
            return False
        for values in DEFAULT_RULES:
            create_threshold(values, actor=SYSTEM)
    return True


# -- silences ----------------------------------------------------------------------------------------------------------


def _silence_subject(row: Silence) -> Subject:
    return Subject("silence", row.id, row.reason[:100] or "silence", row.tenant_id)


def _say(type_: str, row: Silence, actor: Actor) -> None:
    record(type_, actor, _silence_subject(row), starts_at=row.starts_at.isoformat(), ends_at=row.ends_at.isoformat(),
           scope=row.scope.value, scope_id=row.scope_id, repeat=row.repeat.value if row.repeat else None)  # fmt: skip


def create_silence(values: dict[str, Any], *, actor: Actor) -> Silence:
    """Make a silence or window of columns of Silence; open alerts within it are muted at once. Raises Invalid, Forbidden."""
    return create_silences([values], actor=actor)[0]


def create_silences(wanted: Sequence[dict[str, Any]], *, actor: Actor) -> list[Silence]:
    """Make several, and mute what is open once for all of them. Raises as `create_silence`; then none is made."""
    book, made = open_book(), []
    for values in wanted:
        row = Silence(**(check_silence(values) | place(values, actor)), created_by=actor.name[:200], version=tick(CLOCK))
        row.due_at = row.next_change(book.moment)
        made.append(row)
    session().add_all(made)
    session().flush()
    for row in made:
        _say("silence.created", row, actor)
    _mute(book)
    return made


def update_silence(row: Silence, changes: dict[str, Any], *, actor: Actor) -> Silence:
    """Change what is given. Raises as `create_silence`."""
    book = open_book()
    refuse_wider(row.tenant_id, actor)
    names = ("starts_at", "ends_at", "repeat", "repeat_until", "reason", "scope", "scope_id", "tenant_id")
    values = {name: getattr(row, name) for name in names} | changes
    placed = _moved(row, values, changes, actor)
    for name, value in (check_silence(values) | placed).items():
        setattr(row, name, value)
    row.version, row.due_at = tick(CLOCK), row.next_change(book.moment)
    session().flush()
    _say("silence.updated", row, actor)
    _mute(book)
    return row


def delete_silence(row: Silence, *, actor: Actor) -> None:
    """Delete one, which ends it; what it muted and is still active is told. Raises Forbidden."""
    delete_silences([row], actor=actor)


def delete_silences(rows: Sequence[Silence], *, actor: Actor) -> None:
    """Delete several, and look once at what they muted. Raises Forbidden; then none is deleted."""
    book = open_book()
    for row in rows:
        refuse_wider(row.tenant_id, actor)
    tick(CLOCK)
    for row in rows:
        _say("silence.deleted", row, actor)
        session().delete(row)
    session().flush()
    _mute(book)


def _mute(book: Book) -> None:
    mute_anew(book)
    book.save()


# -- computers and tenants that go, alerts that are old ------------------------------------------------------------------


def close_for_computers(ids: Sequence[int]) -> None:
    """The hook of `fleet.operations.delete_computers`: what is open about them is over, and what is about them alone goes too."""
    book = Book(now())  # the caller has the fleet's clock
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        for entry in book.load(_ALERTS.c.computer_id.in_(part)):
            book.resolve(entry, "subject_gone")
        uuids = select(Computer.uuid).where(Computer.id.in_(part))
        for model in (Threshold, Silence):
            gone = list(session().scalars(select(model).where(model.scope == ScopeKind.COMPUTER, model.scope_id.in_(uuids))))
            told = [(f"{row.__class__.__name__.lower()}.deleted", row) for row in gone]
            record_all([Happening(type_, SYSTEM, Subject(type_.split(".")[0], row.id, getattr(row, "name", ""), row.tenant_id))
                        for type_, row in told])  # fmt: skip
            for row in gone:
                session().delete(row)
    book.save()
    tick(PLACEMENT)


def close_for_tenant(tenant_id: str, actor: Actor) -> None:
    """The hook of `tenants.operations.delete_tenant`: its rules and silences go with it, and what is open about it is over."""
    book = open_book()
    for entry in book.load(_ALERTS.c.tenant_id == tenant_id):
        book.resolve(entry, "subject_gone", actor=actor)
    book.save()
    for row in list(session().scalars(select(Threshold).where(Threshold.tenant_id == tenant_id))):
        delete_threshold(row, actor=actor)
    delete_silences(list(session().scalars(select(Silence).where(Silence.tenant_id == tenant_id))), actor=actor)


def forget_resolved(kept: timedelta, limit: int = 500) -> int:
    """Remove alerts that were resolved longer ago, and silences that are over as long; returns how many alerts."""
    before: datetime = now() - kept
    total = 0
    while True:
        with unit_of_work():
            tick(CLOCK)
            old = (
                select(Alert.id).where(Alert.status == AlertStatus.RESOLVED, Alert.resolved_at < before, ~Alert.live).limit(limit)
            )
            ids = list(session().scalars(old))
            unsync = {"synchronize_session": False}
            if ids:
                session().execute(delete(Alert).where(Alert.id.in_(ids)), execution_options=unsync)
                record("alerts.purged", SYSTEM, None, alerts=len(ids), days=kept.days)
            over = delete(Silence).where(Silence.due_at.is_(None), Silence.ends_at < before)
            session().execute(over, execution_options=unsync)
        total += len(ids)
        if len(ids) < limit:
            return total
