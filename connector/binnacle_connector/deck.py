"""What one connection says and hears about containers: the list and its changes, figures, logs while somebody reads.

What is done to a container goes the way of commands (`relay.py`), since it must be done once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .actions import container_of
from .containers import ContainerWatch
from .engine import Finder
from .log import brief
from .logs import Reader, Tail, parse_tail
from .request import Refused, request_id_of

MAX_READERS = 16
MAX_TAILS = 16


class Deck:
    """Belongs to the thread of one connection. Nothing is sent before `open`."""

    def __init__(
        self,
        watch: ContainerWatch,
        finder: Finder,
        send_text: Callable[[str], None],
        send: Callable[[dict[str, Any]], None],
        complain: Callable[..., None],
        ring: Callable[[], None],
    ) -> None:
        self._watch, self._finder, self._ring = watch, finder, ring
        self._send_text, self._send, self._complain = send_text, send, complain
        self._open = False
        self._reported = self._figured = 0
        self._readers: dict[str, Reader] = {}
        self._answers: deque[dict[str, Any]] = deque()
        self._tails = 0
        self._lock = threading.Lock()
        self.handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "get_container_logs": self._on_get_logs,
            "follow_container_logs": self._on_follow,
            "unfollow_container_logs": self._on_unfollow,
            "container_log_ack": self._on_ack,
        }

    def open(self) -> None:
        """The server said hello."""
        self._open = True

    def close(self) -> None:
        """The connection is gone: nobody reads the logs any more."""
        self._open = False
        for reader in self._readers.values():
            reader.stop()
        self._readers.clear()

    # What we say

    def push(self) -> None:
        """Send what is new, and at most one piece of each log."""
        if not self._open:
            return
        number = self._watch.report_number
        if number != self._reported:
            self._reported = number
            self._send_text(self._watch.report())
        number = self._watch.figures_number
        if number != self._figured:
            self._figured = number
            figures = self._watch.figures()
            if figures:
                self._send_text(figures)
        while self._answers:
            self._send(self._answers.popleft())
        for reader in list(self._readers.values()):
            self._push_log(reader)

    def next_due(self) -> float | None:
        """When (monotonic) `push` has something to do again, should nobody ring before."""
        if not self._open:
            return None
        moments = [moment for moment in (reader.due() for reader in self._readers.values()) if moment is not None]
        if any(reader.finished for reader in self._readers.values()):
            moments.append(0.0)
        return min(moments) if moments else None

    def _push_log(self, reader: Reader) -> None:
        due = reader.due()
        if due is not None and due <= time.monotonic():
            seq, lines = reader.take()
            self._send({"type": "container_log", "request_id": reader.request_id, "seq": seq, "lines": lines})
        elif reader.finished and reader.ending is not None:
            del self._readers[reader.request_id]
            reason, words = reader.ending
            self._send(
                {"type": "container_log_end", "request_id": reader.request_id, "reason": reason, "message": words}
            )

    def _answered(self, answer: dict[str, Any]) -> None:
        with self._lock:
            self._tails -= 1
        self._answers.append(answer)
        self._ring()

    # What the server says

    def _refuse(self, request_id: str, words: str) -> None:
        self._send({"type": "error", "request_id": request_id, "message": words, "data": {"reason": "refused"}})

    def _on_get_logs(self, message: dict[str, Any]) -> None:
        request_id = self._named(message)
        if request_id is None:
            return
        try:
            container, tail = container_of(message), parse_tail(message, 100)
            with self._lock:
                if self._tails >= MAX_TAILS:
                    raise Refused(f"{MAX_TAILS} logs are being read on this computer already.")
                self._tails += 1
        except Refused as error:
            self._refuse(request_id, str(error))
            return
        Tail(request_id, container, tail, self._finder, self._answered).start()

    def _on_follow(self, message: dict[str, Any]) -> None:
        request_id = self._named(message)
        if request_id is None or request_id in self._readers:
            return
        try:
            container, tail = container_of(message), parse_tail(message, 100)
            if len(self._readers) >= MAX_READERS:
                raise Refused(f"{MAX_READERS} logs are being followed on this computer already.")
        except Refused as error:
            self._send(
                {"type": "container_log_end", "request_id": request_id, "reason": "refused", "message": str(error)}
            )
            return
        follow = message.get("follow") is not False
        reader = self._readers[request_id] = Reader(request_id, container, tail, follow, self._finder, self._ring)
        reader.start()

    def _on_unfollow(self, message: dict[str, Any]) -> None:
        reader = self._readers.pop(self._named(message) or "", None)
        if reader is not None:
            reader.stop()

    def _on_ack(self, message: dict[str, Any]) -> None:
        reader, seq = self._readers.get(self._named(message) or ""), message.get("seq")
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
            self._complain("a wrong acknowledgement of a log was ignored: %s", brief(seq))
        elif reader is not None:
            reader.acknowledge(seq)

    def _named(self, message: dict[str, Any]) -> str | None:
        request_id = request_id_of(message)
        if request_id is None:
            self._complain("a message without a request_id was ignored: %s", brief(message.get("type")))
        return request_id
