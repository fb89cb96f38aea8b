"""The engine: how a worker executes runs. The row is the truth, and whoever holds its lease may write it.

One thread claims, one watches (heartbeat, requests, time limits, logs), and each run under way has a thread of its own. Each
step is written before and after it happens, so that a run whose worker dies is `lost` with what it has done (`runs/leases.py`).
"""

import threading
import time

from flask import Flask
from sqlalchemy import select

from app.changes import watch_of
from app.database import reading, session, unit_of_work
from app.extensions import db
from app.logging import get_logger
from app.runs import drivers, leases
from app.runs.execution import Execution
from app.runs.models import Run, RunStatus
from app.runs.operations import LEASE

LOOK_S = 1.0  # between two looks for work that no bell was heard of
WATCH_S = 0.2
BEAT_S = 10.0
LEAVE_S = 26.0  # after SIGTERM, until the process ends whatever is still under way
log = get_logger(__name__)


class Engine:
    """The runs of one worker process, at most `slots` beside each other."""

    def __init__(self, app: Flask, owner: str, slots: int) -> None:
        self.app, self.owner, self.slots = app, owner, slots
        self.stopping_since: float | None = None
        self._bell, self._busy, self._done = threading.Event(), threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[str, Execution] = {}

    def start(self) -> None:
        """Begin to claim and to watch."""
        for target in (self._claim, self._watch):
            threading.Thread(target=target, name=f"runs{target.__name__}", daemon=True).start()

    def ring(self) -> None:
        """A run may wait."""
        self._bell.set()

    def stop(self) -> None:
        """Begin no step any more: runs between two steps are handed back, a step under way may end, at last it is interrupted."""
        self.stopping_since = time.monotonic()
        self._bell.set()
        for execution in self.executions():
            execution.wake.set()
        while self.executions() and time.monotonic() < self.stopping_since + LEAVE_S:
            self._done.wait(0.1)
            self._done.clear()

    def executions(self) -> list["Execution"]:
        """What is under way."""
        with self._lock:
            return list(self._under_way.values())

    def leave(self, execution: "Execution") -> None:
        """It is over, or given up."""
        with self._lock:
            if self._under_way.get(execution.run_id) is execution:
                del self._under_way[execution.run_id]
        self._done.set()
        self._bell.set()

    def _claim(self) -> None:
        with self.app.app_context():
            watch, seen = watch_of(db.engine), 0
            while self.stopping_since is None:
                rung, version = self._bell.wait(LOOK_S), watch.version()
                self._bell.clear()
                if not rung and version == seen:
                    continue
                seen = version
                try:
                    while len(self.executions()) < self.slots and self.stopping_since is None and self._claim_one():
                        continue
                except Exception as error:  # the database may be away for a while; what waits goes on waiting
                    log.warning("no run could be claimed", error=f"{type(error).__name__}: {error}"[:300])
                    seen = 0
                    time.sleep(0.5)

    def _claim_one(self) -> bool:
        kinds = drivers.work_kinds()
        with reading():
            waits = bool(kinds) and leases.anything_waits(kinds)
        if not waits:
            return False
        with unit_of_work():
            run_id = leases.claim(self.owner, kinds)
        if run_id is None:
            return False
        execution = Execution(self, run_id)
        with self._lock:
            self._under_way[run_id] = execution
        self._busy.set()
        threading.Thread(target=execution.run, name=f"run-{run_id[:8]}", daemon=True).start()
        return True

    def _watch(self) -> None:
        beat = kept = time.monotonic()
        with self.app.app_context():
            while True:
                if not self.executions():
                    self._busy.clear()
                    if not self.executions():
                        self._busy.wait()
                        beat = kept = time.monotonic()
                time.sleep(WATCH_S)
                found, moment = self.executions(), time.monotonic()
                try:
                    self._look(found)
                    if moment >= beat:
                        self._heartbeat(found)
                        beat, kept = moment + BEAT_S, moment
                except Exception as error:
                    log.warning("the watch over runs failed", error=f"{type(error).__name__}: {error}"[:300])
                for execution in found:
                    if moment > kept + LEASE.total_seconds():  # somebody else may hold them lost already
                        execution.interrupt("gone")
                    execution.watch(moment)

    def _look(self, found: list["Execution"]) -> None:
        ids = [execution.run_id for execution in found]
        with reading():
            query = select(Run.id, Run.status, Run.request).where(Run.id.in_(ids), Run.lease_owner == self.owner)
            asked = {row.id: row for row in session().execute(query)}
        for execution in found:
            if (row := asked.get(execution.run_id)) is None:
                execution.interrupt("gone")
            elif row.request == "cancel":
                execution.interrupt("cancel")
            if row is None or row.status is not RunStatus.PAUSED:
                execution.wake.set()

    def _heartbeat(self, found: list["Execution"]) -> None:
        ids = [execution.run_id for execution in found]
        with unit_of_work(power_safe=False):
            ours = leases.keep(self.owner, ids)
        for execution in found:
            if execution.run_id not in ours:
                execution.interrupt("gone")
