"""`binnacle simulate`: makes the computers, connects them, lets bots report their sessions, says every few seconds how it goes,
ends with a summary."""

import asyncio
import gc
import resource
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from app.simulator.connector import Connector, Run
from app.simulator.fleet import Enrolled, bot_keys, prepare
from app.simulator.gate import Gate
from app.simulator.swarm import CONNECTIONS, LAST_ENDS_S, Swarm
from app.simulator.tally import BotTally, Tally
from app.simulator.wire import Address

PROGRESS_S = 5.0
LAST_ACKS_S = 10.0
AT_ONCE = 24
AT_ONCE_WITH_HISTORY = 4


def say(text: str) -> None:
    """A line for the person in front of it; beside the JSON summary when a program reads the output."""
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=stream, flush=True)


@dataclass(frozen=True)
class Wanted:
    """What to simulate: so many computers, sessions begun so often a second, or both; `interval` and `duration` in seconds,
    `history` in hours."""

    computers: int | None = None
    sessions: float | None = None
    seed: int = 1
    duration: int | None = None
    interval: int = 10
    history: int = 0
    batch: int = 1


def run(wanted: Wanted) -> int:
    """Run until `duration` seconds have passed, or until Ctrl-C. Returns the exit status: 1 when no server answers."""
    from app import create_app
    from app.factory import settings_of

    app = create_app()
    url = settings_of(app).own_url
    if (fault := _fault(url)) is not None:
        print(f"binnacle: no server answers at {url} ({fault}); start it first, with the same settings", file=sys.stderr)
        return 1
    allow_files((wanted.computers or 0) + 64 + CONNECTIONS)
    enrolled, keys = [], {}
    with app.app_context():
        if wanted.computers:
            enrolled = prepare(wanted.seed, wanted.computers, say)
            say(f"{len(enrolled):,} computers are ready; connecting them to {url}")
        if wanted.sessions:
            keys = bot_keys()
            say(f"{wanted.sessions:g} sessions a second begin at {url}")
    gc.collect()
    gc.freeze()
    fleet = _fleet_run(url, wanted) if wanted.computers else None
    swarm = Swarm(url, keys, wanted.seed, wanted.sessions, wanted.batch) if wanted.sessions else None
    asyncio.run(_drive(fleet, enrolled, swarm, wanted.duration))
    _conclude([part.tally for part in (fleet, swarm) if part is not None])
    return 0


def _fleet_run(url: str, wanted: Wanted) -> Run:
    gate = Gate(AT_ONCE_WITH_HISTORY if wanted.history else AT_ONCE)
    return Run(Address.of(url, "/api/v1/agents/ws"), wanted.interval, wanted.history * 3600.0, Tally(wanted.computers or 0), gate)


def _fault(url: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=10):  # noqa: S310 (our own address)
            return None
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)


def allow_files(wanted: int) -> None:
    """Every socket is a file: raise the soft limit as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


async def _drive(fleet: Run | None, enrolled: list[Enrolled], swarm: Swarm | None, duration: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration:
        loop.call_later(duration, stop.set)
    async with asyncio.TaskGroup() as parts:
        if fleet is not None:
            parts.create_task(_drive_fleet(fleet, enrolled, stop))
            parts.create_task(_report(fleet.tally, stop))
        if swarm is not None:
            parts.create_task(swarm.drive(stop))
            parts.create_task(_report(swarm.tally, stop))


async def _report(tally: Tally | BotTally, stop: asyncio.Event) -> None:
    """Say every few seconds how it goes."""
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PROGRESS_S)
            break
        say(tally.progress())
    if isinstance(tally, BotTally) and tally.under_way:
        say(f"ending the {tally.under_way:,} sessions that are under way; this takes at most {LAST_ENDS_S:.0f} s")


async def _drive_fleet(shared: Run, enrolled: list[Enrolled], stop: asyncio.Event) -> None:
    connectors = [Connector(one, shared) for one in enrolled]
    for connector in connectors:
        connector.start()
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
        for connector in connectors:
            connector.check(time.monotonic())
    await _finish(shared, connectors)


async def _finish(shared: Run, connectors: list[Connector]) -> None:
    """Wait for the last acknowledgements, then close."""
    shared.stopping = True
    connected = shared.tally.connected
    for connector in connectors:
        connector.stop_sampling()
    deadline = time.monotonic() + LAST_ACKS_S
    while time.monotonic() < deadline and not all(connector.is_idle for connector in connectors):
        await asyncio.sleep(0.05)
    for connector in connectors:
        connector.stop()
    await asyncio.sleep(0.2)
    shared.tally.connected = connected


def _conclude(tallies: Sequence[Tally | BotTally]) -> None:
    if sys.stdout.isatty():
        for tally in tallies:
            say(tally.progress())
            for what, times in tally.errors.most_common(5):
                say(f"{times:,} × {what}")
        return
    said: dict[str, Any] = {}
    for tally in tallies:
        said |= {"sessions": tally.summary()} if isinstance(tally, BotTally) else tally.summary()
    print(orjson.dumps(said).decode(), flush=True)
