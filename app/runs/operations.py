"""What can be done with runs: create, deliver, log, end, cancel, retry. Every change is one transaction of its caller's."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import func, select, update

from app.actors import SYSTEM, Actor
from app.bulk_sql import BulkInsert
from app.clock import now
from app.database import session
from app.errors import Conflict, Invalid
from app.journal.operations import Subject, record, tick
from app.runs.models import Dispatch, Run, RunKind, RunLog, RunStatus, RunStep, StepStatus
from app.runs.queries import forget_counts, number_of, steps_of

CLOCK = "runs"
DISPATCH = "dispatch"  # ticks whenever something waits for a computer: what web processes tail
LEASE = timedelta(seconds=30)
MAX_LOG_BYTES = 50 << 20  # a step; more is counted and dropped
_RUN: Any = Run.__table__
_STEP: Any = RunStep.__table__
_insert_log = BulkInsert(RunLog.__table__, ("run_id", "step_id", "seq", "at", "stream", "text"))


@dataclass(frozen=True)
class Target:
    """A computer that a step is for."""

    id: int
    uuid: str
    name: str
    tenant_id: str


@dataclass(frozen=True)
class Piece:
    """A piece of output; `seq` counts per step from 1."""

    seq: int
    stream: str
    text: str


@dataclass(frozen=True)
class Driver:
    """What a kind of run tells this room: `again` makes a run like another (or of its failed targets only), and raises Invalid
    when none of its computers is left; `wake` lets this process see at once that something waits."""

    again: Callable[..., Run]
    wake: Callable[[], None]


drivers: dict[RunKind, Driver] = {}


def run_again(run: Run, *, failed_only: bool = False, actor: Actor) -> Run:
    """Another run of the same, on the computers that are still there and that the actor sees. Raises Invalid, Conflict."""
    if failed_only and (run.is_open or not run.failed):
        raise Conflict("The run has not ended" if run.is_open else "Nothing of the run has failed")
    driver = drivers[run.kind]
    made = driver.again(run, failed_only=failed_only, actor=actor)
    driver.wake()
    return made


def subject_of(run: Run) -> Subject:
    """A run as the subject of a journal entry."""
    return Subject("run", run.id, run.title, run.tenant_id)


def create_run(
    kind: RunKind,
    title: str,
    spec: dict[str, Any],
    targets: Sequence[Target],
    *,
    actor: Actor,
    timeout_s: int,
    deliver_for: timedelta,
    retry_of: str | None = None,
) -> Run:
    """A run with a step for each computer, waiting to be delivered until `deliver_for` from now."""
    if not targets:
        raise Invalid("Select at least one computer")
    moment = now()
    tenants = {target.tenant_id for target in targets}
    run_id = str(uuid4())
    run = Run(id=run_id, number=number_of(run_id), kind=kind, title=title[:500], spec=orjson.dumps(spec).decode(),
              actor_id=actor.id, actor_name=actor.name[:200], tenant_id=tenants.pop() if len(tenants) == 1 else None,
              timeout_s=timeout_s, retry_of=retry_of, total=len(targets), version=tick(CLOCK), created_at=moment)  # fmt: skip
    session().add(run)
    session().flush()
    session().add_all(
        RunStep(run_id=run.id, position=number, name=target.name[:300], computer_id=target.id, computer_uuid=target.uuid,
                tenant_id=target.tenant_id, dispatch=Dispatch.WAITING, deliver_until=moment + deliver_for, version=run.version)
        for number, target in enumerate(targets)
    )  # fmt: skip
    session().flush()
    tick(DISPATCH)
    record(f"{kind.value}.requested", actor, subject_of(run), targets=[t.uuid for t in targets[:100]], total=len(targets), **spec)
    forget_counts()
    return run


def begin(run_id: str, owner: str) -> bool:
    """Take a queued run: one conditional update; whether it was this caller's."""
    moment = now()
    statement = update(_RUN).where(_RUN.c.id == run_id, _RUN.c.status == RunStatus.QUEUED)
    values = {"status": RunStatus.RUNNING, "started_at": moment, "lease_owner": owner, "lease_until": moment + LEASE,
              "version": tick(CLOCK)}  # fmt: skip
    taken = session().execute(statement.values(values)).rowcount == 1
    forget_counts()
    return bool(taken)


def keep_leases(owner: str, runs: Iterable[str]) -> int:
    """Put the ends of leases ahead again; returns how many of the runs are still the owner's."""
    ids = list(runs)
    if not ids:
        return 0
    statement = update(_RUN).where(_RUN.c.id.in_(ids), _RUN.c.lease_owner == owner, _RUN.c.finished_at.is_(None))
    return int(session().execute(statement.values(lease_until=now() + LEASE)).rowcount)


def adopt(run_id: str, owner: str, before: str | None) -> bool:
    """Take over a running run from another owner, for drivers whose work lives elsewhere (on the computers)."""
    statement = update(_RUN).where(_RUN.c.id == run_id, _RUN.c.lease_owner == before, _RUN.c.finished_at.is_(None))
    return bool(session().execute(statement.values(lease_owner=owner, lease_until=now() + LEASE)).rowcount == 1)


def claim_step(step_id: int) -> bool:
    """Take a step that waits for its computer; whether it was this caller's to send."""
    statement = update(_STEP).where(_STEP.c.id == step_id, _STEP.c.dispatch == Dispatch.WAITING, _STEP.c.finished_at.is_(None))
    values = {"dispatch": Dispatch.SENT, "sent_at": now(), "version": tick(CLOCK)}
    return bool(session().execute(statement.values(values)).rowcount == 1)


def step_started(step: RunStep) -> None:
    """The computer has begun it."""
    if step.status is StepStatus.PENDING:
        step.version = tick(CLOCK)
        step.status, step.started_at = StepStatus.RUNNING, now()
        touch(step.run_id)


def append(step: RunStep, pieces: Iterable[Piece]) -> int:
    """Store output that follows on from what is there; pieces that are known are left out. Returns the highest seq now.

    Past MAX_LOG_BYTES output is counted and dropped, which a last piece of the stream `system` says.
    """
    rows, moment = [], now()
    for piece in sorted(pieces, key=lambda piece: piece.seq):
        if piece.seq <= step.log_seq:
            continue
        size = len(piece.text.encode())
        if step.log_bytes + size > MAX_LOG_BYTES:
            if not step.dropped_bytes:
                rows.append((step.run_id, step.id, piece.seq, moment, "system", "… the output went on; the rest was not kept\n"))
            step.dropped_bytes += size
        else:
            rows.append((step.run_id, step.id, piece.seq, moment, piece.stream, piece.text))
        step.log_seq, step.log_bytes = piece.seq, step.log_bytes + size
    _insert_log(session().connection(), rows)
    return step.log_seq


def finish_step(step: RunStep, outcome: str, exit_code: int | None, reason: str | None, duration_ms: int | None) -> bool:
    """Record what became of a step, once; whether this was the first word. `outcome` is the connector's (exited, timeout, …)."""
    good = outcome == "exited" and exit_code == 0
    status = StepStatus.SUCCEEDED if good else StepStatus.SKIPPED if outcome == "skipped" else StepStatus.FAILED
    values = {"status": status, "outcome": outcome, "exit_code": exit_code, "reason": reason[:500] if reason else None,
              "finished_at": now(), "duration_ms": duration_ms, "dispatch": Dispatch.DONE,
              "started_at": step.started_at or step.sent_at, "version": tick(CLOCK)}  # fmt: skip
    session().flush()
    first = update(_STEP).where(_STEP.c.id == step.id, _STEP.c.finished_at.is_(None)).values(values)
    if session().execute(first).rowcount != 1:
        return False
    session().refresh(step)
    _count_step(step.run_id, good)
    return True


def _count_step(run_id: str, good: bool) -> None:
    """Count a finished step and, when it was the last, end the run: one conditional update."""
    column = _RUN.c.succeeded if good else _RUN.c.failed
    session().execute(update(_RUN).where(_RUN.c.id == run_id).values({column: column + 1, _RUN.c.version: tick(CLOCK)}))
    run: Run | None = session().get(Run, run_id, populate_existing=True)
    if run is not None and run.is_open and run.succeeded + run.failed >= run.total:
        finish_run(run)


def finish_run(run: Run, status: RunStatus | None = None, reason: str | None = None) -> None:
    """End a run by what its steps came to, or as told."""
    if status is None:
        status, reason = _verdict(run)
    run.status, run.reason, run.finished_at = status, reason[:500] if reason else None, now()
    run.lease_owner = run.lease_until = None
    run.version = tick(CLOCK)
    said = {"status": run.status.value, "succeeded": run.succeeded, "failed": run.failed}
    record(f"{run.kind.value}.finished", SYSTEM, subject_of(run), **said)
    forget_counts()


def _verdict(run: Run) -> tuple[RunStatus, str | None]:
    outcomes: set[str] = set(session().scalars(select(RunStep.outcome).where(RunStep.run_id == run.id).distinct()))
    said = session().scalar(
        select(RunStep.reason).where(RunStep.run_id == run.id, RunStep.reason.is_not(None)).order_by(RunStep.position).limit(1)
    )
    reason = f"{run.failed} of {run.total} failed" if run.total > 1 else said
    if run.failed == 0 and outcomes <= {"exited"}:
        return RunStatus.SUCCEEDED, None
    if run.request == "cancel" and outcomes <= {"cancelled", "exited", "skipped"} and "cancelled" in outcomes:
        return RunStatus.CANCELLED, reason
    for outcome, status in (("timeout", RunStatus.TIMED_OUT), ("lost", RunStatus.LOST)):
        if outcomes == {outcome}:
            return status, reason
    return RunStatus.FAILED, reason


def touch(run_id: str) -> None:
    """Let live tables see the run anew."""
    session().execute(update(_RUN).where(_RUN.c.id == run_id).values(version=tick(CLOCK)))


def request_cancel(run: Run, *, actor: Actor) -> None:
    """Ask a run to stop: what waits is cancelled at once, what runs on a computer is told. Raises Conflict once it ended."""
    if not run.is_open:
        raise Conflict("The run has ended already")
    version = tick(CLOCK)
    run.request = "cancel"
    record(f"{run.kind.value}.cancel_requested", actor, subject_of(run))
    for step in steps_of(run.id):
        if step.finished_at is None and step.dispatch is Dispatch.WAITING:
            finish_step(step, "cancelled", None, f"Cancelled by {actor.name} before it was delivered", None)
        elif step.finished_at is None:
            step.cancel, step.version = True, version
    touch(run.id)
    tick(DISPATCH)


def targets_of(run: Run, *, failed_only: bool) -> list[Target]:
    """The computers of a run that are still there, for another run."""
    steps = [s for s in steps_of(run.id) if not failed_only or s.status is StepStatus.FAILED]
    return [Target(s.computer_id, s.computer_uuid, s.name, s.tenant_id) for s in steps
            if s.computer_id is not None and s.computer_uuid and s.tenant_id]  # fmt: skip


def overdue_steps(grace: timedelta, limit: int = 200) -> list[RunStep]:
    """Steps whose delivery deadline has passed, or which their computer has not reported on in time."""
    moment = now()
    waiting = select(RunStep).where(RunStep.dispatch == Dispatch.WAITING, RunStep.deliver_until < moment)
    found = list(session().scalars(waiting.limit(limit)))
    sent = select(RunStep, Run.timeout_s).join(Run, Run.id == RunStep.run_id).where(RunStep.dispatch == Dispatch.SENT)
    for step, timeout in session().execute(sent.order_by(RunStep.sent_at).limit(limit)):
        if _since(step) + timedelta(seconds=timeout) + grace < moment:
            found.append(step)
    return found


def _since(step: RunStep) -> datetime:
    since = step.started_at or step.sent_at
    assert since is not None
    return since


def running_count(computer_id: int) -> int:
    """How many steps are with a computer now."""
    query = select(func.count()).where(RunStep.computer_id == computer_id, RunStep.dispatch == Dispatch.SENT)
    return int(session().scalar(query) or 0)
