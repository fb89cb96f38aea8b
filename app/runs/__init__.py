"""Runs: one life cycle, one page and one log for every piece of work, whatever its kind. A kind brings a driver."""

from app.web.routing import Room

bp = Room("runs", __name__)
