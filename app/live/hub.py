"""The hub: one per process. It wakes at most every TICK_S, sees by the change clock whether a watched list has changed, reads
ids and versions of its watched views, renders each changed row once, and gives every viewer of a view the same bytes.

A view's states form a chain: each has a `rev`, and a patch leads from one to the next. A page is made from such a state
too (`snapshot`), never from a read of its own in between: a patch could not mend what the chain has not seen.
"""

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
from app.web.live import Key, LiveList, Scope, Snapshot, rows
from app.web.sockets import text_frame

TICK_S = 0.25
RING = 64
KEPT_VIEWS = 512
KEPT_S = 120.0
COUNT_EVERY_S = 1.0
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
    counted_at: float = 0.0
    recount: bool = False
    used_at: float = 0.0
    ring: deque[tuple[int, int, bytes]] = field(default_factory=lambda: deque(maxlen=RING))
    viewers: set[Viewer] = field(default_factory=set)


def frame(message: dict[str, Any]) -> bytes:
    """A message as the bytes of a WebSocket frame."""
    return text_frame(orjson.dumps(message).decode())


class Hub:
    """The views of this process and their viewers."""

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
        """Forget a viewer."""
        with self._lock:
            self._viewers.discard(viewer)
            for key in list(viewer.views):
                self._detach(viewer, key)

    def viewers(self) -> list[Viewer]:
        """Everybody who is connected."""
        with self._lock:
            return list(self._viewers)

    def snapshot(self, live_list: LiveList, query: str, scope: Scope) -> Snapshot:
        """The present state of a view, for a page. Runs in the caller's transaction."""
        with self._lock:
            view = self._view(live_list, f"{live_list.name}?{query}" if query else live_list.name, query, scope)
            self._refresh(view, clock(live_list.clock))
            return Snapshot(view.keys, view.rev, view.counts)

    def subscribe(self, viewer: Viewer, live_list: LiveList, key: str, query: str, who: Actor, rev: int) -> None:
        """Attach a viewer to a view and bring it from `rev` to the present: nothing, the missed patches, or `stale`."""
        scope = viewer.scope_for(who, live_list)
        with self._lock, reading():  # look-up and attachment are one critical section, or the view could be reaped in between
            view = self._view(live_list, key, query, scope)
            self._refresh(view, clock(live_list.clock))
            view.viewers.add(viewer)
            viewer.views[key] = view
            for data in self._catch_up(view, viewer, rev):
                viewer.push(data)

    def _view(self, live_list: LiveList, key: str, query: str, scope: Scope) -> View:
        view = self._views.get((key, scope))
        if view is None:
            if len(self._views) >= KEPT_VIEWS:
                self._reap(0)
            view = self._views[(key, scope)] = View(live_list, query, scope, key)
        view.used_at = time.monotonic()
        return view

    def _reap(self, kept_s: float = KEPT_S) -> None:
        """Forget views that nobody has watched or read for a while; their ring served those who came back."""
        before = time.monotonic() - kept_s
        for key, view in list(self._views.items()):
            if not view.viewers and view.used_at < before:
                del self._views[key]

    def _catch_up(self, view: View, viewer: Viewer, rev: int) -> list[bytes]:
        states = [entry[0] for entry in view.ring]
        if rev == view.rev or rev in states:
            viewer.told_stale.discard(view.key)
            missed = [entry[2] for entry in list(view.ring)[states.index(rev) :]] if rev in states else []
            present = {"op": "patch", "view": view.key, "from": view.rev, "rev": view.rev, "up": [], "counts": view.counts}
            return [*missed, frame(present)]  # the page's counts may have been a second old
        if view.key not in viewer.told_stale:
            viewer.told_stale.add(view.key)
            return [frame({"op": "stale", "view": view.key, "rev": view.rev})]
        return [self._reset(view, rev)]  # its page came from another process, whose states are not ours

    @staticmethod
    def _reset(view: View, rev: int) -> bytes:
        html = rows(view.list, view.keys)
        up = [[public, html[internal]] for internal, public, _ in view.keys if internal in html]
        order = [public for _, public, _ in view.keys]
        return frame({"op": "patch", "view": view.key, "from": rev, "rev": view.rev, "up": up, "order": order, "reset": True,
                      "counts": view.counts})  # fmt: skip

    def unsubscribe(self, viewer: Viewer, key: str) -> None:
        """Detach a viewer from a view."""
        with self._lock:
            self._detach(viewer, key)

    def _detach(self, viewer: Viewer, key: str) -> None:
        view = viewer.views.pop(key, None)
        if view is not None:
            view.viewers.discard(viewer)
            view.used_at = time.monotonic()

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
            self._reap()
            watched = [view for view in self._views.values() if view.viewers]
        if not watched:
            return
        with reading():
            clocks = {name: clock(name) for name in {view.list.clock for view in watched}}
            for view in watched:
                now_at = clocks[view.list.clock]
                if now_at != view.checked or self._count_is_due(view):
                    with self._lock:
                        self._refresh(view, now_at)

    @staticmethod
    def _count_is_due(view: View) -> bool:
        return view.recount and time.monotonic() - view.counted_at >= COUNT_EVERY_S

    def _refresh(self, view: View, now_at: int) -> None:
        due = self._count_is_due(view)
        if now_at == view.checked and not due:
            return
        first = view.checked < 0
        keys = view.list.keys(view.query, view.scope) if now_at != view.checked else view.keys
        counts = self._counted(view, first or due)
        before = {internal: version for internal, _, version in view.keys}
        changed = [key for key in keys if before.get(key[0]) != key[2]]
        here = {key[0] for key in keys}
        gone = [public for internal, public, _ in view.keys if internal not in here]
        reordered = [key[0] for key in keys] != [key[0] for key in view.keys]
        if first:
            view.rev = now_at
        elif changed or gone or reordered or counts != view.counts:
            self._publish(view, max(now_at, view.rev + 1), keys, changed, gone, reordered, counts)
        view.keys, view.counts, view.checked = keys, counts, now_at

    @staticmethod
    def _counted(view: View, now: bool) -> dict[str, Any]:
        """The counts, at most COUNT_EVERY_S old; what is put off is counted by a later tick."""
        if not now and time.monotonic() - view.counted_at < COUNT_EVERY_S:
            view.recount = True
            return view.counts
        view.recount, view.counted_at = False, time.monotonic()
        return dict(view.list.counts(view.query, view.scope))

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
