"""Pages of the proxies: the list and its CSV, and one proxy with its buttons. Actions on a selection are in `bulk`."""

from flask import Response, current_app, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.clock import now
from app.errors import Conflict
from app.factory import settings_of
from app.proxies import bp, health, operations, queries
from app.proxies.live import PROXIES, PROXY, STATUSES, ProxyQuery, counts_of
from app.proxies.models import ProxyStatus
from app.proxies.schemas import CSV_COLUMNS, csv_rows
from app.shapes import Fixed
from app.tenants.queries import tenant_choices
from app.web import access, bulk, csv, live, pages, saved
from app.web.body import validate_query
from app.web.listing import Listing
from app.web.pages import Found, NavItem

FOUND = 6  # in the search palette


def _burning(scope: frozenset[str] | None) -> int:
    return queries.status_counts(queries.ProxyFilter(scope=scope))["blacklisted"]


def _find(text: str) -> list[Found]:
    found = queries.first(queries.ProxyFilter(scope=pages.scope(), q=text), "-uses", FOUND)
    return [
        Found(p.address[:120], f"/proxies/{p.uuid}/", "world", " · ".join(filter(None, (p.status.value.capitalize(), p.country))))
        for p in found
    ]


pages.add_nav(
    NavItem("Fleet", "Proxies", "proxies.index", "world", Permission.SESSIONS_READ, "g p", _burning, "burning", "/proxies/", True)
)
pages.add_finder(Permission.SESSIONS_READ, _find)
saved.offer(bp, saved.SavedList("proxies", "/proxies/", "Proxies", "proxies", ProxyQuery))


def _listing(query: ProxyQuery, scope: queries.Scope) -> Listing:
    """The page of a query without its rows: counts and the choices of the filters."""
    wanted, view = query.filter(scope), query.view()
    counts = counts_of(wanted)
    choices = Fixed(
        country=tuple((name, name) for name in queries.countries(scope)),
        tenant=tuple((t["id"], t["name"]) for t in tenant_choices(scope)),
    )
    total = counts[wanted.status or "total"]
    return Listing("/proxies/", query, total, choices, Fixed(counts), f"proxies?{view}" if view else "proxies")


@bp.page("/proxies/", permission=Permission.SESSIONS_READ)
def index() -> Response:
    """Proxies: the page, or with HX-Request its table."""
    query, scope = validate_query(ProxyQuery, request), pages.scope()
    state = live.snapshot(PROXIES, query.view(), scope)
    html = live.rows(PROXIES, state.keys)
    rows = Markup("".join([html[key[0]] for key in state.keys if key[0] in html]))  # noqa: S704 (each is Markup)
    context = {"listing": _listing(query, scope), "rows": rows, "rev": state.rev, "may_write": _may_write(), "statuses": STATUSES,
               "bulk": bulk.actions("proxies")}  # fmt: skip
    if pages.is_fragment():
        response = make_response(render_template("proxies/_table.html", **context))
    else:
        views = saved.tabs("proxies", "/proxies/", query)
        response = make_response(render_template("proxies/index.html", saved_views=views, page_title="Proxies", **context))
    response.headers["X-Rev"] = str(state.rev)
    return response


def _may_write() -> bool:
    """Whether the page has forms: not for a program that reads it."""
    who = access.actor()
    return who.is_person and who.can(Permission.PROXIES_WRITE)


@bp.page("/proxies.csv", permission=Permission.SESSIONS_READ)
def download() -> Response:
    """The same filters as CSV."""
    query = validate_query(ProxyQuery, request)
    return csv.stream(CSV_COLUMNS, csv_rows(queries.each(query.filter(pages.scope()), query.sort_key), now()), "proxies")


@bp.page("/proxies/<uuid>/", permission=Permission.SESSIONS_READ)
def proxy(uuid: str) -> Response:
    """One proxy with its targets and checks; with HX-Request only what changes."""
    row = queries.get_proxy(uuid, access.actor())
    key = f"id={row.uuid}"
    state = live.snapshot(PROXY, key, access.actor().tenant_ids)
    head = Markup("").join(live.rows(PROXY, state.keys).values())
    if pages.is_fragment():
        response = make_response(head)
    else:
        frame = {"proxy": row, "head": head, "view_key": f"proxy?{key}", "rev": state.rev, "may_write": _may_write()}
        response = make_response(render_template("proxies/proxy.html", page_title=row.address[:120], **frame))
    response.headers["X-Rev"] = str(state.rev)
    return response


def _back_to(uuid: str) -> Response:
    return make_response(redirect(f"/proxies/{uuid}/", 303))


@bp.page("/proxies/<uuid>/check", permission=Permission.PROXIES_WRITE, methods=("POST",))
def check(uuid: str) -> Response:
    """Ask for a check; its result shows up by itself."""
    row = queries.get_proxy(uuid, access.actor())
    try:
        operations.request_check(row, settings_of(current_app).proxy_check_url, actor=access.actor())
    except Conflict as error:
        pages.toast(error.message, "error")
    else:
        pages.toast("Check asked for; its result shows up here")
    return _back_to(row.uuid)


@bp.page("/proxies/<uuid>/enable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def enable(uuid: str) -> Response:
    """Enable it, which ends its rest; as the undo of disabling it, which does not."""
    row = queries.get_proxy(uuid, access.actor())
    operations.change_enabled([row.id], True, actor=access.actor(), keep_rest=bool(request.form.get("keep_rest")))
    stays = "" if row.status is ProxyStatus.HEALTHY else f"; it stays {row.status.value}: {health.reason(row, now())}"
    pages.toast(f"Enabled{stays}"[:400])
    return _back_to(row.uuid)


@bp.page("/proxies/<uuid>/disable", permission=Permission.PROXIES_WRITE, methods=("POST",))
def disable(uuid: str) -> Response:
    """Disable it."""
    row = queries.get_proxy(uuid, access.actor())
    operations.set_enabled(row, False, actor=access.actor())
    undo = {"url": f"/proxies/{row.uuid}/enable", "label": "Undo", "fields": {"keep_rest": "1"}}
    pages.toast("Disabled: bots are told not to use it", undo=undo)
    return _back_to(row.uuid)
