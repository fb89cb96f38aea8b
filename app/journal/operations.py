"""What can be done with the journal: write to it, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, bindparam, func, insert, select, update

from app.actors import Actor
from app.clock import now
from app.database import session
from app.journal.models import ChangeClock, JournalEntry, chain_hash

_JOURNAL: Any = JournalEntry.__table__
_LOCK = 0x62696E6E  # one writer of the chain at a time on PostgreSQL; SQLite has one writer anyway


@dataclass(frozen=True)
class Subject:
    """What an entry is about."""

    kind: str
    id: str
    name: str
    tenant_id: str | None = None


def _inert(value: Any) -> Any:
    """Text without control characters: an entry must not be able to forge lines or colours in a terminal."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    if isinstance(value, dict):
        return {str(k): _inert(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_inert(v) for v in value]
    return value


@dataclass(frozen=True)
class Happening:
    """An event to be recorded: a type such as `computer.added`, who did it, to what, and JSON about it (never a secret)."""

    type: str
    actor: Actor
    subject: Subject | None = None
    data: dict[str, Any] = field(default_factory=dict)


def record(type_: str, actor: Actor, subject: Subject | None = None, **data: Any) -> int:
    """Append an event such as `computer.added`, in the current transaction; returns its seq.

    Values in `data` are JSON. Never pass a secret.
    """
    return record_all([Happening(type_, actor, subject, data)])


def record_all(happenings: Sequence[Happening]) -> int:
    """Append several, in order, in the current transaction; returns the seq of the last, 0 when there was none."""
    if not happenings:
        return 0
    db = session()
    db.flush()
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    hashed = db.scalar(select(JournalEntry.hash).order_by(JournalEntry.seq.desc()).limit(1)) or ""
    moment = now()
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    rows = []
    for happening in happenings:
        values = _values(happening)
        hashed = chain_hash(hashed, moment, values)
        rows.append({"at": moment, "hash": hashed, **values})
    if len(rows) == 1:
        seq: int = db.execute(insert(JournalEntry).values(rows[0]).returning(JournalEntry.seq)).scalar_one()
        return seq
    db.execute(insert(_JOURNAL), rows)
    return int(db.scalar(select(func.max(JournalEntry.seq))))


def _values(happening: Happening) -> dict[str, Any]:
    actor, subject = happening.actor, happening.subject
    return {
        "type": happening.type,
        "actor_kind": actor.kind.value,
        "actor_id": actor.id,
        "actor_name": _inert(actor.name)[:200],
        "address": actor.address,
        "request_id": actor.request_id,
        "tenant_id": subject.tenant_id if subject else None,
        "subject_kind": subject.kind if subject else None,
        "subject_id": subject.id if subject else None,
        "subject_name": _inert(subject.name)[:300] if subject else None,
        "data": _inert(happening.data),
    }


_CLOCKS: Any = ChangeClock.__table__  # not the class: every batch of samples ticks, and the ORM's UPDATE costs ten times as much
_TICK = (
    update(_CLOCKS)
    .where(_CLOCKS.c.name == bindparam("clock"))
    .values(n=_CLOCKS.c.n + bindparam("by", type_=BigInteger))
    .returning(_CLOCKS.c.n)
)


def tick(name: str, by: int = 1) -> int:
    """The next version for rows of a live list, or the last of the next `by`. Call it before locking rows: its lock orders the
    writers."""
    n: int | None = session().execute(_TICK, {"clock": name, "by": by}).scalar()
    if n is None:
        session().execute(insert(ChangeClock).values(name=name, n=by))
        return by
    return n
