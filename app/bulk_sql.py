"""Many rows in one statement, past the work that SQLAlchemy does for each row: what arrives by the hundred goes this way.

SQLite gets `executemany` with plain tuples; PostgreSQL one statement over one JSON parameter, of which it makes one plan and
one round trip (arrays for `unnest` cost psycopg more than all the rest).
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Table
from sqlalchemy.engine import Dialect

Row = Sequence[Any]


def _to_postgres(value: Any) -> str:
    """What JSON does not have: bytes, as PostgreSQL's own hexadecimal input form."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"{type(value).__name__} is not JSON")


class _Bulk:
    """A statement per dialect, made at its first use."""

    def __init__(self, table: Any, columns: Sequence[str]) -> None:
        self._table: Table = table
        self._columns = [self._table.c[name] for name in columns]
        self._names = tuple(columns)
        self._statements: dict[str, str] = {}
        self._binders: list[tuple[int, Any]] = []

    def __call__(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it for the rows: tuples in the order of the columns."""
        if not rows:
            return
        dialect = connection.dialect
        statement = self._statements.get(dialect.name)
        if statement is None:
            statement = self._statements[dialect.name] = self._statement(dialect)
        if dialect.name == "postgresql":
            names = self._names
            document = orjson.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_to_postgres)
            connection.exec_driver_sql(statement, (document.decode(),))
        else:
            connection.exec_driver_sql(statement, self._bound(rows, dialect))

    def _bound(self, rows: Sequence[Row], dialect: Dialect) -> list[tuple[Any, ...]]:
        """The rows with each value as its column's type binds it; equal values of a column are bound once."""
        if not self._binders:
            found = enumerate(column.type.dialect_impl(dialect).bind_processor(dialect) for column in self._columns)
            self._binders = [(index, bind) for index, bind in found if bind is not None]
        columns = list(zip(*rows, strict=True))
        for index, bind in self._binders:
            bound = {value: bind(value) for value in set(columns[index])}
            columns[index] = tuple(map(bound.__getitem__, columns[index]))
        return list(zip(*columns, strict=True))

    def _recordset(self, dialect: Dialect) -> str:
        types = ", ".join(f"{column.name} {column.type.compile(dialect)}" for column in self._columns)
        return f"json_to_recordset(%s::json) AS new({types})"

    def _statement(self, dialect: Dialect) -> str:
        raise NotImplementedError  # a statement is one of the two below


class BulkInsert(_Bulk):
    """INSERT … ON CONFLICT DO NOTHING."""

    def _statement(self, dialect: Dialect) -> str:
        names = ", ".join(self._names)
        if dialect.name == "postgresql":
            rows = f"SELECT {names} FROM {self._recordset(dialect)}"
        else:
            rows = f"VALUES ({', '.join('?' * len(self._names))})"
        return f"INSERT INTO {self._table.name} ({names}) {rows} ON CONFLICT DO NOTHING"


class BulkUpdate(_Bulk):
    """UPDATE by the key: the last `keys` of the columns; `also` is more of the SET clause, in SQL."""

    def __init__(self, table: Any, columns: Sequence[str], *, keys: int = 1, also: str = "") -> None:
        super().__init__(table, columns)
        self._changed, self._keys = self._names[:-keys], self._names[-keys:]
        self._also = f", {also}" if also else ""

    def _statement(self, dialect: Dialect) -> str:
        table = self._table.name
        if dialect.name == "postgresql":
            sets = ", ".join(f"{name} = new.{name}" for name in self._changed)
            where = " AND ".join(f"{table}.{key} = new.{key}" for key in self._keys)
            return f"UPDATE {table} SET {sets}{self._also} FROM {self._recordset(dialect)} WHERE {where}"
        sets = ", ".join(f"{name} = ?" for name in self._changed)
        return f"UPDATE {table} SET {sets}{self._also} WHERE {' AND '.join(f'{key} = ?' for key in self._keys)}"


class BulkAdd(_Bulk):
    """Counters: INSERT, or add `sums` to the row whose primary key is there. Each key may occur once in the rows."""

    def __init__(self, table: Any, columns: Sequence[str], sums: Sequence[str]) -> None:
        super().__init__(table, columns)
        self._sums = sums

    def _statement(self, dialect: Dialect) -> str:
        table, names = self._table.name, ", ".join(self._names)
        if dialect.name == "postgresql":
            rows = f"SELECT {names} FROM {self._recordset(dialect)}"
        else:
            rows = f"VALUES ({', '.join('?' * len(self._names))})"
        keys = ", ".join(column.name for column in self._table.primary_key)
        adds = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in self._sums)
        return f"INSERT INTO {table} ({names}) {rows} ON CONFLICT ({keys}) DO UPDATE SET {adds}"
