"""Lets simulated sessions begin, live and end at the pace of real ones."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import orjson

from app.simulator.bots import Script, script
from app.simulator.chance import Dice
from app.simulator.machines import TENANTS
from app.simulator.post import Client
from app.simulator.reporter import Reporter, event_body
from app.simulator.tally import BotTally

CONNECTIONS = 96  # requests at once
LATE_S = 1.0  # sessions that could not begin in time are left out, not made up for: a stampede would help nobody
JOINING_S = 2.0  # no more sessions wait to be registered than begin in this time …
FEWEST_JOINING = 8  # … or this many
LAST_ENDS_S = 30.0


class Swarm:
    """Sessions of one seed, begun `rate` times a second on average. `keys` has an executor's key for each tenant."""

    def __init__(self, url: str, keys: dict[str, str], seed: int, rate: float, batch: int, run: int | None = None) -> None:
        self.tally = BotTally()
        self.run = int(time.time() * 1000) if run is None else run
        self._seed, self._rate = seed, rate
        self._client = Client(url, CONNECTIONS)
        self._reporters = {name: Reporter(self._client, keys[name], self.tally, batch) for name in TENANTS}
        self._joining = 0
        self._stopping = False
        self._asleep: set[asyncio.Future[None]] = set()
        self._alive: set[asyncio.Task[None]] = set()

    async def drive(self, stop: asyncio.Event) -> None:
        """Begin sessions until `stop`; then those under way end at once, each as it would have."""
        beginning = asyncio.create_task(self._begin())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((beginning, stopped), return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            beginning.result()  # it ends only by an error
        beginning.cancel()
        with suppress(asyncio.CancelledError):
            await beginning
        self._stopping = True
        for pause in self._asleep:
            _wake(pause)
        if self._alive:
            await asyncio.wait(self._alive, timeout=LAST_ENDS_S)
        for task in list(self._alive):
            task.cancel()
        await asyncio.gather(*self._alive, return_exceptions=True)
        self._client.close()

    async def _begin(self) -> None:
        arrivals, due = Dice(self._seed, 42), time.monotonic()
        most = max(FEWEST_JOINING, int(self._rate * JOINING_S))
        for number in count():
            due = max(due + arrivals.waiting(1 / self._rate), time.monotonic() - LATE_S)
            while self._joining >= most:
                await asyncio.sleep(0.05)
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            self._joining += 1
            task = asyncio.create_task(self._live(script(self._seed, number, self.run)))
            self._alive.add(task)
            task.add_done_callback(self._alive.discard)

    async def _live(self, plan: Script) -> None:
        reporter = self._reporters[plan.tenant]
        try:
            known = await reporter.register(orjson.dumps({"session_id": plan.session_id, **plan.register}))
        finally:
            self._joining -= 1
        if not known:
            return
        self.tally.begun += 1
        self.tally.under_way += 1
        try:
            began = time.monotonic()
            await self._act(reporter, plan, began)
            duration = min(plan.duration, round(time.monotonic() - began, 3))  # less when it was cut short
            outcome = {"session_id": plan.session_id, "success": plan.success, "duration": duration, "error": plan.error}
            if await reporter.end(orjson.dumps(outcome)):
                self.tally.ended += 1
        finally:
            self.tally.under_way -= 1

    async def _act(self, reporter: Reporter, plan: Script, began: float) -> None:
        """Report every event at its time, until the last or until all is to end."""
        clock = time.time()
        for number, step in enumerate(plan.steps):
            if not await self._until(began + step.at):
                return
            at = datetime.fromtimestamp(clock + step.at, UTC).isoformat(timespec="milliseconds")
            if await reporter.event(event_body(plan.session_id, number, step.kind, at, step.details)):
                self.tally.acked += 1
        await self._until(began + plan.duration)

    async def _until(self, moment: float) -> bool:
        """Wait for a moment of the monotonic clock; False as soon as all is to end."""
        left = moment - time.monotonic()
        if left > 0 and not self._stopping:
            loop = asyncio.get_running_loop()
            pause: asyncio.Future[None] = loop.create_future()
            timer = loop.call_later(left, _wake, pause)
            self._asleep.add(pause)
            try:
                await pause
            finally:
                timer.cancel()
                self._asleep.discard(pause)
        return not self._stopping


def _wake(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
