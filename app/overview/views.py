"""The front page."""

from typing import Any

from flask import render_template

from app.actors import Permission
from app.clock import now
from app.fleet import queries as fleet
from app.fleet.queries import ComputerFilter
from app.journal.queries import EntryFilter, page_of_entries
from app.overview import bp
from app.overview.queries import bots, checklist, work
from app.web import access, live, pages

BUSIEST = "per_page=5&sort=-cpu&status=online"
ALERTS = "per_page=8"
pages.add_nav(pages.NavItem(None, "Overview", "overview.index", "layout-dashboard", Permission.FLEET_READ, "g o"))


@bp.page("/", permission=Permission.FLEET_READ)
def index() -> str:
    """What needs attention, the state of the fleet, what happened last."""
    scope = pages.scope()
    counts = fleet.status_counts(ComputerFilter(scope=scope))
    context: dict[str, Any] = {
        "counts": counts,
        "offline": fleet.page(ComputerFilter(scope=scope, status="offline"), "-last_seen", 8, 0),
        "full": fleet.fullest(scope, 90.0, 8),
        "busiest": _view("fleet", BUSIEST, scope),
        "alerts": _view("alerts", ALERTS, scope) if access.actor().can(Permission.ALERTS_READ) else None,
        "may_acknowledge": access.actor().is_person and access.actor().can(Permission.ALERTS_WRITE),
        "events": page_of_entries(EntryFilter(type="computer.*", tenant_ids=scope), 1, 8),
        "work": work(scope, now()),
        "bots": bots(scope) if access.actor().can(Permission.SESSIONS_READ) else None,
        "checklist": checklist(access.actor()),
    }
    return render_template("overview/index.html", page_title="Overview", **context)


def _view(name: str, query: str, scope: frozenset[str] | None) -> dict[str, Any]:
    """The first rows of another room's list as a live view of it: the rows, their key, their revision and the counts."""
    live_list = live.get(name)
    if live_list is None:
        raise LookupError(f"no room has announced a list {name}")
    query = live_list.parse(query)
    state = live.snapshot(live_list, query, scope)
    html = live.rows(live_list, state.keys)
    return {"rows": [html[k[0]] for k in state.keys if k[0] in html], "view_key": f"{name}?{query}", "rev": state.rev,
            "src": f"/{name}/?{query}", "counts": state.counts}  # fmt: skip
