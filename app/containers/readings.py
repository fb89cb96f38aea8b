"""Reading a container's log: somebody asks, the process that holds the computer's connection asks the connector, and what comes
is kept here until its reader has taken it. The reader's pace is the connector's: pieces are acknowledged as they are taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

import orjson
from cachetools import LRUCache
from sqlalchemy import Select, delete, func, select, update

from app.actors import Actor
from app.clock import now
from app.containers.models import Container, LogPiece, LogReading, ReadingState
from app.database import insert_ignore, session, upsert
from app.errors import Conflict
from app.journal.operations import tick

READINGS = "container-logs"  # ticks whenever a dispatching process has something to do: ask, acknowledge, stop
WANTED = timedelta(seconds=90)  # a hidden tab asks rarely
WINDOW = 64  # pieces (of 32 KiB at most) that are here and not taken
AT_ONCE = 32
MAX_UNTAKEN = 5 << 20  # what they may weigh, with what was on its way when the acknowledgements stopped (256 KiB by the protocol)
MAX_OPEN, MAX_OWN = 400, 20  # at once: altogether, and by one person (who may have begun them at several web processes)
_READING: Any = LogReading.__table__
Line = tuple[str, str | None, str]  # stream, time (RFC 3339) or None, text
_begun: LRUCache[str, frozenset[str]] = LRUCache(maxsize=10_000)  # who → what they have begun in this process
_begun_lock = Lock()


class Stored(NamedTuple):
    """What came of a piece: whether it is `new`, and up to which numbers pieces are here and taken after it."""

    new: bool
    seq: int
    taken: int


@dataclass(frozen=True)
class Taken:
    """Lines that a reader takes: `after` is where to go on, `more`: more is here already, `open`: more can come; `outcome` and
    `message` say how it ended."""

    lines: Sequence[Line]
    after: int
    more: bool
    open: bool
    outcome: str | None = None
    message: str | None = None


def begin(container: Container, *, actor: Actor, tail: int | None, follow: bool) -> LogReading:
    """Ask for a log: its last lines (`tail`; None: all) and, with `follow`, what is added. Raises Conflict when the actor reads
    MAX_OWN already, or all together MAX_OPEN."""
    who = actor.user_id or actor.key_id or actor.kind.value
    with _begun_lock:
        known = _begun.get(who, frozenset())
    mine = set(session().scalars(_open().where(LogReading.id.in_(known)))) if known else set()
    if len(mine) >= MAX_OWN:
        raise Conflict(f"You are reading {MAX_OWN} logs already; close some of them")
    if len(list(session().scalars(_open().limit(MAX_OPEN)))) >= MAX_OPEN:
        raise Conflict(f"{MAX_OPEN} logs are being read by everybody together; try again in a while")
    tick(READINGS)
    reading = LogReading(computer_id=container.computer_id, engine_id=container.engine_id, tail=tail, follow=follow,
                         wanted_until=now() + WANTED)  # fmt: skip
    session().add(reading)
    session().flush()
    with _begun_lock:
        _begun[who] = (_begun.get(who, frozenset()) - known) | mine | {reading.id}
    return reading


def _open() -> Select[Any]:
    return select(LogReading.id).where(LogReading.state != ReadingState.ENDED, LogReading.wanted_until > now())


def take(reading_id: str, computer_id: int, engine_id: str, after: int, limit: int = AT_ONCE) -> Taken | None:
    """What came past a piece's number; everything up to it is forgotten. None when the reading is over and gone, or another
    container's."""
    reading: LogReading | None = session().get(LogReading, reading_id)
    if reading is None or (reading.computer_id, reading.engine_id) != (computer_id, engine_id):
        return None
    if after > reading.taken_seq and reading.state is ReadingState.SENT:
        tick(READINGS)
    taken = max(reading.taken_seq, min(after, reading.stored_seq))
    values = {"taken_seq": taken, "wanted_until": now() + WANTED}
    session().execute(update(_READING).where(_READING.c.id == reading_id).values(values))
    session().execute(delete(LogPiece).where(LogPiece.reading_id == reading_id, LogPiece.seq <= taken))
    session().expire_all()
    state, outcome, message = (
        session()
        .execute(select(LogReading.state, LogReading.outcome, LogReading.message).where(LogReading.id == reading_id))
        .one()
    )  # read before the pieces: once it has ended, all of them are there
    pieces: Any = select(LogPiece.seq, LogPiece.lines).where(LogPiece.reading_id == reading_id, LogPiece.seq > taken)
    rows = session().execute(pieces.order_by(LogPiece.seq).limit(limit + 1)).all()
    lines = [(stream, at, text) for _, found in rows[:limit] for stream, at, text in orjson.loads(found)]
    more = len(rows) > limit
    return Taken(lines, rows[:limit][-1][0] if rows else taken, more, more or state is not ReadingState.ENDED, outcome, message)


def end(reading_id: str) -> None:
    """The reader has enough."""
    tick(READINGS)
    session().execute(delete(LogReading).where(LogReading.id == reading_id))


def forget_unwanted(limit: int = 500) -> int:
    """Remove readings that nobody has asked for any more; returns how many."""
    ids = list(session().scalars(select(LogReading.id).where(LogReading.wanted_until < now()).limit(limit)))
    if ids:
        tick(READINGS)
        session().execute(delete(LogReading).where(LogReading.id.in_(ids)))
    return len(ids)


def next_unwanted() -> datetime | None:
    """When the next reading is to be removed."""
    found: datetime | None = session().scalar(select(func.min(LogReading.wanted_until)))
    return found


# For the process that holds the connection


def waiting(computer_ids: Iterable[int], limit: int = 50) -> list[LogReading]:
    """Readings that wait for one of these computers' connections."""
    query = select(LogReading).where(LogReading.state == ReadingState.WAITING, LogReading.computer_id.in_(list(computer_ids)))
    return list(session().scalars(query.order_by(LogReading.created_at).limit(limit)))


def claim(reading_id: str) -> bool:
    """Take one that waits: one conditional update; whether it was this caller's to send."""
    statement = update(_READING).where(_READING.c.id == reading_id, _READING.c.state == ReadingState.WAITING)
    return bool(session().execute(statement.values(state=ReadingState.SENT)).rowcount == 1)


def progress(ids: Iterable[str]) -> dict[str, int]:
    """Up to which piece each reading that is still wanted may be acknowledged."""
    query: Any = select(LogReading.id, LogReading.stored_seq, LogReading.taken_seq)
    query = query.where(LogReading.id.in_(list(ids)), LogReading.state == ReadingState.SENT, LogReading.wanted_until > now())
    return {row[0]: allowed(row[1], row[2]) for row in session().execute(query)}


def allowed(stored: int, taken: int) -> int:
    """Up to which piece the connector is acknowledged: it sends on while not too much lies here."""
    return stored if stored - taken < WINDOW else taken


def weight(lines: Sequence[Line]) -> int:
    """What a piece weighs, about its bytes in a message; never nothing."""
    return 24 + sum(len(text.encode("utf-8", "surrogatepass")) + len(at or "") + 24 for _, at, text in lines)


def store(reading_id: str, computer_id: int, seq: int, lines: Sequence[Line]) -> Stored | None:
    """Keep a piece, if it is the next one. None when this computer was not asked for it, or nobody wants it any more."""
    reading = _mine(reading_id, computer_id)
    if reading is None or reading.state is not ReadingState.SENT:
        return None
    if seq != reading.stored_seq + 1:
        return Stored(False, reading.stored_seq, reading.taken_seq)
    text = orjson.dumps(lines).decode()
    statement = insert_ignore(upsert(LogPiece, session().get_bind().dialect.name))
    session().execute(statement, [{"reading_id": reading_id, "seq": seq, "lines": text}])
    reading.stored_seq = seq
    return Stored(True, seq, reading.taken_seq)


def finish(reading_id: str, computer_id: int, outcome: str, message: str | None) -> bool:
    """The connector says that it ended, once; whether it was this computer's and open."""
    reading = _mine(reading_id, computer_id)
    if reading is None or reading.state is ReadingState.ENDED:
        return False
    reading.state, reading.outcome, reading.message = ReadingState.ENDED, outcome[:16], message[:500] if message else None
    return True


def cut_off(computer_id: int) -> list[str]:
    """The connection of a computer is gone, and with it what was read over it; the ids of those readings."""
    query = update(_READING).where(_READING.c.computer_id == computer_id, _READING.c.state == ReadingState.SENT)
    values = {"state": ReadingState.ENDED, "outcome": "lost", "message": "The connection to the computer was lost"}
    return list(session().scalars(query.values(values).returning(_READING.c.id)))


def _mine(reading_id: str, computer_id: int) -> LogReading | None:
    query = select(LogReading).where(LogReading.id == reading_id, LogReading.computer_id == computer_id).with_for_update()
    row: LogReading | None = session().scalar(query)
    return row
