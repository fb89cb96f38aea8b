"""The worker: what has to happen on time without a request. Each job is safe to run in several workers at once.

Work that people start is a row before it is a job: `app.runs.engine` claims such rows. Here are the clock-driven chores.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from flask import Flask

from app.alerts import deadlines
from app.alerts.deadlines import Reconciler, settle_due, turn_silences
from app.alerts.operations import forget_resolved
from app.alerts.sources import follow
from app.auth.operations import forget_expired
from app.changes import watch_of
from app.clock import now
from app.containers import readings
from app.database import reading, unit_of_work
from app.deliveries import operations as deliveries
from app.deliveries.courier import Courier
from app.extensions import db
from app.factory import settings_of, vault_of
from app.fleet import queries as fleet
from app.fleet.operations import sweep_offline
from app.logging import get_logger
from app.metrics import partitions, rollups
from app.metrics.queries import Retention
from app.notifications import operations as notifications
from app.proxies import queries as proxies
from app.proxies.checker import Checker, request_due
from app.proxies.operations import age, end_rests
from app.runs import leases
from app.runs import retention as runs_retention
from app.runs.bell import bell_of
from app.runs.engine import Engine
from app.runs.leases import Keeper
from app.sessions import retention
from app.system.queries import schema_heads

REST_S = 60.0
log = get_logger("binnacle.worker")


@dataclass
class Job:
    """A chore that is due every `every` seconds. `stop` is called when the worker ends.

    With `until` it looks for work only when there can be some: after each run `until` tells the moment from which something is
    to do although nobody commits anything (None: never); until then, at most REST_S, it is skipped as long as nobody has.
    """

    name: str
    every: float
    run: Callable[[], Any]
    until: Callable[[], datetime | None] | None = None
    due: float = 0.0
    stop: Callable[[], Any] | None = None
    seen: int | None = None
    rests_until: float = 0.0

    def may_rest(self, version: int) -> bool:
        """Whether nothing can be to do: nobody has committed since it last looked, and no moment has come."""
        return version == self.seen and time.monotonic() < self.rests_until

    def rest(self, version: int) -> None:
        """It has looked, after `version` was read."""
        if self.until is not None:
            with reading():
                until = self.until()
            left = REST_S if until is None else (until - now()).total_seconds()
            self.seen, self.rests_until = version, time.monotonic() + min(left, REST_S)


def jobs(app: Flask, owner: str) -> list[Job]:
    """Everything the clock drives; `owner` is this worker's name."""
    settings, checker, keeper = settings_of(app), Checker(app), Keeper(owner, vault_of(app))
    courier, reconciler = Courier(app), Reconciler()
    kept = Retention.of(settings)
    absolute = timedelta(minutes=settings.session_absolute_minutes)
    sessions_kept = timedelta(days=settings.sessions_days), timedelta(days=settings.events_days)

    def roll_up() -> None:
        rollups.roll_up("1m")
        rollups.roll_up("15m")

    def forget() -> None:
        with unit_of_work():
            forget_expired(absolute)

    aged: list[datetime | None] = [None]

    def let_proxies_age() -> None:
        moment = now()
        with unit_of_work(power_safe=False):
            age(aged[0])
        aged[0] = moment

    return [
        Job("sweep offline computers", 2, _sweep, fleet.next_offline),
        Job("partitions", 3600, partitions.maintain),
        Job("retain samples", 300, lambda: rollups.retain(kept.raw, kept.minutes, kept.quarters)),  # first: ends what was begun
        Job("roll up samples", 20, roll_up),
        Job("keep runs", 1, keeper.keep, leases.next_look),
        Job("end overdue steps", 1, keeper.end_overdue, leases.next_look),
        Job("bury lost runs", 2, keeper.sweep, leases.next_look),
        Job("forget logs that nobody reads", 5, _forget_readings, readings.next_unwanted),
        Job("rested proxies", 5, _end_rests, proxies.next_rested),
        Job("windows of proxies", 60, let_proxies_age),
        Job("proxy checks", 1, checker.run, proxies.next_check),
        Job("due proxy checks", 30, lambda: request_due(settings)),
        Job("follow the journal for alerts", 0.5, follow, _when_told),
        Job("deadlines of alerts", 0.5, settle_due, deadlines.next_due),
        Job("silences", 1, turn_silences, deadlines.next_turn),
        Job("rules that have changed", 2, reconciler.run, reconciler.next_run),
        Job("retain alerts", 3600, lambda: forget_resolved(timedelta(days=settings.alerts_days))),
        Job("retain sessions", 600, lambda: retention.retain(*sessions_kept)),
        Job("retain runs", 600, lambda: runs_retention.retain(timedelta(days=settings.runs_days), settings.data_dir)),
        Job("forget expired logins", 600, forget),
        Job("deliveries", 1, courier.run, stop=courier.stop),
        Job("repeat notifications", 10, _repeat),
        Job("retain deliveries", 600, _retain_deliveries),
    ]


def _when_told() -> None:
    """The `until` of what only ever follows a commit."""
    return


def _sweep() -> None:
    with unit_of_work():
        while sweep_offline() == 500:
            continue


def _repeat() -> None:
    with reading():
        due = notifications.repeats()
    if due:
        with unit_of_work():
            notifications.repeat()


def _retain_deliveries() -> None:
    with unit_of_work():
        deliveries.retain()


def _forget_readings() -> None:
    with unit_of_work(power_safe=False):
        readings.forget_unwanted()


def _end_rests() -> None:
    with unit_of_work():
        while end_rests() == 500:
            continue


def run(app: Flask) -> None:
    """Run the jobs until SIGTERM or SIGINT; a job that fails is logged and tried again when it is next due."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with app.app_context():
        _wait_for_schema(app, stopping)
        owner = f"worker:{os.getpid()}:{token_hex(4)}"
        todo, engine = jobs(app, owner), Engine(app, owner, settings_of(app).worker_runs)
        engine.start()
        bell_of(app).listen(engine.ring, stopping)
        log.info("worker ready", jobs=len(todo))
        watch = watch_of(db.engine)
        while not stopping.is_set():
            for job in todo:
                if job.due <= time.monotonic() and not stopping.is_set():
                    _run_one(job, watch.version())
            soonest = min(job.due for job in todo)
            stopping.wait(max(0.05, soonest - time.monotonic()))
        engine.stop()
        for job in todo:
            if job.stop is not None:
                job.stop()
    log.info("worker stopped")


def _run_one(job: Job, version: int) -> None:
    started = time.monotonic()
    if job.may_rest(version):
        job.due = started + job.every
        return
    try:
        job.run()
        job.rest(version)
    except Exception as error:  # the next due time tries again; a worker must outlive its database
        db.session.remove()
        log.error("job failed", job=job.name, error=f"{type(error).__name__}: {error}"[:500])
    took = time.monotonic() - started
    if took > 5:
        log.warning("job was slow", job=job.name, seconds=round(took, 1))
    job.due = time.monotonic() + job.every


def _wait_for_schema(app: Flask, stopping: threading.Event) -> None:
    """The web process migrates; wait until it has."""
    while not stopping.is_set():
        try:
            at, newest = schema_heads(app.config["MIGRATIONS_DIR"])
            db.session.remove()
            if at == newest:
                return
        except Exception as error:  # the database may not be there yet
            log.warning("waiting for the database", error=str(error)[:200])
            db.session.remove()
        stopping.wait(0.3)
