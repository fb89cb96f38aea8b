"""The system itself: health, API documentation, and what the process needs before it serves (migrations, first admin)."""

from app.web.routing import Room

bp = Room("system", __name__)
