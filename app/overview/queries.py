"""What the front page asks across rooms."""

from datetime import datetime, timedelta
from typing import Any

from app.actors import Actor, Permission
from app.api_keys.queries import list_keys
from app.auth.queries import list_users
from app.fleet import queries as fleet
from app.proxies import queries as proxies
from app.runs import queries as runs
from app.sessions.queries import active_sessions
from app.sessions.statistics import hourly

WORST = 8  # proxies on the front page


def bots(scope: frozenset[str] | None) -> dict[str, Any] | None:
    """Sessions now and of the last 24 hours, and the proxies that are not healthy; None where there is neither."""
    counts = proxies.status_counts(proxies.ProxyFilter(scope=scope))
    active, hours = active_sessions(scope), hourly(scope, 24)
    good, bad = (sum(hour[status] for hour in hours) for status in ("completed", "failed"))
    if not (counts["total"] or active or good + bad):
        return None
    worst = proxies.unhealthy(scope, WORST) if counts["unhealthy"] else []
    return {"active": active, "ended": good + bad, "failed": bad, "rate": _rate(good, bad), "counts": counts, "worst": worst}


def _rate(good: int, bad: int) -> str:
    """The share of what went well, such as `98.7%`; never 100 % where something failed."""
    if not good + bad:
        return "–"
    return "100%" if not bad else f"{min(100 * good / (good + bad), 99.9):.1f}%"


def work(scope: frozenset[str] | None, moment: datetime) -> dict[str, Any] | None:
    """Runs under way, and how those of the last 24 hours ended; None where there are neither."""
    under_way, ended = runs.open_count(scope), runs.ended_since(scope, moment - timedelta(hours=24))
    if not under_way and not ended:
        return None
    bad = sum(ended.get(status, 0) for status in ("failed", "timed_out", "lost"))
    return {"open": under_way, "ended": sum(ended.values()), "failed": bad, "rate": _rate(ended.get("succeeded", 0), bad)}


def checklist(actor: Actor) -> list[dict[str, Any]]:
    """The steps of setting up, `{label, href, done}`, whatever tenant is chosen; empty when all are done or may not be done."""
    if not actor.can(Permission.USERS_WRITE):
        return []
    computers = fleet.status_counts(fleet.ComputerFilter(scope=actor.tenant_ids))["total"]
    steps = [
        {"label": "See this machine live", "href": "/fleet/", "done": computers >= 1},
        {"label": "Add a second computer", "href": "/fleet/new", "done": computers >= 2},
        {"label": "Invite a colleague", "href": "/settings/users", "done": len(list_users()) >= 2},
        {"label": "Make a key for a script", "href": "/settings/api-keys",
         "done": any(key.computer_id is None for key in list_keys(actor, own=False))},
    ]  # fmt: skip
    return [] if all(step["done"] for step in steps) else steps
