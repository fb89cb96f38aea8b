"""Contract 002 `POST /api/v1/commands/{server_id}`."""

from typing import Any

from flask import Response, current_app

from app.actors import Permission
from app.commands import bp, operations
from app.commands.driver import COMMAND
from app.commands.schemas import CommandIn, CommandOut
from app.connectors.dispatcher import check_connected, commit_and_wait
from app.database import begin_write, commit
from app.errors import Offline, TimedOut
from app.factory import vault_of
from app.fleet.queries import get_computer
from app.runs import queries
from app.runs.models import Run, RunStatus
from app.web import access
from app.web.routing import json_response

PATIENCE_S = 15.0  # past the command's own timeout


@bp.api(
    "POST",
    "/api/v1/commands/<uuid>",
    permission=Permission.FLEET_COMMAND,
    body=CommandIn,
    returns=CommandOut,
    begins_own_write=True,
)
def run_command(uuid: str, body: CommandIn) -> Response | dict[str, Any]:
    """Run a command on a computer: 503 when it is offline (unless `queue`), 504 when it takes too long."""
    who = access.actor()
    computer = get_computer(uuid, who)
    if not body.queue:
        check_connected(current_app, computer, COMMAND)
    begin_write()
    run = operations.request_command([get_computer(uuid, who)], body.command, actor=who, timeout_s=body.timeout,
                                     shell=body.shell, cwd=body.cwd, queue=body.queue, secrets=body.secrets,
                                     vault=vault_of(current_app))  # fmt: skip
    run_id = run.id
    if not body.wait:
        commit()
        return json_response({"command_id": run_id, "run_id": run_id, "command": body.command, "status": "queued"}, 202)
    return _answer(commit_and_wait(current_app, run_id, body.timeout + PATIENCE_S), body.command)


def _answer(run: Run, command: str) -> dict[str, Any]:
    step = queries.get_step(run.id, 0)
    if run.status is RunStatus.TIMED_OUT:
        raise TimedOut(f"The command was ended after {run.timeout_s} s", details=run.id)
    if step.outcome == "expired":
        raise Offline
    texts = queries.output_of(step)
    return {
        "command_id": run.id, "command": command, "output": texts["output"], "exit_code": step.exit_code,
        "duration_ms": step.duration_ms, "success": run.status is RunStatus.SUCCEEDED, "error": step.reason,
        "stdout": texts["stdout"], "stderr": texts["stderr"], "run_id": run.id, "status": run.status.value,
    }  # fmt: skip
