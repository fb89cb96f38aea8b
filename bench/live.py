"""Live: 1,000 viewers of one view (`fleet?sort=-cpu`) while 100 of its rows a second change.

50 connectors, all in that view, send two samples a second each over the connector protocol. Each sample carries its number in
the row (memory and disk in percent: 10,000 different pairs), so a patch can be matched to the sample that it shows. Per
sample: the moment its acknowledgement arrived (the commit has happened) → the moment the last of the 1,000 viewers had the
first patch with it or with a newer one. Viewers run in a process of their own; both read CLOCK_MONOTONIC. CPU and memory are
those of the web process tree while samples flow.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from app.simulator.wire import Address, Wire
from bench.people import sign_in
from bench.results import Figure
from bench.servers import PASSWORD, ROOT, Meter, Product, Usage, inside, product

VIEWERS, USERS, CONNECTORS, RATE, SECONDS, WARM_S = 1000, 10, 50, 2, 30, 3
VIEW = "fleet?sort=-cpu"
_MEMORY = re.compile(r'<rect height="5" width="(\d+)"')
_DISK = re.compile(r'<td class="bn-num">(\d+)%</td>')


def run() -> list[Figure]:
    """One run."""
    with product() as made:
        keys = _fill(made)
        cookies = [sign_in(made.url, f"viewer{n}", PASSWORD) for n in range(USERS)]
        job = {"url": made.url, "cookies": cookies, "sockets": VIEWERS, "view": VIEW, "seconds": SECONDS + WARM_S + 4}
        watching = subprocess.Popen(
            [sys.executable, "-m", "bench.viewers"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        made.processes.append(watching)  # type: ignore[arg-type]
        assert watching.stdin and watching.stdout
        watching.stdin.write(json.dumps(job) + "\n")
        watching.stdin.flush()
        ready = watching.stdout.readline().split()
        acks, used = asyncio.run(_feed(made, keys))
        seen = json.loads(watching.stdout.readline())
        watching.wait(30)
        return _figures(int(ready[1]), acks, seen, used)


def _fill(made: Product) -> dict[str, str]:
    """uuid → key of the fleet; USERS viewers (each may hold 100 sockets)."""
    from app.actors import SYSTEM, Role
    from app.api_keys.operations import create_host_key
    from app.auth.operations import create_user
    from app.database import session, unit_of_work
    from app.fleet.operations import create_computer

    keys = {}
    with inside(made):
        with unit_of_work():
            for number in range(CONNECTORS):
                computer = create_computer(f"bench-{number:03d}", actor=SYSTEM, tags=["bench", "linux"])
                keys[computer.uuid] = create_host_key("bench", computer.id, computer.uuid, computer.tenant_id, actor=SYSTEM)[1]
        for number in range(USERS):
            create_user(f"viewer{number}", None, PASSWORD, Role.READONLY, actor=SYSTEM)
            session().commit()
    return keys


class Feeder:
    """A connector that numbers its samples in what the row shows."""

    def __init__(self, address: Address, uuid: str, key: str, acks: dict[tuple[str, int], float]) -> None:
        self.uuid, self.acks, self.seq, self.ready = uuid, acks, 0, asyncio.Event()
        self.wire = Wire(address, lambda: None, self.on_text, lambda why: None, {"X-API-Key": key})

    def on_text(self, text: bytes) -> None:
        """Acknowledgements are noted with their time."""
        message = orjson.loads(text)
        if message["type"] == "samples_ack":
            self.acks[(self.uuid, message["seq"])] = time.monotonic()
        elif message["type"] == "auth_success":
            self.ready.set()

    def send(self) -> None:
        """The next sample."""
        self.seq += 1
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        full = self.seq % 100
        self.wire.send(orjson.dumps({"type": "samples", "samples": [{
            "seq": self.seq, "timestamp": stamp, "cpu_percent": (self.seq * 37 + hash(self.uuid)) % 1000 / 10,
            "memory_percent": self.seq // 100 % 100, "disk_usage": [{"path": "/", "total": 100, "used": full, "percent": full}],
        }]}))  # fmt: skip


async def _feed(made: Product, keys: dict[str, str]) -> tuple[dict[tuple[str, int], float], Usage]:
    acks: dict[tuple[str, int], float] = {}
    address = Address.of(made.url, "/api/v1/agents/ws")
    feeders = [Feeder(address, uuid, key, acks) for uuid, key in keys.items()]
    for feeder in feeders:
        await feeder.wire.connect()
        await asyncio.wait_for(feeder.ready.wait(), 20)
    meter = Meter(made.web)
    started = time.monotonic()
    for turn in range((SECONDS + WARM_S) * RATE * len(feeders)):
        pause = started + turn / (RATE * len(feeders)) - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        feeders[turn % len(feeders)].send()
        if turn == WARM_S * RATE * len(feeders):
            meter.restart()
            acks.clear()
        if turn % 100 == 0:
            meter.look()
    used = meter.usage()
    await asyncio.sleep(1)
    for feeder in feeders:
        feeder.wire.close()
    return acks, used


def _shown(patches: list[list[Any]]) -> dict[str, list[tuple[int, float, int]]]:
    """uuid → (sample's number, when the last viewer had it, how many viewers), in order of the patches."""
    shown: dict[str, list[tuple[int, float, int]]] = {}
    for _, last, viewers, text in sorted(patches):
        for uuid, html in json.loads(text)["up"]:
            memory, disk = _MEMORY.search(html), _DISK.search(html)
            if memory and disk:
                shown.setdefault(uuid, []).append((int(memory[1]) * 100 + int(disk[1]), last, viewers))
    return shown


def _figures(ready: int, acks: dict[tuple[str, int], float], seen: dict[str, Any], used: Usage) -> list[Figure]:
    shown = _shown(seen["patches"])
    delays, missing = [], 0
    for (uuid, number), acked in acks.items():
        got = next((last for n, last, viewers in shown.get(uuid, []) if n >= number and viewers >= ready), None)
        missing += got is None
        delays += [max(0.0, got - acked) * 1000] if got is not None else []
    delays.sort()
    p50, p95 = (delays[int(len(delays) * share)] if delays else float("nan") for share in (0.5, 0.95))
    size = sum(len(p[3]) for p in seen["patches"]) / max(1, len(seen["patches"])) / 1024
    said = (f"{p95:.0f} ms (p50 {p50:.0f}, max {delays[-1] if delays else 0:.0f}; {len(delays):,} changes to {ready:,} viewers, "
            f"{missing} not seen by all; {len(seen['patches'])} patches of {size:.0f} KB; {seen['stale']} stale, {seen['lost']} lost)")  # fmt: skip
    return [
        Figure("live: commit to last viewer, p95", said, "< 400 ms", bool(p95 < 400 and not missing and ready == VIEWERS)),
        Figure("live: web CPU", f"{used.cpu:.0%} of a core", "< 100 %", used.cpu < 1.0),
        Figure("live: web memory", f"{used.rss / 1e6:.0f} MB", "< 250 MB", used.rss < 250e6),
    ]
