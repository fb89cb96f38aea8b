"""How actions on containers are carried out: contract 002's messages and answers (docs/connector-protocol.md, "Containers")."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from app.clock import iso
from app.connectors.writer import read
from app.containers.operations import KIND, again, container_of
from app.database import session
from app.errors import Malformed
from app.runs.drivers import Driver, Ending, Remote, spec_of
from app.runs.models import Run, RunStep
from app.shapes import Body

ANSWERS = {"start": "container_started", "stop": "container_stopped", "restart": "container_restarted"}
FAILURES = frozenset({"timeout", "cancelled", "expired", "refused", "lost", "not_found"})
REFUSES = "The connector on this computer does not handle containers"


class _Data(Body):
    reason: Annotated[str, Field(max_length=64)] | None = None
    duration_ms: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None


class _Answer(Body):
    data: _Data | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None


def message(run: Run, step: RunStep, _secrets: Mapping[str, str]) -> dict[str, Any]:
    """The `start_container`, `stop_container` or `restart_container` of a step."""
    spec = spec_of(run)
    return {"type": f"{spec['action']}_container", "container_id": container_of(run, step), "timeout": spec["timeout"],
            "expires": iso(step.deliver_until)}  # fmt: skip


def done(step: RunStep, said: dict[str, Any]) -> Ending:
    """How the answer to an action ends it. Raises Malformed for the answer to another action."""
    run: Run = session().get(Run, step.run_id)
    if ANSWERS[spec_of(run)["action"]] != said["type"]:
        raise Malformed(f"{said['type']} is no answer to what was asked")
    answer = _read(said)
    return Ending("done", duration_ms=answer.data.duration_ms if answer.data else None)


def failed(_step: RunStep, said: dict[str, Any]) -> Ending:
    """How an `error` ends it."""
    answer = _read(said)
    data = answer.data or _Data()
    outcome = data.reason if data.reason in FAILURES else "error"
    return Ending(outcome, reason=answer.message or data.message or "The computer reports an error", duration_ms=data.duration_ms)


def _read(said: dict[str, Any]) -> _Answer:
    """An original agent's `data` may be anything."""
    return read(_Answer, {**said, "data": said["data"] if isinstance(said.get("data"), dict) else None})  # type: ignore[no-any-return]


CONTAINER = Driver(
    KIND, "Container", again, template="containers/_asked.html", noun="container",
    remote=Remote("containers", REFUSES, message, {**dict.fromkeys(ANSWERS.values(), done), "error": failed}),
)  # fmt: skip
