"""The commands of this computer: each at most once, four beside each other, the rest in order behind them."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from typing import Any, Callable

from .actions import ACTIONS, Action, Actor, parse_action
from .engine import Finder
from .ledger import MAX_UNACKNOWLEDGED, Ledger
from .log import logger
from .output import Buffers, Output
from .request import Refused, Request, parse, request_id_of
from .runner import Ending, Runner, end_leftovers

AT_ONCE = 4
MAX_QUEUED = 256
PATIENCE = 15.0
STOP_GRACE = 1.0
STOP_WAIT = 1.8

NO_ID = "{} needs a request_id: printable text of 1 to 200 characters"
TURNED_OFF = "Commands are turned off on this computer (--no-commands)."
LOST = "The connector ended while the command ran. Whether it did its work is not known; it is not started again."
STOPPED = "The connector was stopped while the command ran, and ended it."
EXPIRED = "It was not started before its time had passed."
UNKNOWN = "It had not come to this computer; it will not be started."


class Entry:
    """One command that the server has not acknowledged the result of. `state`: queued, running or finished."""

    def __init__(self, request_id: str, state: str, kind: str = "execute_command") -> None:
        self.request_id, self.state, self.kind = request_id, state, kind
        self.request: Request | Action | None = None
        self.runner: Runner | Actor | None = None
        self.output: Output | None = None
        self.pid: int | None = None
        self.result: dict[str, Any] | None = None  # only when it could not be stored


class Commands:
    """Every method is safe from any thread. `ring` is called when there is something new to send."""

    def __init__(
        self,
        ledger: Ledger,
        ring: Callable[[], None],
        enabled: bool = True,
        patience: float = PATIENCE,
        finder: Finder | None = None,
    ) -> None:
        """Report as lost what an earlier connector left unfinished, and end it. Raises sqlite3.Error."""
        self.enabled, self.memory = enabled, ledger.memory
        self.buffers = Buffers(ring, patience)
        self.skew = 0.0
        self.acted: Callable[[], None] = lambda: None  # something was done to a container
        self._ledger, self._ring, self._finder = ledger, ring, finder or Finder("off")
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._queue: deque[Entry] = deque()
        self._running = {Runner: 0, Actor: 0}  # each has its own lanes: neither waits behind the other
        self._threads: set[threading.Thread] = set()
        self._stopping = False
        lost = ledger.unfinished()
        for request_id in ledger.unacknowledged():
            self._entries[request_id] = Entry(request_id, "finished")
        for one in lost:
            entry = self._entries[one.request_id] = Entry(one.request_id, "finished")
            self._finish(entry, Ending("lost", None, LOST))
        if lost:
            logger.warning("%d commands were lost with the connector before", len(lost))
            threading.Thread(target=end_leftovers, args=(lost,), name="leftovers", daemon=True).start()

    # What the server asks

    def execute(self, message: dict[str, Any]) -> str | None:
        """Take one execute_command, or an action on a container; gives a complaint when it has no id to answer to."""
        request_id = request_id_of(message)
        if request_id is None:
            return NO_ID.format(message["type"])
        with self._lock:
            if request_id in self._entries:
                return None
            entry = self._entries[request_id] = Entry(request_id, "queued", message["type"])
            try:
                if self._ledger.knows(request_id):
                    entry.state = "finished"
                    return None
                entry.request = self._accepted(request_id, message)
            except (Refused, sqlite3.Error) as error:
                self._finish(entry, Ending("refused", None, _words(error)))
                return None
            if isinstance(entry.request, Action):
                entry.runner = Actor(entry.request, self._finder, lambda: self.acted())
            else:
                entry.output = Output(self.buffers)
                entry.runner = Runner(entry.request, self.buffers, entry.output)
            self._queue.append(entry)
        self._start_next()
        return None

    def _accepted(self, request_id: str, message: dict[str, Any]) -> Request | Action:
        if not self.enabled:
            raise Refused(TURNED_OFF)
        if len(self._queue) >= MAX_QUEUED:
            raise Refused(f"{MAX_QUEUED} commands wait on this computer already.")
        return (parse_action if message["type"] in ACTIONS else parse)(request_id, message)

    def cancel(self, request_id: str) -> None:
        """End it, or see to it that it never starts."""
        with self._lock:
            entry = self._entries.get(request_id)
            if entry is not None and entry.state == "running" and entry.runner is not None:
                entry.runner.end(Ending("cancelled", None, "It was cancelled."))
            elif entry is not None and entry in self._queue:
                self._queue.remove(entry)
                self._finish(entry, Ending("cancelled", None, "It was cancelled before it started."))
            elif entry is None:
                entry = self._entries[request_id] = Entry(request_id, "finished")
                try:
                    known = self._ledger.knows(request_id)
                except sqlite3.Error:
                    known = False
                if not known:
                    self._finish(entry, Ending("cancelled", None, UNKNOWN))

    def acknowledge_output(self, request_id: str, seq: int) -> None:
        """The server has stored the output up to `seq`."""
        with self._lock:
            entry = self._entries.get(request_id)
        if entry is not None and entry.output is not None:
            entry.output.acknowledge(seq)

    def acknowledge_result(self, request_id: str) -> None:
        """The server has stored the result: only the id and how it ended stay."""
        with self._lock:
            entry = self._entries.get(request_id)
            if entry is None or entry.state != "finished":
                return
            self._forget(entry)
        try:
            if entry.result is not None:
                self._ledger.finish(request_id, entry.result)
            self._ledger.acknowledge(request_id)
        except sqlite3.Error as error:
            logger.error("the acknowledgement of a command cannot be stored: %s", error)

    # What there is to tell

    def entries(self) -> list[Entry]:
        """All that the server has not acknowledged, in the order of their arrival."""
        with self._lock:
            return list(self._entries.values())

    def result(self, entry: Entry) -> dict[str, Any]:
        """The result of a finished one. Raises sqlite3.Error."""
        found = entry.result or self._ledger.result(entry.request_id) or result_of(Ending("lost", None, LOST))
        if entry.output is not None:
            found["dropped_bytes"] = entry.output.dropped
        return found

    def expire(self) -> float | None:
        """Report what waited too long; gives in how many seconds the next one will have."""
        with self._lock:
            for entry in [entry for entry in self._queue if self._is_expired(entry)]:
                self._queue.remove(entry)
                self._finish(entry, Ending("expired", None, EXPIRED))
            ends = [
                entry.request.expires for entry in self._queue if entry.request and entry.request.expires is not None
            ]
        return min(ends) - self.server_time() if ends else None

    def server_time(self) -> float:
        """Unix time by the clock of the server, as far as it told."""
        return time.time() + self.skew

    def _is_expired(self, entry: Entry) -> bool:
        expires = entry.request.expires if entry.request is not None else None
        return expires is not None and self.server_time() >= expires

    # At work

    def _start_next(self) -> None:
        with self._lock:
            while (entry := self._next()) is not None:
                self._queue.remove(entry)
                entry.state = "running"
                lane = type(entry.runner)
                thread = threading.Thread(target=self._work, args=(entry, lane), name="command", daemon=True)
                self._running[lane] += 1
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._running[lane] -= 1
                    self._threads.discard(thread)
                    self._finish(entry, Ending("failed_to_start", None, f"{error}."))

    def _next(self) -> Entry | None:
        """The first that waits and whose lanes have room."""
        if self._stopping:
            return None
        return next((entry for entry in self._queue if self._running[type(entry.runner)] < AT_ONCE), None)

    def _work(self, entry: Entry, lane: Any) -> None:
        begun = time.monotonic()
        try:
            ending = self._carry_out(entry)
        except Exception as error:
            logger.error("a command failed: %s: %s", type(error).__name__, error)
            ending = Ending("lost", None, f"The connector failed: {type(error).__name__}.")
        if ending is not None:
            self._finish(entry, ending, round((time.monotonic() - begun) * 1000))
        with self._lock:
            self._running[lane] -= 1
            self._threads.discard(threading.current_thread())
        self._start_next()

    def _carry_out(self, entry: Entry) -> Ending | None:
        """Remember it, then run it; none when the connector stops before: then the server sends it again."""
        if self._stopping or entry.runner is None:
            return None
        if self._is_expired(entry):
            return Ending("expired", None, EXPIRED)
        try:
            unless = (
                result_of(Ending("lost", None, LOST), kind=kind_of(entry))
                if isinstance(entry.request, Action)
                else None
            )
            self._ledger.begin(entry.request_id, unless)
        except sqlite3.IntegrityError:
            return Ending("lost", None, LOST)
        except sqlite3.Error as error:
            return Ending("refused", None, _words(error))
        return entry.runner.run(lambda pid, born: self._started(entry, pid, born))

    def _started(self, entry: Entry, pid: int, born: float | None) -> None:
        entry.pid = pid
        self._ring()
        try:
            self._ledger.note_process(entry.request_id, pid, born)
        except sqlite3.Error as error:
            logger.error("the process of a command cannot be stored: %s", error)

    def _finish(self, entry: Entry, ending: Ending, duration: int = 0) -> None:
        if entry.output is not None:
            entry.output.finish()
        result = result_of(ending, entry.output, duration, kind_of(entry))
        try:
            self._ledger.finish(entry.request_id, result)
        except sqlite3.Error as error:
            logger.error("the result of a command cannot be stored, it waits in memory: %s", error)
            entry.result = result
        with self._lock:
            entry.state, entry.runner = "finished", None
            finished = [one for one in self._entries.values() if one.state == "finished"]
            for old in finished[:-MAX_UNACKNOWLEDGED]:
                self._forget(old)
        logger.info("command %s: %s", entry.request_id, ending.reason)
        self._ring()

    def _forget(self, entry: Entry) -> None:
        self._entries.pop(entry.request_id, None)
        if entry.output is not None:
            entry.output.forget()

    def stop(self) -> None:
        """End what runs, within 2 s; what waits was never begun and is left to the server."""
        with self._lock:
            self._stopping = True
            self._queue.clear()
            for entry in self._entries.values():
                if entry.runner is not None:
                    entry.runner.end(Ending("lost", None, STOPPED), STOP_GRACE)
            threads = list(self._threads)
        until = time.monotonic() + STOP_WAIT
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Close the file, after `stop` and after the last message."""
        self._ledger.close()


def kind_of(entry: Entry) -> str | None:
    """The message that asked for it, when that was an action on a container."""
    return entry.kind if entry.kind in ACTIONS else None


def result_of(
    ending: Ending, output: Output | None = None, duration: int = 0, kind: str | None = None
) -> dict[str, Any]:
    """The data of a command_result, or of the answer to an action (`kind`); `duration` in ms."""
    return {
        **({"kind": kind} if kind else {}),
        "exit_code": ending.exit_code,
        "reason": ending.reason,
        "output": output.tail() if output else "",
        "last_seq": output.last_seq if output else 0,
        "stdout_bytes": output.received["stdout"] if output else 0,
        "stderr_bytes": output.received["stderr"] if output else 0,
        "dropped_bytes": output.dropped if output else 0,
        "duration_ms": duration,
        "message": ending.message,
    }


def _words(error: Exception) -> str:
    if isinstance(error, sqlite3.Error):
        return f"It cannot be remembered ({error}), so it is not started: it might run twice."
    return str(error)
