"""The process's one writer of results: a group commit. When a command goes to hundreds of computers they answer at once, and a
transaction for each would keep the last of them waiting for seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from flask import Flask
from pydantic import Field, ValidationError
from sqlalchemy import select

from app.database import session
from app.errors import DomainError, Malformed
from app.factory import vault_of
from app.group_commit import GroupCommit
from app.runs import drivers, operations
from app.runs.drivers import Ending
from app.runs.models import Dispatch, Run, RunStep
from app.shapes import Body
from app.web.body import field_errors

Id = Annotated[str, Field(min_length=1, max_length=64)]


@dataclass(frozen=True)
class Answer:
    """What a computer said of a step: a message whose type may end it."""

    computer_id: int
    message: dict[str, Any]


@dataclass(frozen=True)
class Settled:
    """What came of an answer: the run, and the type of the message that acknowledges it."""

    run_id: str
    request_id: str
    ack: str


class Named(Body):
    """A message about a step."""

    request_id: Id


class _Error(Named):
    message: Annotated[str, Field(max_length=10_000)] = "The computer reports an error"


def read(model: Any, message: dict[str, Any]) -> Any:
    """A message as a model. Raises Invalid."""
    try:
        return model.model_validate_json(orjson.dumps(message))
    except ValidationError as error:
        raise field_errors(error, "body") from None


def step_of(computer_id: int, request_id: str) -> RunStep:
    """The step of this computer, locked; a connector can answer for no other. Raises Malformed."""
    query = select(RunStep).where(RunStep.uuid == request_id, RunStep.computer_id == computer_id)
    step: RunStep | None = session().scalar(query.with_for_update())
    if step is None:
        raise Malformed(f"request_id names no command of this computer: {request_id}")
    return step


def check_sent(step: RunStep) -> None:
    """Raises Malformed for a step that waits: nobody can say anything about it."""
    if step.dispatch is Dispatch.WAITING:
        raise Malformed(f"request_id names nothing that was sent: {step.uuid}")


def _settle(app: Flask, answer: Answer) -> Settled:
    kind, said = answer.message["type"], read(Named, answer.message)
    step = step_of(answer.computer_id, said.request_id)
    run = session().get(Run, step.run_id)
    remote = drivers.driver_of(run.kind).remote
    reads = remote.results.get(kind) if remote is not None else None
    if remote is None or (reads is None and kind != "error"):
        raise Malformed(f"{kind} is no answer to what {said.request_id} asked")
    check_sent(step)
    ending = reads(step, answer.message) if reads is not None else Ending("error", reason=read(_Error, answer.message).message)
    operations.finish_step(step, ending, vault_of(app))
    return Settled(run.id, step.uuid, remote.ack)


class ResultWriter(GroupCommit[Answer, Settled]):
    """`submit` stores an answer; the first that ends a step counts. Raises Malformed, Invalid, and what GroupCommit raises."""

    def __init__(self, app: Flask) -> None:
        def store(answers: Sequence[Answer]) -> list[Settled | Exception]:
            operations.version()  # before the steps' rows, as everybody does
            found: list[Settled | Exception] = []
            for answer in answers:
                try:
                    found.append(_settle(app, answer))
                except DomainError as error:  # raised before anything of it was written
                    found.append(error)
            return found

        super().__init__(app, "result-writer", store, lambda _answer: 1, power_safe=True)


def writer_of(app: Flask) -> ResultWriter:
    """The process's writer."""
    writer: ResultWriter = app.extensions["binnacle_result_writer"]
    return writer
