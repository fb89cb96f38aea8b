"""How the database is spoken to: column types, the SQLite pragmas, write transactions and the one commit point.

SQLite runs in WAL mode. A transaction that will write begins with BEGIN IMMEDIATE, so that it never reads a state
that it then cannot write on. Waiting for the write lock is a cooperative sleep and never SQLite's own busy handler:
under gevent that would stop the very greenlet that holds the lock.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import orjson
from sqlalchemy import JSON, Connection, DateTime, Dialect, Engine, MetaData, String, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator

from app.logging import get_logger

T = TypeVar("T")
LOCK_PATIENCE_S = 10.0
PING_AFTER_S = 1.0
CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of every model; names of constraints are the same on both databases."""

    metadata = MetaData(naming_convention=CONVENTION)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. Binding a naive one raises ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time reached the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonDoc = JSON().with_variant(JSONB(), "postgresql")


def enum_column(kind: type[StrEnum]) -> "TypeDecorator[Any]":
    """A column that stores a StrEnum by its value as text, readable in any SQL shell."""
    return EnumText(kind)


class EnumText(TypeDecorator[Any]):
    """See `enum_column`."""

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else self.kind(value)


# -- transactions ------------------------------------------------------------------------------------------------

_writing: ContextVar[bool] = ContextVar("binnacle_writing", default=False)
_power_safe: ContextVar[bool] = ContextVar("binnacle_power_safe", default=True)


def session() -> Any:
    """The session of the current request or unit of work."""
    from app.extensions import db

    return db.session


def commit() -> None:
    """Commit what this request has begun. A request that touched no database gets no session and no transaction for it."""
    if session().registry.has():
        current = session()()
        if current.in_transaction() or current.new or current.dirty or current.deleted:
            current.commit()


def release() -> None:
    """Roll back what has been begun, if anything."""
    if session().registry.has():
        session().rollback()


def begin_write() -> None:
    """End the read transaction, if one is open; the next statement begins one that may write."""
    release()
    _writing.set(True)


def begin_read() -> None:
    """Forget a write intent (at the start of a request: a worker greenlet or thread may be used again)."""
    _writing.set(False)


@contextmanager
def unit_of_work(*, power_safe: bool = True) -> Iterator[None]:
    """A write transaction outside a request: commits at the end, rolls back on an exception. Needs an app context.

    With `power_safe=False` SQLite does not fsync this commit: it survives the death of any process (kill -9), but the
    last moments may be lost when the machine loses power. For samples; control data is always safe.
    """
    db_session = session()
    db_session.rollback()
    writing, safe = _writing.set(True), _power_safe.set(power_safe)
    try:
        yield
        db_session.commit()
    except BaseException:
        db_session.rollback()
        raise
    finally:
        db_session.remove()
        _writing.reset(writing)
        _power_safe.reset(safe)


def on_commit(act: Callable[[], object]) -> None:
    """Do something right after this transaction has been committed, such as ringing a bell; never when it is rolled back. What it
    raises is logged: what was committed stays so."""
    waiting = session()().info.setdefault("on_commit", [])
    waiting.append(act)


def per_transaction(name: str, make: Callable[[], T]) -> T:
    """What `make` returned the first time in this transaction."""
    known = session()().info.setdefault("per_transaction", {})
    if name not in known:
        known[name] = make()
    return known[name]  # type: ignore[no-any-return]


def _committed(current: Session) -> None:
    current.info.pop("per_transaction", None)
    for act in current.info.pop("on_commit", ()):
        try:
            act()
        except Exception as error:
            get_logger(__name__).warning("after a commit", error=f"{type(error).__name__}: {error}"[:300])


def _rolled_back(current: Session) -> None:
    current.info.pop("on_commit", None)
    current.info.pop("per_transaction", None)


event.listen(Session, "after_commit", _committed)
event.listen(Session, "after_rollback", _rolled_back)


@contextmanager
def reading() -> Iterator[None]:
    """A read transaction outside a request; its connection goes back to the pool at the end."""
    try:
        yield
    finally:
        session().remove()


def configure_engine(engine: Engine) -> None:
    """Install the SQLite behaviour described above; on PostgreSQL only see that a pooled connection is still one."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    else:
        event.listen(engine, "checkin", _on_checkin)
        event.listen(engine, "checkout", _on_checkout)


def _on_checkin(_connection: Any, record: Any) -> None:
    record.info["rested_since"] = time.monotonic()


def _on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
    """SQLAlchemy's pre-ping, but only after a rest: asking each time costs each transaction one round trip more."""
    if time.monotonic() - record.info.get("rested_since", time.monotonic()) < PING_AFTER_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as error:  # whatever it says, the pool shall make a new one
        raise DisconnectionError from error


def _on_sqlite_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout=0",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-4000",
        "journal_size_limit=67108864",
        "wal_autocheckpoint=4000",  # the rows of a fleet are written again and again: fewer checkpoints copy fewer pages
    ):
        patiently(partial(cursor.execute, f"PRAGMA {pragma}"))
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    wanted = "FULL" if _power_safe.get() else "NORMAL"
    raw = connection.connection.dbapi_connection
    assert raw is not None
    if connection.info.get("synchronous", "FULL") != wanted:
        raw.execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted
    statement = "BEGIN IMMEDIATE" if _writing.get() else "BEGIN"
    try:
        patiently(lambda: raw.execute(statement))
    except sqlite3.OperationalError as error:
        raise OperationalError(statement, None, error) from error


def patiently(attempt: Callable[[], T]) -> T:
    """What it returns; tried again while another process holds the lock, sleeping in between, for LOCK_PATIENCE_S."""
    deadline, pause = time.monotonic() + LOCK_PATIENCE_S, 0.001
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 1.5, 0.005)


def is_busy(error: BaseException | None) -> bool:
    """Whether the database is only locked by somebody else."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def is_full(error: DBAPIError) -> bool:
    """Whether the disk under the database is full."""
    return "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", None) == "53100"


# -- SQL that both databases know under different names ------------------------------------------------------------


def upsert(table: Any, dialect_name: str) -> Any:
    """An INSERT that has `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return postgresql.insert(table) if dialect_name == "postgresql" else sqlite.insert(table)


def insert_ignore(statement: Any) -> Any:
    """The statement with ON CONFLICT DO NOTHING."""
    return statement.on_conflict_do_nothing()


def contains(column: Any, text: str) -> ColumnElement[bool]:
    """Case-insensitive "contains", with the wildcards in `text` taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.ilike(f"%{escaped}%", escape="\\")  # type: ignore[no-any-return]


def dump_json(value: Any) -> str:
    """JSON for a JSON column (orjson: three times as quick, and it refuses NaN's silent cousins)."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()
