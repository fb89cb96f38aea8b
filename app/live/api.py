"""`WS /ws/live`: subscribe to views, get their rows as they change."""

import threading
import time

from flask import current_app, session

from app.actors import Actor, ActorKind, Permission
from app.auth.authenticator import from_first_message
from app.errors import DomainError, Malformed, NotFound
from app.live import bp
from app.live.hub import Hub, hub_of
from app.live.viewer import Viewer, message
from app.live.watch import start_watch
from app.web import live, sockets
from app.web.body import parse_json
from app.web.sockets import POLICY_VIOLATION, Socket

AUTH_S = 5.0
MESSAGES_A_MINUTE = 100
MAX_VIEWS = 16
MAX_SOCKETS = 100  # per user: contract 004, "WebSocket connections"


@sockets.route(bp, "/ws/live", permission=Permission.PUBLIC)
def live_ws(socket: Socket, who: Actor) -> None:
    """Authenticate (cookie, header, or a first `auth` message), then serve subscriptions until the socket closes."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    if who.kind is ActorKind.ANONYMOUS:
        who = from_first_message(socket, AUTH_S)
    if who.kind in (ActorKind.ANONYMOUS, ActorKind.HOST):
        socket.close(POLICY_VIOLATION, "signed out")
        return
    hub = hub_of(app)
    if sum(1 for v in hub.viewers() if v.actor.id == who.id) >= MAX_SOCKETS:
        socket.close(1013, "too many connections")
        return
    viewer = Viewer(socket, who, session.get("tenant"))
    hub.join(viewer)
    start_watch(app, hub)
    viewer.push(message(op="build", hash=app.config["BUILD"]))
    threading.Thread(target=viewer.write, name="live-writer", daemon=True).start()
    try:
        _read(socket, viewer, hub)
    finally:
        hub.leave(viewer)
        viewer.close(1000, "")


def _read(socket: Socket, viewer: Viewer, hub: Hub) -> None:
    window, count = time.monotonic(), 0
    while True:
        received = socket.receive(None)
        if time.monotonic() - window >= 60:
            window, count = time.monotonic(), 0
        count += 1
        if count > MESSAGES_A_MINUTE:
            socket.close(POLICY_VIOLATION, "too many messages")
            return
        if received is None:
            continue
        try:
            _act(received, viewer, hub)
        except (DomainError, UnicodeError) as error:
            viewer.push(message(op="error", message=str(error)[:300]))


def _act(received: str | bytes, viewer: Viewer, hub: Hub) -> None:
    parsed = parse_json(received.encode() if isinstance(received, str) else received)
    if not isinstance(parsed, dict):
        raise Malformed("a message is an object")
    key, rev = parsed.get("view"), parsed.get("rev", -1)
    match parsed.get("op"):
        case "sub" if isinstance(key, str) and isinstance(rev, int):
            _subscribe(key[:1000], rev, viewer, hub)
        case "unsub" if isinstance(key, str):
            hub.unsubscribe(viewer, key)
        case "hb":
            return
        case _:
            raise Malformed("op is sub {view, rev}, unsub {view} or hb")


def _subscribe(key: str, rev: int, viewer: Viewer, hub: Hub) -> None:
    name, _, query = key.partition("?")
    live_list = live.get(name)
    if live_list is None or not viewer.actor.can(live_list.permission):
        raise NotFound("no such view")
    if len(viewer.views) >= MAX_VIEWS and key not in viewer.views:
        raise Malformed(f"at most {MAX_VIEWS} views a connection")
    canonical = live_list.parse(query)
    if (f"{name}?{canonical}" if canonical else name) != key:
        raise Malformed("the view is not in its canonical form")
    hub.subscribe(viewer, live_list, key, canonical, viewer.actor, rev)
