"""What can be done with the journal: write to it, in the caller's transaction."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from app.actors import Actor
from app.clock import now
from app.database import session
from app.journal.models import ChangeClock, JournalEntry, chain_hash

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


def record(type_: str, actor: Actor, subject: Subject | None = None, **data: Any) -> int:
    """Append an event such as `computer.added`, in the current transaction; returns its seq.

    Values in `data` are JSON. Never pass a secret.
    """
    db = session()
    db.flush()
    if db.get_bind().dialect.name == "postgresql":
        db.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    previous = db.scalar(select(JournalEntry.hash).order_by(JournalEntry.seq.desc()).limit(1)) or ""
    moment = now()
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    values: dict[str, Any] = {
        "type": type_,
        "actor_kind": actor.kind.value,
        "actor_id": actor.id,
        "actor_name": _inert(actor.name)[:200],
        "address": actor.address,
        "request_id": actor.request_id,
        "tenant_id": subject.tenant_id if subject else None,
        "subject_kind": subject.kind if subject else None,
        "subject_id": subject.id if subject else None,
        "subject_name": _inert(subject.name)[:300] if subject else None,
        "data": _inert(data),
    }
    hashed = chain_hash(previous, moment, values)
    seq: int = db.execute(insert(JournalEntry).values(at=moment, hash=hashed, **values).returning(JournalEntry.seq)).scalar_one()
    return seq


_CLOCKS: Any = ChangeClock.__table__  # not the class: every batch of samples ticks, and the ORM's UPDATE costs ten times as much
_TICK = update(_CLOCKS).where(_CLOCKS.c.name == bindparam("clock")).values(n=_CLOCKS.c.n + 1).returning(_CLOCKS.c.n)


def tick(name: str) -> int:
    """The next version for rows of a live list. Call it before locking rows: its lock orders the writers."""
    n: int | None = session().execute(_TICK, {"clock": name}).scalar()
    if n is None:
        session().execute(insert(ChangeClock).values(name=name, n=1))
        return 1
    return n
