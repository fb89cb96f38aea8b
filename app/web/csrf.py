"""CSRF: an unsafe request must carry the token, unless it came with a key or a token of its own (RELIABILITY 6)."""

from cachetools import LRUCache
from flask import request, session
from flask_wtf.csrf import CSRFError, generate_csrf

from app.actors import Actor, ActorKind
from app.errors import Forbidden
from app.extensions import csrf
from app.web.contracts import is_api
from app.web.routing import UNSAFE

_signed: LRUCache[str, str] = LRUCache(10_000)


def token() -> str:
    """The token of this session's forms. It is signed once, not for every page, so that the same page stays the same."""
    known = _signed.get(session.get("csrf_token", ""))
    if known is None:
        known = generate_csrf()
        _signed[session["csrf_token"]] = known
    return known


def check(who: Actor) -> None:
    """Raises Forbidden when the token is missing or foreign.

    Programs without a cookie have no ambient authority to abuse; a stranger's form (login, first admin) is checked too.
    """
    if request.method not in UNSAFE or who.kind in (ActorKind.KEY, ActorKind.HOST, ActorKind.TOKEN):
        return
    if who.kind is ActorKind.ANONYMOUS and is_api(request.path):
        return
    try:
        csrf.protect()
    except CSRFError as error:
        raise Forbidden("The form has expired or came from elsewhere; reload the page and try again",
                        details=error.description) from None  # fmt: skip
