"""The feed of `WS /ws`: what happened to sessions, in the order of the commits, as contract 003 frames it.

One thread a process tails the database while anybody listens (the change clock `sessions` numbers events, beginnings and
ends), so every process tells everything, whichever of them stored it. A listener has a bounded mailbox and one writer; one
that cannot keep up is closed, and nobody waits for it.
"""

import os
import threading
import time
from collections import deque
from typing import Any

import orjson
from flask import Flask
from simple_websocket import ConnectionClosed

from app.actors import Actor, ActorKind
from app.clock import now
from app.database import reading
from app.journal.queries import clock
from app.logging import get_logger
from app.sessions import queries, statistics
from app.sessions.events import events_after
from app.sessions.models import BotSession, Event
from app.sessions.operations import CLOCK
from app.sessions.schemas import stamp
from app.web.sockets import Socket, text_frame

TICK_S = 0.1
STATS_S = 1.0
PAGE = 2_000
MAILBOX = 4_096
OVERLOADED = 1013
STUCK_S = 60.0
Frame = tuple[int, str | None, bytes]  # place in the feed, tenant, WebSocket frame
log = get_logger(__name__)


def _frame(kind: str, at: str | None, **data: Any) -> bytes:
    return text_frame(orjson.dumps({"type": kind, "timestamp": at, "data": data}).decode())


class Listener:
    """One connection. `push` is called by the feed, `write` runs in a thread of its own."""

    def __init__(self, socket: Socket, actor: Actor) -> None:
        self.socket, self.actor = socket, actor
        self.checked_at = time.monotonic()
        self._writing_since: float | None = None
        self._mail: deque[bytes] = deque()
        self._ready = threading.Event()
        self._closing: tuple[int, str] | None = None

    def sees(self, tenant_id: str | None) -> bool:
        """Whether frames of this tenant are for it; an anonymous listener (local mode only) sees everything of this machine."""
        return self.actor.kind is ActorKind.ANONYMOUS or self.actor.sees(tenant_id)

    @property
    def scope(self) -> frozenset[str] | None:
        """Whose statistics it gets."""
        return None if self.actor.kind is ActorKind.ANONYMOUS else self.actor.tenant_ids

    def push(self, frame: bytes) -> None:
        """Put a frame into the mailbox; a full one ends the connection."""
        if len(self._mail) >= MAILBOX:
            self._mail.clear()
            self.close(OVERLOADED, "too slow")
        else:
            self._mail.append(frame)
        self._ready.set()

    def close(self, code: int, reason: str) -> None:
        """Let the writer say goodbye and end."""
        self._closing = self._closing or (code, reason)
        self._ready.set()

    def is_stuck(self) -> bool:
        """Whether the writer has been held up by a dead or slow peer for too long."""
        since = self._writing_since
        return since is not None and time.monotonic() - since > STUCK_S

    def write(self) -> None:
        """Write the mailbox out until the socket closes."""
        try:
            while self.socket.connected:
                self._ready.wait(60)
                self._ready.clear()
                while self._mail and not self._closing:
                    self._writing_since = time.monotonic()
                    self.socket.send_frame(self._mail.popleft())
                    self._writing_since = None
                if self._closing:
                    self.socket.close(*self._closing)
                    return
        except (ConnectionClosed, OSError):
            return
        finally:
            self.socket.cut()


class Feed:
    """The listeners of this process, and the thread that tails for them."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._awake = threading.Event()
        self._pid = 0
        self._seen = 0
        self._stats: dict[frozenset[str] | None, bytes] = {}

    def listeners(self) -> list[Listener]:
        """Everybody who is connected."""
        with self._lock:
            return list(self._listeners)

    def join(self, listener: Listener) -> None:
        """Take a listener in: it hears what is committed from now on."""
        with reading():
            present = clock(CLOCK)
        with self._lock:
            if not self._listeners:
                self._seen = present
            self._listeners.add(listener)
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="session-feed", daemon=True).start()
            self._awake.set()

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        with self._lock:
            self._listeners.discard(listener)
            if not self._listeners:
                self._awake.clear()

    def _run(self) -> None:
        told, owed = 0.0, False
        with self._app.app_context():
            while True:
                self._awake.wait()
                try:
                    with reading():
                        changed = self._tell()
                        owed = owed or changed
                        if owed and time.monotonic() - told >= STATS_S:
                            self._tell_stats()
                            told, owed = time.monotonic(), False
                except Exception as error:  # the database may be away for a while; the feed goes on
                    log.warning("session feed failed", error=str(error)[:300])
                    time.sleep(1)
                time.sleep(TICK_S)

    def _tell(self) -> bool:
        """Send what was committed since the last time; whether there was anything."""
        newest = clock(CLOCK)
        if newest <= self._seen:
            return False
        while self._seen < newest:
            ready, self._seen = read(self._seen, newest)
            for listener in self.listeners():
                for _, tenant, frame in ready:
                    if listener.sees(tenant):
                        listener.push(frame)
        return True

    def _tell_stats(self) -> None:
        made: dict[frozenset[str] | None, bytes] = {}
        for listener in self.listeners():
            if listener.scope not in made:
                totals = statistics.totals(listener.scope)
                made[listener.scope] = _frame("stats_update", iso_now(), total_sessions=totals.total,
                                              active_sessions=totals.active, success_rate=totals.success_rate)  # fmt: skip
            listener.push(made[listener.scope])


def iso_now() -> str:
    """The time now as contract 003 writes it."""
    return now().isoformat()


def read(after: int, newest: int) -> tuple[list[Frame], int]:
    """The frames past `after`, oldest first, and up to which number of the clock they are complete."""
    events, begun, ended = events_after(after, PAGE), queries.begun_after(after, PAGE), queries.ended_after(after, PAGE)
    complete = newest
    for rows, last in ((events, "id"), (begun, "id"), (ended, "ended_version")):
        if len(rows) == PAGE:
            complete = min(complete, getattr(rows[-1], last))
    frames = [_of_event(event) for event in events]
    frames += [_of_start(row) for row in begun if row.id != row.ended_version]
    frames += [_of_end(row) for row in ended]
    return sorted((frame for frame in frames if frame[0] <= complete), key=lambda frame: frame[0]), complete


def _of_event(event: Event) -> Frame:
    frame = _frame("event", stamp(event.at), session_id=event.session_id, event_type=event.event_type,
                   details=orjson.Fragment(event.details))  # fmt: skip
    return event.id, event.tenant_id, frame


def _of_start(row: BotSession) -> Frame:
    frame = _frame("session_start", stamp(row.started_at), session_id=row.session_id, profile_id=row.profile_id,
                   device=row.device, proxy=row.proxy, country=row.country)  # fmt: skip
    return row.id, row.tenant_id, frame


def _of_end(row: BotSession) -> Frame:
    frame = _frame("session_end", stamp(row.ended_at), session_id=row.session_id, success=row.success,
                   duration=None if row.duration_us is None else row.duration_us / 1e6, error=row.error)  # fmt: skip
    return row.ended_version or 0, row.tenant_id, frame


def feed_of(app: Flask) -> Feed:
    """The process's feed."""
    feed: Feed = app.extensions.setdefault("binnacle_feed", Feed(app))
    return feed
