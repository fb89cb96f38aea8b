"""Live tables: `/ws/live` pushes the rows of watched views to every viewer (ux/README.md, "Live tables")."""

from flask import Flask

from app.web.routing import Room

bp = Room("live", __name__)


def init_app(app: Flask) -> None:
    """Give the process its hub."""
    from app.live.hub import Hub, hub_of
    from app.live.watch import start_watch
    from app.web.live import set_snapshots
    from app.web.sockets import set_watch

    hub = app.extensions["binnacle_hub"] = Hub(app)
    set_snapshots(app, hub.snapshot)
    set_watch(lambda running: start_watch(running, hub_of(running)))
