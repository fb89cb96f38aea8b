"""What can be asked of the journal."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, or_, select

from app.actors import ActorKind
from app.database import contains, session
from app.journal.models import HASHED, ChangeClock, JournalEntry, chain_hash


@dataclass(frozen=True)
class EntryFilter:
    """Which entries: `type` may end in `*`; `tenant_ids` None means all, and then entries of no tenant too."""

    type: str = ""
    actor: str = ""
    kinds: frozenset[ActorKind] | None = None
    subject_kind: str = ""
    subject_id: str = ""
    q: str = ""
    start: datetime | None = None
    end: datetime | None = None
    tenant_ids: frozenset[str] | None = None


def _matching(wanted: EntryFilter) -> Select[Any]:
    query = select(JournalEntry)
    if wanted.type.endswith("*"):
        query = query.where(JournalEntry.type.startswith(wanted.type[:-1], autoescape=True))
    elif wanted.type:
        query = query.where(JournalEntry.type == wanted.type)
    if wanted.actor:
        query = query.where(or_(contains(JournalEntry.actor_name, wanted.actor), JournalEntry.actor_id == wanted.actor))
    if wanted.kinds is not None:
        query = query.where(JournalEntry.actor_kind.in_([kind.value for kind in wanted.kinds]))
    if wanted.subject_id:
        query = query.where(and_(JournalEntry.subject_kind == wanted.subject_kind, JournalEntry.subject_id == wanted.subject_id))
    if wanted.q:
        columns = (JournalEntry.type, JournalEntry.subject_name, JournalEntry.actor_name, JournalEntry.address)
        query = query.where(or_(*(contains(column, wanted.q) for column in columns)))
    if wanted.start:
        query = query.where(JournalEntry.at >= wanted.start)
    if wanted.end:
        query = query.where(JournalEntry.at < wanted.end)
    if wanted.tenant_ids is not None:
        query = query.where(JournalEntry.tenant_id.in_(wanted.tenant_ids))
    return query


def page_of_entries(wanted: EntryFilter, page: int, per_page: int, *, oldest_first: bool = False) -> list[JournalEntry]:
    """One page, newest first unless asked otherwise."""
    order = JournalEntry.seq.asc() if oldest_first else JournalEntry.seq.desc()
    query = _matching(wanted).order_by(order).limit(per_page).offset((page - 1) * per_page)
    return list(session().scalars(query))


def count_entries(wanted: EntryFilter) -> int:
    """How many match."""
    return int(session().scalar(select(func.count()).select_from(_matching(wanted).subquery())) or 0)


def each_entry(wanted: EntryFilter) -> Iterator[JournalEntry]:
    """All that match, newest first, fetched in chunks."""
    last: int | None = None
    while True:
        query = _matching(wanted).order_by(JournalEntry.seq.desc()).limit(500)
        rows = list(session().scalars(query if last is None else query.where(JournalEntry.seq < last)))
        yield from rows
        if len(rows) < 500:
            return
        last = rows[-1].seq
        session().expunge_all()


def after(seq: int, types: tuple[str, ...] = (), limit: int = 500) -> list[JournalEntry]:
    """The entries past `seq`, oldest first: how followers read."""
    query = select(JournalEntry).where(JournalEntry.seq > seq).order_by(JournalEntry.seq).limit(limit)
    return list(session().scalars(query.where(JournalEntry.type.in_(types)) if types else query))


def last_seq() -> int:
    """The newest entry's seq, 0 when there is none."""
    return int(session().scalar(select(func.max(JournalEntry.seq))) or 0)


def newest_of(type_: str) -> JournalEntry | None:
    """The newest entry of a type."""
    query = select(JournalEntry).where(JournalEntry.type == type_).order_by(JournalEntry.seq.desc()).limit(1)
    found: JournalEntry | None = session().scalar(query)
    return found


def first_since(moment: datetime) -> int:
    """A seq from which on no entry is older, and all before it are. Entries are in the order of their times, so it takes a few
    look-ups, however long the journal is."""
    low, high = 0, last_seq() + 1
    while low < high:
        middle = (low + high) // 2
        query = select(JournalEntry.seq, JournalEntry.at).where(JournalEntry.seq >= middle).order_by(JournalEntry.seq).limit(1)
        row = session().execute(query).first()
        if row is None or row.at >= moment:
            high = middle
        else:
            low = row.seq + 1
    return low


def types() -> list[str]:
    """Every type that has occurred."""
    return list(session().scalars(select(JournalEntry.type).distinct().order_by(JournalEntry.type)))


def first_broken_link() -> int | None:
    """The seq of the first entry whose hash does not follow from the one before (edited, or one removed), else None."""
    previous, last = "", 0
    while rows := list(session().scalars(
        select(JournalEntry).where(JournalEntry.seq > last).order_by(JournalEntry.seq).limit(1000)
    )):  # fmt: skip
        for row in rows:
            if chain_hash(previous, row.at, {name: getattr(row, name) for name in HASHED}) != row.hash:
                return int(row.seq)
            previous, last = row.hash, row.seq
        session().expunge_all()
    return None


_CLOCKS: Any = ChangeClock.__table__
_CLOCK = select(_CLOCKS.c.n).where(_CLOCKS.c.name == bindparam("clock"))  # asked several times a second: Core, built once


def clock(name: str) -> int:
    """The newest version that a live list's rows carry."""
    return int(session().execute(_CLOCK, {"clock": name}).scalar() or 0)


_TWO = select(_CLOCKS.c.name, _CLOCKS.c.n).where(or_(_CLOCKS.c.name == bindparam("first"), _CLOCKS.c.name == bindparam("second")))


def two_clocks(first: str, second: str) -> tuple[int, int]:
    """The newest versions of two lists, in one question."""
    found = {row[0]: row[1] for row in session().execute(_TWO, {"first": first, "second": second})}
    return int(found.get(first, 0)), int(found.get(second, 0))
