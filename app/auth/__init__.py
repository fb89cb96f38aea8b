"""People: users and roles, login and logout, JWTs, invitations, the first admin. `authenticator.py` turns the credentials
of a request into an Actor for every other room."""

from flask import Flask

from app.web.routing import Room

bp = Room("auth", __name__)


def init_app(app: Flask) -> None:
    """Install the authenticator."""
    from app.auth import authenticator

    authenticator.init_app(app)
