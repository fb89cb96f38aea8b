"""One connection's conversation: auth, hello, then samples, one unacknowledged message at a time."""

from __future__ import annotations

import json
import math
import time
from typing import Any, Callable, NamedTuple, Protocol

from . import __version__
from .commands import Commands
from .config import MAX_INTERVAL, MIN_INTERVAL
from .containers import ContainerWatch
from .deck import Deck
from .engine import Finder
from .log import brief, logger
from .relay import Relay
from .spool import MAX_SEQ, Spool
from .watch import Snapshot
from .wire import Connection, ConnectionLost

CAPABILITIES = ["metrics", "inventory", "containers"]
MAX_BATCH = 500
MAX_COMPLAINTS = 10


class Timing(NamedTuple):
    """Seconds: the opening, an ack of samples and of output, a silent peer, our pings, the longest wait that a server
    may ask for, the back-off."""

    opening: float = 15.0
    ack: float = 10.0
    output_ack: float = 15.0
    dead: float = 90.0
    ping: float = 30.0
    longest_retry: float = 60.0
    backoff_first: float = 1.0
    backoff_cap: float = 60.0
    settled: float = 10.0


class Beat(Protocol):
    """The sampling schedule, as far as a server may change it."""

    @property
    def interval(self) -> float: ...
    def set_interval(self, interval: float) -> None: ...


class Inventory(Protocol):
    """Where the inventory comes from."""

    digest: str

    def snapshot(self) -> Snapshot: ...


class Parts(NamedTuple):
    """What a conversation works with."""

    key: str
    connector_id: str
    spool: Spool
    beat: Beat
    inventory: Inventory
    commands: Commands
    timing: Timing
    finder: Finder
    containers: ContainerWatch
    ring: Callable[[], None]


class Session:
    """Reads and answers messages on one open connection until it is lost (ConnectionLost) or `stopping()`."""

    def __init__(self, connection: Connection, parts: Parts, max_batch: int = MAX_BATCH) -> None:
        self._connection, self._parts = connection, parts
        self._spool, self._timing = parts.spool, parts.timing
        self._relay = Relay(parts.commands, self._send, self._complain)
        self._deck = Deck(parts.containers, parts.finder, connection.send, self._send, self._complain, parts.ring)
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "auth_success": self._on_auth_success,
            "hello_ok": self._on_hello_ok,
            "samples_ack": self._on_samples_ack,
            "samples_refused": self._on_samples_refused,
            "retry": self._on_retry,
            "ping": lambda message: self._send({"type": "pong"}),
            "pong": lambda message: None,
            "metrics_received": lambda message: None,
            "error": lambda message: self._complain("the server reports: %s", brief(message.get("message"))),
            **self._relay.handlers,
            **self._deck.handlers,
        }
        self._opening_until: float | None = time.monotonic() + self._timing.opening
        self._authenticated = False
        self._live = False
        self._sent_digest = ""
        self._awaited: int | None = None
        self._ack_until = 0.0
        self._send_after = 0.0
        self._pinged = time.monotonic()
        self._complaints = 0
        self.max_batch = max_batch
        self.since = time.monotonic()

    @property
    def live(self) -> bool:
        """Whether the server said hello."""
        return self._live

    @property
    def waiting_for_ack(self) -> bool:
        """Whether a samples message is out and unanswered."""
        return self._awaited is not None

    def run(self, stopping: Callable[[], bool]) -> None:
        """Converse. Raises ConnectionLost, sqlite3.Error."""
        self._send({"type": "auth", "api_key": self._parts.key})
        while not stopping():
            self._check_deadlines()
            self._push()
            try:
                text = self._connection.receive(self._next_deadline() - time.monotonic())
                if text is not None:
                    self.dispatch(json.loads(text))
            except (ValueError, RecursionError) as error:
                self._complain("a message was ignored: %s", brief(str(error)))

    def close(self) -> None:
        """The connection is gone: whoever waits for it to take more goes on without it."""
        self._relay.close()
        self._deck.close()

    def dispatch(self, message: Any) -> None:
        """Hand one decoded message to what handles its type; anything else is logged and ignored."""
        kind = message.get("type") if isinstance(message, dict) else None
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            self._complain("a message of unknown type was ignored: %s", brief(kind))
        else:
            handler(message)

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send(json.dumps(message, separators=(",", ":"), allow_nan=False))

    def _send_with(self, message: dict[str, Any], name: str, raw: str) -> None:
        """Send `message` with one more field whose value is JSON text already."""
        head = json.dumps(message, separators=(",", ":"), allow_nan=False)
        self._connection.send(f'{head[:-1]},"{name}":{raw}}}')

    def _complain(self, template: str, *details: Any) -> None:
        self._complaints += 1
        if self._complaints <= MAX_COMPLAINTS:
            logger.warning(template, *details)
        elif self._complaints == MAX_COMPLAINTS + 1:
            logger.warning("further complaints about this connection are not logged")

    # What time demands

    def _next_deadline(self) -> float:
        moments = [self._connection.heard + self._timing.dead, self._ping_at()]
        if self._opening_until is not None:
            moments.append(self._opening_until)
        if self._awaited is not None:
            moments.append(self._ack_until)
        elif self._live and self._spool.pending and self._send_after > time.monotonic():
            moments.append(self._send_after)
        moments += [due for due in (self._relay.next_due(), self._deck.next_due()) if due is not None]
        return min(moments)

    def _ping_at(self) -> float:
        return max(self._connection.heard, self._pinged) + self._timing.ping

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if self._opening_until is not None and now >= self._opening_until:
            raise ConnectionLost("the server did not finish the opening in time")
        if self._awaited is not None and now >= self._ack_until:
            raise ConnectionLost(f"no acknowledgement within {self._timing.ack:g} s")
        if now >= self._connection.heard + self._timing.dead:
            raise ConnectionLost(f"nothing heard for {self._timing.dead:g} s")
        if now >= self._ping_at():
            self._pinged = now
            self._send({"type": "ping"})

    # What we say

    def _push(self) -> None:
        """Send what is due: a changed inventory, the next samples when none are unacknowledged, and from commands."""
        if not self._live:
            return
        if self._parts.inventory.digest not in ("", self._sent_digest):
            snapshot = self._parts.inventory.snapshot()
            self._send_with({"type": "inventory"}, "inventory", snapshot.text)
            self._sent_digest = snapshot.digest or self._parts.inventory.digest
        if self._awaited is None and self._spool.pending and time.monotonic() >= self._send_after:
            rows = self._spool.batch(self.max_batch)
            if rows:
                samples = ",".join(f'{{"seq":{row.seq},{row.body[1:]}' for row in rows)
                self._awaited = rows[-1].seq
                self._ack_until = time.monotonic() + self._timing.ack
                self._send_with({"type": "samples"}, "samples", f"[{samples}]")
        self._relay.push()
        self._deck.push()

    # What the server says

    def _on_auth_success(self, message: dict[str, Any]) -> None:
        if self._authenticated:
            return
        self._authenticated = True
        snapshot = self._parts.inventory.snapshot()
        hello = {
            "type": "hello",
            "connector_id": self._parts.connector_id,
            "version": __version__,
            "interval": self._parts.beat.interval,
            "capabilities": CAPABILITIES + ["commands"] * self._parts.commands.enabled,
            "spool": {"pending": self._spool.pending, "dropped": self._spool.dropped},
            **self._relay.introduction(),
        }
        self._send_with(hello, "inventory", snapshot.text)
        self._sent_digest = snapshot.digest

    def _on_hello_ok(self, message: dict[str, Any]) -> None:
        if not self._authenticated:
            self._complain("hello_ok came before auth_success and was ignored")
            return
        interval: Any = message.get("interval")
        if _is_number(interval) and MIN_INTERVAL <= interval <= MAX_INTERVAL:
            self._parts.beat.set_interval(int(interval) if interval == int(interval) else interval)
        elif interval is not None:
            self._complain("an interval outside 1 to 3600 s was ignored: %s", brief(interval))
        if self._live:
            return
        acked: Any = message.get("acked")
        if _is_seq(acked):
            self._spool.resume_from(acked)
        elif acked is not None:
            self._complain("a wrong acked was ignored: %s", brief(acked))
        self._live, self._opening_until = True, None
        self._relay.open(message.get("time"))
        self._deck.open()
        self.since = time.monotonic()
        logger.info("connected: %d samples wait, %d were dropped so far", self._spool.pending, self._spool.dropped)

    def _on_samples_ack(self, message: dict[str, Any]) -> None:
        seq: Any = message.get("seq")
        if not _is_seq(seq):
            self._complain("a wrong acknowledgement was ignored: %s", brief(seq))
            return
        if self._awaited is None:
            logger.debug("an acknowledgement that nobody waits for was ignored: %d", seq)
            return
        if seq > self._awaited:
            self._complain("an acknowledgement beyond what was sent is taken as %d: %d", self._awaited, seq)
        self._spool.acknowledge(min(seq, self._awaited))
        if seq >= self._awaited:
            self._awaited = None
            self.max_batch = min(MAX_BATCH, self.max_batch * 2)

    def _on_samples_refused(self, message: dict[str, Any]) -> None:
        seqs = message.get("seqs")
        if not isinstance(seqs, list) or not all(_is_seq(seq) for seq in seqs) or len(seqs) > MAX_BATCH:
            self._complain("a wrong refusal was ignored")
            return
        if self._awaited is not None and seqs:
            self._spool.note_refused(len(seqs))
            logger.warning(
                "the server refused %d samples for good (%s…): %s", len(seqs), seqs[0], brief(message.get("reason"))
            )

    def _on_retry(self, message: dict[str, Any]) -> None:
        after: Any = message.get("after")
        if self._awaited is None:
            return
        if not _is_number(after) or after < 0:
            self._complain("a wrong retry is taken as 1 s: %s", brief(after))
            after = 1.0
        self._send_after = time.monotonic() + min(after, self._timing.longest_retry)
        self._awaited = None


def _is_number(value: Any) -> bool:
    """A JSON number that is neither a boolean nor infinite; an integer may be of any size."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seq(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEQ
