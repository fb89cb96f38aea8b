"""The express lane: what programs send by the thousand is taken in front of Flask, which costs as much as all the rest.

A route that a room declares with `Room.express` has two parts: `check` (who calls and the raw body in, something checked out;
no request, and no database for those whom `when` admits) and `act` (stores it, answers after the commit). Flask's own route
calls the same two. The lane serves a request only when nothing about it is unusual: a key sent as `X-API-Key` that this
process has just seen to be good, no cookie, a body of known size that passes `check`. Anything else goes to Flask, unread or
replayed, so that there is one place where callers are identified, refused and told why.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any

from flask import Flask

from app.actors import Actor, Permission
from app.errors import DomainError, TooMany
from app.web import access, headers, limits
from app.web.contracts import Contract, contract_of
from app.web.json import dump

MAX_BODY = 64 << 10  # a larger body is worth Flask's time
FAILED = "binnacle.express_error"


@dataclass(frozen=True)
class Express:
    """A route of the lane."""

    permission: Permission
    when: Callable[[Actor], bool]
    check: Callable[[Actor, bytes], Any]
    act: Callable[[Flask, Any], Any]
    status: int
    contract: Contract


_routes: dict[str, Express] = {}


def declare(rule: str, permission: Permission, when: Callable[[Actor], bool], check: Callable[[Actor, bytes], Any],
            act: Callable[[Flask, Any], Any], status: int) -> None:  # fmt: skip
    """Open the lane to POSTs to this very path."""
    _routes[rule] = Express(permission, when, check, act, status, contract_of(rule))


class Lane:
    """The WSGI middleware."""

    def __init__(self, app: Flask) -> None:
        self._app, self._next = app, app.wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        route = _routes.get(environ["PATH_INFO"])
        if route is not None and environ["REQUEST_METHOD"] == "POST":
            who = _caller(environ, route)
            length = environ.get("CONTENT_LENGTH", "")
            if who is not None and length.isdecimal() and int(length) <= MAX_BODY:
                answer = self._serve(environ, route, who, int(length))
                if answer is not None:
                    body, extra = answer
                    start_response(f"{route.status} {HTTPStatus(route.status).phrase}", extra)
                    return [body]
        return self._next(environ, start_response)

    def _serve(
        self, environ: dict[str, Any], route: Express, who: Actor, length: int
    ) -> tuple[bytes, list[tuple[str, str]]] | None:
        raw: bytes = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = BytesIO(raw)
        if len(raw) < length:
            return None
        try:
            checked = route.check(who, raw)
        except DomainError:
            return None  # Flask finds the same fault and says it as the contract does
        rate = limits.spend(who, route.contract, environ.get("REMOTE_ADDR", ""))
        try:
            if not rate.allowed:
                raise TooMany(retry_after=rate.retry_after, limit=rate.said)
            body = dump(route.act(self._app, checked))
        except Exception as error:  # Flask's error handlers answer it; the attempt is counted and made already
            environ[FAILED] = error, rate
            return None
        return body, [
            ("Content-Type", "application/json"), ("Content-Length", str(len(body))),
            ("X-Request-ID", headers.request_id(environ.get("HTTP_X_REQUEST_ID", ""))), *headers.API, *rate.headers,
        ]  # fmt: skip


def _caller(environ: dict[str, Any], route: Express) -> Actor | None:
    secret = environ.get("HTTP_X_API_KEY")
    if secret is None or "HTTP_COOKIE" in environ or "HTTP_AUTHORIZATION" in environ or environ.get("QUERY_STRING"):
        return None
    who = access.known_key(secret.strip())
    return who if who is not None and route.when(who) and who.can(route.permission) else None
