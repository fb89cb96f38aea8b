"""What can be done with containers: start, stop and restart them. It is a run, whose steps go to the connectors."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import select

from app.actors import Actor
from app.containers.models import Container
from app.database import session
from app.errors import Invalid
from app.runs import operations as runs
from app.runs.models import Run, RunStep, StepStatus
from app.runs.operations import NewRun, Target

KIND = "container"
DELIVER_AT_ONCE = timedelta(seconds=30)
MARGIN_S = 30  # what an engine may take beyond the time that a container is given
DEFAULT_TIMEOUT_S = 10
MAX_TIMEOUT_S = 3600


class Action(StrEnum):
    """What is done to a container."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"


PAST = {Action.START: "started", Action.STOP: "stopped", Action.RESTART: "restarted"}


def request_action(
    containers: Sequence[Container],
    action: Action,
    *,
    actor: Actor,
    timeout_s: int = DEFAULT_TIMEOUT_S,
    retry_of: str | None = None,
) -> Run:
    """A run that does the same to each of the containers; each gets `timeout_s` seconds to end by itself. It is not kept for a
    computer that is offline: half a minute, then it has failed there. Raises Invalid."""
    if not containers:
        raise Invalid("Select at least one container")
    first = containers[0]
    title = (
        f"{action.capitalize()} {first.name}" if len(containers) == 1 else f"{action.capitalize()} {len(containers):,} containers"
    )
    spec: dict[str, Any] = {"action": action.value, "timeout": timeout_s, "containers": [one.engine_id for one in containers]}
    targets = [Target(one.computer.id, one.computer.uuid, f"{one.computer.name}: {one.name}", one.computer.tenant_id)
               for one in containers]  # fmt: skip
    new = NewRun(KIND, title, spec, timeout_s + MARGIN_S, retry_of=retry_of)
    return runs.create_remote(new, targets, deliver_for=DELIVER_AT_ONCE, actor=actor)


def again(run: Run, *, failed_only: bool, actor: Actor, **_more: Any) -> Run:
    """The same anew, with those of its containers that are still there and that the actor sees. Raises Invalid."""
    spec = orjson.loads(run.spec)
    steps: Any = select(RunStep.position, RunStep.computer_id, RunStep.status).where(RunStep.run_id == run.id)
    rows = [row for row in session().execute(steps.order_by(RunStep.position)) if not failed_only or row[2] is StepStatus.FAILED]
    wanted = [(computer_id, spec["containers"][position]) for position, computer_id, _ in rows]
    query = select(Container).where(Container.engine_id.in_([engine_id for _, engine_id in wanted]))
    known = {(one.computer_id, one.engine_id): one for one in session().scalars(query)}
    found = [known[key] for key in wanted if key in known and actor.sees(known[key].computer.tenant_id)]
    if not found:
        raise Invalid("None of its containers is there any more")
    return request_action(found, Action(spec["action"]), actor=actor, timeout_s=spec["timeout"], retry_of=run.id)


def container_of(run: Run, step: RunStep) -> str:
    """The engine's id of the container that a step is about."""
    return str(orjson.loads(run.spec)["containers"][step.position])
