"""What a web process does for the computers that are connected to it: one thread for each such subject, which looks for work.

The table is the truth and a bell only saves time: rung in this process it looks at once, otherwise it sees within TAIL_S by a
change clock that there is something for it.
"""

import os
import threading
import time

from flask import Flask

from app.changes import watch_of
from app.connectors.registry import registry_of
from app.extensions import db
from app.logging import get_logger

TAIL_S = 0.1
log = get_logger(__name__)


class Listener:
    """Base of those: `_look` does what is to be done, unless the clock stands where it was `_seen`. `expect` lets a request wait
    until this process hears something of a thing."""

    subject = ""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0
        self._seen = -1
        self._expected: dict[str, threading.Event] = {}

    def ring(self) -> None:
        """There is something to do, or a computer has come."""
        if len(registry_of(self._app)):  # a process without computers, such as a worker, needs no thread
            with self._lock:
                if self._pid != os.getpid():  # once in each process: gunicorn forks after the application is made
                    self._pid = os.getpid()
                    threading.Thread(target=self._run, name=self.subject, daemon=True).start()
        self._seen = -1
        self._bell.set()

    def expect(self, thing_id: str) -> threading.Event:
        """An event that is set when this process hears something of a thing."""
        return self._expected.setdefault(thing_id, threading.Event())

    def forget(self, thing_id: str) -> None:
        """Nobody waits for it any more in this process."""
        self._expected.pop(thing_id, None)

    def heard(self, thing_id: str) -> None:
        """Something came."""
        if (event := self._expected.get(thing_id)) is not None:
            event.set()

    def _look(self) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        with self._app.app_context():
            watch, committed = watch_of(db.engine), 0
            while True:
                self._bell.wait(TAIL_S)
                self._bell.clear()
                version = watch.version()
                if not len(registry_of(self._app)) or (version == committed and self._seen != -1):
                    continue
                committed = version
                try:
                    self._look()
                except Exception as error:  # the database may be away for a while; what waits goes on waiting
                    log.warning("could not look for work", subject=self.subject, error=f"{type(error).__name__}: {error}"[:300])
                    self._seen = -1
                    time.sleep(0.5)
