"""One simulated connector: docs/connector-protocol.md from `auth` to the close, again after every loss.

Samples wait as (seq, moment) until the server has acknowledged them; what a moment measured is worked out when it is sent.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from app.simulator.curves import encoded, moments, phase
from app.simulator.fleet import Enrolled
from app.simulator.gate import Gate
from app.simulator.machines import VERSION
from app.simulator.tally import Tally
from app.simulator.wire import Address, Wire

MAX_BATCH = 500
ACK_S = 10.0
OPENING_S = 30.0
SILENCE_S = 90.0
LONGEST_PAUSE_S = 60.0
QUIET_CHECK_S = 2.0


@dataclass
class Run:
    """What all connectors of a run share. `history` is in seconds."""

    address: Address
    interval: int
    history: float
    tally: Tally
    gate: Gate
    stopping: bool = False


class Connector:
    """A simulated computer's connection. `start` it, `check` it every second, `stop` it."""

    def __init__(self, enrolled: Enrolled, run: Run) -> None:
        self.machine, self._key, self._run = enrolled.machine, enrolled.key, run
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._live = self._inside = False
        self._waiting: deque[tuple[int, float]] = deque()
        self._out: list[tuple[int, float]] = []
        self._past = 0  # the last seq of the replayed history
        self._seq = self._sent_seq = 0
        self._failures = 0
        self._memory = str(uuid4())
        self._unsaid: dict[str, dict[str, Any]] = {}  # results of commands that the server has not acknowledged
        self._sent_at: float | None = None
        self._heard = self._held_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sampler: asyncio.TimerHandle | None = None
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "auth_success": self._on_auth_success,
            "hello_ok": self._on_hello_ok,
            "samples_ack": lambda message: self._settle(message["seq"]),
            "samples_refused": self._on_refused,
            "retry": self._on_retry,
            "ping": lambda message: self._send({"type": "pong"}),
            "error": lambda message: self._complain(str(message.get("message"))),
            "execute_command": self._on_command,
            "command_ack": self._on_command_ack,
        }

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it waits for the server (or it is not connected, and cannot be helped)."""
        return not self._live or not (self._out or self._waiting)

    def start(self) -> None:
        """Dial when there is room."""
        self._run.gate.enter(self._dial)

    def check(self, moment: float) -> None:
        """Dial again when the server owes an answer for too long (`moment`: monotonic seconds)."""
        if self._wire is None:
            return
        if self._sent_at is not None and moment - self._sent_at > ACK_S:
            self._wire.cut("no acknowledgement in time")
        elif moment - self._heard > (SILENCE_S if self._live else OPENING_S):
            self._wire.cut("the server is silent")

    def stop_sampling(self) -> None:
        """Take no more samples; what waits is still delivered."""
        if self._sampler is not None:
            self._sampler.cancel()

    def stop(self) -> None:
        """Close, for good."""
        self.stop_sampling()
        if self._timer is not None:
            self._timer.cancel()
        if self._wire is not None:
            self._wire.close()

    # -- the connection --------------------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._inside = True
        if self._run.stopping:
            return self._leave()
        if self.machine.is_quiet(time.time()):
            self._leave()
            self._later(QUIET_CHECK_S, self.start)
            return None
        self._heard = time.monotonic()
        self._wire = Wire(self._run.address, self._on_open, self._on_text, self._on_lost, {"X-API-Key": self._key})
        self._task = asyncio.get_running_loop().create_task(self._connect(self._wire))
        return None

    async def _connect(self, wire: Wire) -> None:
        try:
            await wire.connect()
        except OSError as error:
            self._on_lost(f"cannot connect: {error.strerror or error}")

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self._run.gate.leave()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def _on_open(self) -> None:
        self._send({"type": "auth", "api_key": self._key})

    def _on_lost(self, why: str) -> None:
        if self._live:
            self._run.tally.connected -= 1
        self._wire, self._live, self._sent_at = None, False, None
        self._leave()
        if self._run.stopping:
            return
        if not self.machine.is_quiet(time.time()):
            self._complain(why)
        self._run.tally.reconnects += 1
        self._failures += 1
        self._later(random.uniform(0, min(LONGEST_PAUSE_S, 2.0**self._failures)), self.start)

    def _complain(self, what: str) -> None:
        self._run.tally.errors[what[:120]] += 1

    def _send(self, message: dict[str, Any]) -> None:
        if self._wire is not None:
            self._wire.send(orjson.dumps(message))

    def _on_text(self, text: bytes) -> None:
        self._heard = time.monotonic()
        message = orjson.loads(text)
        handler = self._handlers.get(message.get("type"))
        if handler is not None:
            handler(message)

    # -- the conversation ------------------------------------------------------------------------------------------

    def _on_auth_success(self, _message: dict[str, Any]) -> None:
        self._send({
            "type": "hello", "connector_id": self.machine.connector_id, "version": VERSION, "interval": self._run.interval,
            "capabilities": ["metrics", "inventory", "commands"], "commands_memory": self._memory,
            "commands": [{"request_id": name, "state": "finished"} for name in self._unsaid],
            "inventory": self.machine.inventory(time.time()),
            "spool": {"pending": min(len(self._waiting) + len(self._out), 2**31 - 1), "dropped": 0},
        })  # fmt: skip

    def _on_hello_ok(self, message: dict[str, Any]) -> None:
        self._live, self._failures = True, 0
        self._run.tally.connected += 1
        first = self._sampler is None
        if first:
            self._begin(int(message["acked"]))
        self._settle(int(message["acked"]), early=True)
        if not self._replaying:
            self._leave()
        self._push()

    def _begin(self, acked: int) -> None:
        """The numbers go on where the server's end; the past comes first, then a sample every interval."""
        self._seq = self._sent_seq = acked
        moment = time.time()
        if self._run.history:
            spacing = max(self._run.interval, 60)  # coarser than live: what rolls up to the same minutes
            for at in moments(self.machine, spacing, moment - self._run.history, moment):
                self._seq += 1
                self._waiting.append((self._seq, at))
        self._past = self._seq
        self._plan(moment)

    @property
    def _replaying(self) -> bool:
        """Whether some of the history has not been acknowledged."""
        oldest = self._out[0] if self._out else self._waiting[0] if self._waiting else None
        return oldest is not None and oldest[0] <= self._past

    def _plan(self, after: float) -> None:
        interval = self._run.interval
        offset = phase(self.machine, interval)
        due = offset + ((after - offset) // interval + 1) * interval
        self._sampler = asyncio.get_running_loop().call_later(due - time.time(), self._take, round(due, 3))

    def _take(self, at: float) -> None:
        self._plan(max(at + 0.001, time.time() - self._run.interval))
        if self.machine.is_quiet(at):
            if self._wire is not None:
                self._wire.cut("it has gone quiet")
            return
        self._seq += 1
        self._waiting.append((self._seq, at))
        self._push()

    def _push(self) -> None:
        """Send what waits, unless a message is out already or the server asked to wait."""
        if not self._live or self._sent_at is not None or time.monotonic() < self._held_until:
            return
        if not self._out:
            while self._waiting and len(self._out) < MAX_BATCH:
                self._out.append(self._waiting.popleft())
        if self._out and self._wire is not None:
            rows = b",".join([encoded(self.machine, at, seq) for seq, at in self._out])
            self._wire.send(b'{"type":"samples","samples":[' + rows + b"]}")
            self._sent_at = time.monotonic()
            self._run.tally.sent += sum(1 for seq, _ in self._out if seq > self._sent_seq)
            self._sent_seq = max(self._sent_seq, self._out[-1][0])

    def _settle(self, acked: int, early: bool = False) -> None:
        """Everything up to `acked` is stored; `early` when the server says so in `hello_ok`."""
        before = len(self._out)
        self._out = [row for row in self._out if row[0] > acked]
        self._run.tally.acked += before - len(self._out)
        if early:
            return
        if self._sent_at is not None:
            self._run.tally.answered(time.monotonic() - self._sent_at)
        self._sent_at = None
        if self._inside and not self._replaying:
            self._leave()
        self._push()

    def _on_command(self, message: dict[str, Any]) -> None:
        """Nothing is run: it says so, as a command that succeeded at once."""
        name = message["request_id"]
        said = {"exit_code": 0, "reason": "exited", "output": f"simulated: {message['command'][:200]}\n", "duration_ms": 1}
        self._send({"type": "command_result", "request_id": name, "data": self._unsaid.setdefault(name, said)})

    def _on_command_ack(self, message: dict[str, Any]) -> None:
        self._unsaid.pop(message["request_id"], None)

    def _on_refused(self, message: dict[str, Any]) -> None:
        refused = set(message["seqs"])
        before = len(self._out)
        self._out = [row for row in self._out if row[0] not in refused]
        self._run.tally.refused += before - len(self._out)
        self._complain(f"samples refused: {message.get('reason')}")

    def _on_retry(self, message: dict[str, Any]) -> None:
        self._complain("asked to send again later")
        pause = float(message["after"]) * random.uniform(1, 1.5)
        self._sent_at, self._held_until = None, time.monotonic() + pause
        self._later(pause + 0.01, self._push)
