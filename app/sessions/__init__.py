"""Sessions: what browser-automation bots report of each session and its events, with counters that are kept as data arrives."""

from flask import Flask

from app.web.routing import Room

bp = Room("sessions", __name__)


def init_app(app: Flask) -> None:
    """Give the process its writer of sessions and events."""
    from app.sessions.writer import SessionWriter

    app.extensions["binnacle_session_writer"] = SessionWriter(app)
