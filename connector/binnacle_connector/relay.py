"""What one connection says and hears about commands: starts, output and results, in order and until acknowledged."""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable

from .actions import ACTIONS, ANSWERS
from .commands import Commands, Entry
from .log import brief, logger
from .request import request_id_of, unix_time
from .spool import MAX_SEQ

IN_FLIGHT = 256 * 1024
RETRY_RESULT = 5.0

Send = Callable[[dict[str, Any]], None]
Complain = Callable[..., None]


class Relay:
    """Belongs to the thread of one connection. Nothing is sent before `open`."""

    def __init__(self, commands: Commands, send: Send, complain: Complain) -> None:
        self._commands, self._send, self._complain = commands, send, complain
        self._buffers = commands.buffers
        self._open = False
        self._started: set[str] = set()
        self._sent: dict[str, int] = {}
        self._told: set[str] = set()
        self._not_before = 0.0
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "execute_command": self._on_execute,
            **dict.fromkeys(ACTIONS, self._on_execute),
            "cancel_command": self._on_cancel,
            "output_ack": self._on_output_ack,
            "command_ack": self._on_command_ack,
        }

    def introduction(self) -> dict[str, Any]:
        """What `hello` says about commands."""
        known = [{"request_id": entry.request_id, "state": entry.state} for entry in self._commands.entries()]
        return {"commands": known, "commands_memory": self._commands.memory}

    def open(self, server_time: Any) -> None:
        """The server said hello, and what time it is (RFC 3339, or nothing)."""
        told = unix_time(server_time)
        self._commands.skew = told - time.time() if told is not None else 0.0
        self._open = self._buffers.connected = True
        self._buffers.waiting_since = None

    def close(self) -> None:
        """The connection is gone."""
        if self._open:
            self._open = self._buffers.connected = False

    # What we say

    def push(self) -> None:
        """Send at most one message of each command, so that samples and answers get their turn."""
        if not self._open:
            return
        self._commands.expire()
        for entry in self._commands.entries():
            self._push_one(entry)
        known = {entry.request_id for entry in self._commands.entries()}
        self._told &= known
        self._started &= known
        self._sent = {request_id: seq for request_id, seq in self._sent.items() if request_id in known}
        if not self._in_flight():
            self._buffers.waiting_since = None

    def next_due(self) -> float | None:
        """When (monotonic) `push` has something to do again, should nobody ring before."""
        if not self._open:
            return None
        now = time.monotonic()
        moments = [moment for moment in map(self._due, self._commands.entries()) if moment is not None]
        expires = self._commands.expire()
        if expires is not None:
            moments.append(now + expires)
        if self._buffers.waiting_since is not None and self._buffers.acknowledged:
            moments.append(self._buffers.waiting_since + self._buffers.patience)
        return min(moments) if moments else None

    def _due(self, entry: Entry) -> float | None:
        name = entry.request_id
        if name in self._told or entry.state == "queued":
            return None
        if entry.pid is not None and name not in self._started:
            return 0.0
        finished = entry.state == "finished"
        moment = entry.output.due(self._sent.get(name, 0)) if entry.output is not None else None
        if moment is not None:
            return moment if self._window() else None
        return self._not_before if finished else None

    def _push_one(self, entry: Entry) -> None:
        name = entry.request_id
        moment = self._due(entry)
        if moment is None or moment > time.monotonic():
            return
        finished = entry.state == "finished"
        if entry.pid is not None and name not in self._started:
            self._started.add(name)
            self._send({"type": "command_started", "request_id": name, "pid": entry.pid})
            return
        part = entry.output.take(self._sent.get(name, 0)) if entry.output is not None else None
        if part is not None:
            message = {
                "type": "command_output",
                "request_id": name,
                "seq": part.seq,
                "stream": part.stream,
                "data": part.data,
            }
            if part.dropped:
                message["dropped"] = part.dropped
            self._sent[name] = part.seq
            if self._buffers.waiting_since is None:
                self._buffers.waiting_since = time.monotonic()
            self._send(message)
        elif finished:
            self._push_result(entry)

    def _push_result(self, entry: Entry) -> None:
        try:
            result = self._commands.result(entry)
        except sqlite3.Error as error:
            logger.error("the result of a command cannot be read: %s", error)
            self._not_before = time.monotonic() + RETRY_RESULT
            return
        self._told.add(entry.request_id)
        self._send(answer_of(entry, result))

    def _in_flight(self) -> int:
        entries = self._commands.entries()
        return sum(entry.output.in_flight(self._sent.get(entry.request_id, 0)) for entry in entries if entry.output)

    def _window(self) -> bool:
        """Whether more output may go out: a slow line must not keep samples waiting behind it."""
        return not self._buffers.acknowledged or self._in_flight() < IN_FLIGHT

    # What the server says

    def _on_execute(self, message: dict[str, Any]) -> None:
        complaint = self._commands.execute(message)
        if complaint is not None:
            self._send({"type": "error", "message": complaint, "regarding": message["type"]})
        else:
            self._told.discard(str(message.get("request_id")))

    def _on_cancel(self, message: dict[str, Any]) -> None:
        request_id = self._named(message)
        if request_id is not None:
            self._commands.cancel(request_id)
            self._told.discard(request_id)

    def _on_output_ack(self, message: dict[str, Any]) -> None:
        request_id, seq = self._named(message), message.get("seq")
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= MAX_SEQ:
            self._complain("a wrong acknowledgement of output was ignored: %s", brief(seq))
        elif request_id is not None:
            self._commands.acknowledge_output(request_id, seq)
            self._buffers.waiting_since = time.monotonic() if self._in_flight() else None

    def _on_command_ack(self, message: dict[str, Any]) -> None:
        request_id = self._named(message)
        if request_id is not None:
            self._commands.acknowledge_result(request_id)

    def _named(self, message: dict[str, Any]) -> str | None:
        request_id = request_id_of(message)
        if request_id is None:
            self._complain("a message without a request_id was ignored: %s", brief(message.get("type")))
        return request_id


def answer_of(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    """The message that tells a result: of an action on a container contract 002's own, or its `error`."""
    kind = result.get("kind") or (entry.kind if entry.kind in ACTIONS else None)
    if kind is None:
        return {"type": "command_result", "request_id": entry.request_id, "data": result}
    data = {name: result.get(name) for name in ("reason", "duration_ms", "message")}
    if result.get("reason") == "exited":
        return {"type": ANSWERS[kind], "request_id": entry.request_id, "data": data}
    words = result.get("message") or f"The container was not {ANSWERS[kind][len('container_') :]}."
    return {"type": "error", "request_id": entry.request_id, "message": words, "data": data}
