"""Connectors: how computers get in touch. Enrolment with one-time tokens, the install line, and the socket that our
connector (docs/connector-protocol.md) and the original agents of contract 002 hold."""

from flask import Flask

from app.web.routing import Room

bp = Room("connectors", __name__)


def init_app(app: Flask) -> None:
    """Give the process its registry of connected computers and its dispatcher of steps for them."""
    from app.connectors import conversation
    from app.connectors.dispatcher import Dispatcher
    from app.connectors.registry import Registry
    from app.connectors.writer import ResultWriter
    from app.runs.operations import dispatch_bells

    app.extensions["binnacle_connections"] = Registry(app)
    dispatcher = app.extensions["binnacle_dispatcher"] = Dispatcher(app)
    app.extensions["binnacle_result_writer"] = ResultWriter(app)
    conversation.listen()
    dispatch_bells[:] = [dispatcher.ring]
