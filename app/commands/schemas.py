"""JSON shapes of contract 002's commands."""

from typing import Annotated

from pydantic import Field

from app.commands.operations import MAX_COMMAND, MAX_SECRETS, SHELLS
from app.runs.masking import LONGEST
from app.shapes import Answer, Body


class CommandIn(Body):
    """`POST /api/v1/commands/{server_id}`; `timeout` in seconds. With `wait` false the answer is the run's id; with `queue` it
    waits for a computer that is offline, for up to seven days. `secrets` are set in the command's environment by their
    names; they are kept encrypted and masked in everything that it prints."""

    command: Annotated[str, Field(min_length=1, max_length=MAX_COMMAND)]
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 30
    shell: Annotated[str, Field(pattern=f"^({'|'.join(SHELLS)})$")] | None = None
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    wait: bool = True
    queue: bool = False
    secrets: dict[str, Annotated[str, Field(max_length=LONGEST)]] = Field(default_factory=dict, max_length=MAX_SECRETS)


class CommandOut(Answer):
    """What came of it; `output` is both streams as they came, `duration_ms` as the computer measured it."""

    command_id: str
    command: str
    output: str
    exit_code: int | None
    duration_ms: int | None
    success: bool
    error: str | None
    stdout: str
    stderr: str
    run_id: str
    status: str
