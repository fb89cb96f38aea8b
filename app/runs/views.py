"""Pages of runs: the list over all kinds, one run with its targets, and the log viewer."""

from typing import Any
from urllib.parse import urlencode

import orjson
from flask import Response, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.clock import iso
from app.errors import Invalid, NotFound
from app.fleet.queries import get_computer
from app.runs import artefacts, bp, drivers, queries, shown
from app.runs.live import CHIPS, FILES, RUNS, STEP_CHIPS, STEPS, STEPS_PAGE, RunListQuery, seconds_of, steps_view
from app.runs.models import Run, RunStep, StepStatus
from app.shapes import Fixed
from app.web import access, bulk, csv, live, pages, saved
from app.web.body import validate_query
from app.web.listing import Listing
from app.web.pages import NavItem

CSV_COLUMNS = ("id", "kind", "title", "status", "reason", "requested_by", "created_at", "started_at", "finished_at", "seconds",
               "targets", "succeeded", "failed", "retry_of")  # fmt: skip

MAX_FIND = 200

pages.add_nav(NavItem("Work", "Runs", "runs.index", "player-play", Permission.FLEET_READ, "g r", queries.open_count,
                      count_key="open-runs", prefix="/runs/"))  # fmt: skip
saved.offer(bp, saved.SavedList("runs", "/runs/", "Runs", "runs", RunListQuery))


def _listing(query: RunListQuery, scope: queries.Scope) -> Listing:
    counts = queries.status_counts(query.filter(scope))
    view = query.view()
    choices = Fixed(kind=drivers.kinds(), chips=CHIPS, computer=_computer_choice(query.computer))
    total = counts[query.status or "total"]
    return Listing("/runs/", query, total, choices, Fixed(counts), f"runs?{view}" if view else "runs")


def _computer_choice(uuid: str) -> tuple[tuple[str, str], ...]:
    if not uuid:
        return ()
    try:
        return ((uuid, get_computer(uuid, access.actor()).name),)
    except NotFound:
        return ((uuid, "a computer that is gone"),)


@bp.page("/runs/", permission=Permission.FLEET_READ)
def index() -> Response:
    """Runs: the page, or with HX-Request its table."""
    query, scope = validate_query(RunListQuery, request), pages.scope()
    state = live.snapshot(RUNS, query.view(), scope)
    context = {"listing": _listing(query, scope), "rows": _joined(RUNS, state), "rev": state.rev, "bulk": bulk.actions("runs")}
    if pages.is_fragment():
        response = make_response(render_template("runs/_table.html", **context))
    else:
        views = saved.tabs("runs", "/runs/", query)
        response = make_response(render_template("runs/index.html", saved_views=views, page_title="Runs", **context))
    response.headers["X-Rev"] = str(state.rev)
    return response


def _joined(live_list: live.LiveList, state: live.Snapshot) -> Markup:
    html = live.rows(live_list, state.keys)
    return Markup("".join([html[key[0]] for key in state.keys if key[0] in html]))  # noqa: S704 (each is Markup)


@bp.page("/runs.csv", permission=Permission.FLEET_READ)
def download() -> Response:
    """The same filters as CSV."""
    query = validate_query(RunListQuery, request)
    rows = (_csv_row(run) for run in queries.each(query.filter(pages.scope()), query.sort_key))
    return csv.stream(CSV_COLUMNS, rows, "runs")


def _csv_row(run: Run) -> tuple[Any, ...]:
    times = (iso(run.created_at), iso(run.started_at), iso(run.finished_at))
    return (run.id, run.kind, run.title, run.status.value, run.reason, run.actor_name, *times, seconds_of(run), run.total,
            run.succeeded, run.failed, run.retry_of)  # fmt: skip


@bp.page("/runs/<run_id>/", permission=Permission.FLEET_READ)
def run(run_id: str) -> Response:
    """One run; with HX-Request its live head."""
    found = queries.get_run(run_id, access.actor())
    who = access.actor()
    position = request.args.get("step", None, int)
    step = queries.get_step(found.id, queries.interesting_step(found.id) if position is None else position)
    viewer = shown.viewer(found, step, who.tenant_ids, *_place())
    if pages.is_fragment():
        response = make_response(viewer["run_head"])
    else:
        may_command = who.is_person and who.can(Permission.FLEET_COMMAND)
        response = make_response(render_template(
            "runs/run.html", run=found, spec=orjson.loads(found.spec), may_command=may_command, page_title=found.title[:80],
            kind=drivers.label_of(found.kind), asked=drivers.template_of(found.kind), works=step.dispatch is None,
            target=drivers.noun_of(found.kind),
            may_delete=may_command and who.can(Permission.FLEET_WRITE), **viewer, **_files(found), **_targets(found),
        ))  # fmt: skip
    response.headers["X-Rev"] = str(viewer["run_rev"])
    return response


def _fragment(context: dict[str, Any], name: str) -> Response:
    response = make_response(context[name])
    response.headers["X-Rev"] = str(context[f"{name}_rev"])
    return response


def _files(found: Run) -> dict[str, Any]:
    state = live.snapshot(FILES, f"id={found.id}", access.actor().tenant_ids)
    return {"files": _joined(FILES, state), "files_rev": state.rev}


@bp.page("/runs/<run_id>/files", permission=Permission.FLEET_READ)
def files(run_id: str) -> Response:
    """The rows of its files, for a list that missed a change."""
    return _fragment(_files(queries.get_run(run_id, access.actor())), "files")


def _targets(found: Run) -> dict[str, Any]:
    status, number = request.args.get("status", ""), max(1, min(99_999, request.args.get("page", 1, int)))
    if status not in ("", *StepStatus):
        raise Invalid("status: use one of " + ", ".join(StepStatus))
    view = steps_view(found.id, status, number)
    state = live.snapshot(STEPS, view, access.actor().tenant_ids)
    total = state.counts.get(f"steps-{status or 'total'}", 0)
    return {"steps": _joined(STEPS, state), "steps_rev": state.rev, "steps_view": view, "step_counts": state.counts,
            "step_chips": STEP_CHIPS, "status": status, "page": number, "pages": max(1, -(-total // STEPS_PAGE)), "total": total,
            "per_page": STEPS_PAGE}  # fmt: skip


@bp.page("/runs/<run_id>/targets", permission=Permission.FLEET_READ)
def targets(run_id: str) -> Response:
    """The rows of its targets, for a table that missed a change."""
    return _fragment(_targets(queries.get_run(run_id, access.actor())), "steps")


def _step(run_id: str, position: int) -> tuple[Run, RunStep]:
    found = queries.get_run(run_id, access.actor())
    return found, queries.get_step(found.id, position)


@bp.page("/runs/<run_id>/steps/<int:position>/", permission=Permission.FLEET_READ)
def step(run_id: str, position: int) -> Response:
    """The log viewer of one target: its end, the lines around `line`, or those with the text `find`; without HX-Request the run's
    page with it."""
    (found, one), (line, find) = _step(run_id, position), _place()
    if not pages.is_fragment():
        query = {"step": one.position} | ({"find": find} if find else {"line": line} if line else {})
        anchor = f"L{line}" if line and not find else "output"
        return make_response(redirect(f"/runs/{found.id}/?{urlencode(query)}#{anchor}", 303))
    return make_response(render_template("runs/_output.html", run=found, step=one, output=shown.wanted(one, line, find)))


def _place() -> tuple[int, str]:
    """Which line somebody wants to see, and which text; numbers as people write them."""
    line = request.args.get("line", "").replace(",", "").strip()
    return int(line) if line.isdecimal() and len(line) < 10 else 0, request.args.get("find", "").strip()[:MAX_FIND]


@bp.page("/runs/<run_id>/steps/<int:position>/log", permission=Permission.FLEET_READ)
def log(run_id: str, position: int) -> Response:
    """What a target has printed past `after`, as lines. X-After says where to go on, X-Open whether more can come."""
    _, one = _step(run_id, position)
    is_open = one.finished_at is None  # read before the output: once it has ended, all of it is there
    output = shown.new(one, max(0, min(2**31 - 1, request.args.get("after", 0, int))))
    response = make_response(render_template("runs/_lines.html", lines=output.lines))
    response.headers["X-After"] = str(output.after)
    response.headers["X-Open"] = "1" if is_open or output.more else "0"
    response.headers["X-More"] = "1" if output.more else "0"
    return response


@bp.page("/runs/<run_id>/steps/<int:position>/output", permission=Permission.FLEET_READ)
def whole_output(run_id: str, position: int) -> Response:
    """Download the whole output of a target."""
    return shown.as_download(_step(run_id, position)[1])


@bp.page("/runs/<run_id>/log", permission=Permission.FLEET_READ)
def whole_log(run_id: str) -> Response:
    """Download the output of all steps."""
    return shown.run_as_download(queries.get_run(run_id, access.actor()))


@bp.page("/runs/<run_id>/files/<file_id>", permission=Permission.FLEET_READ)
def file(run_id: str, file_id: str) -> Response:
    """Download a file that the run has made."""
    return shown.artefact_download(artefacts.get(queries.get_run(run_id, access.actor()), file_id))
