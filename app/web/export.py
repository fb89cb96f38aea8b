"""CSV of a whole table, written by the database and streamed: Python only passes texts of many lines on. Newest rows first.

SQLite is asked for chunks on a real thread: it formats them without Python's lock, and the process goes on serving meanwhile.
All exports share one such thread and take turns. A chunk is as large as BUDGET_S allows, also when a filter matches hardly a
row; each is a transaction of its own, and between two of them nothing is held.

PostgreSQL answers with one COPY. A client that reads slowly keeps its connection for as long as it reads, so the connection is
taken out of the pool, and a process makes only MOST_COPIES of them at a time. A client that does not take a chunk in within
BINNACLE_EXPORT_STALLED_SECONDS is cut off.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flask import Response, current_app, request
from sqlalchemy import BigInteger, Connection, Engine, LargeBinary, Select, bindparam, cast, func, select

from app.database import patiently, release, session
from app.errors import Unavailable
from app.extensions import db
from app.factory import settings_of
from app.off_loop import off_the_loop
from app.web import csv
from app.web.csv_sql import Cell, Kind, copy_command, line, name_of, value

__all__ = ["Cell", "Export", "Kind", "stream"]

BUDGET_S = 0.005
MAX_CHUNK_BYTES = 512 << 10
FEWEST_ROWS, FIRST_ROWS, MOST_ROWS = 4, 64, 2048
FIRST_WIDTH = 4096
MOST_COPIES = 4
COPY_BUFFER_BYTES = 64 << 10
AT_ONCE = "SET enable_sort = off; SET max_parallel_workers_per_gather = 0"  # along an index, from the first row on

Narrow = Callable[[Select[Any]], Select[Any]]
_copies = threading.BoundedSemaphore(MOST_COPIES)
_turn = threading.BoundedSemaphore(1)


@dataclass(frozen=True)
class Export:
    """The CSV of a table. The file is called by `name`; `key` is a unique, ascending integer column, which rows are exported
    by, the largest first."""

    name: str
    key: Any
    columns: tuple[Cell, ...]

    @property
    def header(self) -> bytes:
        """The first line."""
        return (",".join(cell.header for cell in self.columns) + "\r\n").encode()


def stream(export: Export, narrow: Narrow) -> Response:
    """A download of the rows that `narrow` leaves of the table. Rows that come after this moment are not in it.

    Raises Unavailable when too many are under way. It begins here: a database that is away is an error and not half a file."""
    source = _Copy if db.engine.dialect.name == "postgresql" else _Walk
    rows = source(export, narrow, session().connection(), db.engine)
    response = csv.attachment(_with_header(export, rows.chunks()), export.name)
    response.call_on_close(rows.close)
    _cut_off_when_stalled(response)
    return response


def _cut_off_when_stalled(response: Response) -> None:
    """Give the client a time to take each chunk in, where the server says which socket it is; afterwards it may rest as long as
    it likes. Otherwise one that stopped reading would keep its export until TCP gives it up, which can take hours."""
    client = request.environ.get("gunicorn.socket")
    if client is not None:
        before = client.gettimeout()
        client.settimeout(settings_of(current_app).export_stalled_s)
        response.call_on_close(lambda: client.settimeout(before))


def _with_header(export: Export, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield export.header
    yield from chunks


def _ends(key: Any, connection: Connection) -> tuple[int, int]:
    """The smallest and the largest key of this moment; (1, 0) when there is none."""
    ends = select(select(func.min(key)).scalar_subquery(), select(func.max(key)).scalar_subquery())
    bottom, top = connection.execute(ends).one()
    return (1, 0) if top is None else (bottom, top)


class _Walk:
    """SQLite: the way through the keys, down from the newest."""

    def __init__(self, export: Export, narrow: Narrow, connection: Connection, engine: Engine) -> None:
        self._engine = engine
        self._rows, self._width = FIRST_ROWS, FIRST_WIDTH
        key = export.key
        rows = narrow(select(key.label("key"), line(export.columns, "sqlite").label("line")))
        rows = rows.where(key <= bindparam("top", 0, type_=BigInteger), key >= bindparam("floor", 0, type_=BigInteger))
        chunk = rows.order_by(key.desc()).limit(bindparam("rows", 0, type_=BigInteger)).subquery()
        lines = cast(func.group_concat(chunk.c.line, ""), LargeBinary)  # bytes at once: nobody here reads the text
        statement = select(lines, func.count(), func.min(chunk.c.key))
        compiled: Any = statement.compile(dialect=engine.dialect, compile_kwargs={"render_postcompile": True})
        self._sql, self._order, self._values = str(compiled), compiled.positiontup, _values(compiled)
        self._bottom, self._top = _ends(key, connection)
        self._first = self._next(connection.connection.dbapi_connection)

    def chunks(self) -> Iterator[bytes]:
        """The lines, many at a time."""
        yield self._first
        while self._top >= self._bottom:
            with _turn, closing(self._engine.raw_connection()) as connection:
                lines = self._next(connection.dbapi_connection)
            if lines:
                yield lines

    def close(self) -> None:
        """Nothing is held."""

    def _next(self, connection: Any) -> bytes:
        """The next lines; none when no row matches in the next stretch of keys."""
        return patiently(lambda: off_the_loop(self._step, connection))

    def _step(self, connection: Any) -> bytes:
        floor = max(self._bottom, self._top - self._width + 1)
        values = self._values | {"top": self._top, "floor": floor, "rows": self._rows}
        started = time.thread_time()
        lines, found, lowest = connection.execute(self._sql, [values[name] for name in self._order]).fetchone()
        took = time.thread_time() - started
        full = found == self._rows
        self._top = (lowest if full else floor) - 1
        self._pace(full, took, len(lines or b""))
        return lines or b""

    def _pace(self, full: bool, took: float, size: int) -> None:
        """Make the next step smaller after a costly one and larger after a cheap one."""
        if took > BUDGET_S or size > MAX_CHUNK_BYTES:
            self._rows = max(FEWEST_ROWS, self._rows // 2)
            if not full:
                self._width = max(FEWEST_ROWS, self._width // 2)
        elif took < BUDGET_S / 2 and size < MAX_CHUNK_BYTES / 2:
            if full:
                self._rows = min(MOST_ROWS, self._rows * 2)
            else:
                self._width *= 2


def _values(compiled: Any) -> dict[str, Any]:
    """What is bound in a statement, as drivers take it."""
    return {name: given.value if isinstance(given, Enum) else given for name, given in compiled.params.items()}


def _some(rows: Any) -> Generator[Any, Any, list[bytes]]:
    """The next lines of a psycopg Copy, without the LF that PostgreSQL ends them with; none at the end.

    Its own `read` waits for each row anew, which takes twice the time."""
    lines, size = list[bytes](), 0
    while size < COPY_BUFFER_BYTES and (row := (yield from rows._read_gen())):
        lines.append(bytes(row[:-1]))
        size += len(row)
    return lines


class _Copy:
    """PostgreSQL: one COPY on a connection of its own."""

    def __init__(self, export: Export, narrow: Narrow, connection: Connection, engine: Engine) -> None:
        self._slots: list[threading.BoundedSemaphore] = []
        self._connection: Connection | None = None
        cells = (value(cell, "postgresql").label(name_of(number)) for number, cell in enumerate(export.columns))
        _, top = _ends(export.key, connection)
        rows = narrow(select(*cells)).where(export.key <= top).order_by(export.key.desc())
        compiled = rows.compile(dialect=engine.dialect, compile_kwargs={"render_postcompile": True})
        self._command = copy_command(str(compiled), export.columns)
        self._values = _values(compiled)
        release()  # or this request would hold one connection of the pool while it waits for another
        if not _copies.acquire(blocking=False):
            raise Unavailable("Too many exports are under way; try again soon", retry_after=10)
        self._slots.append(_copies)
        try:
            self._connection = engine.connect()
            self._connection.detach()
        except BaseException:
            self.close()
            raise

    def chunks(self) -> Iterator[bytes]:
        """The lines, many at a time."""
        assert self._connection is not None
        driver: Any = self._connection.connection.dbapi_connection
        try:
            driver.execute(AT_ONCE)
            with driver.cursor() as cursor, cursor.copy(self._command, self._values) as rows:
                while lines := driver.wait(_some(rows)):
                    yield b"\r\n".join([*lines, b""])
                    _give_way()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; doing it again changes nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        while self._slots:
            self._slots.pop().release()

    def __del__(self) -> None:
        self.close()  # an answer that another one took the place of is never closed


_always_writable: list[int] = []


def _give_way() -> None:
    """Under gevent, one turn of the event loop, so that every socket that has become ready is served before the next chunk.

    time.sleep(0) would not do: gevent comes back from it up to 50 times before it looks at a socket. Any longer sleep takes a
    whole millisecond, most of which is idle."""
    from gevent import monkey

    if not monkey.is_module_patched("socket"):
        return
    from gevent.socket import wait_write

    if not _always_writable:
        _always_writable.extend(os.pipe())
    wait_write(_always_writable[1])
