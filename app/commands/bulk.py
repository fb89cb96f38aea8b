"""A command on a selection of computers: which command, then whether really, then the run's page."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.commands import bp, operations
from app.commands.forms import CommandForm
from app.errors import Invalid
from app.factory import vault_of
from app.fleet.models import Computer, ComputerStatus
from app.fleet.queries import by_ids
from app.web import access, bulk
from app.web.bulk import BulkAction
from app.web.forms import show_error

bulk.add_action("fleet", BulkAction("Run command", "terminal", "/fleet/bulk/command", Permission.FLEET_COMMAND, 5))


@bp.page("/fleet/bulk/command", permission=Permission.FLEET_COMMAND, methods=("POST",))
def run_on_many() -> Response:
    """Ask which command, ask whether really (over 25 the count is typed), then run it."""
    computers_list = bulk.of("fleet")
    ids = computers_list.selection()
    found = by_ids(ids)
    computers = sorted((found[i] for i in ids if i in found), key=lambda computer: computer.name.lower())
    context = {"fields": computers_list.carry(ids), "targets": computers_list.shown(ids), "total": len(computers),
               "cancel": computers_list.back()}  # fmt: skip
    if not request.form.get("asked"):
        return make_response(_form_page(CommandForm(formdata=None), computers, context))
    form = CommandForm()
    if not form.validate():
        return make_response(_form_page(form, computers, context), 422)
    try:
        secrets = _secrets(form)
    except Invalid as failed:
        show_error(form, failed)
        return make_response(_form_page(form, computers, context), 422)
    error = bulk.count_is_typed(len(computers)) if request.form.get("confirmed") else None
    if not request.form.get("confirmed") or error:
        return _confirm(form, computers, context, error, secrets)
    run = operations.request_command(computers, actor=access.actor(), vault=vault_of(current_app),
                                     **form.arguments() | {"secrets": secrets})  # fmt: skip
    return make_response(redirect(f"/runs/{run.id}/", 303))


def _secrets(form: CommandForm) -> dict[str, str]:
    """Those that were typed, and those that the question has carried. Raises Invalid."""
    carried = request.form.get("carried", "")
    held = operations.carried_secrets(carried, actor=access.actor(), vault=vault_of(current_app)) if carried else {}
    return held | form.typed_secrets


def _offline(computers: Sequence[Computer]) -> int:
    return sum(computer.status is not ComputerStatus.ONLINE for computer in computers)


def _form_page(form: CommandForm, computers: Sequence[Computer], context: dict[str, Any]) -> str:
    return render_template("commands/bulk.html", form=form, offline=_offline(computers), page_title="Run a command", **context)


def _confirm(
    form: CommandForm, computers: Sequence[Computer], context: dict[str, Any], error: str | None, secrets: dict[str, str]
) -> Response:
    total, offline = len(computers), _offline(computers)
    title = f"Run this on {total:,} computers?" if total != 1 else "Run this on 1 computer?"
    impact = "The command runs as soon as it arrives."
    if offline:
        fate = "it waits for them for up to 7 days" if form.queue.data else "there it fails"
        impact += f" {offline:,} of them {'are' if offline != 1 else 'is'} not online now: {fate}."
    fields = context["fields"] | form.fields() | {"asked": "1"}
    if secrets:
        impact += f" Its secrets: {', '.join(sorted(secrets))}."
        fields["carried"] = operations.carry_secrets(secrets, actor=access.actor(), vault=vault_of(current_app))
    shown = context | {"fields": fields}
    return make_response(render_template(
        "confirm.html", title=title, page_title=title, impact=impact, code=form.command.data, action="/fleet/bulk/command",
        verb=f"Run on {total:,} computers" if total != 1 else "Run on 1 computer", error=error,
        type_count=total > bulk.TYPE_COUNT_OVER, **shown,
    ), 422 if error else 200)  # fmt: skip
