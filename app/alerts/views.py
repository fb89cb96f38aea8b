"""Pages of alerts: the list and its CSV, one alert with what a person can do about it, and a computer's own."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.alerts import bp, operations, queries, undoing
from app.alerts.catalogue import Source, metric_of, metrics
from app.alerts.figures import active_counts, scope_names, tenant_names
from app.alerts.live import (
    ALERT,
    ALERTS,
    CHIPS,
    COUNTS,
    RANGES,
    SEVERITIES,
    AlertListQuery,
    counts_of,
    row_of,
    subject_href,
)
from app.alerts.models import Alert, AlertStatus
from app.alerts.queries import AlertFilter
from app.alerts.schemas import CSV_COLUMNS, csv_row
from app.alerts.story import around, chart_of
from app.alerts.words import condition, scope_words
from app.errors import Conflict, NotFound
from app.fleet.queries import get_computer
from app.shapes import Fixed
from app.tenants.queries import tenant_choices
from app.web import access, bulk, csv, live, pages, saved
from app.web.body import validate_query
from app.web.listing import Listing
from app.web.pages import Found, NavItem, Watched
from app.web.timeline import moments_of

FOUND = 5  # in the search palette

pages.watch_everywhere(Watched(COUNTS, "/alerts/count", "alerts-critical"))
pages.add_nav(NavItem("Watch", "Alerts", "alerts.index", "bell", Permission.ALERTS_READ, "g a", count_key="alerts-active",
                      prefix="/alerts/", hot=True, alarm_key="alerts-critical"))  # fmt: skip
pages.add_tabs("/fleet/", pages.Tab("alerts", "Alerts", 70))


def _find(text: str) -> list[Found]:
    found = queries.page(AlertFilter(scope=pages.scope(), status="active", q=text), FOUND, 0)
    return [
        Found(f"{a.subject_name}: {a.threshold_name}"[:120], f"/alerts/{a.id}/", "bell", a.severity.value.capitalize())
        for a in found
    ]


pages.add_finder(Permission.ALERTS_READ, _find)
saved.offer(bp, saved.SavedList("alerts", "/alerts/", "Alerts", "alerts", AlertListQuery))


def may_write() -> bool:
    """Whether the page has forms: not for a program that reads it."""
    who = access.actor()
    return who.is_person and who.can(Permission.ALERTS_WRITE)


def _listing(query: AlertListQuery, scope: queries.Scope, path: str = "/alerts/") -> Listing:
    """The page of a query without its rows: counts and the choices of the filters."""
    counts, view = counts_of(query.filter(scope)), query.view()
    choices = Fixed(
        severity=SEVERITIES, metric=tuple((one.key, one.label) for one in metrics()), range=RANGES,
        tenant=tuple((t["id"], t["name"]) for t in tenant_choices(scope)),
    )  # fmt: skip
    total = counts["a-" + {"": "active", "all": "total"}.get(query.status, query.status)]
    return Listing(path, query, total, choices, Fixed(counts), f"alerts?{view}" if view else "alerts")


def _narrowed(query: AlertListQuery) -> tuple[tuple[str, str], ...]:
    """The filters that have no menu: (parameter, name of what it names)."""
    found = []
    for name, value, get in (("computer", query.computer, get_computer), ("threshold", query.threshold, queries.get_threshold)):
        if value:
            try:
                found.append((name, get(value, access.actor()).name))
            except NotFound:
                found.append((name, "one that is gone"))
    return tuple(found)


def _joined(live_list: live.LiveList, state: live.Snapshot) -> Markup:
    html = live.rows(live_list, state.keys)
    return Markup("".join([html[key[0]] for key in state.keys if key[0] in html]))  # noqa: S704 (each is Markup)


def list_context(query: AlertListQuery, scope: queries.Scope, path: str = "/alerts/") -> tuple[dict[str, Any], int]:
    """What `alerts/_table.html` needs, and the rows' revision."""
    state = live.snapshot(ALERTS, query.view(), scope)
    context = {"listing": _listing(query, scope, path), "rows": _joined(ALERTS, state), "rev": state.rev,
               "may_write": may_write(), "chips": CHIPS, "narrowed": _narrowed(query),
               "bulk": bulk.actions("alerts")}  # fmt: skip
    return context, state.rev


@bp.page("/alerts/", permission=Permission.ALERTS_READ)
def index() -> Response:
    """Alerts: the page, or with HX-Request its table."""
    query = validate_query(AlertListQuery, request)
    context, rev = list_context(query, pages.scope())
    if pages.is_fragment():
        response = make_response(render_template("alerts/_table.html", **context))
    else:
        views = saved.tabs("alerts", "/alerts/", query, first="Alerts")
        response = make_response(render_template("alerts/index.html", saved_views=views, page_title="Alerts", **context))
    response.headers["X-Rev"] = str(rev)
    return response


@bp.page("/alerts.csv", permission=Permission.ALERTS_READ)
def download() -> Response:
    """The same filters as CSV."""
    query, scope = validate_query(AlertListQuery, request), pages.scope()
    return csv.stream(CSV_COLUMNS, map(csv_row, queries.each(query.filter(scope), query.sort_key)), "alerts")


@bp.page("/alerts/count", permission=Permission.ALERTS_READ)
def count() -> Response:
    """How many alerts are active, for pages that missed it."""
    state = live.snapshot(COUNTS, "", pages.scope())
    response = make_response(render_template("alerts/_count.html", counts=active_counts(pages.scope())))
    response.headers["X-Rev"] = str(state.rev)
    return response


# -- one alert ---------------------------------------------------------------------------------------------------------


@bp.page("/alerts/<alert_id>/", permission=Permission.ALERTS_READ)
def alert(alert_id: str) -> Response:
    """One alert: its state, its chart, what happened; with HX-Request only its live head."""
    row = queries.get_alert(alert_id, access.actor())
    state = live.snapshot(ALERT, f"id={row.id}", access.actor().tenant_ids)
    head = _joined(ALERT, state)
    if pages.is_fragment():
        response = make_response(head)
    else:
        title = f"{row.subject_name}: {row.threshold_name}"[:160]
        response = make_response(render_template(
            "alerts/alert.html", page_title=title, head=head, rev=state.rev, may_write=may_write(), chart=chart_of(row),
            **_rule_of(row), **_story(row),
        ))  # fmt: skip
    response.headers["X-Rev"] = str(state.rev)
    return response


def _rule_of(row: Alert) -> dict[str, Any]:
    """Its rule, if that still exists, and where its subject is shown."""
    try:
        rule = queries.get_threshold(row.threshold_id, access.actor())
    except NotFound:
        return {"rule": None, "subject_href": subject_href(row)}
    scope = scope_words(rule, scope_names([rule], access.actor().tenant_ids), tenant_names([rule.tenant_id]))
    return {"rule": rule, "subject_href": subject_href(row), "condition": condition(rule), "scope": scope}


def _story(row: Alert) -> dict[str, Any]:
    """What happened to it, and what else was wrong then."""
    scope = access.actor().tenant_ids
    others = queries.concurrent(row, scope)
    names = tenant_names(other.tenant_id for other in others)
    return {"moments": moments_of("alert", row), "others": [row_of(other, names) for other in others], "alert": row,
            "around": around(row, scope)}  # fmt: skip


@bp.page("/alerts/<alert_id>/story", permission=Permission.ALERTS_READ)
def story(alert_id: str) -> str:
    """The timeline and what else was wrong, for a page whose head has just changed."""
    return render_template("alerts/_story.html", **_story(queries.get_alert(alert_id, access.actor())))


def _back_to(alert_id: str) -> Response:
    return make_response(redirect(f"/alerts/{alert_id}/", 303))


@bp.page("/alerts/<alert_id>/acknowledge", permission=Permission.ALERTS_WRITE, methods=("POST",))
def acknowledge(alert_id: str) -> Response:
    """Take it in hand, with a note; again, it changes the note."""
    row = queries.get_alert(alert_id, access.actor())
    had = row.status is AlertStatus.ACKNOWLEDGED
    note = request.form.get("note", "").strip()[:2000]
    try:
        operations.acknowledge_one(row, actor=access.actor(), note=note or ("" if had else None))
    except Conflict as error:
        pages.toast(error.message, "error")
    else:
        undo = None if had else {"url": f"/alerts/{row.id}/unacknowledge", "label": "Undo", "fields": {}}
        pages.toast("Note saved" if had else "Acknowledged: it is not repeated while you are on it", undo=undo)
    return _back_to(row.id)


@bp.page("/alerts/<alert_id>/unacknowledge", permission=Permission.ALERTS_WRITE, methods=("POST",))
def unacknowledge(alert_id: str) -> Response:
    """Nobody has it in hand any more."""
    row = queries.get_alert(alert_id, access.actor())
    done = undoing.unacknowledge([row.id], actor=access.actor())
    pages.toast("It waits for somebody again" if done else "It is not acknowledged", "success" if done else "error")
    return _back_to(row.id)


@bp.page("/alerts/<alert_id>/resolve", permission=Permission.ALERTS_WRITE, methods=("POST",))
def resolve(alert_id: str) -> Response:
    """End it. It does not come again at once while nothing has changed."""
    row = queries.get_alert(alert_id, access.actor())
    try:
        operations.resolve_one(row, actor=access.actor())
    except Conflict as error:
        pages.toast(error.message, "error")
    else:
        metric = metric_of(row.metric)
        undo = {"url": f"/alerts/{row.id}/reopen", "label": "Undo", "fields": {}}
        can_undo = metric is not None and metric.source is not Source.EVENT
        pages.toast("Resolved", undo=undo if can_undo else None)
    return _back_to(row.id)


@bp.page("/alerts/<alert_id>/reopen", permission=Permission.ALERTS_WRITE, methods=("POST",))
def reopen(alert_id: str) -> Response:
    """It was not over: the undo of resolving it."""
    row = queries.get_alert(alert_id, access.actor())
    done = undoing.reopen([row.id], actor=access.actor())
    pages.toast("Open again" if done else "It has recovered since, or has come again", "success" if done else "error")
    return _back_to(row.id)


# -- a computer's alerts -----------------------------------------------------------------------------------------------


@bp.page("/fleet/<uuid>/alerts", permission=Permission.ALERTS_READ)
def of_computer(uuid: str) -> Response:
    """The alerts of one computer, live; with HX-Request their table."""
    computer = get_computer(uuid, access.actor())
    query = validate_query(AlertListQuery, request).model_copy(update={"computer": computer.uuid})
    base = f"/fleet/{computer.uuid}/"
    context, rev = list_context(query, pages.scope(), f"{base}alerts")
    context |= {"narrowed": (), "calm": set(query.filters()) == {"computer"}}
    if pages.is_fragment():
        response = make_response(render_template("alerts/_table.html", **context))
        response.headers["X-Rev"] = str(rev)
        return response
    frame = pages.object_frame(computer, ("computer", f"id={computer.uuid}"), base, "alerts", f"{computer.name} alerts")
    rules = queries.thresholds(access.actor().tenant_ids, computer)
    return make_response(render_template(
        "alerts/computer.html", list_rev=rev, rules=[(rule, condition(rule)) for rule in rules], **(context | frame)
    ))  # fmt: skip
