"""Which commands this computer has ever started, on disk before they start, so that none runs twice."""

from __future__ import annotations

import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from .storage import Layout, open_or_replace

REMEMBERED = 7 * 24 * 3600.0
ALWAYS_REMEMBERED = 1000
PRUNE_EVERY = 3600.0
MAX_UNACKNOWLEDGED = 200
PROVISIONAL = -1.0  # in `born`: the result was written before the work, in case that nobody lives to write another

_SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    number INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, at REAL NOT NULL,
    pid INTEGER, born REAL, result TEXT, acked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS identity (memory TEXT NOT NULL);
"""
_LAYOUT = Layout(
    "memory of commands", _SCHEMA, "commands", ("number", "request_id", "at", "pid", "born", "result", "acked")
)


def _json(result: dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Unfinished(NamedTuple):
    """A command that was started by an earlier connector and never reported; `pid` and `born` when it got that far."""

    request_id: str
    pid: int | None
    born: float | None


class Ledger:
    """Every method is safe from any thread, durable when it returns, and raises sqlite3.Error.

    `memory` names this file: should it be lost or set aside, the next one has another name, and the server can tell
    that it must not send a command again that the old one may know.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = open_or_replace(path, _LAYOUT)
        self._pruned_at = 0.0
        with self._db:
            known = self._db.execute("SELECT memory FROM identity").fetchone()
            if known is None:
                known = (str(uuid.uuid4()),)
                self._db.execute("INSERT INTO identity VALUES (?)", known)
        self.memory = str(known[0])

    def knows(self, request_id: str) -> bool:
        """Whether it was ever started or answered."""
        with self._lock:
            query = "SELECT 1 FROM commands WHERE request_id = ?"
            return self._db.execute(query, (request_id,)).fetchone() is not None

    def begin(self, request_id: str, unless: dict[str, Any] | None = None) -> None:
        """Remember it; only when this returns may it be started. Raises sqlite3.IntegrityError when it is known.

        `unless` is its result for the case that this process ends before it: `finish` replaces it.
        """
        with self._lock, self._db:
            self._prune()
            query = "INSERT INTO commands (request_id, at, born, result) VALUES (?, ?, ?, ?)"
            born = PROVISIONAL if unless is not None else None
            self._db.execute(query, (request_id, time.time(), born, _json(unless) if unless is not None else None))

    def note_process(self, request_id: str, pid: int, born: float | None) -> None:
        """Which process it became, so that a later connector can end what a crash left behind."""
        with self._lock, self._db:
            query = "UPDATE commands SET pid = ?, born = ? WHERE request_id = ?"
            self._db.execute(query, (pid, born, request_id))

    def finish(self, request_id: str, result: dict[str, Any]) -> None:
        """Keep its result until it is acknowledged. The first result stays."""
        with self._lock, self._db:
            self._db.execute("INSERT OR IGNORE INTO commands (request_id, at) VALUES (?, ?)", (request_id, time.time()))
            query = "UPDATE commands SET result = ?, at = ?, born = NULLIF(born, ?)"
            query += " WHERE request_id = ? AND (result IS NULL OR born = ?)"
            self._db.execute(query, (_json(result), time.time(), PROVISIONAL, request_id, PROVISIONAL))

    def result(self, request_id: str) -> dict[str, Any] | None:
        """Its result; without `output` once it was acknowledged, none while there is none."""
        with self._lock:
            query = "SELECT result FROM commands WHERE request_id = ?"
            row = self._db.execute(query, (request_id,)).fetchone()
        return dict(json.loads(row[0])) if row is not None and row[0] is not None else None

    def acknowledge(self, request_id: str) -> None:
        """The server has the result: forget what was written, keep the id and how it ended."""
        result = self.result(request_id)
        if result is not None:
            text = json.dumps({**result, "output": ""}, ensure_ascii=False, separators=(",", ":"))
            with self._lock, self._db:
                query = "UPDATE commands SET result = ?, acked = 1 WHERE request_id = ?"
                self._db.execute(query, (text, request_id))
                self._db.execute("PRAGMA incremental_vacuum(64)")

    def unacknowledged(self) -> list[str]:
        """The newest 200 whose result no server has acknowledged, oldest first."""
        query = "SELECT request_id FROM commands WHERE result IS NOT NULL AND NOT acked ORDER BY at DESC, number DESC"
        with self._lock:
            found = self._db.execute(f"{query} LIMIT {MAX_UNACKNOWLEDGED}").fetchall()
        return [str(row[0]) for row in reversed(found)]

    def unfinished(self) -> list[Unfinished]:
        """What was started and has no result."""
        query = "SELECT request_id, pid, born FROM commands WHERE result IS NULL ORDER BY number"
        with self._lock:
            return [Unfinished(*row) for row in self._db.execute(query)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _prune(self) -> None:
        """Forget what is older than 7 days; the newest 1,000 stay in any case, as a clock may leap."""
        now = time.time()
        if abs(now - self._pruned_at) >= PRUNE_EVERY:
            self._pruned_at = now
            query = """DELETE FROM commands WHERE result IS NOT NULL AND at < ? AND number <= (
                SELECT COALESCE(MAX(number), 0) - ? FROM commands)"""
            self._db.execute(query, (now - REMEMBERED, ALWAYS_REMEMBERED))
