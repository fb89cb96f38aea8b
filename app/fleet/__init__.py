"""The fleet: computers with their inventory, tags, software and status, and the saved views of their list."""

from app.web.routing import Room

bp = Room("fleet", __name__)
