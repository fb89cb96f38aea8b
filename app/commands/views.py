"""The console of a computer: a command, its output as it comes, and the commands before it."""

from typing import Any

import orjson
from flask import Response, current_app, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.commands import bp, operations
from app.commands.driver import COMMAND
from app.commands.forms import CommandForm
from app.commands.live import CONSOLE
from app.connectors.dispatcher import obstacle
from app.errors import DomainError, NotFound
from app.factory import vault_of
from app.fleet.models import Computer
from app.fleet.queries import get_computer
from app.runs import queries, shown
from app.runs.models import Run
from app.runs.output import secret_names
from app.web import access, live, pages
from app.web.forms import show_error

pages.add_tabs("/fleet/", pages.Tab("console", "Console", 20))


@bp.page("/fleet/<uuid>/console", permission=Permission.FLEET_READ)
def console(uuid: str) -> Response:
    """The console; `run` names the one whose output is shown, `again` one that fills the form."""
    computer = get_computer(uuid, access.actor())
    run = _run_on(computer, request.args.get("run", ""))
    return make_response(_page(computer, run, _form(_run_on(computer, request.args.get("again", "")), run)))


@bp.page("/fleet/<uuid>/console/past", permission=Permission.FLEET_READ)
def past(uuid: str) -> Response:
    """The rows of its earlier commands, for a table that missed a change."""
    rows, rev = _past(get_computer(uuid, access.actor()))
    response = make_response(rows)
    response.headers["X-Rev"] = str(rev)
    return response


@bp.page("/fleet/<uuid>/console", permission=Permission.FLEET_COMMAND, methods=("POST",))
def run_on_one(uuid: str) -> Response:
    """Run a command; 503 when the computer cannot be reached and nobody wants to wait for it."""
    computer, form, status = get_computer(uuid, access.actor()), CommandForm(), 422
    if form.validate():
        why = None if form.queue.data else obstacle(current_app, computer, COMMAND)
        if why is None:
            try:
                vault = vault_of(current_app)
                run = operations.request_command([computer], actor=access.actor(), vault=vault, **form.arguments())
            except DomainError as error:
                show_error(form, error)
                computer = get_computer(uuid, access.actor())
            else:
                return make_response(redirect(f"/fleet/{computer.uuid}/console?run={run.id}", 303))
        else:
            form.form_errors.append(f"{why}. Nothing was sent.")
            status = 503
    return make_response(_page(computer, None, form), status)


def _run_on(computer: Computer, run_id: str) -> Run | None:
    if not run_id:
        return None
    run = queries.get_run(run_id, access.actor())
    if all(step.computer_uuid != computer.uuid for step in queries.steps_of(run.id)):
        raise NotFound("Run not found")
    return run


def _form(again: Run | None, before: Run | None) -> CommandForm:
    """A form filled from a run: with its command and the names of its secrets, or only with how the last one was run."""
    source = again or before
    if source is None:
        return CommandForm()
    spec = orjson.loads(source.spec)
    named = [{"name": name} for name in secret_names(again, vault_of(current_app))] if again else []
    return CommandForm(command=spec["command"] if again else "", shell=spec.get("shell", ""), timeout=source.timeout_s,
                       cwd=spec.get("cwd", ""), queue=bool(spec.get("queue")), secrets=named)  # fmt: skip


def _past(computer: Computer) -> tuple[Markup, int]:
    state = live.snapshot(CONSOLE, f"id={computer.uuid}", access.actor().tenant_ids)
    html = live.rows(CONSOLE, state.keys)
    return Markup("".join([html[key[0]] for key in state.keys if key[0] in html])), state.rev  # noqa: S704 (each is Markup)


def _page(computer: Computer, run: Run | None, form: CommandForm) -> str:
    who, base = access.actor(), f"/fleet/{computer.uuid}/"
    rows, rev = _past(computer)
    return render_template(
        "commands/console.html", form=form, why=obstacle(current_app, computer, COMMAND), past=rows, past_rev=rev,
        may_command=who.is_person and who.can(Permission.FLEET_COMMAND), **_shown(computer, run),
        **pages.object_frame(computer, ("computer", f"id={computer.uuid}"), base, "console", f"{computer.name} console"),
    )  # fmt: skip


def _shown(computer: Computer, run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"run": None}
    step = next(step for step in queries.steps_of(run.id) if step.computer_uuid == computer.uuid)
    return {"run": run, "spec": orjson.loads(run.spec), **shown.viewer(run, step, access.actor().tenant_ids)}
