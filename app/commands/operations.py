"""What can be done with commands: ask for one on computers; and the worker's part in their life."""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import or_, select

from app.actors import Actor
from app.clock import now
from app.database import session, unit_of_work
from app.errors import Invalid, field_error
from app.fleet.models import Computer
from app.fleet.queries import by_ids
from app.runs import operations as runs
from app.runs.models import Dispatch, Run, RunKind, RunStatus, RunStep
from app.runs.operations import Target

SHELLS = ("sh", "bash", "powershell", "pwsh", "cmd")
MAX_COMMAND = 65_536
DELIVER_AT_ONCE = timedelta(seconds=30)
DELIVER_WITHIN = timedelta(days=7)
REPORT_GRACE = timedelta(seconds=60)  # past its timeout, for a connector that is away to come back and report
ADOPT_S = 20.0


def target_of(computer: Computer) -> Target:
    """A computer as the target of a step."""
    return Target(computer.id, computer.uuid, computer.name, computer.tenant_id)


def request_command(
    computers: Iterable[Computer], command: str, *, actor: Actor, timeout_s: int = 30, shell: str | None = None,
    cwd: str | None = None, queue: bool = False, retry_of: str | None = None,
) -> Run:  # fmt: skip
    """A run of a shell line on computers. With `queue` it waits up to a week for those that are offline, else half a minute."""
    if not command.strip():
        raise field_error("command", "Command is required")
    spec: dict[str, Any] = {"command": command, "queue": queue}
    spec |= {name: value for name, value in (("shell", shell), ("cwd", cwd)) if value}
    title = " ".join(command.split())[:200]
    return runs.create_run(RunKind.COMMAND, title, spec, [target_of(c) for c in computers], actor=actor, timeout_s=timeout_s,
                           deliver_for=DELIVER_WITHIN if queue else DELIVER_AT_ONCE, retry_of=retry_of)  # fmt: skip


def again(run: Run, *, failed_only: bool, actor: Actor) -> Run:
    """The same command anew, on those of its computers that are still there and that the actor sees. Raises Invalid."""
    spec = orjson.loads(run.spec)
    wanted = [target.id for target in runs.targets_of(run, failed_only=failed_only)]
    found = by_ids(wanted)
    computers = [found[i] for i in wanted if i in found and actor.sees(found[i].tenant_id)]
    if not computers:
        raise Invalid("None of its computers is there any more")
    return request_command(computers, spec["command"], actor=actor, timeout_s=run.timeout_s, shell=spec.get("shell"),
                           cwd=spec.get("cwd"), queue=bool(spec.get("queue")), retry_of=run.id)  # fmt: skip


class Keeper:
    """The worker's part: it holds the leases of runs whose commands are on their computers, and ends what is overdue."""

    def __init__(self) -> None:
        self.owner = f"worker:{os.getpid()}"

    def keep(self) -> None:
        """Adopt what runs, and put every lease ahead. Work on computers goes on whatever dies here."""
        moment = now()
        with unit_of_work(power_safe=False):
            soon = moment + timedelta(seconds=ADOPT_S)
            mine = or_(Run.lease_owner != self.owner, Run.lease_until < soon)
            query = select(Run.id, Run.lease_owner).where(Run.status == RunStatus.RUNNING, Run.kind == RunKind.COMMAND, mine)
            for run_id, owner in session().execute(query.limit(1000)).all():
                runs.adopt(run_id, self.owner, owner)

    def end_overdue(self) -> None:
        """What could not be delivered in time has failed; what was not reported in time is lost."""
        with unit_of_work():
            for step in runs.overdue_steps(REPORT_GRACE):
                if step.dispatch is Dispatch.WAITING:
                    reason = "The computer was not connected until the delivery deadline"
                    runs.finish_step(step, "expired", None, reason, None)
                else:
                    runs.finish_step(step, "lost", None, "The computer did not report how it ended", None)


def open_steps(computer_id: int) -> list[RunStep]:
    """Steps of a computer that have not ended."""
    query = select(RunStep).where(RunStep.computer_id == computer_id, RunStep.finished_at.is_(None))
    return list(session().scalars(query.order_by(RunStep.id)))
