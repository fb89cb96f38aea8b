"""Buttons of a run's page: what is asked of a run, and its deletion behind a question."""

from flask import Response, current_app, make_response, redirect, render_template, request

from app.actors import Permission
from app.factory import settings_of, vault_of
from app.runs import artefacts, bp, drivers, queries, requests
from app.runs.models import Run
from app.runs.retention import delete_runs
from app.web import access, pages


def _back(run: Run) -> Response:
    return make_response(redirect(pages.local_target(request.form.get("next") or f"/runs/{run.id}/"), 303))


@bp.page("/runs/<run_id>/cancel", permission=Permission.FLEET_COMMAND, methods=("POST",))
def cancel(run_id: str) -> Response:
    """Cancel it; back to where the person was."""
    found = queries.get_run(run_id, access.actor())
    requests.request_cancel(found, actor=access.actor())
    pages.toast("Cancelled" if not found.is_open else "Cancelling: what runs is told to stop")
    return _back(found)


@bp.page("/runs/<run_id>/pause", permission=Permission.FLEET_COMMAND, methods=("POST",))
def pause(run_id: str) -> Response:
    """Pause it before its next step."""
    found = queries.get_run(run_id, access.actor())
    requests.request_pause(found, actor=access.actor())
    pages.toast("Paused" if found.lease_owner is None else "Pausing: the step under way is finished first")
    return _back(found)


@bp.page("/runs/<run_id>/resume", permission=Permission.FLEET_COMMAND, methods=("POST",))
def resume(run_id: str) -> Response:
    """Let it go on, or begin anew at the step that failed."""
    found = queries.get_run(run_id, access.actor())
    requests.request_resume(found, actor=access.actor())
    pages.toast("It goes on")
    return _back(found)


@bp.page("/runs/<run_id>/skip", permission=Permission.FLEET_COMMAND, methods=("POST",))
def skip(run_id: str) -> Response:
    """Pass over its next step."""
    found = queries.get_run(run_id, access.actor())
    requests.request_skip(found, actor=access.actor())
    pages.toast("The next step is skipped")
    return _back(found)


@bp.page("/runs/<run_id>/again", permission=Permission.FLEET_COMMAND, methods=("POST",))
def again(run_id: str) -> Response:
    """The same again on all of its targets, or with `failed` on those where it failed."""
    found = queries.get_run(run_id, access.actor())
    failed_only = bool(request.form.get("failed"))
    made = requests.run_again(found, failed_only=failed_only, actor=access.actor(), vault=vault_of(current_app))
    return make_response(redirect(f"/runs/{made.id}/", 303))


@bp.page("/runs/<run_id>/delete", permission=Permission.FLEET_WRITE)
def ask_delete(run_id: str) -> Response:
    """The question before it is deleted."""
    return _question(run_id)


def _question(run_id: str) -> Response:
    found = queries.get_run(run_id, access.actor())
    files = len(artefacts.of_run(found.id))
    what = "" if not files else " and its file" if files == 1 else f" and its {files:,} files"
    impact = f"Its steps, its output{what} are gone for good."
    note = f"{drivers.label_of(found.kind)}, {found.status.value.replace('_', ' ')}"
    return make_response(render_template(
        "confirm.html", title="Delete this run?", page_title="Delete a run", impact=impact, total=1, fields={}, type_count=False,
        targets=[{"label": found.title, "href": f"/runs/{found.id}/", "note": note}], action=f"/runs/{found.id}/delete",
        verb="Delete the run", cancel=f"/runs/{found.id}/",
        error="It has not ended: cancel it first." if found.is_open else None,
    ))  # fmt: skip


@bp.page("/runs/<run_id>/delete", permission=Permission.FLEET_WRITE, methods=("POST",))
def delete(run_id: str) -> Response:
    """Delete it, when the person has said so."""
    found = queries.get_run(run_id, access.actor())
    if not request.form.get("confirmed"):
        return _question(run_id)
    delete_runs([found], settings_of(current_app).data_dir, actor=access.actor())
    pages.toast("The run is deleted")
    return make_response(redirect("/runs/", 303))
