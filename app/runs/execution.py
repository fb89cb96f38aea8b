"""One run under way in a worker: its steps one after the other, each written before and after it happens."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.database import reading, session, unit_of_work
from app.factory import vault_of
from app.logging import get_logger
from app.runs import drivers, leases
from app.runs.drivers import Driver, Ending
from app.runs.models import Run, RunStatus, RunStep
from app.runs.operations import finish_run, finish_step, step_started, version
from app.runs.output import add_lines, secrets_of
from app.runs.requests import reset_step
from app.runs.work import Context, Interrupted
from app.vault import VaultError

if TYPE_CHECKING:
    from app.runs.engine import Engine

ABANDON_S = 10.0  # after its time is up, for a step that does not end by itself
STOP_S = 20.0  # after SIGTERM, for a step to end before it is interrupted
ENDS = {"timeout": RunStatus.TIMED_OUT, "cancelled": RunStatus.CANCELLED, "lost": RunStatus.LOST}
T = TypeVar("T")
log = get_logger(__name__)


class Execution:
    """One run under way in this process."""

    def __init__(self, engine: "Engine", run_id: str) -> None:
        self.engine, self.run_id = engine, run_id
        self.wake = threading.Event()
        self.context: Context | None = None
        self.driver: Driver | None = None
        self._run_ends = float("inf")
        self._step_ends = float("inf")
        self._gone = False

    # -- by the watch --------------------------------------------------------------------------------------------------

    def interrupt(self, why: str) -> None:
        """Ask the step under way to end."""
        self._gone = self._gone or why == "gone"
        self.wake.set()
        if (context := self.context) is not None:
            context.interrupt(why)

    def watch(self, moment: float) -> None:
        """Store what it has logged; see to its time limits."""
        context = self.context
        if context is None:
            return
        with suppress(Exception):  # it is tried again, and at the end of the step it must succeed
            context.flush()
        ends = min(self._run_ends, self._step_ends)
        stopping = self.engine.stopping_since
        if moment > ends:
            context.interrupt("timeout")
        elif stopping is not None and moment > stopping + STOP_S:
            context.interrupt("stopping")
        if moment > ends + ABANDON_S and not self._gone:
            self._gone = True
            self._abandon(context)

    def _abandon(self, context: Context) -> None:
        log.error("a step did not end in time and is given up", run=self.run_id, step=context.position)
        with unit_of_work():
            version()
            run = self._ours()
            if run is not None:
                step = _step(run.id, context.position)
                reason = "It took too long and did not stop when it was told to"
                finish_step(step, Ending("timeout", reason=reason), vault_of(self.engine.app))
                session().refresh(run)
                finish_run(run, RunStatus.TIMED_OUT, reason)
        self.engine.leave(self)

    # -- by its own thread -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Carry the run out, as far as it comes."""
        with self.engine.app.app_context():
            try:
                self._carry_out()
            except Exception as error:
                log.error("a run failed in the engine", run=self.run_id, error=f"{type(error).__name__}: {error}"[:500])
                self._fail(f"{type(error).__name__}: {error}")
            finally:
                self.engine.leave(self)

    def _fail(self, reason: str) -> None:
        try:
            with unit_of_work():
                version()
                if (run := self._ours()) is not None:
                    leases.end_under_way(run, Ending("error", reason=reason), vault_of(self.engine.app))
                    finish_run(run, RunStatus.FAILED, reason)
        except Exception as error:  # the database is away: its lease runs out
            log.error("the end of a run was not stored", run=self.run_id, error=str(error)[:300])

    def _carry_out(self) -> None:
        with reading():
            run = session().get(Run, self.run_id)
            self.driver = drivers.driver_of(run.kind)
            try:
                secrets = secrets_of(run, vault_of(self.engine.app))
            except VaultError as error:
                secrets, problem = {}, str(error)
            else:
                problem = ""
            self._run_ends = time.monotonic() + run.timeout_s
            session().expunge(run)
        if problem:
            return self._fail(problem)
        assert self.driver.work is not None
        with self.driver.work.open(run) as shared:
            while (begun := self._persist(self._next)) is not None:
                if isinstance(begun, RunStep):
                    self._do(run, begun, shared, secrets)
                else:
                    paused = time.monotonic()
                    self.wake.wait(1.0)
                    self.wake.clear()
                    self._run_ends += time.monotonic() - paused  # its time stands still
        return None

    def _persist(self, act: Callable[[], T]) -> T:
        """Do it again while the database is away, as long as the run is ours: the watch notices when it no longer is."""
        while True:
            try:
                return act()
            except OperationalError as error:
                if self._gone:
                    raise
                log.warning("the database is away, a run waits for it", run=self.run_id, error=str(error)[:200])
                time.sleep(1.0)

    def _ours(self) -> Run | None:
        """The run, locked, when this process still holds it."""
        run: Run | None = session().get(Run, self.run_id, with_for_update=True, populate_existing=True)
        return run if run is not None and run.is_open and run.lease_owner == self.engine.owner else None

    def _next(self) -> RunStep | str | None:
        """Obey what was asked, then begin the next step: that step, "paused" while the run stays here, None when there is no more
        to do here."""
        while not self._gone:
            with unit_of_work():
                version()
                run = self._ours()
                if run is None or self._obey(run):
                    return None
                if run.status is RunStatus.PAUSED:
                    return "paused"
                query = select(RunStep).where(RunStep.run_id == run.id, RunStep.finished_at.is_(None))
                step: RunStep | None = session().scalar(query.order_by(RunStep.position).limit(1))
                if step is None:
                    finish_run(run)
                    return None
                if run.skip:
                    run.skip = False
                    finish_step(step, Ending("skipped", reason="Skipped"))
                    continue
                step_started(step)
                session().flush()
                session().refresh(step)
                session().expunge(step)
                return step
        return None

    def _obey(self, run: Run) -> bool:
        """What was asked of the run between two steps; whether this process is done with it."""
        stays = self.driver is not None and self.driver.work is not None and self.driver.work.stays
        if run.request == "cancel":
            finish_run(run, RunStatus.CANCELLED, run.reason or "Cancelled")
            return True
        if time.monotonic() > self._run_ends and run.status is not RunStatus.PAUSED:
            finish_run(run, RunStatus.TIMED_OUT, f"It took longer than {run.timeout_s} s")
            return True
        if run.request == "pause":
            run.status, run.request = RunStatus.PAUSED, None
            _release(run, keep=stays)
            return not stays
        if self.engine.stopping_since is not None:
            if stays:
                finish_run(run, RunStatus.LOST, "The worker was stopped; what the run's steps shared is gone with it")
            else:
                run.status = RunStatus.QUEUED
                _release(run, keep=False)
            return True
        return False

    def _do(self, run: Run, step: RunStep, shared: Any, secrets: dict[str, str]) -> None:
        assert self.driver is not None and self.driver.work is not None
        context = Context(self.engine.app, run, step, shared, secrets)
        limit = self.driver.work.timeout_s(run, step)
        began = time.monotonic()
        self._step_ends, self.context = began + limit, context
        try:
            ending = self.driver.work.step(context) or Ending("done")
        except Interrupted as interrupted:
            ending = _interrupted(interrupted.why, limit if self._step_ends <= self._run_ends else run.timeout_s)
        except Exception as error:
            ending = Ending("error", reason=f"{type(error).__name__}: {error}"[:500])
        finally:
            session().remove()  # whatever it left open
            self._step_ends = float("inf")
        if not self._gone:
            took_ms = round((time.monotonic() - began) * 1000)
            self._persist(context.flush)
            self._persist(lambda: self._store(context, ending, took_ms))
        self.context = None

    def _store(self, context: Context, ending: Ending, took_ms: int) -> None:
        with unit_of_work():
            version()
            run = self._ours()
            if run is None:
                return
            step, vault = _step(run.id, context.position), vault_of(self.engine.app)
            if ending.then == "pause" and not ending.is_good:
                add_lines(
                    step,
                    "system",
                    f"{ending.reason or ending.outcome}. Resume does it again, skip passes it over.\n",
                    vault,
                )
                reset_step(step)
            else:
                finish_step(step, replace(ending, duration_ms=ending.duration_ms or took_ms), vault)
            session().flush()
            session().refresh(run)
            if ending.then == "pause":
                run.request = run.request or "pause"
            elif not ending.is_good and ending.outcome != "skipped" and ending.then != "go_on":
                status = ENDS.get(ending.outcome, RunStatus.FAILED)
                finish_run(run, status, run.reason if status is RunStatus.CANCELLED and run.reason else step.reason)


def _step(run_id: str, position: int) -> RunStep:
    query = select(RunStep).where(RunStep.run_id == run_id, RunStep.position == position)
    step: RunStep = session().scalars(query.execution_options(populate_existing=True)).one()
    return step


def _release(run: Run, *, keep: bool) -> None:
    if not keep:
        run.lease_owner = run.lease_until = None
    run.version = version()


def _interrupted(why: str, limit: float) -> Ending:
    match why:
        case "cancel":
            return Ending("cancelled", reason="Cancelled")
        case "timeout":
            return Ending("timeout", reason=f"It took longer than {limit:g} s and was ended")
        case _:
            return Ending("lost", reason="Its worker was stopped in the middle of it")
