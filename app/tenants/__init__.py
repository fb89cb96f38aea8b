"""Tenants: the customers that computers belong to, and whom a user or key may be limited to."""

from app.web.routing import Room

bp = Room("tenants", __name__)
