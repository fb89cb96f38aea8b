"""`/api/v1/runs…`: every kind of run, one shape."""

from typing import Any

from flask import Response

from app.actors import Permission
from app.fleet.queries import require_computer
from app.runs import bp, queries, requests
from app.runs.queries import RunFilter
from app.runs.schemas import LogPage, LogQuery, RunDetail, RunList, RunsQuery, log_out, run_out, step_out
from app.runs.shown import as_download
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
    return run_out(run) | {"steps": [step_out(step) for step in queries.steps_of(run.id)]}


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


@bp.api("POST", "/api/v1/runs/<run_id>/cancel", permission=Permission.FLEET_COMMAND, returns=RunDetail)
def cancel(run_id: str) -> dict[str, Any]:
    """Cancel a run: what waits is cancelled at once, what runs on a computer is ended there."""
    run = queries.get_run(run_id, access.actor())
    requests.request_cancel(run, actor=access.actor())
    return run_out(run) | {"steps": [step_out(step) for step in queries.steps_of(run.id)]}
