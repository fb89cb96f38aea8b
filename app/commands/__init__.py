"""Commands: a shell line on one computer or on many, through the connector, at once or when the computer is back."""

from flask import Flask, current_app

from app.web.routing import Room

bp = Room("commands", __name__)


def init_app(app: Flask) -> None:
    """Give the process its dispatcher, and let it hear what connectors say about commands."""
    from app.commands import conversation, operations
    from app.commands.dispatcher import Dispatcher, dispatcher_of
    from app.runs.models import RunKind
    from app.runs.operations import Driver, drivers

    app.extensions["binnacle_dispatcher"] = Dispatcher(app)
    conversation.listen()
    drivers[RunKind.COMMAND] = Driver(operations.again, lambda: dispatcher_of(current_app).ring())
