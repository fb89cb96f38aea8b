"""Connectors: how computers get in touch. Enrolment with one-time tokens, the install line, and the socket that our
connector (docs/connector-protocol.md) and the original agents of contract 002 hold."""

from flask import Flask

from app.web.routing import Room

bp = Room("connectors", __name__)


def init_app(app: Flask) -> None:
    """Give the process its registry of connected computers."""
    from app.connectors.registry import Registry

    app.extensions["binnacle_connections"] = Registry(app)
