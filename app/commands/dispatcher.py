"""The dispatcher: one per web process. It sends steps that wait for a computer which is connected to this process.

The table is the truth and a bell only saves time: rung in this process it looks at once, otherwise it sees within TAIL_S by the
change clock `dispatch` that something waits. Whoever sends claims the step first by a conditional update; the connector runs a
step's uuid at most once, so sending it again after a crash or a reconnect is safe.
"""

import os
import threading
import time
from typing import Any

import orjson
from flask import Flask
from simple_websocket import ConnectionClosed
from sqlalchemy import select

from app.clock import iso
from app.connectors.registry import Connection, registry_of
from app.database import reading, session, unit_of_work
from app.errors import Offline
from app.factory import settings_of
from app.fleet.models import Computer, ComputerStatus
from app.journal.queries import clock
from app.logging import get_logger
from app.runs import operations
from app.runs.models import Dispatch, Run, RunKind, RunStatus, RunStep

TAIL_S = 0.1
AT_ONCE = 200
CAPABILITY = "commands"
REFUSES = "The connector on this computer does not run commands"
log = get_logger(__name__)


class Dispatcher:
    """See above. `wait_for` lets a request wait for a run that this process hears of."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._pid = 0
        self._seen = -1
        self._told_to_cancel: set[str] = set()
        self._ended: dict[str, threading.Event] = {}

    @property
    def owner(self) -> str:
        """The name under which this process holds leases until a worker adopts the run."""
        return f"web:{os.getpid()}"

    def ring(self) -> None:
        """Something waits."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="dispatcher", daemon=True).start()
        self._seen = -1
        self._bell.set()

    def expect(self, run_id: str) -> threading.Event:
        """An event that is set when this process hears that the run may have ended."""
        return self._ended.setdefault(run_id, threading.Event())

    def forget(self, run_id: str) -> None:
        """Nobody waits for the run any more."""
        self._ended.pop(run_id, None)

    def heard(self, run_id: str) -> None:
        """A step of the run has ended."""
        if (event := self._ended.get(run_id)) is not None:
            event.set()

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                self._bell.wait(TAIL_S)
                self._bell.clear()
                registry = registry_of(self._app)
                if not len(registry):
                    continue
                try:
                    self._look()
                except Exception as error:  # the database may be away for a while; what waits goes on waiting
                    log.warning("dispatch failed", error=f"{type(error).__name__}: {error}"[:300])
                    time.sleep(0.5)

    def _look(self) -> None:
        with reading():
            newest = clock(operations.DISPATCH)
            if newest == self._seen:
                return
            found = self._waiting()
            cancels = self._cancels()
        for connection, step_id in found:
            self._send(connection, step_id)
        for connection, uuid in cancels:
            self._told_to_cancel.add(uuid)
            _say(connection, type="cancel_command", request_id=uuid)
        if len(found) < AT_ONCE:
            self._seen = newest

    def _waiting(self) -> list[tuple[Connection, int]]:
        connected = registry_of(self._app).connected()
        query = select(RunStep.id, RunStep.computer_id).where(RunStep.dispatch == Dispatch.WAITING)
        query = query.where(RunStep.computer_id.in_(connected)).order_by(RunStep.id)
        rows = session().execute(query.limit(AT_ONCE)).all()
        return [(connected[computer], step) for step, computer in rows if runs_commands(connected[computer])]

    def _cancels(self) -> list[tuple[Connection, str]]:
        connected = registry_of(self._app).connected()
        query = select(RunStep.uuid, RunStep.computer_id).where(RunStep.cancel, RunStep.dispatch == Dispatch.SENT)
        rows = session().execute(query.where(RunStep.computer_id.in_(connected))).all()
        return [(connected[computer], uuid) for uuid, computer in rows if uuid not in self._told_to_cancel]

    def _send(self, connection: Connection, step_id: int) -> None:
        with unit_of_work():
            if not operations.claim_step(step_id):
                return
            step = session().get(RunStep, step_id)
            run = session().get(Run, step.run_id)
            if run.status is RunStatus.QUEUED:
                operations.begin(run.id, self.owner)
            step.memory = connection.memory
            message = message_of(run, step)
        _say(connection, **message)

    def resend(self, connection: Connection) -> None:
        """After a reconnect: what was sent to the computer and has not ended is sent again; it runs each uuid once. A connector
        that has lost its memory could not know: what was sent to it before is lost, and is not sent again."""
        messages, ended = [], []
        with unit_of_work():
            query = select(RunStep, Run).join(Run, Run.id == RunStep.run_id)
            query = query.where(RunStep.computer_id == connection.computer_id, RunStep.dispatch == Dispatch.SENT)
            for step, run in session().execute(query.order_by(RunStep.id)).all():
                if step.memory == connection.memory:
                    messages.append(message_of(run, step))
                else:
                    operations.finish_step(step, "lost", None, "The connector was installed anew while it ran", None)
                    ended.append(run.id)
        for run_id in ended:
            self.heard(run_id)
        for message in messages:
            self._told_to_cancel.discard(message["request_id"])
            _say(connection, **message)
        self.ring()


def runs_commands(connection: Connection) -> bool:
    """Whether this computer runs commands: our connector says so; an original agent, which says nothing, does."""
    return not connection.greeted or CAPABILITY in connection.capabilities


def obstacle(app: Flask, computer: Computer) -> str | None:
    """Why a command would not reach the computer now, in words; None when it would, as far as this process can know."""
    connection = registry_of(app).get(computer.id)
    if connection is not None:
        return None if runs_commands(connection) else REFUSES
    if computer.status is not ComputerStatus.ONLINE or settings_of(app).web_processes == 1:
        return Offline().message
    return None


def check_connected(app: Flask, computer: Computer) -> None:
    """Raises Offline when a command would not reach the computer now."""
    if (why := obstacle(app, computer)) is not None:
        raise Offline(why)


def message_of(run: Run, step: RunStep) -> dict[str, Any]:
    """The `execute_command` of a step (docs/connector-protocol.md, "Commands")."""
    assert run.kind is RunKind.COMMAND
    spec = orjson.loads(run.spec)
    message = {"type": "execute_command", "request_id": step.uuid, "command": spec["command"], "timeout": run.timeout_s,
               "expires": iso(step.deliver_until)}  # fmt: skip
    return message | {name: spec[name] for name in ("shell", "cwd") if spec.get(name)}


def _say(connection: Connection, **message: Any) -> None:
    """Send, or leave it to the next connection: what was claimed is sent again then."""
    try:
        connection.send(orjson.dumps(message).decode())
    except (ConnectionClosed, OSError):
        log.info("not delivered, the connection went away", computer=connection.uuid)


def dispatcher_of(app: Flask) -> Dispatcher:
    """The process's dispatcher."""
    dispatcher: Dispatcher = app.extensions["binnacle_dispatcher"]
    return dispatcher
