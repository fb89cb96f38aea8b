"""CSV of a whole table, written by the database and streamed in chunks: Python only passes texts of many lines on.

A chunk is the next rows below a key, newest first, read in a transaction of its own. So a client may take an hour over
its download: between two chunks nothing is held, no snapshot, no connection. SQLite answers on the process's own thread; its
chunks are as small as it takes to hold up nobody for more than BUDGET_S, also when a filter matches hardly a row.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response
from sqlalchemy import BigInteger, Connection, Select, bindparam, func, select

from app.database import session
from app.extensions import db
from app.web import csv
from app.web.csv_sql import Cell, Kind, joined, line

__all__ = ["Cell", "Export", "Kind", "stream"]

BUDGET_S = 0.002
MAX_CHUNK_BYTES = 512 << 10
FIRST_ROWS, FEWEST_ROWS = 64, 4
MOST_ROWS = {"sqlite": 512, "postgresql": 2048}  # a round trip to PostgreSQL costs more, and holds nobody up
FIRST_WIDTH = 4096

Narrow = Callable[[Select[Any]], Select[Any]]


@dataclass(frozen=True)
class Export:
    """The CSV of a table. The file is called by `name`; `key` is a unique, ascending integer column, which rows are exported
    by, the largest first."""

    name: str
    key: Any
    columns: tuple[Cell, ...]

    @property
    def header(self) -> str:
        """The first line."""
        return ",".join(cell.header for cell in self.columns) + "\r\n"


def stream(export: Export, narrow: Narrow) -> Response:
    """A download of the rows that `narrow` leaves of the table. Rows that come after this moment are not in it.

    The first chunk is read here, in the caller's transaction, so that a database that is away is an error and not half a file."""
    engine = db.engine
    walk = _Walk(export, narrow, engine.dialect.name)
    connection = session().connection()
    walk.begin(connection)
    first = (export.header + walk.step(connection)).encode()
    del connection

    def chunks() -> Iterator[bytes]:
        yield first
        while not walk.done:
            _give_way()
            with engine.connect() as own:
                text = walk.step(own)
            if text:
                yield text.encode()

    return csv.attachment(chunks(), export.name)


class _Walk:
    """The way through the keys, from the newest at the beginning down to the oldest."""

    def __init__(self, export: Export, narrow: Narrow, dialect: str) -> None:
        self._key = export.key
        self._most = MOST_ROWS[dialect]
        self._rows, self._width = FIRST_ROWS, FIRST_WIDTH
        self._top, self._bottom = 0, 1
        rows = narrow(select(self._key.label("key"), line(export.columns, dialect).label("line")))
        rows = rows.where(self._key <= bindparam("top", type_=BigInteger), self._key >= bindparam("floor", type_=BigInteger))
        chunk = rows.order_by(self._key.desc()).limit(bindparam("rows", type_=BigInteger)).subquery()
        self._statement = select(joined(chunk.c.line, dialect), func.count(), func.min(chunk.c.key))

    @property
    def done(self) -> bool:
        """Whether all rows have been read."""
        return self._top < self._bottom

    def begin(self, connection: Connection) -> None:
        """Take the keys between which the rows of this moment are."""
        ends = select(select(func.min(self._key)).scalar_subquery(), select(func.max(self._key)).scalar_subquery())
        bottom, top = connection.execute(ends).one()
        if top is not None:
            self._bottom, self._top = bottom, top

    def step(self, connection: Connection) -> str:
        """The next lines; none when no row matches in the next stretch of keys, or all have been read."""
        if self.done:
            return ""
        floor = max(self._bottom, self._top - self._width + 1)
        started = time.thread_time()
        text, found, lowest = connection.execute(self._statement, {"top": self._top, "floor": floor, "rows": self._rows}).one()
        took = time.thread_time() - started if connection.dialect.name == "sqlite" else 0.0
        full = found == self._rows
        self._top = (lowest if full else floor) - 1
        self._pace(full, took, len(text or ""))
        return text or ""

    def _pace(self, full: bool, took: float, size: int) -> None:
        """Make the next step smaller after a costly one and larger after a cheap one."""
        if took > BUDGET_S or size > MAX_CHUNK_BYTES:
            self._rows = max(FEWEST_ROWS, self._rows // 2)
            if not full:
                self._width = max(FEWEST_ROWS, self._width // 2)
        elif took < BUDGET_S / 2 and size < MAX_CHUNK_BYTES / 2:
            if full:
                self._rows = min(self._most, self._rows * 2)
            else:
                self._width *= 2


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
