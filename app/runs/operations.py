"""What can be done with runs: create, begin, deliver, end. Every change is one transaction of its caller's.

What people ask of a run under way is in `requests.py`, its output in `output.py`, what a worker holds in `leases.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.orm.attributes import set_committed_value

from app.actors import SYSTEM, Actor
from app.clock import now
from app.database import on_commit, per_transaction, session
from app.errors import Invalid
from app.journal.operations import Happening, Subject, record, record_all, tick
from app.runs.drivers import Ending
from app.runs.models import Dispatch, Run, RunStatus, RunStep, StepStatus
from app.runs.output import add_lines, flush, masked, masked_result, seal
from app.runs.queries import forget_counts, number_of
from app.vault import Vault

CLOCK = "runs"
DISPATCH = "dispatch"  # ticks whenever something waits for a computer: what web processes tail
LEASE = timedelta(seconds=30)
_RUN: Any = Run.__table__
_STEP: Any = RunStep.__table__
# Bells: rung after the commit. Nothing depends on their being heard.
dispatch_bells: list[Callable[[], None]] = []  # a step waits for a computer, or one under way shall stop
work_bells: list[Callable[[str], None]] = []  # a run waits for a worker: its id


@dataclass(frozen=True)
class Target:
    """A computer that a step is for."""

    id: int
    uuid: str
    name: str
    tenant_id: str


@dataclass(frozen=True)
class NewStep:
    """A step that a worker executes; `spec` is JSON for its driver."""

    name: str
    target: Target | None = None
    spec: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NewRun:
    """What a run is made of. `spec` goes to the journal (or `said` instead), so it holds no secret; `key`: see `Driver.per_key`.
    Without targets it belongs to `tenant_id`; without that, too, everybody sees it who may read runs."""

    kind: str
    title: str
    spec: Mapping[str, Any]
    timeout_s: int
    secrets: Mapping[str, str] | None = None
    retry_of: str | None = None
    key: str | None = None
    tenant_id: str | None = None
    said: Mapping[str, Any] | None = None


def version() -> int:
    """The version of whatever this transaction changes: one number, since others see all of it at once. Call it before locking
    rows: its lock orders the writers."""
    return per_transaction(CLOCK, lambda: tick(CLOCK))


def subject_of(run: Run) -> Subject:
    """A run as the subject of a journal entry."""
    return Subject("run", run.id, run.title, run.tenant_id)


def create_remote(
    new: NewRun, targets: Sequence[Target], *, deliver_for: timedelta, actor: Actor, vault: Vault | None = None
) -> Run:
    """A run with a step for each computer, waiting to be delivered until `deliver_for` from now. Raises Invalid."""
    if not targets:
        raise Invalid("Select at least one computer")
    until = now() + deliver_for
    run = _create(new, {target.tenant_id for target in targets}, len(targets), actor, vault)
    session().add_all(
        RunStep(run_id=run.id, position=number, name=target.name[:300], computer_id=target.id, computer_uuid=target.uuid,
                tenant_id=target.tenant_id, dispatch=Dispatch.WAITING, deliver_until=until, version=run.version)
        for number, target in enumerate(targets)
    )  # fmt: skip
    session().flush()
    ring_dispatch()
    _requested(run, new, actor, [target.uuid for target in targets])
    return run


def create_work(new: NewRun, steps: Sequence[NewStep], *, actor: Actor, vault: Vault | None = None) -> Run:
    """A run whose steps a worker executes, one after the other. Raises Invalid."""
    if not steps:
        raise Invalid("It has no steps")
    targets = [step.target for step in steps if step.target is not None]
    run = _create(new, {target.tenant_id for target in targets}, len(steps), actor, vault)
    session().add_all(
        RunStep(run_id=run.id, position=number, name=step.name[:300], version=run.version,
                spec=orjson.dumps(dict(step.spec)).decode() if step.spec is not None else None,
                computer_id=step.target.id if step.target else None, computer_uuid=step.target.uuid if step.target else None,
                tenant_id=step.target.tenant_id if step.target else new.tenant_id)
        for number, step in enumerate(steps)
    )  # fmt: skip
    session().flush()
    ring_work(run.id)
    _requested(run, new, actor, sorted({target.uuid for target in targets}))
    return run


def _create(new: NewRun, tenants: set[str], total: int, actor: Actor, vault: Vault | None) -> Run:
    if new.secrets and vault is None:
        raise ValueError("secrets need a vault")
    run_id = str(uuid4())
    tenant = new.tenant_id or (next(iter(tenants)) if len(tenants) == 1 else None)
    run = Run(
        id=run_id, number=number_of(run_id), kind=new.kind, title=new.title[:500], spec=orjson.dumps(dict(new.spec)).decode(),
        secrets=seal(new.secrets, vault) if new.secrets and vault else None, run_key=new.key, actor_id=actor.id,
        actor_name=actor.name[:200], tenant_id=tenant, timeout_s=new.timeout_s, retry_of=new.retry_of, total=total,
        version=version(), created_at=now(),
    )  # fmt: skip
    session().add(run)
    session().flush()
    return run


def _requested(run: Run, new: NewRun, actor: Actor, targets: Sequence[str]) -> None:
    said = dict(new.spec if new.said is None else new.said) | ({"secrets": sorted(new.secrets)} if new.secrets else {})
    said |= {"targets": list(targets[:100]), "total": run.total}
    record_all([Happening(f"{run.kind}.requested", actor, subject_of(run), said)])
    forget_counts()


def ring_dispatch() -> None:
    """Let the dispatchers look: those of other processes by the clock, the one of this process after the commit."""
    tick(DISPATCH)
    on_commit(lambda: [bell() for bell in dispatch_bells])


def ring_work(run_id: str) -> None:
    """Let a worker look after the commit; unheard, it looks by itself within a second."""
    on_commit(lambda: [bell(run_id) for bell in work_bells])


def begin(run_id: str, owner: str) -> bool:
    """Take a queued run: one conditional update; whether it was this caller's."""
    moment = now()
    values = {"status": RunStatus.RUNNING, "started_at": moment, "lease_owner": owner, "lease_until": moment + LEASE,
              "version": version()}  # fmt: skip
    statement = update(_RUN).where(_RUN.c.id == run_id, _RUN.c.status == RunStatus.QUEUED)
    taken = session().execute(statement.values(values)).rowcount == 1
    forget_counts()
    return bool(taken)


def claim_step(step_id: int) -> bool:
    """Take a step that waits for its computer; whether it was this caller's to send."""
    values = {"dispatch": Dispatch.SENT, "sent_at": now(), "version": version()}
    statement = update(_STEP).where(_STEP.c.id == step_id, _STEP.c.dispatch == Dispatch.WAITING, _STEP.c.finished_at.is_(None))
    return bool(session().execute(statement.values(values)).rowcount == 1)


def step_started(step: RunStep) -> None:
    """It has begun."""
    if step.status is StepStatus.PENDING:
        step.version = version()
        step.status, step.started_at = StepStatus.RUNNING, now()
        touch(step.run_id)


def finish_step(step: RunStep, ending: Ending, vault: Vault | None = None) -> bool:
    """Record what became of a step, once; whether this was the first word. With the last step of a run that was sent to computers
    the run ends, too. Raises VaultError when the run has secrets that cannot be read and it printed something."""
    status = StepStatus.SKIPPED if ending.outcome == "skipped" else StepStatus.SUCCEEDED if ending.is_good else StepStatus.FAILED
    reason, result = ending.reason, ending.result
    if vault is not None:
        reason, result = masked(step.run_id, reason, vault), masked_result(step.run_id, result, vault)
    values = {"status": status, "outcome": ending.outcome, "exit_code": ending.exit_code,
              "reason": reason[:500] if reason else None, "finished_at": now(),
              "result": orjson.dumps(dict(result)).decode() if result is not None else None,
              "dispatch": Dispatch.DONE if step.dispatch else None, "started_at": step.started_at or step.sent_at,
              "duration_ms": ending.duration_ms, "version": version()}  # fmt: skip
    session().flush()
    first = update(_STEP).where(_STEP.c.id == step.id, _STEP.c.finished_at.is_(None)).values(values)
    if session().execute(first).rowcount != 1:
        return False
    for name, value in values.items():
        set_committed_value(step, name, value)
    if step.log_seq == 0:
        for stream, text in ending.output:
            add_lines(step, stream, text, vault)
    step.dropped_bytes += ending.dropped_bytes
    flush(step, vault)
    _count_step(step, status is StepStatus.FAILED and ending.then != "go_on")
    return True


def _count_step(step: RunStep, counts_as_failed: bool) -> None:
    """Count a finished step; a run of dispatched steps ends with the last one of them, any other when its worker says so."""
    column = _RUN.c.failed if counts_as_failed else _RUN.c.succeeded
    session().execute(update(_RUN).where(_RUN.c.id == step.run_id).values({column: column + 1, _RUN.c.version: version()}))
    run: Run | None = session().get(Run, step.run_id, populate_existing=True)
    if run is not None and run.is_open and step.dispatch is not None and run.succeeded + run.failed >= run.total:
        finish_run(run)


def finish_run(run: Run, status: RunStatus | None = None, reason: str | None = None) -> None:
    """End a run by what its steps came to, or as told."""
    if status is None:
        status, reason = _verdict(run)
    run.status, run.reason, run.finished_at = status, reason[:500] if reason else None, now()
    run.lease_owner = run.lease_until = None
    run.skip = False
    run.version = version()
    said = {"status": run.status.value, "succeeded": run.succeeded, "failed": run.failed}
    record(f"{run.kind}.finished", SYSTEM, subject_of(run), **said)
    forget_counts()
    if run.run_key is not None:
        ring_work(run.id)  # another of its key may begin


def _verdict(run: Run) -> tuple[RunStatus, str | None]:
    rows = session().execute(select(RunStep.outcome, RunStep.exit_code).where(RunStep.run_id == run.id).distinct())
    outcomes: set[str] = {"done" if outcome == "exited" and code == 0 else outcome for outcome, code in rows} - {"skipped"}
    said = session().scalar(
        select(RunStep.reason)
        .where(RunStep.run_id == run.id, RunStep.status == StepStatus.FAILED)
        .order_by(RunStep.position)
        .limit(1)
    )
    reason = f"{run.failed} of {run.total} failed" if run.total > 1 and run.failed else said
    if run.failed == 0:
        return RunStatus.SUCCEEDED, None
    if run.request == "cancel" and outcomes <= {"cancelled", "done", "exited"} and "cancelled" in outcomes:
        return RunStatus.CANCELLED, _cancelled(run) if run.total > 1 else said
    for outcome, status in (("timeout", RunStatus.TIMED_OUT), ("lost", RunStatus.LOST)):
        if outcomes == {outcome}:
            return status, reason
    return RunStatus.FAILED, reason


def _cancelled(run: Run) -> str:
    query = select(func.count()).where(RunStep.run_id == run.id, RunStep.outcome == "cancelled")
    count = int(session().scalar(query) or 0)
    return f"{count} of {run.total} cancelled" + (f", {run.failed - count} failed" if run.failed > count else "")


def touch(run_id: str) -> None:
    """Let live tables see the run anew."""
    session().execute(update(_RUN).where(_RUN.c.id == run_id).values(version=version()))


def targets_of(run: Run, *, failed_only: bool) -> list[Target]:
    """The computers of a run that are still there, for another run."""
    query = select(RunStep).where(RunStep.run_id == run.id).order_by(RunStep.position)
    steps = [s for s in session().scalars(query) if not failed_only or s.status is StepStatus.FAILED]
    return [Target(s.computer_id, s.computer_uuid, s.name, s.tenant_id) for s in steps
            if s.computer_id is not None and s.computer_uuid and s.tenant_id]  # fmt: skip
