"""The front page."""

from typing import Any

from flask import render_template

from app.actors import Permission
from app.alerts import queries as alerts
from app.alerts.queries import AlertFilter
from app.fleet import queries as fleet
from app.fleet.queries import ComputerFilter
from app.journal.queries import EntryFilter, page_of_entries
from app.overview import bp
from app.overview.queries import bots, checklist
from app.web import access, live, pages

BUSIEST = "per_page=5&sort=-cpu&status=online"
pages.add_nav(pages.NavItem(None, "Overview", "overview.index", "layout-dashboard", Permission.FLEET_READ, "g o"))


@bp.page("/", permission=Permission.FLEET_READ)
def index() -> str:
    """What needs attention, the state of the fleet, what happened last."""
    scope = pages.scope()
    counts = fleet.status_counts(ComputerFilter(scope=scope))
    may_see_alerts = access.actor().can(Permission.ALERTS_READ)
    context: dict[str, Any] = {
        "counts": counts,
        "alerts": alerts.page(AlertFilter(scope=scope, status="active"), 8, 0) if may_see_alerts else [],
        "offline": fleet.page(ComputerFilter(scope=scope, status="offline"), "-last_seen", 8, 0),
        "full": fleet.fullest(scope, 90.0, 8),
        "busiest": _busiest(scope),
        "events": page_of_entries(EntryFilter(type="computer.*", tenant_ids=scope), 1, 8),
        "bots": bots(scope) if access.actor().can(Permission.SESSIONS_READ) else None,
        "checklist": checklist(access.actor(), counts["total"]),
    }
    return render_template("overview/index.html", page_title="Overview", **context)


def _busiest(scope: frozenset[str] | None) -> dict[str, Any]:
    """The computers with the highest CPU as a live view of the Computers list: its rows, its key and its revision."""
    computers = live.get("fleet")
    if computers is None:
        raise LookupError("the room `fleet` has announced no list")
    query = computers.parse(BUSIEST)
    state = live.snapshot(computers, query, scope)
    html = live.rows(computers, state.keys)
    return {"rows": [html[k[0]] for k in state.keys if k[0] in html], "view_key": f"{computers.name}?{query}", "rev": state.rev,
            "src": f"/fleet/?{query}"}  # fmt: skip
