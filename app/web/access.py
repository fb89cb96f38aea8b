"""Who is calling, and may they? Permissions are declared per route; a route without one fails the boot (RELIABILITY 8)."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, g, request

from app.actors import ANONYMOUS, Actor, ActorKind, Permission
from app.errors import Forbidden, Unauthenticated

Authenticator = Callable[[Request], Actor]
_authenticators: list[Authenticator] = []


_known_keys: list[Callable[[str], Actor | None]] = []


def set_authenticator(authenticate: Authenticator) -> None:
    """The room `auth` says here how credentials become an Actor; `app.web` knows no room."""
    _authenticators[:] = [authenticate]


def set_known_keys(look: Callable[[str], Actor | None]) -> None:
    """The room `api_keys` says here which keys this process has just seen to be good."""
    _known_keys[:] = [look]


def known_key(secret: str) -> Actor | None:
    """The actor behind a key, if that can be said without the database."""
    return _known_keys[0](secret) if _known_keys else None


def actor() -> Actor:
    """The caller of this request."""
    who: Actor = g.get("actor", ANONYMOUS)
    return who


def address() -> str:
    """The caller's address; X-Forwarded-For counts only behind BINNACLE_TRUSTED_PROXIES."""
    return request.remote_addr or "unknown"


def permission_of(view: Callable[..., Any]) -> Permission:
    """What the view asks for. Raises RuntimeError when it declares nothing."""
    permission = getattr(view, "permission", None)
    if permission is None:
        raise RuntimeError(f"{view!r} declares no permission; register it through app.web.routing.Room")
    return Permission(permission)


def check_routes(app: Flask) -> None:
    """Fail the boot when any route declares no permission."""
    for rule in app.url_map.iter_rules():
        permission_of(app.view_functions[rule.endpoint])


def identify(permission: Permission | None) -> Actor:
    """Find out who calls. On public routes bad credentials count as none. Raises Unauthenticated."""
    try:
        return _authenticators[0](request) if _authenticators else ANONYMOUS
    except Unauthenticated:
        if permission in (Permission.PUBLIC, None):
            return Actor(ActorKind.ANONYMOUS, address=address())
        raise


def authorise(who: Actor, permission: Permission) -> None:
    """Raises Unauthenticated for strangers and Forbidden for the rest, unless the actor may."""
    if who.can(permission):
        return
    if who.kind is ActorKind.ANONYMOUS:
        raise Unauthenticated(missing=True)
    if permission in (Permission.USERS_WRITE, Permission.TENANTS_WRITE, Permission.AUDIT_READ, Permission.KEYS_WRITE):
        raise Forbidden("Administrative privileges required")
    raise Forbidden
