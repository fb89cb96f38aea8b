"""What the front page asks across rooms."""

from typing import Any

from app.actors import Actor, Permission
from app.api_keys.queries import list_keys
from app.auth.queries import list_users
from app.proxies import queries as proxies
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
    rate = f"{100 * good / (good + bad):.1f}%" if good + bad else "–"
    if rate == "100.0%":
        rate = "100%" if not bad else "99.9%"
    worst = proxies.unhealthy(scope, WORST) if counts["unhealthy"] else []
    return {"active": active, "ended": good + bad, "failed": bad, "rate": rate, "counts": counts, "worst": worst}


def checklist(actor: Actor, computers: int) -> list[dict[str, Any]]:
    """The steps of setting up, `{label, href, done}`; empty when all are done or the actor may not do them."""
    if not actor.can(Permission.USERS_WRITE):
        return []
    steps = [
        {"label": "See this machine live", "href": "/fleet/", "done": computers >= 1},
        {"label": "Add a second computer", "href": "/fleet/new", "done": computers >= 2},
        {"label": "Invite a colleague", "href": "/settings/users", "done": len(list_users()) >= 2},
        {"label": "Make a key for a script", "href": "/settings/api-keys",
         "done": any(key.computer_id is None for key in list_keys(actor, own=False))},
    ]  # fmt: skip
    return [] if all(step["done"] for step in steps) else steps
