"""Samples that the server has not acknowledged yet, in a SQLite file that survives `kill -9` and has bounds."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .log import logger
from .storage import Layout, is_corruption, open_or_replace

MAX_AGE = 24 * 3600.0
MAX_BYTES = 64 * 1024 * 1024
MAX_SEQ = 2**53
ROW_OVERHEAD = 32
UNSAVED_ROWS = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (seq INTEGER PRIMARY KEY, at REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('last_seq', 0), ('dropped', 0), ('refused', 0), ('confirmed', 0);
"""
_LAYOUT = Layout("spool", _SCHEMA, "samples", ("seq", "at", "body"))


class Row(NamedTuple):
    """One waiting sample: its number, the Unix time it was taken at, and its JSON object without `seq`."""

    seq: int
    at: float
    body: str

    @property
    def size(self) -> int:
        return len(self.body) + ROW_OVERHEAD


class Spool:
    """A bounded queue on disk. Every method is safe from any thread; sizes are bytes, ages seconds.

    `seq` rises by one for ever. Should the file be lost, the server's `acked` tells where to go on (`resume_from`).
    While the disk is full, new samples wait in memory (at most 1,000), and are delivered all the same.
    """

    def __init__(self, path: Path, max_age: float = MAX_AGE, max_bytes: int = MAX_BYTES) -> None:
        """Open or make the file. Raises sqlite3.OperationalError when the folder or the disk does not allow it."""
        self.path, self.max_age, self.max_bytes = path, max_age, max_bytes
        self._lock = threading.RLock()
        self._unsaved: deque[Row] = deque()
        self._acked = 0
        self._db = open_or_replace(path, _LAYOUT)
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        self._last_seq = self._known = int(meta["last_seq"])
        self._confirmed = int(meta["confirmed"])
        self.dropped, self.refused = int(meta["dropped"]), int(meta["refused"])
        self._rows, self._bytes = self._measure(self._last_seq)

    @property
    def pending(self) -> int:
        """How many samples wait."""
        return self._rows + len(self._unsaved)

    @property
    def last_seq(self) -> int:
        """The number of the newest sample ever appended; 0 before the first."""
        return self._last_seq

    def append(self, body: str, at: float) -> int:
        """Store one sample (a JSON object without `seq`, taken at Unix time `at`) durably; gives its `seq`."""
        with self._lock:
            self._last_seq += 1
            self._unsaved.append(Row(self._last_seq, at, body))
            try:
                self._save(at)
            except sqlite3.Error as error:
                logger.error("the spool cannot be written (%s): %d samples wait in memory", error, len(self._unsaved))
                self._after_failure(error)
            return self._last_seq

    def _after_failure(self, error: sqlite3.Error) -> None:
        """Replace a file that broke under us, and keep what waits in memory within bounds."""
        if is_corruption(error):
            self._db.close()
            self._db = open_or_replace(self.path, _LAYOUT)
            self._rows, self._bytes = self._measure(self._last_seq)
            with self._db:
                self._set(last_seq=self._last_seq, dropped=self.dropped, confirmed=self._confirmed)
        while len(self._unsaved) > UNSAVED_ROWS:
            self._unsaved.popleft()
            self.dropped += 1

    def _save(self, at: float) -> None:
        """Move what is in memory to the disk and enforce the bounds, in one transaction. Raises sqlite3.Error."""
        rows, dropped, oldest = list(self._unsaved), self.dropped, 0
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)
            count = self._rows + len(rows)
            size = self._bytes + sum(row.size for row in rows)
            for seq, taken, length in self._db.execute("SELECT seq, at, LENGTH(body) FROM samples ORDER BY seq"):
                if taken >= at - self.max_age and size <= self.max_bytes:
                    break
                size, count, dropped = size - length - ROW_OVERHEAD, count - 1, dropped + 1
                oldest = int(seq)
            if dropped > self.dropped:
                self._db.execute("DELETE FROM samples WHERE seq <= ?", (oldest,))
            self._set(last_seq=self._last_seq, dropped=dropped, refused=self.refused)
        if dropped > self.dropped and (self.dropped == 0 or dropped // 1000 > self.dropped // 1000):
            logger.warning("the spool is full: %d samples dropped so far, the oldest first", dropped)
        self._rows, self._bytes, self.dropped = count, size, dropped
        self._unsaved.clear()

    def batch(self, max_rows: int = 500, max_bytes: int = 1024 * 1024) -> list[Row]:
        """The oldest waiting samples in order, at least one if any waits."""
        with self._lock:
            chosen: list[Row] = []
            total = 0
            for row in self._waiting():
                total += row.size
                if len(chosen) == max_rows or (chosen and total > max_bytes):
                    break
                chosen.append(row)
            if chosen:
                self._known = max(self._known, chosen[-1].seq)
            return chosen

    def acknowledge(self, seq: int) -> int:
        """Forget everything up to `seq`, but nothing that was never handed out; gives how many were forgotten."""
        with self._lock:
            before = self.pending
            self._acked = max(self._acked, min(seq, self._known))
            while self._unsaved and self._unsaved[0].seq <= self._acked:
                self._unsaved.popleft()
            try:
                rows, size = self._measure(self._acked)
                with self._db:
                    self._db.execute("DELETE FROM samples WHERE seq <= ?", (self._acked,))
                self._rows, self._bytes = self._rows - rows, self._bytes - size
                self._shrink()
            except sqlite3.Error as error:
                logger.error("acknowledged samples cannot be removed from the spool: %s", error)
            return before - self.pending

    def resume_from(self, acked: int) -> int:
        """Apply the server's `acked` at the start of a connection; gives how many samples were renumbered.

        Up to `acked` is stored there, so it goes. But numbers that this file cannot have given out mean that the file
        was lost or set back: then what waits is new, and it is numbered after `acked`.
        Raises ValueError, sqlite3.Error.
        """
        with self._lock:
            if not 0 <= acked <= MAX_SEQ:
                raise ValueError("acked is out of range")
            known = self._known if self._confirmed else 0
            moved = 0
            if acked > known:
                moved = self._renumber(acked, [row for row in self._waiting() if row.seq > known])
            elif not self._confirmed:
                with self._db:
                    self._set(confirmed=1)
            self._confirmed = 1
            self.acknowledge(acked)
            return moved

    def _renumber(self, acked: int, fresh: list[Row]) -> int:
        logger.warning("the server holds samples up to %d: %d waiting ones are numbered after it", acked, len(fresh))
        moved = [Row(acked + place, row.at, row.body) for place, row in enumerate(fresh, 1)]
        with self._db:
            self._db.execute("DELETE FROM samples")
            self._db.executemany("INSERT INTO samples VALUES (?, ?, ?)", moved)
            self._set(last_seq=acked + len(moved), confirmed=1)
        self._unsaved.clear()
        self._last_seq, self._known, self._acked = acked + len(moved), acked, acked
        self._rows, self._bytes = self._measure(self._last_seq)
        return len(moved)

    def note_refused(self, count: int) -> None:
        """Count samples that the server refused for good; stored with the next sample."""
        with self._lock:
            self.refused += count

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        with self._lock:
            self._db.close()

    def _waiting(self) -> Iterator[Row]:
        """What is not acknowledged yet, in order; hold the lock."""
        stored = self._db.execute("SELECT seq, at, body FROM samples WHERE seq > ? ORDER BY seq", (self._acked,))
        return itertools.chain((Row(*found) for found in stored), tuple(self._unsaved))

    def _measure(self, seq: int) -> tuple[int, int]:
        """How many samples up to `seq` are on the disk, and their bytes."""
        query = f"SELECT COUNT(*), COALESCE(SUM(LENGTH(body) + {ROW_OVERHEAD}), 0) FROM samples WHERE seq <= ?"
        rows, size = self._db.execute(query, (seq,)).fetchone()
        return int(rows), int(size)

    def _shrink(self) -> None:
        """Give pages back after a long replay; a few stay, so that a full disk still leaves room to work."""
        if self._db.execute("PRAGMA freelist_count").fetchone()[0] > 512:
            self._db.executescript("PRAGMA incremental_vacuum(256)")  # execute() would free one page only

    def _set(self, **values: int) -> None:
        self._db.executemany("UPDATE meta SET value = ? WHERE name = ?", [(v, k) for k, v in values.items()])
