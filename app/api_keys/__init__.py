"""API keys of both kinds: `itk_…` for integrations, `chatops_…` bound to one computer. A key is shown once and kept as a hash."""

from flask import Flask

from app.web.routing import Room

bp = Room("api_keys", __name__)


def init_app(app: Flask) -> None:
    """Let the authenticator read keys."""
    from app.api_keys import queries
    from app.auth import authenticator

    authenticator.set_key_reader(queries.actor_of_key)
