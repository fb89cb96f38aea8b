"""The journal: every change, in order, in the transaction that made it; the audit page and API read it."""

from app.web.routing import Room

bp = Room("journal", __name__)
