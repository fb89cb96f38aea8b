"""Pages of containers: the list over the fleet and its CSV, one container with its log, the tab of a computer."""

from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.clock import now
from app.connectors.dispatcher import obstacle
from app.containers import bp, operations, queries, readings, shown
from app.containers.driver import CONTAINER as DRIVER
from app.containers.forms import ActionForm
from app.containers.live import CHIPS, CONTAINER, CONTAINERS, ENGINE, ENGINES, ContainerQuery, counts_of
from app.containers.models import Container
from app.containers.operations import PAST, Action
from app.containers.schemas import CSV_COLUMNS, csv_rows, port_words
from app.database import unit_of_work
from app.errors import Conflict, DomainError, NotFound
from app.fleet.models import Computer
from app.fleet.queries import get_computer
from app.shapes import Fixed
from app.tenants.queries import tenant_choices
from app.web import access, bulk, csv, live, pages, saved
from app.web.body import validate_query
from app.web.listing import Listing
from app.web.pages import Found, NavItem

FOUND = 6  # in the search palette


def _hot(scope: frozenset[str] | None) -> int:
    return queries.state_counts(queries.ContainerFilter(scope=scope))["attention"]


def _find(text: str) -> list[Found]:
    found = queries.first(queries.ContainerFilter(scope=pages.scope(), q=text), FOUND)
    return [
        Found(one.name, f"/containers/{one.uuid}/", "box", f"{one.computer.name} · {one.state.capitalize()}") for one in found
    ]


pages.add_nav(NavItem("Fleet", "Containers", "containers.index", "box", Permission.FLEET_READ, None, _hot, "containers-attention",
                      "/containers/", True))  # fmt: skip
pages.add_finder(Permission.FLEET_READ, _find)
saved.offer(bp, saved.SavedList("containers", "/containers/", "Containers", "containers", ContainerQuery))
pages.add_tabs("/fleet/", pages.Tab("containers", "Containers", 30))


class TabListing(Listing):
    """The list on a computer's tab: its addresses do not repeat the computer."""

    def url(self, **changes: Any) -> str:
        return super().url(**changes | {"computer": ""})

    @property
    def filtered(self) -> bool:
        return bool(set(self.filters) - {"computer"})


def _listing(query: ContainerQuery, scope: queries.Scope, computer: Computer | None = None) -> Listing:
    """The page of a query without its rows: counts and the choices of the filters."""
    wanted, view = query.filter(scope), query.view()
    counts = counts_of(wanted)
    computers, images = queries.filter_choices(scope)
    choices = Fixed(
        computer=tuple(computers), image=tuple((image, image) for image in images), chips=CHIPS,
        tenant=tuple((t["id"], t["name"]) for t in tenant_choices(scope)),
    )  # fmt: skip
    kind, path = (TabListing, f"/fleet/{computer.uuid}/containers") if computer else (Listing, "/containers/")
    total = counts[wanted.state or "total"]
    return kind(path, query, total, choices, Fixed(counts), f"containers?{view}" if view else "containers")


def _context(query: ContainerQuery, scope: queries.Scope, computer: Computer | None = None) -> dict[str, Any]:
    state = live.snapshot(CONTAINERS, query.view(), scope)
    html = live.rows(CONTAINERS, state.keys)
    rows = Markup("".join([html[key[0]] for key in state.keys if key[0] in html]))  # noqa: S704 (each is Markup)
    return {"listing": _listing(query, scope, computer), "rows": rows, "list_rev": state.rev, "bulk": bulk.actions("containers")}


def _answer(page: str, context: dict[str, Any]) -> Response:
    template = "containers/_table.html" if pages.is_fragment() else page
    response = make_response(render_template(template, **context))
    response.headers["X-Rev"] = str(context["list_rev"])
    return response


@bp.page("/containers/", permission=Permission.FLEET_READ)
def index() -> Response:
    """Containers: the page, or with HX-Request its table."""
    query = validate_query(ContainerQuery, request)
    views = () if pages.is_fragment() else saved.tabs("containers", "/containers/", query)
    context = _context(query, pages.scope()) | {"saved_views": views, "page_title": "Containers"}
    return _answer("containers/index.html", context)


@bp.page("/containers.csv", permission=Permission.FLEET_READ)
def download() -> Response:
    """The same filters as CSV."""
    query = validate_query(ContainerQuery, request)
    rows = queries.each(query.filter(pages.scope()), query.sort_key)
    return csv.stream(CSV_COLUMNS, csv_rows(rows, now()), "containers")


@bp.page("/fleet/<uuid>/containers", permission=Permission.FLEET_READ)
def on_computer(uuid: str) -> Response:
    """The containers of a computer and what is the matter with its engine; with HX-Request the table."""
    who = access.actor()
    computer = get_computer(uuid, who)
    query = validate_query(ContainerQuery, request).model_copy(update={"computer": computer.uuid, "tenant": ""})
    context = _context(query, who.tenant_ids, computer)
    if pages.is_fragment():
        return _answer("", context)
    frame = pages.object_frame(computer, ("computer", f"id={computer.uuid}"), f"/fleet/{computer.uuid}/", "containers",
                               f"{computer.name} containers")  # fmt: skip
    return _answer("containers/computer.html", context | _engine(computer) | frame)


@bp.page("/fleet/<uuid>/containers/engine", permission=Permission.FLEET_READ)
def engine(uuid: str) -> Response:
    """What is said of the engine of a computer, for a page that missed a change."""
    found = _engine(get_computer(uuid, access.actor()))
    response = make_response(found["engine"])
    response.headers["X-Rev"] = str(found["engine_rev"])
    return response


def _engine(computer: Computer) -> dict[str, Any]:
    state = live.snapshot(ENGINE, f"id={computer.uuid}", access.actor().tenant_ids)
    return {"engine": Markup("").join(live.rows(ENGINE, state.keys).values()), "engine_rev": state.rev,
            "engine_row": queries.engine_of(computer)}  # fmt: skip


def _head(container: Container) -> tuple[Markup, int]:
    state = live.snapshot(CONTAINER, f"id={container.uuid}", access.actor().tenant_ids)
    return Markup("").join(live.rows(CONTAINER, state.keys).values()), state.rev


@bp.page("/containers/<uuid>/", permission=Permission.FLEET_READ)
def container(uuid: str) -> Response:
    """One container with its log; with HX-Request its live head."""
    who = access.actor()
    one = queries.get_container(uuid, who)
    head, rev = _head(one)
    if pages.is_fragment():
        response = make_response(head)
    else:
        engine_row = queries.engine_of(one.computer)
        why = obstacle(current_app, one.computer, DRIVER) or (ENGINES[engine_row.state][0] if engine_row else None) or None
        context = {
            "one": one, "head": head, "rev": rev, "ports": list(port_words(one.ports)), "form": ActionForm(formdata=None),
            "may_command": who.is_person and who.can(Permission.FLEET_COMMAND), "why": why, **_run(request.args.get("run", "")),
        }  # fmt: skip
        page = render_template("containers/container.html", page_title=one.name, log=None if why else _viewer(one), **context)
        response = make_response(page)
    response.headers["X-Rev"] = str(rev)
    return response


def _viewer(one: Container) -> dict[str, Any]:
    """The log viewer's part: where its script asks for what is new."""
    base = f"/containers/{one.uuid}/logs"
    return {"src": f"{base}/new", "base": base}


def _run(run_id: str) -> dict[str, Any]:
    """The live head of the run that was begun here."""
    if len(run_id) != 36:
        return {"run_id": None}
    runs = live.get("run")
    assert runs is not None
    state = live.snapshot(runs, f"id={run_id.lower()}", access.actor().tenant_ids)
    head = Markup("").join(live.rows(runs, state.keys).values())
    return {"run_id": run_id.lower() if head else None, "run_head": head, "run_rev": state.rev}


@bp.page("/containers/<uuid>/logs", permission=Permission.FLEET_READ)
def logs(uuid: str) -> Response:
    """The last lines of its log as a page, for browsers without scripts."""
    one = queries.get_container(uuid, access.actor())
    context = {"container": one.uuid, "name": one.name, "page_title": f"Log of {one.name}"}
    try:
        lines, error, status = shown.shown(shown.last_lines(one, shown.TAIL, access.actor())), None, 200
    except DomainError as failed:
        lines, error, status = [], failed.message, {NotFound: 404, Conflict: 409}.get(type(failed), 503)
    return make_response(render_template("containers/logs.html", lines=lines, error=error, tail=shown.TAIL, **context), status)


@bp.page("/containers/<uuid>/logs/new", permission=Permission.FLEET_READ)
def new_lines(uuid: str) -> Response:
    """What has been added past `after`, as lines. The first question, without one, begins a reading. X-After says where to go on,
    X-Open whether more can come."""
    one = queries.get_container(uuid, access.actor())
    engine_id = one.engine_id
    reading_id, _, after = request.args.get("after", "").partition(".")
    if len(reading_id) != 36:
        try:
            reading_id, after = shown.open_reading(one, actor=access.actor(), tail=shown.TAIL, follow=True), "0"
        except Conflict as error:  # the viewer shows why, and asks no more
            return make_response("", {"X-Open": "0", "X-Words": error.message})
    number = int(after) if after.isdecimal() and len(after) < 10 else 0
    with unit_of_work(power_safe=False):
        taken = readings.take(reading_id, one.computer_id, engine_id, number)
    if taken is None:
        raise NotFound("Nobody has read this log for a while")
    response = make_response(render_template("runs/_lines.html", lines=shown.shown(list(taken.lines))))
    response.headers["X-After"] = f"{reading_id}.{taken.after}"
    response.headers["X-Open"] = "1" if taken.open else "0"
    response.headers["X-More"] = "1" if taken.more else "0"
    if not taken.open and taken.message:
        response.headers["X-Words"] = " ".join(taken.message.split()).encode("ascii", "replace").decode()
    return response


@bp.page("/containers/<uuid>/logs/all", permission=Permission.FLEET_READ)
def whole_log(uuid: str) -> Response:
    """Download all of its log."""
    return shown.as_download(queries.get_container(uuid, access.actor()), access.actor())


@bp.page(
    "/containers/<uuid>/start", also=("/containers/<uuid>/stop", "/containers/<uuid>/restart"),
    permission=Permission.FLEET_COMMAND, methods=("POST",),
)  # fmt: skip
def act(uuid: str) -> Response:
    """Start, stop or restart it; the page then shows how that goes. Stopping has an undo."""
    one, form, wanted = queries.get_container(uuid, access.actor()), ActionForm(), Action(request.path.rpartition("/")[2])
    if not form.validate():
        pages.toast(" ".join(form.timeout.errors) or "Not sent: load the page again", "error")
        return make_response(redirect(f"/containers/{one.uuid}/", 303))
    if (why := obstacle(current_app, one.computer, DRIVER)) is not None:
        pages.toast(f"{why}. Nothing was sent.", "error")
        return make_response(redirect(f"/containers/{one.uuid}/", 303))
    run = operations.request_action([one], wanted, actor=access.actor(), timeout_s=form.seconds)
    undo = (
        {"url": f"/containers/{one.uuid}/start", "label": "Undo", "fields": {}} if wanted is Action.STOP and one.is_up else None
    )
    pages.toast(f"{one.name} is being {PAST[wanted]}", undo=undo)
    return make_response(redirect(f"/containers/{one.uuid}/?run={run.id}", 303))
