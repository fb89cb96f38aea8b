"""Reading a container's log: somebody asks, the process that holds the computer's connection asks the connector, and what comes
is kept here until its reader has taken it. The reader's pace is the connector's: pieces are acknowledged as they are taken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update

from app.clock import now
from app.containers.models import Container, LogPiece, LogReading, ReadingState
from app.database import insert_ignore, session, upsert
from app.errors import Conflict
from app.journal.operations import tick

READINGS = "container-logs"  # ticks whenever a dispatching process has something to do: ask, acknowledge, stop
WANTED = timedelta(seconds=90)  # a hidden tab asks rarely
WINDOW = 64  # pieces (of 32 KiB at most) that are here and not taken
AT_ONCE = 32
MAX_OPEN = 200
_READING: Any = LogReading.__table__
Line = tuple[str, str | None, str]  # stream, time (RFC 3339) or None, text


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


def begin(container: Container, *, tail: int | None, follow: bool) -> LogReading:
    """Ask for a log: its last lines (`tail`; None: all) and, with `follow`, what is added. Raises Conflict when too many read."""
    open_ones = select(LogReading.id).where(LogReading.state != ReadingState.ENDED, LogReading.wanted_until > now())
    if len(list(session().scalars(open_ones.limit(MAX_OPEN)))) == MAX_OPEN:
        raise Conflict(f"{MAX_OPEN} logs are being read; close some of them")
    tick(READINGS)
    reading = LogReading(computer_id=container.computer_id, engine_id=container.engine_id, tail=tail, follow=follow,
                         wanted_until=now() + WANTED)  # fmt: skip
    session().add(reading)
    session().flush()
    return reading


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


def store(reading_id: str, computer_id: int, seq: int, lines: Sequence[Line]) -> tuple[int, int] | None:
    """Keep a piece; (stored, taken) after it. None when the reading is not this computer's, or nobody wants it any more."""
    reading = _mine(reading_id, computer_id)
    if reading is None or reading.state is ReadingState.ENDED:
        return None
    if seq != reading.stored_seq + 1:
        return reading.stored_seq, reading.taken_seq
    text = orjson.dumps(lines).decode()
    statement = insert_ignore(upsert(LogPiece, session().get_bind().dialect.name))
    session().execute(statement, [{"reading_id": reading_id, "seq": seq, "lines": text}])
    reading.stored_seq = seq
    return seq, reading.taken_seq


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
