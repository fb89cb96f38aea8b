"""The steady beat: a thread that samples into the spool, whatever the network does."""

from __future__ import annotations

import json
import threading
import time
from typing import Callable

from .log import logger
from .metrics import Sampler
from .spool import Spool

FIRST_AFTER = 0.5


class Schedule:
    """Moments `interval` seconds apart on one clock. Slow work does not shift them; missed ones are skipped."""

    def __init__(self, start: float, interval: float) -> None:
        self.next, self.interval = start, interval

    def advance(self, now: float) -> float:
        """The first moment of the beat after `now`."""
        missed = max(0, int((now - self.next) // self.interval))
        self.next += (missed + 1) * self.interval
        return self.next

    def change(self, interval: float, now: float) -> None:
        """A new beat from `now` on."""
        self.next, self.interval = now + interval, interval


class SamplingThread(threading.Thread):
    """Samples every `interval` seconds into `spool` and calls `on_sample` after each; `stop()` ends it."""

    def __init__(self, spool: Spool, interval: float, on_sample: Callable[[], None]) -> None:
        super().__init__(name="sampler", daemon=True)
        self._spool, self._on_sample = spool, on_sample
        self._wake = threading.Condition()
        self._stopping = False
        self._schedule = Schedule(0.0, interval)

    @property
    def interval(self) -> float:
        """Seconds between two samples."""
        return self._schedule.interval

    def set_interval(self, interval: float) -> None:
        """Use another interval (seconds) from now on; the same one changes nothing."""
        with self._wake:
            if interval != self._schedule.interval:
                self._schedule.change(interval, time.monotonic())
                self._wake.notify()

    def stop(self) -> None:
        """Ask the thread to end; it does so between two samples."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def run(self) -> None:
        source = Sampler()
        self._schedule.next = time.monotonic() + min(FIRST_AFTER, self._schedule.interval)
        while self._wait():
            try:
                taken = source.sample()
                self._spool.append(json.dumps(taken, separators=(",", ":"), allow_nan=False), time.time())
            except Exception as error:
                logger.error("a sample failed: %s: %s", type(error).__name__, error)
            self._on_sample()

    def _wait(self) -> bool:
        """Sleep until the next beat and set the one after it; false when it is time to end."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                if now >= self._schedule.next:
                    self._schedule.advance(now)
                    return True
                self._wake.wait(self._schedule.next - now)
            return False
