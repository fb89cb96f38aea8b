"""What connectors say about commands: started, output, result. Each is stored before it is acknowledged."""

from typing import Annotated, Any

import orjson
from flask import current_app
from pydantic import Field, ValidationError
from sqlalchemy import select

from app.commands.dispatcher import dispatcher_of, runs_commands
from app.connectors import registry
from app.connectors.registry import Connection
from app.database import reading, session, unit_of_work
from app.errors import Malformed
from app.runs import operations
from app.runs.models import Dispatch, RunStep
from app.runs.operations import Piece
from app.shapes import Body
from app.web.body import field_errors

OUTCOMES = frozenset({"exited", "timeout", "cancelled", "signal", "failed_to_start", "expired", "refused", "lost"})
Id = Annotated[str, Field(min_length=1, max_length=64)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Started(Body):
    request_id: Id


class _Output(Body):
    request_id: Id
    seq: Annotated[int, Field(ge=1, lt=2**31)]
    stream: Annotated[str, Field(pattern="^(stdout|stderr)$")]
    data: Annotated[str, Field(max_length=1 << 20)]


class _Data(Body):
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**32)] | None = None
    output: Annotated[str, Field(max_length=5 << 20)] | None = None
    reason: str = "exited"
    last_seq: Count = 0
    dropped_bytes: Count = 0
    duration_ms: Count | None = None
    message: Annotated[str, Field(max_length=10_000)] | None = None


class _Result(Body):
    request_id: Id
    data: _Data


def listen() -> None:
    """Register with the connectors' room (twice is once)."""
    registry.message_handlers.update(command_started=_on_started, command_output=_on_output, command_result=_on_result)
    for hooks, hook in ((registry.greeted_hooks, _on_hello), (registry.gone_hooks, _on_gone)):
        if hook not in hooks:
            hooks.append(hook)


def _read(model: Any, message: dict[str, Any]) -> Any:
    try:
        return model.model_validate_json(orjson.dumps(message))
    except ValidationError as error:
        raise field_errors(error, "body") from None


def _step_of(connection: Connection, request_id: str) -> RunStep:
    """The step of this computer; a connector can answer for no other. Raises Malformed."""
    query = select(RunStep).where(RunStep.uuid == request_id, RunStep.computer_id == connection.computer_id)
    step: RunStep | None = session().scalar(query.with_for_update())
    if step is None:
        raise Malformed(f"request_id names no command of this computer: {request_id}")
    return step


def _say(connection: Connection, **message: Any) -> None:
    connection.send(orjson.dumps(message).decode())


def _on_started(connection: Connection, message: dict[str, Any]) -> None:
    said = _read(_Started, message)
    with unit_of_work(power_safe=False):
        operations.step_started(_step_of(connection, said.request_id))


def _on_output(connection: Connection, message: dict[str, Any]) -> None:
    said = _read(_Output, message)
    with unit_of_work(power_safe=False):
        step = _step_of(connection, said.request_id)
        operations.step_started(step)
        seq = operations.append(step, [Piece(said.seq, said.stream, said.data.replace("\x00", "\N{REPLACEMENT CHARACTER}"))])
    _say(connection, type="output_ack", request_id=said.request_id, seq=seq)


def _on_result(connection: Connection, message: dict[str, Any]) -> None:
    said = _read(_Result, message)
    data = said.data
    outcome = data.reason if data.reason in OUTCOMES else "refused"
    if outcome == "exited" and data.exit_code is None:
        outcome = "lost"
    with unit_of_work():
        step = _step_of(connection, said.request_id)
        if data.output and step.log_seq == 0:  # an original agent, which sends its output at the end
            operations.append(step, [Piece(1, "stdout", data.output.replace("\x00", "\N{REPLACEMENT CHARACTER}"))])
        step.dropped_bytes += data.dropped_bytes
        operations.finish_step(step, outcome, data.exit_code, _words(outcome, data), data.duration_ms)
        run_id = step.run_id
    _say(connection, type="command_ack", request_id=said.request_id)
    dispatcher_of(current_app).heard(run_id)


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


def _on_hello(connection: Connection) -> None:
    if runs_commands(connection):
        dispatcher_of(current_app).resend(connection)


def _on_gone(connection: Connection) -> None:
    """An original agent forgets what it was doing when its connection ends; ours reports when it is back."""
    if connection.greeted:
        return
    query = select(RunStep.id).where(RunStep.computer_id == connection.computer_id, RunStep.dispatch == Dispatch.SENT)
    with reading():
        ids = list(session().scalars(query))
    for step_id in ids:
        with unit_of_work():
            step = session().get(RunStep, step_id, with_for_update=True)
            operations.finish_step(step, "lost", None, "The connection was lost while it ran", None)
            run_id = step.run_id
        dispatcher_of(current_app).heard(run_id)
