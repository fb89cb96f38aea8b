"""What the front page asks across rooms."""

from typing import Any

from app.actors import Actor, Permission
from app.api_keys.queries import list_keys
from app.auth.queries import list_users


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
