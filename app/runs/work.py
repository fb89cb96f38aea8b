"""What a step that a worker executes is given: its log, whether it shall stop, the run's secrets, a place for files."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from flask import Flask
from sqlalchemy import select

from app.actors import SYSTEM
from app.database import reading, session, unit_of_work
from app.errors import Conflict
from app.factory import settings_of, vault_of
from app.runs import artefacts, requests
from app.runs.models import Run, RunStatus, RunStep
from app.runs.output import add_lines

PIECE = 32 * 1024
MAX_WAITING = 4 << 20  # characters that wait to be stored before the step has to wait
LOOK_S = 0.2


class Interrupted(Exception):
    """The step shall end now; `why` is cancel, timeout, stopping (the worker is) or gone (the run is no longer this worker's).
    A step that can be interrupted lets it pass."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Context:
    """One step under way. Every method is for the thread that executes it. Outside of these methods no transaction is open."""

    def __init__(self, app: Flask, run: Run, step: RunStep, shared: Any, secrets: Mapping[str, str]) -> None:
        self.run_id, self.position, self.name, self.attempt = run.id, step.position, step.name, step.attempt
        self.spec: dict[str, Any] = orjson.loads(run.spec)
        self.step_spec: dict[str, Any] = orjson.loads(step.spec) if step.spec else {}
        self.computer_uuid, self.actor_name = step.computer_uuid, run.actor_name
        self.shared, self.secrets = shared, dict(secrets)
        self.stop = threading.Event()  # for steps that wait for something else at the same time
        self.why = ""
        self.app = app
        self._step_id = step.id
        self._lock = threading.Lock()
        self._lines: list[tuple[str, str]] = []
        self._waiting = 0

    def log(self, text: str, stream: str = "stdout") -> None:
        """Add a line to the step's log, or several; `stream` is stdout, stderr or system."""
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        while self._waiting > MAX_WAITING and not self.stop.wait(0.05):  # the engine stores several times a second
            continue
        with self._lock:
            self._lines.append((stream, text if text.endswith("\n") else text + "\n"))
            self._waiting += len(text)

    def check(self) -> None:
        """A good moment to end. Raises Interrupted when somebody cancelled, or time is up."""
        if self.stop.is_set():
            raise Interrupted(self.why)

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Interrupted."""
        self.stop.wait(seconds)
        self.check()

    def result_of(self, position: int) -> dict[str, Any] | None:
        """What an earlier step has kept."""
        with reading():
            query = select(RunStep.result).where(RunStep.run_id == self.run_id, RunStep.position == position)
            text = session().scalar(query)
        return orjson.loads(text) if text else None

    def keep(self, name: str, data: bytes | Path, media_type: str = "application/octet-stream") -> str:
        """Keep a file of the run; its id. Raises Invalid when it is too large."""
        root = settings_of(self.app).data_dir
        with unit_of_work():
            return artefacts.store(root, self.run_id, self._step_id, name, data, media_type).id

    def wait_for(self, run_id: str) -> RunStatus:
        """Wait for another run that this step has asked for (a command, say); interrupted, it cancels that first."""
        while True:
            with reading():
                ended = select(Run.status).where(Run.id == run_id, Run.finished_at.is_not(None))
                status: RunStatus | None = session().scalar(ended)
            if status is not None:
                return status
            if self.stop.wait(LOOK_S):
                with unit_of_work():
                    try:
                        requests.request_cancel(session().get(Run, run_id), actor=SYSTEM)
                    except Conflict:  # it has just ended
                        continue
                raise Interrupted(self.why)

    def interrupt(self, why: str) -> None:
        """Ask it to end (the engine)."""
        if not self.stop.is_set():
            self.why = why
            self.stop.set()

    def flush(self) -> None:
        """Store what it has logged (the engine, several times a second)."""
        with self._lock:
            if not self._lines:
                return
            with unit_of_work(power_safe=False):
                step = session().get(RunStep, self._step_id, with_for_update=True)
                if step is not None and step.finished_at is None and step.attempt == self.attempt:
                    for stream, text in _joined(self._lines):
                        add_lines(step, stream, text, vault_of(self.app))
            self._lines, self._waiting = [], 0  # not before they are stored


def _joined(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for stream, text in lines:
        if pieces and pieces[-1][0] == stream and len(pieces[-1][1]) < PIECE:
            pieces[-1] = stream, pieces[-1][1] + text
        else:
            pieces.append((stream, text))
    return pieces
