"""The hub: one per process. It wakes at most every TICK_S, sees by the change clock whether a watched list has changed, reads
ids and versions of its watched views, renders each changed row once, and gives every viewer of a view the same bytes."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from flask import Flask

from app.actors import Actor
from app.database import reading
from app.journal.queries import clock
from app.live.viewer import Viewer
from app.logging import get_logger
from app.web.live import Key, LiveList, Scope, rows
from app.web.sockets import text_frame

TICK_S = 0.25
RING = 64
log = get_logger(__name__)


@dataclass(eq=False)
class View:
    """A canonical query of a list within a scope, as last read. `checked` is the clock up to which it is known unchanged."""

    list: LiveList
    query: str
    scope: Scope
    key: str
    rev: int = 0
    checked: int = -1
    keys: Sequence[Key] = ()
    counts: dict[str, Any] = field(default_factory=dict)
    ring: deque[tuple[int, int, bytes]] = field(default_factory=lambda: deque(maxlen=RING))
    viewers: set[Viewer] = field(default_factory=set)


def frame(message: dict[str, Any]) -> bytes:
    """A message as the bytes of a WebSocket frame."""
    return text_frame(orjson.dumps(message).decode())


class Hub:
    """The watched views of this process and their viewers."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.RLock()
        self._views: dict[tuple[str, Scope], View] = {}
        self._viewers: set[Viewer] = set()
        self._awake = threading.Event()
        self._pid = 0
        self.frames = 0

    def join(self, viewer: Viewer) -> None:
        """Take a viewer in; its socket is watched for sign-outs until `leave`."""
        with self._lock:
            self._viewers.add(viewer)
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="live-hub", daemon=True).start()
            self._awake.set()

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer and the views that nobody watches any more."""
        with self._lock:
            self._viewers.discard(viewer)
            for key in list(viewer.views):
                self._detach(viewer, key)

    def viewers(self) -> list[Viewer]:
        """Everybody who is connected."""
        with self._lock:
            return list(self._viewers)

    def subscribe(self, viewer: Viewer, live_list: LiveList, key: str, query: str, who: Actor, rev: int) -> None:
        """Attach a viewer to a view and bring it from `rev` to the present: nothing, the missed patches, or `stale`."""
        scope = viewer.scope_for(who)
        with self._lock:  # look-up and attachment are one critical section, or the view could be reaped in between
            view = self._views.get((key, scope))
            if view is None:
                view = self._views[(key, scope)] = View(live_list, query, scope, key)
            with reading():
                self._refresh(view, clock(live_list.clock))
            view.viewers.add(viewer)
            viewer.views[key] = view
            for data in self._catch_up(view, rev):
                viewer.push(data)

    def _catch_up(self, view: View, rev: int) -> list[bytes]:
        if rev == view.rev:
            return []
        if rev > view.rev:
            return [self._step(view, rev, view.rev)]
        missed = [entry for entry in view.ring if entry[1] > rev]
        if missed and missed[0][0] <= rev:
            first = [] if missed[0][0] == rev else [self._step(view, rev, missed[0][0])]
            return first + [entry[2] for entry in missed]
        return [frame({"op": "stale", "view": view.key, "rev": view.rev})]

    @staticmethod
    def _step(view: View, from_rev: int, rev: int) -> bytes:
        return frame({"op": "patch", "view": view.key, "from": from_rev, "rev": rev, "up": []})

    def unsubscribe(self, viewer: Viewer, key: str) -> None:
        """Detach a viewer from a view."""
        with self._lock:
            self._detach(viewer, key)

    def _detach(self, viewer: Viewer, key: str) -> None:
        view = viewer.views.pop(key, None)
        if view is not None:
            view.viewers.discard(viewer)
            if not view.viewers:
                self._views.pop((view.key, view.scope), None)

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                if not self._viewers:
                    self._awake.clear()
                    self._awake.wait(30)
                    continue
                started = time.monotonic()
                try:
                    self.tick()
                except Exception as error:  # the database may be away; viewers keep what they have and we try again
                    log.warning("live tick failed", error=str(error)[:300])
                    time.sleep(1)
                time.sleep(max(0.01, TICK_S - (time.monotonic() - started)))

    def tick(self) -> None:
        """Bring every watched view up to date and push what changed."""
        with self._lock:
            watched = list(self._views.values())
        if not watched:
            return
        with reading():
            clocks = {name: clock(name) for name in {view.list.clock for view in watched}}
            for view in watched:
                now_at = clocks[view.list.clock]
                if now_at > view.checked:
                    with self._lock:
                        self._refresh(view, now_at)

    def _refresh(self, view: View, now_at: int) -> None:
        if now_at <= view.checked:
            return
        first = view.checked < 0
        keys, counts = view.list.keys(view.query, view.scope), dict(view.list.counts(view.query, view.scope))
        before = {internal: version for internal, _, version in view.keys}
        changed = [key for key in keys if before.get(key[0]) != key[2]]
        here = {key[0] for key in keys}
        gone = [public for internal, public, _ in view.keys if internal not in here]
        reordered = [key[0] for key in keys] != [key[0] for key in view.keys]
        if first:
            view.rev = now_at
        elif changed or gone or reordered or counts != view.counts:
            self._publish(view, now_at, keys, changed, gone, reordered, counts)
        view.keys, view.counts, view.checked = keys, counts, now_at

    def _publish(self, view: View, rev: int, keys: Sequence[Key], changed: list[Key], gone: list[str], reordered: bool,
                 counts: dict[str, Any]) -> None:  # fmt: skip
        html = rows(view.list, changed)
        message: dict[str, Any] = {"op": "patch", "view": view.key, "from": view.rev, "rev": rev}
        message["up"] = [[public, html[internal]] for internal, public, _ in changed if internal in html]
        if gone:
            message["rm"] = gone
        if reordered or gone:
            message["order"] = [public for _, public, _ in keys]
        if counts != view.counts:
            message["counts"] = counts
        data = frame(message)
        view.ring.append((view.rev, rev, data))
        view.rev = rev
        for viewer in view.viewers:
            viewer.push(data)
        self.frames += len(view.viewers)


def hub_of(app: Flask) -> Hub:
    """The process's hub."""
    hub: Hub = app.extensions["binnacle_hub"]
    return hub
