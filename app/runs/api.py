"""`/api/v1/runs…`: every kind of run, one shape."""

from typing import Any

from flask import Response, current_app

from app.actors import Permission
from app.factory import settings_of, vault_of
from app.fleet.queries import require_computer
from app.runs import artefacts, bp, queries, requests
from app.runs.models import Run
from app.runs.queries import RunFilter
from app.runs.retention import delete_runs
from app.runs.schemas import (
    ArtefactList,
    LogPage,
    LogQuery,
    RunDetail,
    RunList,
    RunsQuery,
    artefact_out,
    log_out,
    run_out,
    step_out,
)
from app.runs.shown import artefact_download, as_download, run_as_download
from app.web import access

LOG_PIECES = 500


@bp.api("GET", "/api/v1/runs", permission=Permission.FLEET_READ, query=RunsQuery, returns=RunList)
def list_runs(query: RunsQuery) -> dict[str, Any]:
    """List runs of every kind, newest first."""
    who = access.actor()
    if query.server_id:
        require_computer(query.server_id, who, "server_id")
    wanted = RunFilter(scope=who.tenant_ids, status=query.status or "", kind=query.kind, computer=query.server_id, q=query.q)
    keys = queries.versions(wanted, query.per_page, (query.page - 1) * query.per_page)
    rows = queries.by_ids(key[1] for key in keys)
    return {"total": queries.count_runs(wanted), "page": query.page, "per_page": query.per_page,
            "runs": [run_out(rows[key[1]]) for key in keys]}  # fmt: skip


@bp.api("GET", "/api/v1/runs/<run_id>", permission=Permission.FLEET_READ, returns=RunDetail)
def get_run(run_id: str) -> dict[str, Any]:
    """Get a run with its steps."""
    run = queries.get_run(run_id, access.actor())
    return _detail(run)


@bp.api("GET", "/api/v1/runs/<run_id>/log", permission=Permission.FLEET_READ, query=LogQuery, returns=LogPage)
def get_log(run_id: str, query: LogQuery) -> dict[str, Any]:
    """Get the output past an id, in the order in which it came."""
    run = queries.get_run(run_id, access.actor())
    step = queries.get_step(run.id, query.step) if query.step is not None else None
    positions = {s.id: s.position for s in queries.steps_of(run.id)}
    rows = queries.log_after(run.id, query.after, LOG_PIECES, step.id if step else None)
    return {"lines": [log_out(row, positions) for row in rows], "next": rows[-1].id if rows else query.after,
            "more": len(rows) == LOG_PIECES, "status": run.status}  # fmt: skip


@bp.api("GET", "/api/v1/runs/<run_id>/steps/<int:position>/output", permission=Permission.FLEET_READ, media="text/plain")
def download(run_id: str, position: int) -> Response:
    """Download a step's whole output as text."""
    return as_download(queries.get_step(queries.get_run(run_id, access.actor()).id, position))


def _detail(run: Run) -> dict[str, Any]:
    return run_out(run) | {"steps": [step_out(step) for step in queries.steps_of(run.id)]}


@bp.api("GET", "/api/v1/runs/<run_id>/output", permission=Permission.FLEET_READ, media="text/plain")
def download_run(run_id: str) -> Response:
    """Download the whole output of a run as text, step by step."""
    return run_as_download(queries.get_run(run_id, access.actor()))


@bp.api("GET", "/api/v1/runs/<run_id>/artefacts", permission=Permission.FLEET_READ, returns=ArtefactList)
def list_artefacts(run_id: str) -> dict[str, Any]:
    """List the files that a run has made."""
    found = artefacts.of_run(queries.get_run(run_id, access.actor()).id)
    return {"total": len(found), "artefacts": [artefact_out(row) for row in found]}


@bp.api("GET", "/api/v1/runs/<run_id>/artefacts/<file_id>", permission=Permission.FLEET_READ, media="application/octet-stream")
def get_artefact(run_id: str, file_id: str) -> Response:
    """Download a file that a run has made."""
    return artefact_download(artefacts.get(queries.get_run(run_id, access.actor()), file_id))


@bp.api("POST", "/api/v1/runs/<run_id>/cancel", permission=Permission.FLEET_COMMAND, returns=RunDetail)
def cancel(run_id: str) -> dict[str, Any]:
    """Cancel a run: what waits is cancelled at once, what runs is told to stop."""
    run = queries.get_run(run_id, access.actor())
    requests.request_cancel(run, actor=access.actor())
    return _detail(run)


@bp.api("POST", "/api/v1/runs/<run_id>/pause", permission=Permission.FLEET_COMMAND, returns=RunDetail)
def pause(run_id: str) -> dict[str, Any]:
    """Pause a run before its next step; 409 when it cannot be paused."""
    run = queries.get_run(run_id, access.actor())
    requests.request_pause(run, actor=access.actor())
    return _detail(run)


@bp.api("POST", "/api/v1/runs/<run_id>/resume", permission=Permission.FLEET_COMMAND, returns=RunDetail)
def resume(run_id: str) -> dict[str, Any]:
    """Let a paused run go on, or one that ended badly begin anew at the step that failed."""
    run = queries.get_run(run_id, access.actor())
    requests.request_resume(run, actor=access.actor())
    return _detail(run)


@bp.api("POST", "/api/v1/runs/<run_id>/skip", permission=Permission.FLEET_COMMAND, returns=RunDetail)
def skip(run_id: str) -> dict[str, Any]:
    """Pass over the next step of a run."""
    run = queries.get_run(run_id, access.actor())
    requests.request_skip(run, actor=access.actor())
    return _detail(run)


@bp.api("POST", "/api/v1/runs/<run_id>/again", permission=Permission.FLEET_COMMAND, returns=RunDetail, status=201)
def again(run_id: str) -> dict[str, Any]:
    """Make another run of the same, on all of its targets."""
    return _again(run_id, failed_only=False)


@bp.api("POST", "/api/v1/runs/<run_id>/retry", permission=Permission.FLEET_COMMAND, returns=RunDetail, status=201)
def retry(run_id: str) -> dict[str, Any]:
    """Make another run of the same, on those of its targets where it failed."""
    return _again(run_id, failed_only=True)


def _again(run_id: str, *, failed_only: bool) -> dict[str, Any]:
    run = queries.get_run(run_id, access.actor())
    made = requests.run_again(run, failed_only=failed_only, actor=access.actor(), vault=vault_of(current_app))
    return _detail(made)


@bp.api("DELETE", "/api/v1/runs/<run_id>", permission=Permission.FLEET_WRITE, status=204)
def delete(run_id: str) -> None:
    """Delete a run that has ended, with its output and its files, for good."""
    run = queries.get_run(run_id, access.actor())
    delete_runs([run], settings_of(current_app).data_dir, actor=access.actor())
