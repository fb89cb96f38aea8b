"""Watches the containers of this computer in a thread: what there is, at once when it changes, and what they use."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from .engine import Engine, EngineError, Finder, Stats
from .listing import MAX_CONTAINERS, entry, report
from .log import logger

FIGURES_EVERY = 15.0
LIST_EVERY = 30.0
LOOK_AGAIN = 5.0  # for an engine that is not there
SETTLE = 0.1  # events come in bunches
SHARE = 2.0  # times as long as it took to list passes before it is done again, up to LONGEST
LONGEST = 1.0
SPARING = 20.0  # times as long as it took to measure passes before it is done again
MAX_MEASURED = 300
QUIET = ("exec_", "top", "attach", "detach", "export", "copy", "archive-path", "extract-to-dir", "resize", "exec_died")


class ContainerWatch(threading.Thread):
    """Keeps the newest report and figures as messages; `ring` is called when there is another one.

    `report_number` and `figures_number` rise with each. No engine is a state, not an error: it is looked for again.
    """

    def __init__(self, finder: Finder, ring: Callable[[], None], every: float = FIGURES_EVERY) -> None:
        super().__init__(name="containers", daemon=True)
        self._finder, self._ring, self._every = finder, ring, every
        self._bell = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._report, self._figures = "", ""
        self.report_number = self.figures_number = 0
        self._digest = ""
        self._details: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._stale: set[str] = set()
        self._readings: dict[str, tuple[float, Stats]] = {}
        self._changed = threading.Event()
        self._stream: Any = None

    # For the connection

    def report(self) -> str:
        """The message with all containers; empty before the first look."""
        with self._lock:
            return self._report

    def figures(self) -> str:
        """The message with the figures of the running ones; empty before there are any."""
        with self._lock:
            return self._figures

    def look(self) -> None:
        """Something was done to a container: look now."""
        self._changed.set()
        self._bell.set()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since an engine may hang."""
        self._stopping = True
        self._bell.set()
        self._end_events()

    # The thread

    def run(self) -> None:
        while not self._stopping:
            try:
                self._attend()
            except EngineError as error:
                self._tell({"state": error.state, "name": None, "version": None, "message": str(error)}, [])
                if error.state == "off":
                    return
            except Exception as error:
                logger.error("the containers cannot be watched: %s: %s", type(error).__name__, error)
            self._rest(LOOK_AGAIN)

    def _attend(self) -> None:
        """Stay with one engine until it does not answer any more. Raises EngineError."""
        engine = self._finder.open()
        self._details.clear()
        self._readings.clear()
        try:
            ended = self._begin_events(engine)
            self._changed.set()
            list_at = figures_at = took = 0.0
            running: list[str] = []
            while not self._stopping and not ended.is_set():
                moment = time.monotonic()
                if self._changed.is_set() or moment >= list_at:
                    running = self._list(engine)
                    list_at = time.monotonic() + LIST_EVERY
                    took = time.monotonic() - moment
                if moment >= figures_at:
                    self._measure(engine, running)
                    figures_at = moment + max(self._every, SPARING * (time.monotonic() - moment))
                due = min(list_at, figures_at) - time.monotonic()
                if not self._changed.is_set():
                    self._rest(due)
                if self._changed.is_set() and not self._stopping:
                    time.sleep(max(SETTLE, min(LONGEST, SHARE * took)))
        finally:
            self._end_events()
            engine.close()

    def _rest(self, seconds: float) -> None:
        self._bell.wait(max(0.0, seconds))
        self._bell.clear()

    # Listing

    def _list(self, engine: Engine) -> list[str]:
        """List and tell; gives the ids of those that run."""
        self._changed.clear()
        with self._lock:
            stale, self._stale = self._stale, set()
        for container_id in stale:
            self._details.pop(container_id, None)
        listed = engine.containers()
        known = {one.get("Id") for one in listed}
        self._details = {key: value for key, value in self._details.items() if key in known}
        found = [entry(one, self._told(engine, one)) for one in listed]
        self._tell({"state": "ok", "name": engine.name, "version": engine.version, "message": None}, found)
        return [one["id"] for one in found if one["state"] in ("running", "paused")]

    def _told(self, engine: Engine, listed: dict[str, Any]) -> dict[str, Any]:
        """The inspection of one, made again when its state changed or something happened to it."""
        container_id, state = listed.get("Id"), listed.get("State")
        if not isinstance(container_id, str) or len(self._details) > MAX_CONTAINERS:
            return {}
        known = self._details.get(container_id)
        if known is None or known[0] != state:
            try:
                told = engine.inspect(container_id)
            except EngineError as error:
                if error.state != "ok":
                    raise
                told = {}  # it has just gone
            kept = {"State": told.get("State") or {}}
            known = self._details[container_id] = (state, kept)
        return known[1]

    def _tell(self, engine: dict[str, Any], found: list[dict[str, Any]]) -> None:
        text, digest = report(engine, found)
        if digest == self._digest:
            return
        with self._lock:
            self._digest, self._report = digest, text
            self.report_number += 1
            if engine["state"] != "ok":
                self._figures = ""
        self._ring()

    # Figures

    def _measure(self, engine: Engine, running: list[str]) -> None:
        figures: list[list[Any]] = []
        before, self._readings = self._readings, {}
        for container_id in running[:MAX_MEASURED]:
            if self._stopping or self._changed.is_set():
                self._readings = {**before, **self._readings}
                break
            moment = time.monotonic()
            try:
                now = engine.stats(container_id)
            except EngineError as error:
                if error.state != "ok":
                    raise
                continue
            self._readings[container_id] = (moment, now)
            known = before.get(container_id)
            cpu = None
            if known is not None and moment > known[0] and now.cpu_ns >= known[1].cpu_ns:
                cpu = round((now.cpu_ns - known[1].cpu_ns) / (moment - known[0]) / 1e7, 2)
            figures.append([container_id, cpu, now.used, now.limit or None])
        if figures:
            text = json.dumps({"type": "container_figures", "figures": figures}, separators=(",", ":"), allow_nan=False)
            with self._lock:
                self._figures = text
                self.figures_number += 1
            self._ring()

    # Events

    def _begin_events(self, engine: Engine) -> threading.Event:
        """Follow the engine's events in a thread; the event that is returned is set when they end."""
        ended = threading.Event()
        own = self._finder.open()  # a connection of its own: this one is never idle
        self._stream = own.events()
        threading.Thread(
            target=self._follow, args=(own, self._stream, ended), name="engine-events", daemon=True
        ).start()
        return ended

    def _follow(self, engine: Engine, stream: Any, ended: threading.Event) -> None:
        try:
            for event in stream:
                action = str(event.get("Action") or event.get("status") or "") if isinstance(event, dict) else ""
                if action and not action.startswith(QUIET):
                    container_id = (event.get("Actor") or {}).get("ID") or event.get("id")
                    with self._lock:
                        self._stale.add(str(container_id))
                    self.look()
        except Exception as error:
            if not self._stopping:
                logger.info("the engine's events ended: %s", type(error).__name__)
        finally:
            ended.set()
            self._bell.set()
            engine.close()

    def _end_events(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            try:
                stream.close()
            except Exception as error:
                logger.debug("the engine's events were closed already: %s", error)
