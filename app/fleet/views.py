"""Pages of the fleet: the Computers list, saved views, a computer and its tabs."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.clock import now
from app.errors import DomainError
from app.fleet import bp, operations, queries
from app.fleet import saved as views
from app.fleet.forms import ComputerForm
from app.fleet.live import FLEET, STATUSES, FleetQuery
from app.fleet.models import Computer
from app.fleet.schemas import CSV_COLUMNS, csv_row
from app.journal.queries import EntryFilter, count_entries, page_of_entries
from app.shapes import Fixed
from app.tenants.queries import tenant_choices
from app.web import access, bulk, csv, live, pages, saved
from app.web.body import validate_query
from app.web.forms import named, refused, show_error
from app.web.listing import Listing
from app.web.pages import NavItem

SOFTWARE_PAGE = 100
EVENTS_PAGE = 50


def _count(scope: frozenset[str] | None) -> int:
    return queries.status_counts(queries.ComputerFilter(scope=scope))["total"]


pages.add_nav(
    NavItem("Fleet", "Computers", "fleet.index", "device-desktop", Permission.FLEET_READ, "g c", _count, prefix="/fleet/")
)

saved.set_store(saved.Store(views.view_choices, views.saved_views, views.get_view, views.save_view, views.delete_view))
saved.offer(bp, saved.SavedList("fleet", "/fleet/", "Computers", "computers", FleetQuery))


def _listing(query: FleetQuery, scope: queries.Scope) -> Listing:
    """The page of a query without its rows: counts and the choices of the filters."""
    wanted, view = query.filter(scope), query.view()
    counts = queries.status_counts(wanted)
    systems, tags = queries.filter_choices(scope)
    choices = Fixed(
        status=STATUSES,
        os=tuple((name, name) for name in systems),
        tenant=tuple((t["id"], t["name"]) for t in tenant_choices(scope)),
        tag=tuple((tag, tag) for tag in tags),
    )
    total = counts.get(wanted.status or "total", 0)
    return Listing("/fleet/", query, total, choices, Fixed(counts), f"fleet?{view}" if view else "fleet")


@bp.page("/fleet/", permission=Permission.FLEET_READ)
def index() -> Response:
    """Computers: the page, or with HX-Request its table."""
    query, scope = validate_query(FleetQuery, request), pages.scope()
    state = live.snapshot(FLEET, query.view(), scope)
    html = live.rows(FLEET, state.keys)
    rows = Markup("".join([html[key[0]] for key in state.keys if key[0] in html]))  # noqa: S704 (each is Markup)
    found = _listing(query, scope)
    who = access.actor()
    may_write = who.is_person and who.can(Permission.FLEET_WRITE)  # a program that reads the page gets no forms
    context = {"listing": found, "rows": rows, "rev": state.rev, "may_write": may_write, "bulk": bulk.actions("fleet")}
    if pages.is_fragment():
        response = make_response(render_template("fleet/_table.html", **context))
    else:
        tabs = saved.tabs("fleet", "/fleet/", query)
        response = make_response(render_template("fleet/index.html", saved_views=tabs, page_title="Computers", **context))
    response.headers["X-Rev"] = str(state.rev)
    return response


@bp.page("/fleet.csv", permission=Permission.FLEET_READ)
def download() -> Response:
    """The same filters as CSV."""
    query = validate_query(FleetQuery, request)
    rows = (csv_row(c) for c in queries.each(query.filter(pages.scope()), query.sort_key))
    return csv.stream(CSV_COLUMNS, rows, "computers")


pages.add_tabs("/fleet/", pages.Tab("", "Overview", 0), pages.Tab("software", "Software", 50), pages.Tab("events", "Events", 90))


def _frame(computer: Computer, tab: str) -> dict[str, Any]:
    """What every tab of a computer needs: the live header and the tabs."""
    return pages.object_frame(
        computer, ("computer", f"id={computer.uuid}"), f"/fleet/{computer.uuid}/", tab, computer.name
    )  # fmt: skip


@bp.page("/fleet/<uuid>/", permission=Permission.FLEET_READ)
def computer(uuid: str) -> Response:
    """One computer: its facts; with HX-Request its live header."""
    row = queries.get_computer(uuid, access.actor())
    frame = _frame(row, "")
    if pages.is_fragment():
        response = make_response(frame["head"])
    else:
        inventory = queries.inventory_of(row)
        events = page_of_entries(EntryFilter(subject_kind="computer", subject_id=row.uuid), 1, 5)
        response = make_response(
            render_template("fleet/computer.html", inventory=inventory, events=events, moment=now(), **frame)
        )
    response.headers["X-Rev"] = str(frame["rev"])
    return response


@bp.page("/fleet/<uuid>/software", permission=Permission.FLEET_READ)
def software(uuid: str) -> str:
    """What is installed on it."""
    row = queries.get_computer(uuid, access.actor())
    q, page = request.args.get("q", "").strip()[:200], pages.page_number()
    packages, total = queries.software_of(row, q, SOFTWARE_PAGE, (page - 1) * SOFTWARE_PAGE)
    return render_template("fleet/software.html", packages=packages, total=total, q=q, page=page,
                           pages=max(1, -(-total // SOFTWARE_PAGE)), **_frame(row, "software"))  # fmt: skip


@bp.page("/fleet/<uuid>/software.csv", permission=Permission.FLEET_READ)
def software_csv(uuid: str) -> Response:
    """The same as CSV."""
    row = queries.get_computer(uuid, access.actor())
    packages, _ = queries.software_of(row, request.args.get("q", "").strip()[:200], 10_000, 0)
    return csv.stream(("name", "version", "publisher"), ((p.name, p.version, p.publisher) for p in packages), "software")


@bp.page("/fleet/<uuid>/events", permission=Permission.FLEET_READ)
def events(uuid: str) -> str:
    """Everything that happened to it, newest first."""
    row = queries.get_computer(uuid, access.actor())
    wanted, page = EntryFilter(subject_kind="computer", subject_id=row.uuid), pages.page_number()
    total = count_entries(wanted)
    return render_template("fleet/events.html", events=page_of_entries(wanted, page, EVENTS_PAGE), total=total, page=page,
                           pages=max(1, -(-total // EVENTS_PAGE)), **_frame(row, "events"))  # fmt: skip


def _computer_form(row: Computer | None = None) -> ComputerForm:
    form = ComputerForm() if row is None or request.method == "POST" else ComputerForm(
        name=row.name, tenant_id=row.tenant_id, kind=row.kind.value, tags=" ".join(row.tags), host=row.host, port=row.port,
        primary_user=row.primary_user if row.primary_user_fixed else "",
    )  # fmt: skip
    form.tenant_id.choices = named(tenant_choices(access.actor().tenant_ids))
    return form


@bp.page("/fleet/<uuid>/edit", permission=Permission.FLEET_WRITE)
def edit(uuid: str) -> str:
    """The form to edit it."""
    row = queries.get_computer(uuid, access.actor())
    return render_template("fleet/edit.html", form=_computer_form(row), computer=row, page_title=f"Edit {row.name}")


@bp.page("/fleet/<uuid>/edit", permission=Permission.FLEET_WRITE, methods=("POST",))
def update(uuid: str) -> Response:
    """Save the changes."""
    row = queries.get_computer(uuid, access.actor())
    form = _computer_form(row)
    if form.validate():
        values = {name: getattr(form, name).data for name in ("name", "tenant_id", "kind", "host", "port", "primary_user")}
        values |= {"tags": form.tags.data.split(), "host": form.host.data or None, "name": form.name.data.strip()}
        try:
            operations.update_computer(row, values, actor=access.actor())
        except DomainError as error:
            show_error(form, error)
        else:
            pages.toast("Saved")
            return make_response(redirect(f"/fleet/{row.uuid}/", 303))
    return refused("fleet/edit.html", form, computer=row, page_title=f"Edit {row.name}")
