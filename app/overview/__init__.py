"""The front page: what needs attention first, and a checklist until the product is set up."""

from app.web.routing import Room

bp = Room("overview", __name__)
