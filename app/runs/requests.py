"""What people ask of a run: cancel, pause, resume, skip, retry, again. A request is stored and obeyed between two steps."""

from typing import Any

from sqlalchemy import func, select

from app.actors import Actor
from app.database import session
from app.errors import Conflict
from app.journal.operations import record
from app.runs.drivers import Ending, driver_of
from app.runs.models import Dispatch, Run, RunStatus, RunStep, StepStatus
from app.runs.operations import finish_run, finish_step, ring_dispatch, ring_work, subject_of, touch, version
from app.runs.queries import forget_counts, steps_of

RESUMABLE = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.LOST, RunStatus.CANCELLED)


def allowed(run: Run) -> frozenset[str]:
    """What can be asked of the run in its state: cancel, pause, resume, skip, retry, again, delete."""
    try:
        can = driver_of(run.kind).can
    except KeyError:  # a kind of a later version
        return frozenset() if run.is_open else frozenset({"delete"})
    cancelling = run.request == "cancel"
    now_possible = {
        "cancel": run.is_open and not cancelling,
        "pause": run.status in (RunStatus.QUEUED, RunStatus.RUNNING) and not cancelling,
        "resume": run.status in (RunStatus.PAUSING, RunStatus.PAUSED, *RESUMABLE) and not (run.is_open and cancelling),
        "skip": run.status in (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED) and not cancelling and not run.skip,
        "retry": not run.is_open and run.failed > 0 and run.total > 1,
        "again": not run.is_open,
    }
    return frozenset(name for name, yes in now_possible.items() if yes and name in can) | (
        frozenset() if run.is_open else frozenset({"delete"})
    )


def _lock(run: Run, what: str, words: str) -> None:
    """Take the run for a change, as it is now. Raises Conflict when it cannot be asked for that."""
    version()  # first: its lock orders the writers
    session().refresh(run, with_for_update=True)
    if what not in allowed(run):
        raise Conflict(words)


def _asked(run: Run, what: str, actor: Actor) -> None:
    record(f"{run.kind}.{what}_requested", actor, subject_of(run))
    touch(run.id)
    forget_counts()


def request_cancel(run: Run, *, actor: Actor) -> None:
    """Ask a run to stop: what waits is cancelled at once, what runs is told. Raises Conflict once it has ended."""
    version()
    session().refresh(run, with_for_update=True)
    if not run.is_open:
        raise Conflict("The run has ended already")
    first = run.request != "cancel"
    run.request = "cancel"
    if first:
        record(f"{run.kind}.cancel_requested", actor, subject_of(run))
    held = run.lease_owner is not None and run.status is not RunStatus.QUEUED
    changed = version()
    for step in steps_of(run.id):
        if step.finished_at is not None:
            continue
        if step.dispatch is Dispatch.WAITING:
            finish_step(step, Ending("cancelled", reason=f"Cancelled by {actor.name} before it was delivered"))
        elif step.dispatch is Dispatch.SENT:
            step.cancel, step.version = True, changed
    session().flush()
    session().refresh(run)
    if run.is_open and not held and _has_work(run):
        finish_run(run, RunStatus.CANCELLED, f"Cancelled by {actor.name}")
    elif run.is_open and held:
        run.reason = f"Cancelled by {actor.name}"
    touch(run.id)
    ring_dispatch()


def _has_work(run: Run) -> bool:
    """Whether a worker carries it out."""
    query = select(func.count()).where(RunStep.run_id == run.id, RunStep.dispatch.is_not(None))
    return not session().scalar(query)


def request_pause(run: Run, *, actor: Actor) -> None:
    """Ask a run to stop before its next step; one that has not begun is paused at once. Raises Conflict."""
    _lock(run, "pause", "Only a run that waits for a worker or is under way can be paused")
    if run.status is RunStatus.QUEUED:
        run.status = RunStatus.PAUSED
    else:
        run.status, run.request = RunStatus.PAUSING, "pause"
    _asked(run, "pause", actor)


def request_resume(run: Run, *, actor: Actor) -> None:
    """Let a paused run go on, or one that has ended badly begin anew at the step that failed: the steps before it are kept.
    Raises Conflict."""
    _lock(run, "resume", "Only a run that is paused, or has ended before its last step, can be resumed")
    if run.is_open and run.lease_owner is not None:  # its worker still holds it
        run.status, run.request = RunStatus.RUNNING, None
    else:
        if not run.is_open:
            _reopen(run)
        run.status, run.request, run.skip = RunStatus.QUEUED, None, False
        ring_work(run.id)
    _asked(run, "resume", actor)


def _reopen(run: Run) -> None:
    redo = [step for step in steps_of(run.id) if step.status is StepStatus.FAILED or step.finished_at is None]
    if not redo:
        raise Conflict("All of its steps are done")
    run.reason = run.finished_at = None
    for step in redo:
        reset_step(step)
    session().flush()
    run.failed = 0


def reset_step(step: RunStep) -> None:
    """Make it a step that has not begun; its output so far stays."""
    if step.started_at is not None:
        step.attempt += 1
    step.status, step.outcome, step.reason, step.result = StepStatus.PENDING, None, None, None
    step.started_at = step.finished_at = step.duration_ms = step.exit_code = None
    step.version = version()


def request_skip(run: Run, *, actor: Actor) -> None:
    """Pass over the next step; of a paused run at once, and it stays paused. Raises Conflict."""
    _lock(run, "skip", "Only a run that is under way or paused has a next step to skip")
    if run.status is RunStatus.PAUSED:
        step = next((step for step in steps_of(run.id) if step.finished_at is None), None)
        if step is None:
            raise Conflict("No step is left")
        finish_step(step, Ending("skipped", reason=f"Skipped by {actor.name}"))
    else:
        run.skip = True
    _asked(run, "skip", actor)


def run_again(run: Run, *, failed_only: bool = False, actor: Actor, **how: Any) -> Run:
    """Another run of the same, or of those of its targets where it failed. Raises Invalid, Conflict."""
    if failed_only and (run.is_open or not run.failed):
        raise Conflict("The run has not ended" if run.is_open else "Nothing of the run has failed")
    return driver_of(run.kind).again(run, failed_only=failed_only, actor=actor, **how)
