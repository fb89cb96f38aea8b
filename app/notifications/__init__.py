"""Notifications: channels through which people are told of alerts (chat, mail, push: whatever Apprise can reach by a URL). The
outbox behind it is the room `deliveries`; each message is sent by a process of its own (`app/apprise_child.py`)."""

from flask import Flask

from app.web.routing import Room

bp = Room("notifications", __name__)


def init_app(_app: Flask) -> None:
    """Announce channels as a way to tell receivers."""
    from app.deliveries.operations import Carrier, carriers
    from app.notifications import messages, operations, queries, sender
    from app.tenants.operations import deletion_guards

    deletion_guards["channels"] = queries.limited_to

    carriers[queries.CARRIER] = Carrier(
        queries.CARRIER, types=queries.wanted_types, route=operations.route, send=sender.send, subject=queries.subject,
        at_once=6, each=1, batch=500, pack=messages.pack, held_too=True,
    )  # fmt: skip
