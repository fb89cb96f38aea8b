"""Who holds a run: claims with one conditional update, leases with a heartbeat, and what is done when a lease has run out."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update

from app.clock import now
from app.database import reading, session, unit_of_work
from app.runs import drivers
from app.runs.drivers import Ending
from app.runs.models import Dispatch, Run, RunStatus, RunStep
from app.runs.operations import LEASE, begin, finish_run, finish_step, ring_dispatch, version
from app.runs.queries import forget_counts
from app.vault import Vault

ADOPT_S = 20.0
REPORT_GRACE = timedelta(seconds=60)  # past its timeout, for a connector that is away to come back and report
LOOK_AT = 50
HELD = (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED)
_RUN: Any = Run.__table__


def claim(owner: str, kinds: Sequence[str]) -> str | None:
    """Take the oldest run that waits for a worker and whose key is free; its id. Two workers never take the same one, nor more of
    a key than its driver allows: the change clock's lock lets one of them look at a time."""
    if not kinds:
        return None
    version()
    held = _RUN.alias("held")
    busy = select(func.count()).where(
        held.c.kind == _RUN.c.kind, held.c.run_key == _RUN.c.run_key, held.c.lease_owner.is_not(None)
    )
    for run_id in session().scalars(_waiting(kinds, busy)).all():
        if begin_again(run_id, owner):
            return str(run_id)
    return None


def _waiting(kinds: Sequence[str], busy: Any) -> Any:
    free = [_RUN.c.run_key.is_(None)]
    for kind in kinds:
        free.append((_RUN.c.kind == kind) & (busy.scalar_subquery() < drivers.driver_of(kind).per_key))
    query = select(_RUN.c.id).where(_RUN.c.status == RunStatus.QUEUED, _RUN.c.kind.in_(kinds), or_(*free))
    works = select(RunStep.id).where(RunStep.run_id == _RUN.c.id, RunStep.dispatch.is_not(None))
    return query.where(~works.exists()).order_by(_RUN.c.created_at, _RUN.c.id).limit(LOOK_AT)


def begin_again(run_id: str, owner: str) -> bool:
    """Take a queued run, perhaps one that has begun before: it keeps the time of its first beginning."""
    started = session().scalar(select(Run.started_at).where(Run.id == run_id))
    taken = begin(run_id, owner)
    if taken and started is not None:
        session().execute(update(_RUN).where(_RUN.c.id == run_id).values(started_at=started))
    return taken


def keep(owner: str, runs: Iterable[str]) -> set[str]:
    """Put the ends of leases ahead again; returns those of the runs that are still the owner's."""
    ids = list(runs)
    if not ids:
        return set()
    version()  # its lock orders those who change several runs at once
    statement = update(_RUN).where(_RUN.c.id.in_(ids), _RUN.c.lease_owner == owner, _RUN.c.finished_at.is_(None))
    return set(session().scalars(statement.values(lease_until=now() + LEASE).returning(_RUN.c.id)))


def adopt(run_id: str, owner: str, before: str | None) -> bool:
    """Take over a running run from another owner, for work that lives elsewhere (on the computers)."""
    statement = update(_RUN).where(_RUN.c.id == run_id, _RUN.c.finished_at.is_(None))
    statement = statement.where(_RUN.c.lease_owner == before if before is not None else _RUN.c.lease_owner.is_(None))
    return bool(session().execute(statement.values(lease_owner=owner, lease_until=now() + LEASE)).rowcount == 1)


def next_look() -> datetime | None:
    """When leases and deadlines are to be looked at again: at once as long as any run is open."""
    found: datetime | None = session().scalar(select(Run.created_at).where(Run.finished_at.is_(None)).limit(1))
    return found


class Keeper:
    """The worker's part in runs whose steps are on computers, and in runs whose worker has died."""

    def __init__(self, owner: str, vault: Vault) -> None:
        self.owner, self._vault = owner, vault

    def keep(self) -> None:
        """Adopt what runs on computers, and put every lease ahead. Work on computers goes on whatever dies here."""
        soon = now() + timedelta(seconds=ADOPT_S)
        with reading():
            mine = or_(Run.lease_owner.is_(None), Run.lease_owner.like("web:%"), Run.lease_until < soon)
            sent = select(RunStep.id).where(RunStep.run_id == Run.id, RunStep.dispatch.is_not(None))
            query = select(Run.id, Run.lease_owner).where(Run.status == RunStatus.RUNNING, sent.exists(), mine)
            found = session().execute(query.limit(1000)).all()
        if found:
            with unit_of_work(power_safe=False):
                version()  # its lock orders those who change several runs at once
                for run_id, owner in found:
                    adopt(run_id, self.owner, owner)

    def end_overdue(self) -> None:
        """What could not be delivered in time has failed; what was not reported in time is lost."""
        if not (found := self._overdue()):
            return
        with unit_of_work():
            version()
            for step_id in found:
                step = session().get(RunStep, step_id, with_for_update=True)
                if step is None or step.finished_at is not None:
                    continue
                if step.dispatch is Dispatch.WAITING:
                    reason = "The computer was not connected until the delivery deadline"
                    finish_step(step, Ending("expired", reason=reason), self._vault)
                else:
                    finish_step(step, Ending("lost", reason="The computer did not report how it ended"), self._vault)
            ring_dispatch()

    def _overdue(self) -> list[int]:
        with reading():
            return [step.id for step in overdue_steps(REPORT_GRACE)]

    def sweep(self) -> int:
        """End runs whose worker has died (RELIABILITY 25): they are lost, their finished steps are kept, nothing is run again."""
        moment = now()
        with reading():
            sent = select(RunStep.id).where(RunStep.run_id == Run.id, RunStep.dispatch.is_not(None))
            query = select(Run.id).where(Run.status.in_(HELD), Run.lease_owner.is_not(None), Run.lease_until < moment)
            dead = list(session().scalars(query.where(~sent.exists()).limit(200)))
        return sum(self._bury(run_id) for run_id in dead)

    def _bury(self, run_id: str) -> bool:
        with unit_of_work():
            version()
            run = session().get(Run, run_id, with_for_update=True)
            if run is None or not run.is_open or run.lease_owner is None or run.lease_until is None or run.lease_until >= now():
                return False
            lose(run, f"The worker that ran it ended or could not reach the database ({run.lease_owner})", self._vault)
            return True


def anything_waits(kinds: Sequence[str]) -> bool:
    """Whether a run of these kinds waits for a worker."""
    query = select(Run.id).where(Run.status == RunStatus.QUEUED, Run.kind.in_(kinds)).limit(1)
    return session().scalar(query) is not None


def lose(run: Run, reason: str, vault: Vault) -> None:
    """End a run whose worker is gone: the step under way is lost, those behind it stay undone."""
    why = "Its worker was gone before it was done; whether it did its work is not known"
    end_under_way(run, Ending("lost", reason=why), vault)
    finish_run(run, RunStatus.LOST, reason)
    forget_counts()


def end_under_way(run: Run, ending: Ending, vault: Vault) -> None:
    """End the step that has begun and not ended."""
    query = select(RunStep).where(RunStep.run_id == run.id, RunStep.started_at.is_not(None))
    query = query.where(RunStep.finished_at.is_(None))
    for step in list(session().scalars(query)):
        finish_step(step, ending, vault)
    session().flush()
    session().refresh(run)


def overdue_steps(grace: timedelta, limit: int = 200) -> list[RunStep]:
    """Steps whose delivery deadline has passed, or which their computer has not reported on in time."""
    moment = now()
    waiting = select(RunStep).where(RunStep.dispatch == Dispatch.WAITING, RunStep.deliver_until < moment)
    found = list(session().scalars(waiting.limit(limit)))
    sent = select(RunStep, Run.timeout_s).join(Run, Run.id == RunStep.run_id).where(RunStep.dispatch == Dispatch.SENT)
    for step, timeout in session().execute(sent.order_by(RunStep.sent_at).limit(limit)):
        since = step.started_at or step.sent_at
        if since is not None and since + timedelta(seconds=timeout) + grace < moment:
            found.append(step)
    return found
