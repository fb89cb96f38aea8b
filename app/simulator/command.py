"""`binnacle simulate`: makes the computers, connects them, says every few seconds how it goes, ends with a summary."""

import asyncio
import gc
import resource
import signal
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

import orjson

from app.simulator.connector import Connector, Run
from app.simulator.fleet import Enrolled, prepare
from app.simulator.gate import Gate
from app.simulator.tally import Tally
from app.simulator.wire import Address

PROGRESS_S = 5.0
LAST_ACKS_S = 10.0
AT_ONCE = 24
AT_ONCE_WITH_HISTORY = 4


def say(text: str) -> None:
    """A line for the person in front of it; beside the JSON summary when a program reads the output."""
    stream = sys.stdout if sys.stdout.isatty() else sys.stderr
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=stream, flush=True)


def run(computers: int, interval: int, seed: int, duration: int | None, history: int) -> int:
    """Run until `duration` seconds have passed, or until Ctrl-C. Returns the exit status: 1 when no server answers."""
    from app import create_app
    from app.factory import settings_of

    app = create_app()
    url = settings_of(app).own_url
    if (fault := _fault(url)) is not None:
        print(f"binnacle: no server answers at {url} ({fault}); start it first, with the same settings", file=sys.stderr)
        return 1
    allow_files(computers + 64)
    with app.app_context():
        enrolled = prepare(seed, computers, say)
    say(f"{len(enrolled):,} computers are ready; connecting them to {url}")
    gc.collect()
    gc.freeze()
    shared = Run(Address.of(url, "/api/v1/agents/ws"), interval, history * 3600.0, Tally(computers),
                 Gate(AT_ONCE_WITH_HISTORY if history else AT_ONCE))  # fmt: skip
    asyncio.run(_drive(shared, enrolled, duration))
    _conclude(shared.tally)
    return 0


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


async def _drive(shared: Run, enrolled: list[Enrolled], duration: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connectors = [Connector(one, shared) for one in enrolled]
    for connector in connectors:
        connector.start()
    ends = time.monotonic() + duration if duration else float("inf")
    spoken = time.monotonic()
    while not stop.is_set() and (moment := time.monotonic()) < ends:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(1.0, max(0.01, ends - moment)))
        for connector in connectors:
            connector.check(time.monotonic())
        if time.monotonic() - spoken >= PROGRESS_S:
            spoken = time.monotonic()
            say(shared.tally.progress())
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


def _conclude(tally: Tally) -> None:
    if sys.stdout.isatty():
        say(tally.progress())
        for what, times in tally.errors.most_common(5):
            say(f"{times:,} × {what}")
    else:
        print(orjson.dumps(tally.summary()).decode(), flush=True)
