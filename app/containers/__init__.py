"""Containers: what runs on the computers in Docker or Podman, as their connectors report it; what is done to them, which is a
run; and their logs, which are read from the computer when somebody looks."""

from flask import Flask

from app.web.routing import Room

bp = Room("containers", __name__)


def init_app(app: Flask) -> None:
    """Make the kind `container` known, hear what connectors say about containers, and give the process its desk for logs."""
    from app.containers import conversation
    from app.containers.desk import Desk
    from app.containers.driver import CONTAINER
    from app.runs.drivers import register

    register(CONTAINER)
    app.extensions["binnacle_log_desk"] = Desk(app)
    conversation.listen()
