"""The desk for logs: one per web process. It asks the connectors of this process for the logs that somebody wants to read, and
acknowledges what came as fast as it is taken.

Another process's wish is seen by the change clock (`connectors/bell.py`).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from app.connectors.bell import Listener
from app.connectors.dispatcher import say
from app.connectors.registry import Connection, registry_of
from app.containers import readings
from app.containers.models import LogReading
from app.containers.readings import Stored
from app.database import reading, session, unit_of_work
from app.journal.queries import clock

CAPABILITY = "containers"
MAX_TAIL = 10_000  # what an original agent is asked for when all is wanted


@dataclass
class _Read:
    """A log that is read over this process: up to which piece it is acknowledged, and the pieces (number, weight) that are here
    and that its reader has not taken."""

    connection: Connection
    acknowledged: int = 0
    pieces: deque[tuple[int, int]] = field(default_factory=deque)
    weight: int = 0


class Desk(Listener):
    """See above. `expect` lets a request wait for a log that this process hears of."""

    subject = "log-desk"

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._mine: dict[str, _Read] = {}

    def acknowledge(self, connection: Connection, reading_id: str, seq: int) -> None:
        """Let the connector send on, when it has not been told yet."""
        known = self._read(connection, reading_id)
        if seq > known.acknowledged:
            known.acknowledged = seq
            say(connection, type="container_log_ack", request_id=reading_id, seq=seq)

    def landed(self, connection: Connection, reading_id: str, stored: Stored, weight: int) -> bool:
        """Note a new piece; false when more lies here than a connector can send that waits for its acknowledgements."""
        known = self._read(connection, reading_id)
        known.pieces.append((stored.seq, weight))
        known.weight += weight
        while known.pieces and known.pieces[0][0] <= stored.taken:
            known.weight -= known.pieces.popleft()[1]
        return known.weight <= readings.MAX_UNTAKEN

    def _read(self, connection: Connection, reading_id: str) -> _Read:
        return self._mine.setdefault(reading_id, _Read(connection))

    def over(self, reading_id: str) -> None:
        """It has ended."""
        self._mine.pop(reading_id, None)
        self.heard(reading_id)

    def _look(self) -> None:
        connected = registry_of(self._app).connected()
        with reading():
            newest = clock(readings.READINGS)
            if newest == self._seen:
                return
            self._seen = newest  # before the look: who rings meanwhile is heard
            wanted = [(one.id, one.computer_id) for one in readings.waiting(connected)]
            mine = dict(self._mine)
            allowed = readings.progress(mine) if mine else {}
        for reading_id, computer_id in wanted:
            if connected[computer_id].settled:
                self._ask(reading_id, connected[computer_id])
            else:
                self._seen = -1  # look again soon
        for reading_id, one in mine.items():
            if reading_id in allowed:
                self.acknowledge(one.connection, reading_id, allowed[reading_id])
            else:
                self._mine.pop(reading_id, None)
                say(one.connection, type="unfollow_container_logs", request_id=reading_id)

    def _ask(self, reading_id: str, connection: Connection) -> None:
        with unit_of_work(power_safe=False):
            if not readings.claim(reading_id):
                return
            message = message_of(connection, session().get(LogReading, reading_id))
            if message is None:
                words = "The connector on this computer is too old to read logs of containers"
                readings.finish(reading_id, connection.computer_id, "refused", words)
        if message is None:
            self.heard(reading_id)
            return
        if message["type"] == "follow_container_logs":
            self._read(connection, reading_id)
        say(connection, **message)


def message_of(connection: Connection, wanted: LogReading) -> dict[str, Any] | None:
    """What the connector is sent. Original agents know one question and one answer; None for a connector that knows none."""
    message = {"container_id": wanted.engine_id, "request_id": wanted.id}
    if not connection.greeted:
        return message | {"type": "get_container_logs", "tail": MAX_TAIL if wanted.tail is None else wanted.tail}
    if CAPABILITY not in connection.capabilities:
        return None
    tail = "all" if wanted.tail is None else wanted.tail
    return message | {"type": "follow_container_logs", "tail": tail, "follow": wanted.follow}


def desk_of(app: Flask) -> Desk:
    """The process's desk."""
    desk: Desk = app.extensions["binnacle_log_desk"]
    return desk
