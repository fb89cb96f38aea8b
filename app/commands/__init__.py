"""Commands: a shell line on one computer or on many, through the connector, at once or when the computer is back."""

from flask import Flask

from app.web.routing import Room

bp = Room("commands", __name__)


def init_app(app: Flask) -> None:
    """Make the kind `command` known."""
    from app.commands.driver import COMMAND
    from app.runs.drivers import register

    register(COMMAND)
