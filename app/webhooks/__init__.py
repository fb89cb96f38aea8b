"""Webhooks: programs outside are told what happened, signed, and told again until they have acknowledged it. What they may
subscribe to is one table, `events.py`; the outbox behind it is the room `deliveries`."""

from flask import Flask

from app.web.routing import Room

bp = Room("webhooks", __name__)


def init_app(_app: Flask) -> None:
    """Announce webhooks as a way to tell receivers."""
    from app.deliveries.operations import Carrier, carriers
    from app.tenants.operations import deletion_guards
    from app.webhooks import operations, queries, sender

    deletion_guards["webhooks"] = queries.limited_to

    carriers[queries.CARRIER] = Carrier(
        queries.CARRIER, types=queries.wanted_types, route=operations.route, send=sender.send, subject=queries.subject,
        retire=operations.retire, at_once=32, each=4, batch=16,
    )  # fmt: skip
