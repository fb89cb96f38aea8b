"""Pages of the sessions: the list with its charts, one session with its timeline, the feed of events, errors in groups."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from flask import Response, make_response, render_template, request
from markupsafe import Markup

from app.actors import Permission
from app.clock import from_ms
from app.errors import NotFound
from app.proxies.queries import get_proxy
from app.sessions import bp, queries, rows, statistics
from app.sessions.events import events_by_ids, narrow_events, place_of_event
from app.sessions.export import EVENT_EXPORT, SESSION_PAGE_EXPORT
from app.sessions.live import (
    DEVICES,
    EVENTS,
    RANGES,
    SESSION,
    SESSIONS,
    STATUSES,
    TIMELINE,
    TIMELINE_PAGE,
    EventsPage,
    SessionsPage,
    TimelinePage,
    event_counts,
    figures,
    session_rows,
    timeline_counts,
)  # fmt: skip
from app.sessions.models import BotSession, SessionStatus
from app.sessions.queries import Scope
from app.shapes import Fixed
from app.tenants.queries import tenant_choices
from app.web import access, export, live, pages, saved
from app.web.body import validate_query
from app.web.listing import Listing
from app.web.pages import Found, NavItem

READ = Permission.SESSIONS_READ
ERRORS_PAGE = 50
CHART_HOURS, CHART_SHARES = 24, 5
KINDS = tuple((kind.value, word) for kind, (word, _) in rows.TYPES.items())
pages.add_nav(
    NavItem(
        "Work",
        "Sessions",
        "sessions.index",
        "robot",
        READ,
        "g w",
        queries.active_count,
        "sessions_active",
        "/sessions/",
    ),
    NavItem("Watch", "Events", "sessions.events", "history", READ, "g e", place=1),
)
saved.offer(bp, saved.SavedList("sessions", "/sessions/", "Sessions", "sessions", SessionsPage))
Choices = tuple[tuple[str, str], ...]


def _find(text: str) -> list[Found]:
    """What the search palette finds: the session whose whole id somebody pastes; a part of one would have to be looked for in
    every row."""
    try:
        row = queries.get_session(text, access.actor())
    except NotFound:
        return []
    return [Found(rows.one_line(row.session_id), f"/sessions/{row.id}/", "robot", f"Session · {row.status.value}")]


pages.add_finder(READ, _find)


def _shown(live_list: live.LiveList, keys: Iterable[live.Key]) -> Markup:
    """The rows of a state of a live list, in order."""
    known = list(keys)
    html = live.rows(live_list, known)
    return Markup("".join([html[key[0]] for key in known if key[0] in html]))  # noqa: S704 (each is Markup)


# -- sessions ------------------------------------------------------------------------------------------------------------


def _choices(found: Iterable[str], chosen: str) -> Choices:
    """Values as choices; the chosen one is always among them."""
    values = list(found)
    return tuple((value, rows.one_line(value, 60)) for value in (values if not chosen or chosen in values else [chosen, *values]))


def _listing(query: SessionsPage, scope: Scope) -> Listing:
    """The page of a query without its rows: figures and the choices of the filters."""
    wanted, view, totals = query.filter(scope), query.view(), statistics.totals(scope, query.tenant)
    known = statistics.filter_choices(scope)
    options: Fixed[str, Choices] = Fixed(
        status=STATUSES, range=tuple((key, word) for key, (word, _) in RANGES.items()),
        country=_choices(known["country"], query.country), target=_choices(known["target"], query.target),
        device=_choices(DEVICES, query.device), tenant=tuple((t["id"], t["name"]) for t in tenant_choices(scope)),
    )  # fmt: skip
    shown = figures(totals)
    total = shown[query.status or "total"] if wanted.is_counted else queries.count_sessions(wanted)
    return Listing("/sessions/", query, total, options, Fixed(shown), f"sessions?{view}" if view else "sessions", lead=0)


def _chips(query: SessionsPage, listing: Listing, scope: Scope) -> tuple[Fixed[str, str], ...]:
    """What the list is narrowed to by links alone: a group of errors, a proxy."""
    found = []
    if query.error:
        found.append(("error", query.error, "Error:", statistics.error_message(scope, query.error) or query.error))
    if query.proxy:
        try:
            found.append(("proxy", query.proxy, "Proxy:", get_proxy(query.proxy, access.actor()).address))
        except NotFound:
            found.append(("proxy", query.proxy, "Proxy:", query.proxy))
    return tuple(Fixed(name=name, value=value, label=label, text=rows.one_line(text), href=listing.url(**{name: ""}))
                 for name, value, label, text in found)  # fmt: skip


@bp.page("/sessions/", permission=READ)
def index() -> Response:
    """Sessions: the page, or with HX-Request its table."""
    query, scope = validate_query(SessionsPage, request), pages.scope()
    state = live.snapshot(SESSIONS, query.view(), scope)
    listing = _listing(query, scope)
    context = {"listing": listing, "rows": _shown(SESSIONS, state.keys), "rev": state.rev, "chips": _chips(query, listing, scope)}
    if pages.is_fragment():
        response = make_response(render_template("sessions/_table.html", **context))
    else:
        views = saved.tabs("sessions", "/sessions/", query, first=None)
        only = urlencode({"tenant": query.tenant}) if query.tenant else ""
        response = make_response(render_template("sessions/index.html", saved_views=views, only=only,
                                                 page_title="Sessions", **context))  # fmt: skip
    response.headers["X-Rev"] = str(state.rev)
    return response


@bp.page("/sessions.csv", permission=READ)
def download() -> Response:
    """The same filters as CSV, newest first."""
    wanted = validate_query(SessionsPage, request).filter(pages.scope())
    return export.stream(SESSION_PAGE_EXPORT, lambda statement: queries.narrow_sessions(statement, wanted))


def _bars(one: dict[str, int], x: int, most: int) -> dict[str, Any]:
    """An hour of the chart: its bars (class, y, height) from the ground up in a box 100 high."""
    bars, top = [], 100.0
    for kind, status in (("ok", SessionStatus.COMPLETED), ("bad", SessionStatus.FAILED), ("on", SessionStatus.ACTIVE)):
        if n := one[status.value]:
            height = 100 * n / most
            top -= height
            bars.append((kind, f"{top:.2f}", f"{height:.2f}"))
    at = from_ms(one["hour"]).strftime("%H:%M")
    return dict(at=at, x=f"{x + 0.1:.1f}", bars=tuple(bars), **{status.value: one[status.value] for status in SessionStatus})


def _shares(scope: Scope, kind: str) -> list[dict[str, Any]]:
    found = statistics.shares(scope, kind, CHART_HOURS, CHART_SHARES)
    return [{"value": value, "text": rows.one_line(value, 60), "n": good + bad, "rate": 100 * good / (good + bad)}
            for value, good, bad in found]  # fmt: skip


@bp.page("/sessions/charts", permission=READ)
def charts() -> str:
    """Sessions per hour, and how countries and targets do: what the page loads after itself; without htmx a page."""
    scope = pages.scope()
    hours = statistics.hourly(scope, CHART_HOURS)
    most = max(sum(one[status.value] for status in SessionStatus) for one in hours)
    values: dict[str, Any] = {
        "hours": [_bars(one, x, most) for x, one in enumerate(hours)], "most": most,
        "countries": _shares(scope, "country"), "targets": _shares(scope, "target"),
    }  # fmt: skip
    template = "sessions/_charts.html" if pages.is_fragment() else "sessions/charts.html"
    return render_template(template, page_title="Charts of sessions", **values)


# -- one session ---------------------------------------------------------------------------------------------------------


def _found(row_id: int) -> BotSession:
    """Raises NotFound, also for a number that no session can have."""
    if not 0 < row_id < 10**18:
        raise NotFound("Session not found")
    return queries.get_row(row_id, access.actor())


@bp.page("/sessions/<int:row_id>/", permission=READ)
def one(row_id: int) -> str:
    """One session: its live head and a page of its timeline (`at`: the page that an event is on); with HX-Request these alone."""
    row, who = _found(row_id), access.actor()
    given = {name: request.args[name] for name in ("page", "type") if request.args.get(name)}
    query = TimelinePage.parse(urlencode(given | {"id": row_id}))
    at = request.args.get("at", 0, int)
    if 0 < at < 10**18 and not query.type:
        query = query.model_copy(update={"page": place_of_event(row_id, at) // TIMELINE_PAGE + 1})
    head, steps = live.snapshot(SESSION, f"id={row_id}", who.tenant_ids), live.snapshot(TIMELINE, query.view(), who.tenant_ids)
    total = timeline_counts(query.view(), who.tenant_ids).get("timeline", 0)
    src = f"/sessions/{row_id}/?{urlencode({k: v for k, v in (('page', query.page), ('type', query.type)) if v})}"
    context = {
        "row": session_rows([row])[0], "head": _shown(SESSION, head.keys), "head_key": f"session?id={row_id}",
        "head_rev": head.rev, "steps": _shown(TIMELINE, steps.keys), "timeline_key": f"session-events?{query.view()}",
        "timeline_rev": steps.rev, "src": src, "query": query, "total": total, "kinds": KINDS, "per_page": TIMELINE_PAGE,
        "pages": max(1, -(-total // TIMELINE_PAGE)),
    }  # fmt: skip
    if pages.is_fragment():
        return render_template("sessions/_live.html", **context)
    return render_template("sessions/session.html", page_title=context["row"].name, **context)


@bp.page("/sessions/<int:row_id>/events/<int:event_id>", permission=READ)
def event(row_id: int, event_id: int) -> str:
    """One event with everything that the bot said of it."""
    row = _found(row_id)
    found = events_by_ids([event_id] if event_id < 10**18 else []).get(event_id)
    if found is None or found.session_row != row.id:
        raise NotFound("Event not found")
    shown = rows.event_row(found, row.started_at)
    json, _ = rows.pretty(found.details)
    return render_template("sessions/event.html", event=shown, session=session_rows([row])[0], json=json,
                           page_title=f"{shown.word} in {rows.one_line(row.session_id)}")  # fmt: skip


# -- the feed, the errors ------------------------------------------------------------------------------------------------


@bp.page("/events/", permission=READ)
def events() -> Response:
    """The feed of events, newest first; with HX-Request its table."""
    query, scope = validate_query(EventsPage, request), pages.scope()
    view = query.view()
    state = live.snapshot(EVENTS, view, scope)
    counts = event_counts(view, scope)
    listing = Listing("/events/", query, counts["total"], Fixed(), Fixed(counts), f"events?{view}" if view else "events")
    context = {"listing": listing, "rows": _shown(EVENTS, state.keys), "rev": state.rev, "kinds": KINDS, "page_title": "Events"}
    template = "sessions/_feed.html" if pages.is_fragment() else "sessions/events.html"
    response = make_response(render_template(template, **context))
    response.headers["X-Rev"] = str(state.rev)
    return response


@bp.page("/events.csv", permission=READ)
def download_events() -> Response:
    """The same filters as CSV, newest first. Raises NotFound for a session that there is not."""
    wanted = validate_query(EventsPage, request).filter(pages.scope())
    return export.stream(EVENT_EXPORT, lambda statement: narrow_events(statement, wanted))


@bp.page("/sessions/errors", permission=READ)
def errors() -> str:
    """The errors that sessions ended with, in groups by what they have in common."""
    scope, page = pages.scope(), min(max(1, request.args.get("page", 1, int)), 1_000_000)
    names = {t["id"]: t["name"] for t in tenant_choices(scope)}
    total = statistics.count_error_groups(scope)
    groups = [{
        "message": rows.one_line(group.message, 500), "n": group.n,
        "first": from_ms(group.first_at), "last": from_ms(group.last_at),
        "tenant": names.get(group.tenant_id, "–"),
        "href": "/sessions/?" + urlencode({"error": group.key} | ({"tenant": group.tenant_id} if len(names) > 1 else {})),
    } for group in statistics.error_groups(scope, ERRORS_PAGE, (page - 1) * ERRORS_PAGE)]  # fmt: skip
    return render_template("sessions/errors.html", groups=groups, total=total, page=page, pages=max(1, -(-total // ERRORS_PAGE)),
                           many=len(names) > 1, page_title="Errors")  # fmt: skip
