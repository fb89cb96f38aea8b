"""Credentials of a request → Actor: the login cookie, then `Authorization: Bearer` (JWT or API key), then `X-API-Key`
(contracts/README.md, "Authentication")."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

from flask import Flask, Request, current_app, g, request, session
from flask_login import UserMixin, current_user
from sqlalchemy.exc import OperationalError

from app import tokens
from app.actors import ANONYMOUS, Actor, ActorKind
from app.auth import operations, queries
from app.auth.models import User
from app.clock import now
from app.config import Settings
from app.database import reading, release
from app.errors import Malformed, Unauthenticated
from app.extensions import db, login
from app.factory import settings_of
from app.logging import get_logger
from app.web import access
from app.web.body import parse_json
from app.web.contracts import is_api
from app.web.sockets import Socket

PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
TOUCH_EVERY = timedelta(minutes=1)
UNATTENDED = "X-Unattended"  # sent by what a page fetches by the clock: it must not keep the login of somebody who has left
log = get_logger(__name__)
_key_readers: list[Callable[[str], Actor | None]] = []


def set_key_reader(reader: Callable[[str], Actor | None]) -> None:
    """The room `api_keys` says here how a key becomes an Actor (None: not a key of ours, or no longer good)."""
    _key_readers[:] = [reader]


class SignedIn(UserMixin):  # type: ignore[misc]
    """What flask-login keeps of the signed-in person: the Actor behind the cookie's login token."""

    def __init__(self, token: str, who: Actor) -> None:
        self.id = token
        self.actor = who


def init_app(app: Flask) -> None:
    """Bind flask-login and the authenticator."""
    login.session_protection = None  # addresses change on the road; the token is random, server-side and HttpOnly
    login.user_loader(_load)
    access.set_authenticator(authenticate)


def jwt_key(settings: Settings) -> str:
    """The key that signs tokens: derived, so that a cookie's signature is never a token's."""
    assert settings.secret_key is not None
    return hashlib.sha256(b"binnacle jwt " + settings.secret_key.get_secret_value().encode()).hexdigest()


def _load(token: str) -> SignedIn | None:
    settings = settings_of(current_app)
    idle, absolute = timedelta(minutes=settings.session_idle_minutes), timedelta(minutes=settings.session_absolute_minutes)
    found = queries.live_login(token, idle, absolute)
    if found is None:
        return None
    moment = now()
    if moment - found.last_seen > min(TOUCH_EVERY, idle / 3) and UNATTENDED not in request.headers:
        release()
        try:
            operations.touch_login(found.actor.login_id or "", moment)
        except OperationalError as error:  # a database that is busy writing can still be read; the next request notes it
            log.warning("a login in use was not noted", error=str(error.orig))
    return SignedIn(token, found.actor)


def authenticate(request: Request) -> Actor:
    """Who calls. ANONYMOUS without credentials; raises Unauthenticated for bad ones."""
    who = _from_cookie() or _from_headers(request) or _single_user(request) or ANONYMOUS
    return replace(who, address=access.address(), request_id=g.get("request_id"))


def _from_cookie() -> Actor | None:
    if "_user_id" not in session or not current_user.is_authenticated:
        return None
    who: Actor = current_user.actor
    return who


def _single_user(request: Request) -> Actor | None:
    """The desktop mode of contract 001: with BINNACLE_SINGLE_USER a program on this very machine is the first admin, when the
    peer and the Host are loopback, no proxy stands in between and no other site's page has sent it."""
    if not settings_of(current_app).single_user or not is_api(request.path) or not is_local_request(request):
        return None
    admin = queries.first_admin()
    return None if admin is None else queries.actor_of(admin, ActorKind.TOKEN)


def is_local_request(request: Request) -> bool:
    """Whether a program on this very machine asks: the peer and the Host are loopback, no proxy stands in between and no other
    site's page has sent it."""
    host = request.host.rpartition(":")[0] if ":" in request.host.rpartition("]")[2] else request.host
    foreign = request.headers.get("Origin", f"{request.scheme}://{request.host}") != f"{request.scheme}://{request.host}"
    crossed = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
    if any(name in request.headers for name in PROXY_HEADERS) or foreign or crossed:
        return False
    return _is_loopback(request.remote_addr or "") and (host == "localhost" or _is_loopback(host.strip("[]")))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _from_headers(request: Request) -> Actor | None:
    header = request.headers.get("Authorization", "")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() == "bearer" and secret:
        return from_secret(secret.strip())
    if key := request.headers.get("X-API-Key"):
        return from_secret(key.strip())
    if header:
        raise Unauthenticated
    return None


def from_secret(secret: str) -> Actor:
    """A JWT or an API key. Raises Unauthenticated."""
    if secret.count(".") == 2:
        return _from_jwt(secret)
    who = _key_readers[0](secret) if _key_readers else None
    if who is None:
        raise Unauthenticated
    return who


def from_first_message(socket: Socket, timeout: float) -> Actor:
    """Who speaks on a socket, by its first message `{"type": "auth", "token" | "api_key"}`; ANONYMOUS when it is none."""
    received = socket.receive(timeout)
    try:
        parsed: Any = parse_json(received.encode() if isinstance(received, str) else received or b"null")
        secret = (parsed.get("token") or parsed.get("api_key")) if isinstance(parsed, dict) else None
        with reading():
            return from_secret(secret) if isinstance(secret, str) else ANONYMOUS
    except (Malformed, Unauthenticated, UnicodeError):
        return ANONYMOUS


def read_jwt(secret: str) -> tuple[User, tokens.Claims]:
    """The user and the claims of a good JWT. Raises Unauthenticated: bad, expired, revoked, user disabled or changed."""
    try:
        claims = tokens.read(jwt_key(settings_of(current_app)), secret)
    except tokens.BadToken:
        raise Unauthenticated from None
    user: Any = db.session.get(User, claims.user_id)
    if user is None or not user.is_active or user.epoch != claims.version or queries.is_revoked(claims.jti):
        raise Unauthenticated
    return user, claims


def _from_jwt(secret: str) -> Actor:
    user, claims = read_jwt(secret)
    return replace(queries.actor_of(user, ActorKind.TOKEN), token_id=claims.jti, valid_until=claims.expires_at)
