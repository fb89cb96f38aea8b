"""The worker's courier: a thread that follows the journal and hands out what is due to threads that send, so that a receiver that
hangs, and a chore of the worker that is slow, hold up nobody else."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from app.changes import watch_of
from app.clock import now
from app.database import reading, unit_of_work
from app.deliveries import operations, queries
from app.deliveries.models import Delivery
from app.deliveries.operations import Carrier, Claimed, Outcome
from app.deliveries.queries import Glance
from app.extensions import db
from app.factory import settings_of
from app.journal.queries import after
from app.logging import get_logger

TICK_S = 0.2
PASS_S, ASLEEP_S = 5.0, 1.0
log = get_logger(__name__)


class Courier:
    """One for a worker. `run` sees to it that the thread lives, `stop` ends it; sends under way are finished and noted."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._ring = threading.Event()  # hands have become free
        self._thread: threading.Thread | None = None
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._passed: dict[str, float] = {}
        self._bounded: dict[str, float] = {}
        self._asleep: dict[str, float] = {}
        self._flying: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        """Start the thread, unless it is there."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._loop, name="courier", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Hand out nothing more and wait for what is under way."""
        self._stopping.set()
        self._ring.set()
        if self._thread is not None:
            self._thread.join()
        for pool in self._pools.values():
            pool.shutdown()

    def _loop(self) -> None:
        with self._app.app_context():
            watch = watch_of(db.engine)
            rested, seen, rung = 0.0, 0, True
            while not self._stopping.is_set():
                version, moment = watch.version(), time.monotonic()
                if rung or version != seen or moment >= rested:
                    seen, rested = version, moment + min(self._round(), PASS_S)
                rung = self._ring.wait(TICK_S)
                self._ring.clear()

    def _round(self) -> float:
        """A turn of each carrier; returns the seconds until something is due, should nobody commit anything before."""
        left = PASS_S
        for carrier in operations.carriers.values():
            try:
                self.turn(carrier)
                with reading():
                    due_at = queries.glance(carrier.name).due_at
                left = left if due_at is None else min(left, (due_at - now()).total_seconds())
            except Exception as error:  # the next turn tries again; the courier must outlive its database
                log.error("courier", carrier=carrier.name, error=f"{type(error).__name__}: {error}"[:500])
                left = 0.0
        return left

    def turn(self, carrier: Carrier) -> None:
        """Hand out what is due."""
        for parcel in self.take(carrier):
            self._hand_out(carrier, parcel)

    def take(self, carrier: Carrier) -> list[list[Claimed]]:
        """Follow the journal, then claim what is due, as far as there are hands free."""
        if self._asleep.get(carrier.name, 0.0) > time.monotonic():
            return []
        with reading():
            seen = queries.glance(carrier.name)
            behind = self._is_behind(carrier, seen)
        if seen.cursor is None:  # nobody has ever made a receiver of this kind
            self._asleep[carrier.name] = time.monotonic() + ASLEEP_S
            return []
        followed = behind
        while behind and not self._stopping.is_set():
            with unit_of_work(power_safe=False):  # cursor and rows go together: what a power cut takes, is made again
                behind = operations.follow(carrier)
            self._bound(carrier, at_once=behind)
        if not followed and (seen.due_at is None or seen.due_at > now()):
            return []
        parcels = self._parcels(carrier)
        if not parcels:
            return []
        with unit_of_work(power_safe=False):
            claimed = [operations.claim([row.id for row in parcel]) for parcel in parcels]
        return [parcel for parcel in claimed if parcel]

    def _is_behind(self, carrier: Carrier, seen: Glance) -> bool:
        """Whether the journal holds something for it. What nobody wants is passed over every few seconds, not each time."""
        if seen.cursor is None or seen.journal <= seen.cursor:
            return False
        types = tuple(carrier.types())
        wanted = bool(types and after(seen.cursor, types, 1))
        late = self._passed.get(carrier.name, 0.0) + PASS_S < time.monotonic()
        if wanted or late:
            self._passed[carrier.name] = time.monotonic()
        return wanted or late

    def _bound(self, carrier: Carrier, *, at_once: bool) -> None:
        """Give up the oldest where too much waits for one receiver: looked for while much is made, else every few seconds."""
        if not at_once and self._bounded.get(carrier.name, 0.0) + PASS_S > time.monotonic():
            return
        self._bounded[carrier.name] = time.monotonic()
        most = settings_of(self._app).deliveries_waiting
        with reading():
            crowded = [receiver_id for receiver_id, count in queries.open_counts(carrier.name).items() if count > most]
        for receiver_id in crowded:
            with unit_of_work():
                given_up = operations.give_up_oldest(carrier, receiver_id, most)
            if given_up:
                log.warning("deliveries given up, too many wait", carrier=carrier.name, receiver=receiver_id, count=given_up)

    def _parcels(self, carrier: Carrier) -> list[list[Delivery]]:
        with self._lock:
            flying = dict(self._flying)
        free = carrier.at_once - sum(count for (name, _), count in flying.items() if name == carrier.name)
        found: list[list[Delivery]] = []
        with reading():
            moment = now()
            for receiver_id, failures in queries.receivers_due(carrier.name, moment) if free > 0 else ():
                hands = min((1 if failures else carrier.each) - flying.get((carrier.name, receiver_id), 0), free)
                if hands > 0:
                    rows = queries.due(carrier.name, receiver_id, moment, carrier.batch, held_too=carrier.held_too)
                    mine = carrier.pack(rows)[:hands]
                    found += mine
                    free -= len(mine)
                if free <= 0:
                    break
        return found

    def _hand_out(self, carrier: Carrier, parcel: list[Claimed]) -> None:
        key = carrier.name, parcel[0].receiver_id
        pool = self._pools.get(carrier.name)
        if pool is None:
            pool = self._pools[carrier.name] = ThreadPoolExecutor(carrier.at_once, thread_name_prefix=f"send-{carrier.name}")
        with self._lock:
            self._flying[key] += 1
        pool.submit(self._one, carrier, parcel, key)

    def _one(self, carrier: Carrier, parcel: list[Claimed], key: tuple[str, str]) -> None:
        try:
            with self._app.app_context():
                deliver(self._app, carrier, parcel)
        except Exception as error:  # the lease ends, and it is sent again
            log.error("delivery not noted", carrier=carrier.name, error=f"{type(error).__name__}: {error}"[:300])
        finally:
            with self._lock:
                self._flying[key] -= 1
                if not self._flying[key]:
                    del self._flying[key]
            self._ring.set()


def deliver(app: Flask, carrier: Carrier, parcel: list[Claimed]) -> None:
    """Send a parcel and note what came of it."""
    try:
        outcomes = carrier.send(app, parcel)
    except Exception as error:  # our own fault: it is written down, and tried again like any other failure
        log.error("send failed", carrier=carrier.name, error=f"{type(error).__name__}: {error}"[:300])
        outcomes = [Outcome(False, error=f"could not be sent ({type(error).__name__})")] * len(parcel)
    with unit_of_work():
        operations.settle(carrier, parcel, outcomes)
