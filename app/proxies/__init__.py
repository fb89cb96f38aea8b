"""Proxies: the exits that sessions go through, with their health, altogether and for each target host, and active checks."""

from app.web.routing import Room

bp = Room("proxies", __name__)
