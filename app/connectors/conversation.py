"""What connectors say about the steps that they were sent: started, output, result. Each is stored before it is acknowledged."""

from typing import Annotated, Any

import orjson
from flask import current_app
from pydantic import Field
from sqlalchemy import select

from app.connectors import registry
from app.connectors.dispatcher import dispatcher_of
from app.connectors.registry import Connection
from app.connectors.writer import Answer, Id, Named, check_sent, read, step_of, writer_of
from app.database import reading, session, unit_of_work
from app.factory import vault_of
from app.runs import drivers, operations, output
from app.runs.drivers import Ending
from app.runs.models import Dispatch, RunStep, StepStatus
from app.runs.output import Piece
from app.shapes import Body


class _Output(Body):
    request_id: Id
    seq: Annotated[int, Field(ge=1, lt=2**31)]
    stream: Annotated[str, Field(pattern="^(stdout|stderr)$")]
    data: Annotated[str, Field(max_length=1 << 20)]


def listen() -> None:
    """Register with the connectors' registry (twice is once)."""
    registry.message_handlers.update(command_started=_on_started, command_output=_on_output)
    for hooks, hook in ((registry.greeted_hooks, _on_hello), (registry.gone_hooks, _on_gone)):
        if hook not in hooks:
            hooks.append(hook)


def handler_of(kind: str) -> Any:
    """What takes messages of this type, None for those that nobody knows."""
    return registry.message_handlers.get(kind) or (on_result if kind in drivers.result_types() else None)


def _say(connection: Connection, **message: Any) -> None:
    connection.send(orjson.dumps(message).decode())


def _sent(connection: Connection, request_id: str) -> RunStep:
    """The step of this computer, locked. Raises Malformed, also for one that it was not sent yet."""
    step = step_of(connection.computer_id, request_id)
    check_sent(step)
    return step


def _on_started(connection: Connection, message: dict[str, Any]) -> None:
    said = read(Named, message)
    with unit_of_work(power_safe=False):
        operations.version()  # before the step's row, as everybody does
        operations.step_started(_sent(connection, said.request_id))


def _on_output(connection: Connection, message: dict[str, Any]) -> None:
    said = read(_Output, message)
    text = said.data.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    with unit_of_work(power_safe=False):
        waits = select(RunStep.status).where(RunStep.uuid == said.request_id)
        if session().scalar(waits) is StepStatus.PENDING:
            operations.version()
        step, vault = _sent(connection, said.request_id), vault_of(current_app)
        operations.step_started(step)
        if step.finished_at is not None and output.masker_of(step.run_id, vault) is not None:
            seq = step.log_seq = max(step.log_seq, said.seq)  # not stored: it may begin with the rest of a secret
        else:
            seq = output.append(step, [Piece(said.seq, said.stream, text)], vault)
    _say(connection, type="output_ack", request_id=said.request_id, seq=seq)


def on_result(connection: Connection, message: dict[str, Any]) -> None:
    """The first answer that ends a step counts; every one is acknowledged, or it would come again."""
    if message["type"] == "error" and "request_id" not in message:
        return  # about no step in particular; the connector's own log has it
    settled = writer_of(current_app).submit(Answer(connection.computer_id, message))
    _say(connection, type=settled.ack, request_id=settled.request_id)
    dispatcher_of(current_app).heard(settled.run_id)


def _on_hello(connection: Connection) -> None:
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
            operations.version()
            step = session().get(RunStep, step_id, with_for_update=True)
            reason = "The connection was lost while it ran"
            operations.finish_step(step, Ending("lost", reason=reason), vault_of(current_app))
            run_id = step.run_id
        dispatcher_of(current_app).heard(run_id)
