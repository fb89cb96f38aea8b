"""The viewers of the live benchmark, in a process of their own: raw WebSocket clients that note when each patch arrived.

`python -m bench.viewers` reads {"url", "cookies", "sockets", "view", "seconds"} from stdin, says `ready` on stdout when all
have subscribed, and after `seconds` one JSON line: {"patches": [[rev, last arrival, viewers, text], …], "stale", "lost"}.
Times are CLOCK_MONOTONIC seconds, which all processes of a machine share. `text` is one viewer's copy of the patch.
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from typing import Any

from app.simulator.command import allow_files
from app.simulator.wire import Address, Wire

AT_ONCE = 40


class Crowd:
    """All viewers of one process."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.address = Address.of(job["url"], "/ws/live")
        self.subscribe = json.dumps({"op": "sub", "view": job["view"], "rev": -1}).encode()
        self.subscribed = self.stale = self.lost = 0
        self.last: dict[bytes, float] = {}
        self.count: Counter[bytes] = Counter()
        self.text: dict[bytes, bytes] = {}
        self.ending = False
        self.reasons: Counter[str] = Counter()

    def add(self, cookie: str) -> Wire:
        """One more viewer."""
        wire = Wire(self.address, lambda: None, lambda text: self.on_text(wire, text), self.on_lost,
                    {"Cookie": cookie, "Origin": self.job["url"]})  # fmt: skip
        return wire

    def on_text(self, wire: Wire, text: bytes) -> None:
        """`build` is answered with `sub`; patches are noted by their rev."""
        if text.startswith(b'{"op":"patch"'):
            at = text.index(b'"rev":') + 6
            rev = text[at : text.index(b",", at)]
            if rev not in self.text:
                self.text[rev] = text
            self.count[rev] += 1
            self.last[rev] = time.monotonic()
        elif text.startswith(b'{"op":"build"'):
            wire.send(self.subscribe)
        elif text.startswith(b'{"op":"stale"'):
            self.subscribed += 1 if self.subscribed < self.job["sockets"] else 0
            self.stale += 1

    def on_lost(self, why: str) -> None:
        """A viewer fell out."""
        if not self.ending:
            self.lost += 1
            self.reasons[why] += 1


async def _watch(job: dict[str, Any]) -> None:
    crowd = Crowd(job)
    wires = [crowd.add(job["cookies"][n % len(job["cookies"])]) for n in range(job["sockets"])]
    for start in range(0, len(wires), AT_ONCE):
        await asyncio.gather(*(wire.connect() for wire in wires[start : start + AT_ONCE]))
        deadline = time.monotonic() + 30
        while crowd.subscribed < min(start + AT_ONCE, len(wires)) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
    gc.collect()
    gc.freeze()
    first_stale = crowd.stale
    print(f"ready {crowd.subscribed}", flush=True)
    await asyncio.sleep(job["seconds"])
    crowd.ending = True
    patches = [[int(rev), crowd.last[rev], crowd.count[rev], text.decode()] for rev, text in crowd.text.items()]
    print(
        json.dumps({"patches": patches, "stale": crowd.stale - first_stale, "lost": crowd.lost, "reasons": dict(crowd.reasons)}),
        flush=True,
    )
    for wire in wires:
        wire.close()
    await asyncio.sleep(0.5)


if __name__ == "__main__":
    allow_files(4096)
    asyncio.run(_watch(json.loads(sys.stdin.readline())))
