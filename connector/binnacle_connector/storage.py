"""SQLite files that survive `kill -9`, stay private, and are set aside when they are broken."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from .log import logger


class Layout(NamedTuple):
    """What a file must hold: `schema` is run at each opening, `table` must then have exactly these `columns`."""

    what: str
    schema: str
    table: str
    columns: tuple[str, ...]


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad, and not the disk, the rights or a lock around it."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
    )


def open_or_replace(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open the file; a broken one is set aside (the newest three are kept) and a new one started.

    Raises sqlite3.OperationalError when the folder or the disk does not allow it.
    """
    try:
        return _open(path, layout)
    except sqlite3.DatabaseError as error:
        if not is_corruption(error):
            raise
        aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        words = "the %s %s is unusable (%s): it is kept as %s and a new one is started"
        logger.error(words, layout.what, path, error, aside.name)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(aside)
    for old in sorted(path.parent.glob(f"{path.name}.corrupt-*"))[:-3]:
        old.unlink(missing_ok=True)
    return _open(path, layout)


def _open(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open and check the file. Every commit is on the disk before it returns. Raises sqlite3.DatabaseError."""
    path.touch(mode=0o600)
    db = sqlite3.connect(str(path), check_same_thread=False, timeout=5)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 200")
        db.execute("PRAGMA cache_size = -512")
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
        db.executescript(layout.schema)
        if tuple(column[1] for column in db.execute(f"PRAGMA table_info({layout.table})")) != layout.columns:
            raise sqlite3.DatabaseError(f"its tables are not those of a {layout.what}")
        db.commit()
    except BaseException:
        db.close()
        raise
    return db
