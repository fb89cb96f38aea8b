"""Commands: a shell line on one computer or on many, through the connector, at once or when the computer is back."""

from flask import Flask

from app.web.routing import Room

bp = Room("commands", __name__)


def init_app(app: Flask) -> None:
    """Give the process its dispatcher, and let it hear what connectors say about commands."""
    from app.commands import conversation
    from app.commands.dispatcher import Dispatcher

    app.extensions["binnacle_dispatcher"] = Dispatcher(app)
    conversation.listen()
