"""The front page."""

from typing import Any

from flask import render_template

from app.actors import Permission
from app.fleet import queries as fleet
from app.fleet.queries import ComputerFilter
from app.journal.queries import EntryFilter, page_of_entries
from app.overview import bp
from app.overview.queries import checklist
from app.web import access, pages

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
        "busiest": fleet.page(ComputerFilter(scope=scope, status="online"), "-cpu", 5, 0),
        "events": page_of_entries(EntryFilter(type="computer.*", tenant_ids=scope), 1, 8),
        "checklist": checklist(access.actor(), counts["total"]),
    }
    return render_template("overview/index.html", page_title="Overview", **context)
