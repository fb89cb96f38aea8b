"""API keys of both kinds: `itk_…` for integrations, `chatops_…` bound to one computer. A key is shown once and kept as a hash."""

from flask import Flask

from app.web.routing import Room

bp = Room("api_keys", __name__)


def init_app(app: Flask) -> None:
    """Let the authenticator read keys."""
    from app.api_keys import operations, queries
    from app.auth import authenticator
    from app.auth.operations import end_hooks
    from app.fleet.operations import deletion_hooks
    from app.web import access

    authenticator.set_key_reader(queries.actor_of_key)
    access.set_known_keys(queries.known_actor)
    if operations.note_change not in deletion_hooks:
        deletion_hooks.append(operations.note_change)
    if operations.note_change not in end_hooks:
        end_hooks.append(operations.note_change)
