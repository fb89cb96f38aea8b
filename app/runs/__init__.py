"""Runs: one life cycle, one page and one log for every piece of work, whatever its kind. A kind brings a driver."""

from flask import Flask

from app.web.routing import Room

bp = Room("runs", __name__)


def init_app(app: Flask) -> None:
    """Give the process its doorbell of workers."""
    from app.runs.bell import Bell
    from app.runs.operations import work_bells

    bell = app.extensions["binnacle_bell"] = Bell(app)
    work_bells[:] = [bell.ring]
