"""Group commit: everybody who has a sample now waits for one transaction that stores them all (RELIABILITY 24).

A buffer that answers before it commits is quicker and loses acknowledged samples on `kill -9`; one commit a request is
safe and slow. Here the answer comes after the commit, and while one transaction runs the next batch gathers. A transaction
costs far more than a sample, so a small batch also waits a moment for company, unless nobody came the last time.
"""

import os
import threading
from time import monotonic

from flask import Flask

from app.database import unit_of_work
from app.errors import NotFound, Unavailable
from app.logging import get_logger
from app.metrics.operations import NewSample, store

MAX_WAITING = 20_000
MAX_BATCH = 1_000
PATIENCE_S = 30.0
GATHER_S = 0.05  # at most this long after the transaction before began …
ENOUGH = 16  # … and only until so many samples wait
UNCROWDED = 64  # transactions without a pause after one that brought nobody
log = get_logger(__name__)


class _Batch:
    """Samples that share a transaction, and what became of it."""

    def __init__(self) -> None:
        self.samples: list[NewSample] = []
        self.done = threading.Event()
        self.error: Exception | None = None
        self.missing: set[int] = set()


class SampleWriter:
    """One per process: a thread that commits what has gathered, as soon as the batch before is done."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._batches: list[_Batch] = []
        self._waiting = 0
        self._pid = 0
        self._enough = threading.Event()
        self._began = 0.0
        self._hurried = 0

    def submit(self, samples: list[NewSample]) -> set[int]:
        """Store the samples; returns after the commit, with the computer ids that do not exist (theirs were not stored).

        Raises Unavailable when the queue is full, or what the database raised; then nothing of these samples was stored.
        """
        batch = self._join(samples)
        self._wake.set()
        if not batch.done.wait(PATIENCE_S):
            raise Unavailable("The samples could not be stored in time; send them again")
        if batch.error is not None:
            raise batch.error
        return batch.missing

    def submit_one(self, sample: NewSample) -> None:
        """Store one sample. Raises NotFound when its computer is gone, and what `submit` raises."""
        if sample.computer_id in self.submit([sample]):
            raise NotFound("Computer not found")

    def _join(self, samples: list[NewSample]) -> _Batch:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="sample-writer", daemon=True).start()
            if self._waiting + len(samples) > MAX_WAITING:
                raise Unavailable("Too many samples are waiting to be stored; nothing was stored", retry_after=2)
            if not self._batches or len(self._batches[-1].samples) >= MAX_BATCH:
                self._batches.append(_Batch())
            batch = self._batches[-1]
            batch.samples.extend(samples)
            self._waiting += len(samples)
            if self._waiting >= ENOUGH:
                self._enough.set()
            return batch

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._batches:
                    self._gather()
                    with self._lock:
                        batch = self._batches.pop(0)
                    self._write(batch)

    def _gather(self) -> None:
        """Give others a moment to join a small batch."""
        left = self._began + GATHER_S - monotonic()
        if self._hurried:
            self._hurried -= 1
        elif left > 0 and (alone := self._waiting) < ENOUGH:
            self._enough.clear()
            if self._waiting < ENOUGH:
                self._enough.wait(left)
            if self._waiting == alone:
                self._hurried = UNCROWDED
        self._began = monotonic()

    def _write(self, batch: _Batch) -> None:
        started = monotonic()
        try:
            with unit_of_work(power_safe=False):
                batch.missing = store(batch.samples)
        except Exception as error:  # whoever waits gets it; the writer lives on
            log.error("samples not stored", count=len(batch.samples), error=str(error)[:300])
            batch.error = error
        finally:
            with self._lock:
                self._waiting -= len(batch.samples)
            batch.done.set()
        if (took := monotonic() - started) > 1:
            log.warning("storing samples was slow", count=len(batch.samples), seconds=round(took, 2))


def writer_of(app: Flask) -> SampleWriter:
    """The process's writer."""
    writer: SampleWriter = app.extensions["binnacle_writer"]
    return writer
