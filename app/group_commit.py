"""Group commit: everybody who has something to store now waits for one transaction that stores it all (RELIABILITY 24).

A buffer that answers before it commits is quicker and loses acknowledged rows on `kill -9`; one commit a request is safe and
slow. Here the answer comes after the commit, and while one transaction runs the next batch gathers. A transaction costs far
more than a row, so a small batch also waits a moment for company, unless nobody came the last time.
"""

import os
import threading
from collections.abc import Callable, Sequence
from copy import copy
from time import monotonic
from typing import Generic, TypeVar

from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.database import unit_of_work
from app.errors import DomainError, Unavailable
from app.logging import get_logger

T = TypeVar("T")
R = TypeVar("R")
MAX_WAITING = 20_000
MAX_BATCH = 1_000
PATIENCE_S = 30.0
GATHER_S = 0.05  # at most this long after the transaction before began …
ENOUGH = 16  # … and only until so many wait, or nearly as many as the last time
UNCROWDED = 64  # transactions without a pause after one that brought nobody
log = get_logger(__name__)


class _Batch(Generic[T, R]):
    """Pieces that share a transaction, numbered as they came, and what became of each: its result, or the error it gets."""

    def __init__(self) -> None:
        self.pieces: dict[int, T] = {}
        self.came = 0
        self.size = 0
        self.done = threading.Event()
        self.results: dict[int, R | Exception] = {}


class GroupCommit(Generic[T, R]):
    """One per process and kind of piece: a thread that commits what has gathered, as soon as the batch before is done.

    `store` gets the pieces of a batch inside a unit of work and returns for each its result, or the error that its submitter
    gets; an exception fails the whole batch and nothing of it is stored. `size_of` says how many rows a piece is, `full` what who
    comes too much is told. See `unit_of_work` for `power_safe`.
    """

    def __init__(
        self, app: Flask, name: str, store: Callable[[Sequence[T]], Sequence[R | Exception]], size_of: Callable[[T], int],
        *, power_safe: bool, full: DomainError | None = None,
    ) -> None:  # fmt: skip
        self._full = full or Unavailable("Too much is waiting to be stored; nothing was stored", retry_after=2)
        self._app, self._name, self._store, self._size_of, self._power_safe = app, name, store, size_of, power_safe
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._batches: list[_Batch[T, R]] = []
        self._waiting = 0
        self._callers = 0
        self._usual = ENOUGH
        self._pid = 0
        self._enough = threading.Event()
        self._began = 0.0
        self._hurried = 0

    def submit(self, piece: T) -> R:
        """Store the piece; returns after the commit.

        Raises `full` when too much waits or its turn does not come in time, the piece's own error, or what the database raised;
        then nothing of it was stored.
        """
        batch, number = self._join(piece)
        self._wake.set()
        if not batch.done.wait(PATIENCE_S):
            if self._withdraw(batch, number):
                raise copy(self._full)
            if not batch.done.wait(PATIENCE_S):  # its transaction has begun: only the database knows what becomes of it
                raise Unavailable("The data could not be stored in time; send it again")
        result = batch.results[number]
        if isinstance(result, Exception):
            raise result
        return result

    def _join(self, piece: T) -> tuple[_Batch[T, R], int]:
        size = self._size_of(piece)
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            if self._waiting + size > MAX_WAITING:
                raise copy(self._full)
            if not self._batches or self._batches[-1].size + size > MAX_BATCH:
                self._batches.append(_Batch())
            batch = self._batches[-1]
            batch.came += 1
            batch.pieces[batch.came] = piece
            batch.size += size
            self._waiting += size
            self._callers += 1
            if self._callers >= self._usual:
                self._enough.set()
            return batch, batch.came

    def _withdraw(self, batch: _Batch[T, R], number: int) -> bool:
        """Take a piece back; False when its transaction has begun."""
        with self._lock:
            if batch not in self._batches:
                return False
            size = self._size_of(batch.pieces.pop(number))
            batch.size -= size
            self._waiting -= size
            self._callers -= 1
            return True

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._batches:
                    self._gather()
                    with self._lock:
                        batch = self._batches.pop(0)
                        self._callers -= len(batch.pieces)
                    self._usual = max(ENOUGH, len(batch.pieces) * 9 // 10)
                    self._write(batch)

    def _gather(self) -> None:
        """Give others a moment to join a small batch."""
        left = self._began + GATHER_S - monotonic()
        if self._hurried:
            self._hurried -= 1
        elif left > 0 and (alone := self._callers) < self._usual:
            self._enough.clear()
            if self._callers < self._usual:
                self._enough.wait(left)
            if self._callers == alone:
                self._hurried = UNCROWDED
        self._began = monotonic()

    def _write(self, batch: _Batch[T, R]) -> None:
        started = monotonic()
        try:
            if batch.pieces:
                batch.results = dict(zip(batch.pieces, self._attempt(list(batch.pieces.values())), strict=False))
        finally:
            with self._lock:
                self._waiting -= batch.size
            batch.done.set()
        if (took := monotonic() - started) > 1:
            log.warning("storing was slow", writer=self._name, count=batch.size, seconds=round(took, 2))

    def _attempt(self, pieces: Sequence[T]) -> Sequence[R | Exception]:
        """What became of each piece. When a batch is refused for what is in it, the pieces are tried one by one: one bad piece
        must not fail the others. A database that is away or busy is so for all of them."""
        try:
            with unit_of_work(power_safe=self._power_safe):
                return self._store(pieces)
        except Exception as error:  # whoever waits gets it; the writer lives on
            away = isinstance(error, OperationalError | PoolTimeout) or getattr(error, "connection_invalidated", False)
            if len(pieces) > 1 and not away:
                return [result for piece in pieces for result in self._attempt([piece])]
            log.error("not stored", writer=self._name, count=len(pieces), error=str(error)[:300])
            return [error] * len(pieces)
