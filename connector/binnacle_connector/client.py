"""Dials, converses, and dials again with full jitter, for as long as the connector runs."""

from __future__ import annotations

import random
import sqlite3
import threading
import time

from .config import Settings
from .log import logger
from .session import MAX_BATCH, Parts, Session, Timing
from .wire import Connection, ConnectionLost, Waker


class Backoff:
    """Full jitter: a random wait between 0 and a ceiling that doubles from `first` to `cap` seconds."""

    def __init__(self, first: float, cap: float) -> None:
        self._first, self._cap, self._failures = first, cap, 0

    @property
    def ceiling(self) -> float:
        """The longest that the next wait can be, in seconds."""
        return min(self._cap, self._first * 2.0 ** min(self._failures, 30))

    def next(self) -> float:
        """Seconds to wait now."""
        wait = random.uniform(0, self.ceiling)
        self._failures += 1
        return wait

    def reset(self) -> None:
        """After a connection that worked."""
        self._failures = 0


class Client(threading.Thread):
    """Delivers the spool to the server. Nothing that a server does ends it; `stop()` does."""

    def __init__(self, settings: Settings, parts: Parts, waker: Waker) -> None:
        super().__init__(name="network", daemon=True)
        self._settings, self._parts, self._waker = settings, parts, waker
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._backoff = Backoff(parts.timing.backoff_first, parts.timing.backoff_cap)
        self._max_batch = MAX_BATCH

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._converse()
            except ConnectionLost as lost:
                if not self._stopping.is_set():
                    logger.warning("%s", self._describe(lost))
            except sqlite3.Error as error:
                logger.error("what is kept on the disk failed: %s", error)
            except Exception as error:
                logger.error("the connection failed: %s: %s", type(error).__name__, error)
            if not self._stopping.is_set():
                wait = self._backoff.next()
                logger.info("dialling again in %.1f s", wait)
                self._stopping.wait(wait)

    def _converse(self) -> None:
        connection = self._connection = Connection(self._waker)
        session: Session | None = None
        try:
            connection.open(self._settings.socket_url, self._settings.ca_file)
            session = Session(connection, self._parts, self._max_batch)
            session.run(self._stopping.is_set)
        finally:
            connection.close()
            self._connection = None
            if session is not None:
                session.close()
                self._learn(session)

    def _learn(self, session: Session) -> None:
        """A connection that lasted resets the back-off; a message that got no answer makes the next one smaller."""
        if session.live and time.monotonic() - session.since >= self._parts.timing.settled:
            self._backoff.reset()
        self._max_batch = max(1, session.max_batch // 2) if session.waiting_for_ack else session.max_batch

    @staticmethod
    def _describe(lost: ConnectionLost) -> str:
        if lost.code == 1008:
            return f"the server does not accept this key: {lost}; samples are kept until it does"
        return f"not connected: {lost}"

    def check(self) -> None:
        """From the main thread, every few seconds: break a connection that hangs in one operation."""
        connection = self._connection
        if connection is not None:
            connection.check()

    def stop(self, grace: float = 1.0) -> None:
        """End the conversation, politely within `grace` seconds, else by breaking the socket."""
        self._stopping.set()
        self._waker.ring()
        self.join(grace)
        connection = self._connection
        if self.is_alive() and connection is not None:
            connection.abort()
            self.join(0.3)


__all__ = ["Backoff", "Client", "Parts", "Timing"]
