"""The watch over live sockets: sign-outs within 5 s (by the journal), expired logins within 60 s, stuck writers."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask import Flask

from app.actors import Actor, ActorKind
from app.api_keys.models import ApiKey
from app.auth.models import LoginSession, User
from app.auth.queries import actor_of
from app.clock import now
from app.database import reading, session
from app.factory import settings_of
from app.journal.models import JournalEntry
from app.journal.queries import after, last_seq
from app.live.hub import Hub
from app.logging import get_logger
from app.web.sockets import POLICY_VIOLATION, Watched, watched

WATCH_S = 1.0
RECHECK_S = 60.0
PAGE = 500
ENDING = ("auth.logout", "user.updated", "user.password_changed", "user.logins_ended", "user.deleted", "api_key.revoked")
_started: set[int] = set()
log = get_logger(__name__)


def start_watch(app: Flask, hub: Hub) -> None:
    """Start the watch of this hub, once."""
    if id(hub) not in _started:
        _started.add(id(hub))
        with reading():
            seen = last_seq()
        threading.Thread(target=_run, args=(app, hub, seen), name="live-watch", daemon=True).start()


def _run(app: Flask, hub: Hub, seen: int) -> None:
    with app.app_context():
        while True:
            time.sleep(WATCH_S)
            viewers = [*hub.viewers(), *watched()]
            try:
                with reading():
                    newest = last_seq()
                    ended = after(seen, ENDING, PAGE) if newest > seen else []
                    for entry in ended:
                        _end_matching(viewers, entry)
                    for viewer in viewers:
                        _recheck(viewer, settings_of(app))
                seen = ended[-1].seq if len(ended) == PAGE else newest
            except Exception as error:  # the database may be away for a while; the watch goes on
                log.warning("live watch failed", error=str(error)[:300])


def _end_matching(viewers: Sequence[Watched], entry: JournalEntry) -> None:
    for viewer in viewers:
        who = viewer.actor
        if entry.type == "api_key.revoked":
            hit = who.key_id == entry.subject_id
        elif entry.type == "auth.logout":
            login, token = entry.data.get("login"), entry.data.get("token")
            same_login = bool(login) and (who.login_id or "").startswith(str(login))
            hit = same_login or (bool(token) and who.token_id == token)
        elif entry.type == "user.updated":
            hit = who.user_id == entry.subject_id and entry.data.get("before") != entry.data.get("after")
        else:  # whoever is deleted takes the keys along that they made
            hit = (who.is_person or entry.type == "user.deleted") and who.user_id == entry.subject_id
        if hit:
            viewer.close(POLICY_VIOLATION, "signed out")


def _recheck(viewer: Watched, settings: Any) -> None:
    if viewer.is_stuck():
        viewer.socket.cut()
    if time.monotonic() - viewer.checked_at < RECHECK_S:
        return
    viewer.checked_at = time.monotonic()
    fresh = _still_good(viewer.actor, settings)
    if fresh is None:
        viewer.close(POLICY_VIOLATION, "signed out")
    elif (fresh.role, fresh.tenant_ids) != (viewer.actor.role, viewer.actor.tenant_ids):
        viewer.close(POLICY_VIOLATION, "rights changed")


def _still_good(who: Actor, settings: Any) -> Actor | None:
    if who.valid_until is not None and who.valid_until <= now():
        return None
    if who.kind is ActorKind.KEY:
        key: ApiKey | None = session().get(ApiKey, who.key_id)
        return replace(who, role=key.role, tenant_ids=key.tenant_scope) if key and key.is_active(now()) else None
    user: User | None = session().get(User, who.user_id)
    if user is None or not user.is_active:
        return None
    if who.login_id:
        row: LoginSession | None = session().get(LoginSession, who.login_id)
        idle = timedelta(minutes=settings.session_idle_minutes)
        absolute = timedelta(minutes=settings.session_absolute_minutes)
        if row is None or row.ended_at or now() - row.last_seen > idle or now() - row.created_at > absolute:
            return None
    return actor_of(user)
