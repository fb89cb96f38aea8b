"""`WS /ws` of contract 003: sessions and events as they happen. In local mode a listener on this very machine needs no
credentials; everybody else authenticates (contracts/README.md, "Local and network mode")."""

import threading
import time
from typing import Any

from flask import current_app, request

from app.actors import Actor, ActorKind, Permission
from app.auth.authenticator import from_first_message, is_local_request
from app.errors import DomainError
from app.factory import settings_of
from app.sessions import bp
from app.sessions.feed import Listener, feed_of
from app.web import sockets
from app.web.body import parse_json
from app.web.json import dump
from app.web.sockets import POLICY_VIOLATION, Socket, text_frame

AUTH_S = 5.0
MESSAGES_A_MINUTE = 100
MAX_SOCKETS = 100


@sockets.route(bp, "/ws", permission=Permission.PUBLIC)
def ws(socket: Socket, who: Actor) -> None:
    """Tell everything that happens to sessions from now on."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    welcome = not settings_of(app).network_mode and is_local_request(request)
    if who.kind is ActorKind.ANONYMOUS and not welcome:
        who = from_first_message(socket, AUTH_S)
    if who.kind is ActorKind.ANONYMOUS and not welcome:
        socket.close(POLICY_VIOLATION, "not authenticated")
        return
    if who.kind is not ActorKind.ANONYMOUS and not who.can(Permission.SESSIONS_READ):
        socket.close(POLICY_VIOLATION, "not enough permissions")
        return
    feed, listener = feed_of(app), Listener(socket, who)
    if sum(1 for other in feed.listeners() if other.actor.id == who.id) >= MAX_SOCKETS:
        socket.close(1013, "too many connections")
        return
    feed.join(listener)
    sockets.watch(app, listener)
    threading.Thread(target=listener.write, name="session-listener", daemon=True).start()
    try:
        _read(socket, listener)
    finally:
        feed.leave(listener)
        sockets.unwatch(listener)
        listener.close(1000, "")


def _read(socket: Socket, listener: Listener) -> None:
    window, count = time.monotonic(), 0
    while True:
        received = socket.receive(None)
        if time.monotonic() - window >= 60:
            window, count = time.monotonic(), 0
        count += 1
        if count > MESSAGES_A_MINUTE:
            listener.close(POLICY_VIOLATION, "too many messages")
            return
        if received is not None and not _is_auth(received):
            text = received if isinstance(received, str) else received.decode("utf-8", "replace")
            listener.push(text_frame(dump({"type": "pong", "data": text}).decode()))


def _is_auth(received: str | bytes) -> bool:
    """The one message that is known; whoever is connected already need not be asked again."""
    try:
        parsed: Any = parse_json(received.encode() if isinstance(received, str) else received)
    except (DomainError, UnicodeError):
        return False
    return isinstance(parsed, dict) and parsed.get("type") == "auth"
