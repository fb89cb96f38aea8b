"""The dispatcher: one per web process. It sends steps that wait for a computer which is connected to this process.

That something waits it is told by a bell, or by the change clock `dispatch` (`bell.py`). Whoever sends claims the step first by
a conditional update; the connector runs a step's uuid at most once, so sending it again after a crash or a reconnect is safe. Of
one computer at most BESIDE steps are under way, and one more of the kinds that keep their order (`Driver.lane`).
"""

import os
import time
from collections import Counter
from typing import Any

import orjson
from flask import Flask
from simple_websocket import ConnectionClosed
from sqlalchemy import case, func, select

from app.connectors.bell import Listener
from app.connectors.registry import Connection, registry_of
from app.database import commit, reading, release, session, unit_of_work
from app.errors import NotFound, Offline, TimedOut
from app.factory import settings_of, vault_of
from app.fleet.models import Computer, ComputerStatus
from app.journal.queries import clock
from app.logging import get_logger
from app.runs import drivers, operations
from app.runs.drivers import Driver, Ending, Remote
from app.runs.models import Dispatch, Run, RunStatus, RunStep
from app.runs.output import secrets_of
from app.vault import VaultError

LOOK_S = 0.25  # how often a request looks for an end that another process heard of
AT_ONCE = 200
BESIDE = 4
SECRETS = "The agent on this computer cannot be given secrets; it takes our connector"
log = get_logger(__name__)


class Dispatcher(Listener):
    """See above. `expect` lets a request wait for a run that this process hears of."""

    subject = "dispatcher"

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self._told_to_cancel: set[str] = set()

    @property
    def owner(self) -> str:
        """The name under which this process holds leases until a worker adopts the run."""
        return f"web:{os.getpid()}"

    def heard(self, thing_id: str) -> None:
        """A step of the run has ended: its computer has room for another."""
        super().heard(thing_id)
        self.ring()

    def _look(self) -> None:
        with reading():
            newest = clock(operations.DISPATCH)
            if newest == self._seen:
                return
            self._seen = newest  # before the look: who rings meanwhile is heard
            found = self._waiting()
            cancels = self._cancels()
        if found:
            self._send(found[:AT_ONCE])
        for connection, uuid, kind in cancels:
            self._told_to_cancel.add(uuid)
            remote = _remote(kind)
            if remote is not None and remote.cancel is not None:
                say(connection, type=remote.cancel, request_id=uuid)
        if len(found) > AT_ONCE:
            self.ring()

    def _waiting(self) -> list[tuple[Connection, int]]:
        """What may be sent now: for each computer the oldest, as far as it has room."""
        connected = registry_of(self._app).connected()
        waits = session().scalars(select(RunStep.computer_id).where(RunStep.dispatch == Dispatch.WAITING).distinct())
        computers = [computer for computer in waits if computer in connected]
        if not computers:
            return []
        in_lane = case((Run.kind.in_(drivers.lane_kinds()), 1), else_=0)
        place = func.row_number().over(partition_by=(RunStep.computer_id, in_lane), order_by=RunStep.id)
        rows = select(RunStep.id, RunStep.computer_id, Run.kind, in_lane.label("lane"), place.label("place"))
        rows = rows.join(Run, Run.id == RunStep.run_id).where(RunStep.dispatch == Dispatch.WAITING)
        ranked = rows.where(RunStep.computer_id.in_(computers)).subquery()
        found = session().execute(select(ranked).where(ranked.c.place <= BESIDE).order_by(ranked.c.id)).all()
        busy = self._busy(computers)
        sendable = []
        for row in found:
            remote, place_of = _remote(row.kind), (row.computer_id, row.lane)
            if not connected[row.computer_id].settled:
                self._seen = -1  # look again soon
                continue
            if remote is not None and busy[place_of] < (1 if row.lane else BESIDE) and takes(connected[row.computer_id], remote):
                busy[place_of] += 1
                sendable.append((connected[row.computer_id], row.id))
        return sendable

    def _busy(self, computers: list[int]) -> Counter[tuple[int, int]]:
        in_lane = case((Run.kind.in_(drivers.lane_kinds()), 1), else_=0).label("lane")
        query = select(RunStep.computer_id, in_lane, func.count()).join(Run, Run.id == RunStep.run_id)
        query = query.where(RunStep.dispatch == Dispatch.SENT, RunStep.computer_id.in_(computers))
        return Counter({(row[0], row[1]): row[2] for row in session().execute(query.group_by(RunStep.computer_id, in_lane))})

    def _cancels(self) -> list[tuple[Connection, str, str]]:
        connected = registry_of(self._app).connected()
        query = select(RunStep.uuid, RunStep.computer_id, Run.kind).join(Run, Run.id == RunStep.run_id)
        rows = session().execute(query.where(RunStep.cancel, RunStep.dispatch == Dispatch.SENT)).all()
        return [(connected[computer], uuid, kind) for uuid, computer, kind in rows
                if computer in connected and uuid not in self._told_to_cancel]  # fmt: skip

    def _send(self, found: list[tuple[Connection, int]]) -> None:
        """Claim the steps in one transaction, then send them: what is claimed and not sent is sent again after a reconnect."""
        messages: list[tuple[Connection, dict[str, Any]]] = []
        ended: list[str] = []
        with unit_of_work():
            for connection, step_id in found:
                if not operations.claim_step(step_id):
                    continue
                step = session().get(RunStep, step_id)
                run = session().get(Run, step.run_id)
                if run.status is RunStatus.QUEUED:
                    operations.begin(run.id, self.owner)
                    session().refresh(run)
                step.memory = connection.memory
                message = self._message(connection, run, step)
                if message is None:
                    ended.append(run.id)
                else:
                    messages.append((connection, message))
        for connection, message in messages:
            say(connection, **message)
        for run_id in ended:
            self.heard(run_id)

    def _message(self, connection: Connection, run: Run, step: RunStep) -> dict[str, Any] | None:
        """What the step's connector is sent; None when it cannot be, and the step has ended."""
        remote = _remote(run.kind)
        assert remote is not None
        try:
            secrets = secrets_of(run, vault_of(self._app))
        except VaultError as error:
            operations.finish_step(step, Ending("refused", reason=str(error)))
            return None
        if secrets and not connection.greeted:
            operations.finish_step(step, Ending("refused", reason=SECRETS))
            return None
        return remote.message(run, step, secrets) | {"request_id": step.uuid}

    def resend(self, connection: Connection) -> None:
        """After a reconnect: what was sent to the computer and has not ended is sent again; it runs each uuid once. A connector
        that has lost its memory could not know: what was sent to it before is lost, and is not sent again."""
        messages, ended = [], []
        with unit_of_work():
            query = select(RunStep, Run).join(Run, Run.id == RunStep.run_id)
            query = query.where(RunStep.computer_id == connection.computer_id, RunStep.dispatch == Dispatch.SENT)
            for step, run in session().execute(query.order_by(RunStep.id)).all():
                if step.memory != connection.memory:
                    reason = "The connector was installed anew while it ran"
                    operations.finish_step(step, Ending("lost", reason=reason), vault_of(self._app))
                elif _remote(run.kind) is not None and (message := self._message(connection, run, step)) is not None:
                    messages.append(message)
                    continue
                ended.append(run.id)
        for run_id in ended:
            self.heard(run_id)
        for message in messages:
            self._told_to_cancel.discard(message["request_id"])
            say(connection, **message)
        self.ring()


def _remote(kind: str) -> Remote | None:
    try:
        return drivers.driver_of(kind).remote
    except KeyError:  # a kind of another version: it waits for a process that knows it
        return None


def takes(connection: Connection, remote: Remote) -> bool:
    """Whether this computer can do it: our connector says so; an original agent, which says nothing, as the kind knows."""
    return remote.capability in connection.capabilities if connection.greeted else remote.original


def obstacle(app: Flask, computer: Computer, driver: Driver) -> str | None:
    """Why a step of a kind would not reach the computer now, in words; None when it would, as far as this process can know."""
    connection = registry_of(app).get(computer.id)
    if connection is not None:
        return None if driver.remote is None or takes(connection, driver.remote) else driver.remote.refuses
    if computer.status is not ComputerStatus.ONLINE or settings_of(app).web_processes == 1:
        return Offline().message
    return None


def check_connected(app: Flask, computer: Computer, driver: Driver) -> None:
    """Raises Offline when a step of a kind would not reach the computer now."""
    if (why := obstacle(app, computer, driver)) is not None:
        raise Offline(why)


def commit_and_wait(app: Flask, run_id: str, seconds: float) -> Run:
    """Commit what the request has begun, and wait until its run has ended; no transaction is open meanwhile. Raises TimedOut."""
    dispatcher, deadline = dispatcher_of(app), time.monotonic() + seconds
    ended = dispatcher.expect(run_id)
    try:
        commit()
        while True:
            session().expire_all()
            run: Run | None = session().get(Run, run_id)
            if run is None:
                raise NotFound("The run was deleted")
            if not run.is_open:
                return run
            release()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut("It did not end in time; its run goes on", details=run_id)
            ended.wait(min(LOOK_S, left))
            ended.clear()
    finally:
        dispatcher.forget(run_id)


def say(connection: Connection, **message: Any) -> None:
    """Send, or leave it to the next connection: what was claimed is sent again then."""
    try:
        connection.send(orjson.dumps(message).decode())
    except (ConnectionClosed, OSError):
        log.info("not delivered, the connection went away", computer=connection.uuid)


def dispatcher_of(app: Flask) -> Dispatcher:
    """The process's dispatcher."""
    dispatcher: Dispatcher = app.extensions["binnacle_dispatcher"]
    return dispatcher
