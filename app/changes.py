"""Whether anybody has committed since one last looked, for those who would otherwise ask the database several times a second for
nothing. SQLite tells for the price of a look into shared memory; PostgreSQL does not, so there every look finds a change."""

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Engine


class Watch:
    """For one thread at a time. `version()` is another number after each commit by anybody, this process too."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pid = 0
        self._connection: sqlite3.Connection | None = None
        self._n = 0

    def version(self) -> int:
        """Take it before the look that it stands for: what is committed during the look then counts as a change. An unreadable
        file counts as changed: whoever looks will find out."""
        if self._path is not None:
            try:
                return int(self._open(self._path).execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                self._connection = None
        self._n -= 1
        return self._n

    def _open(self, path: Path) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():  # never one that was opened before a fork
            self._pid = os.getpid()
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0,
                                               check_same_thread=False)  # fmt: skip
        return self._connection


def watch_of(engine: Engine) -> Watch:
    """A watch over what the engine speaks to."""
    database = engine.url.database
    return Watch(Path(database) if engine.dialect.name == "sqlite" and database else None)
