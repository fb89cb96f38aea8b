"""The rooms, lowest first. A room may use the models, queries and operations of rooms before it, and of no other."""

from importlib import import_module
from importlib.util import find_spec

from flask import Flask

from app.web import access

ROOMS = (
    "journal",
    "tenants",
    "auth",
    "fleet",
    "api_keys",
    "metrics",
    "runs",
    "connectors",
    "commands",
    "containers",
    "proxies",
    "sessions",
    "live",
    "system",
    "overview",
)
ENTRANCES = ("live", "views", "users", "bulk", "asked", "api", "ws")


def init_app(app: Flask) -> None:
    """Register every room's blueprint with all its routes, then check that each declares a permission."""
    for name in ROOMS:
        package = import_module(f"app.{name}")
        for entrance in ENTRANCES:
            if find_spec(f"app.{name}.{entrance}"):
                import_module(f"app.{name}.{entrance}")
        app.register_blueprint(package.bp)
        start = getattr(package, "init_app", None)
        if start:
            start(app)
    access.check_routes(app)
