"""How commands are carried out: `execute_command` and its `command_result` (docs/connector-protocol.md, "Commands")."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from app.clock import iso
from app.commands.operations import KIND, again
from app.connectors.writer import read
from app.runs.drivers import Driver, Ending, Remote, spec_of
from app.runs.models import Run, RunStep
from app.shapes import Body, ExitCode

OUTCOMES = frozenset({"exited", "timeout", "cancelled", "signal", "failed_to_start", "expired", "refused", "lost"})
Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Data(Body):
    exit_code: ExitCode | None = None
    output: Annotated[str, Field(max_length=5 << 20)] | None = None
    reason: str = "exited"
    last_seq: Count = 0
    dropped_bytes: Count = 0
    duration_ms: Count | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None


class _Result(Body):
    data: _Data


def message(run: Run, step: RunStep, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The `execute_command` of a step; secrets are variables of its environment."""
    spec = spec_of(run)
    made = {"type": "execute_command", "command": spec["command"], "timeout": run.timeout_s, "expires": iso(step.deliver_until)}
    made |= {name: spec[name] for name in ("shell", "cwd") if spec.get(name)}
    return made | ({"env": dict(secrets)} if secrets else {})


def result(_step: RunStep, said: dict[str, Any]) -> Ending:
    """How a `command_result` ends it. Raises Invalid."""
    data = read(_Result, said).data
    outcome = data.reason if data.reason in OUTCOMES else "refused"
    if outcome == "exited" and data.exit_code is None:
        outcome = "lost"
    text = (data.output or "").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return Ending(outcome, data.exit_code, _words(outcome, data), data.duration_ms, (("stdout", text),) if text else (),
                  data.dropped_bytes)  # fmt: skip


def _words(outcome: str, data: _Data) -> str | None:
    if data.message:
        return data.message
    match outcome:
        case "exited":
            return None if data.exit_code == 0 else f"Exit code {data.exit_code}"
        case "timeout":
            return "It took too long and was ended"
        case "cancelled":
            return "Cancelled"
        case "expired":
            return "It was not begun in time"
        case "lost":
            return "The connector was restarted while it ran; how it ended is not known"
        case _:
            return outcome.replace("_", " ").capitalize()


COMMAND = Driver(
    KIND, "Command", again, template="commands/_asked.html",
    remote=Remote("commands", "The connector on this computer does not run commands", message, {"command_result": result}),
)  # fmt: skip
