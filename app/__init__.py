"""Binnacle: the console from which technicians watch and work a fleet.

The imports stand inside `create_app` because the launcher (`app.launcher`) is part of this package too: it
supervises the processes, imports nothing but the standard library, and must stay small and start at once.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.config import Settings

__version__ = "0.1.0"


def create_app(settings: "Settings | None" = None) -> "Flask":
    """Build the application: config, extensions, rooms, errors.

    Raises ConfigError when a setting is missing, wrong or unsafe, and RuntimeError when a route declares no permission.
    """
    from app import extensions, rooms, web
    from app.config import load_settings
    from app.factory import make_flask

    settings = settings or load_settings()
    app = make_flask(settings)
    extensions.init_app(app, settings)
    web.init_app(app, settings)
    rooms.init_app(app)
    return app
