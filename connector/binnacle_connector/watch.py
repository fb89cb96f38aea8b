"""Looks every 15 minutes whether the inventory changed, in a thread of its own, because collecting may hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, NamedTuple

from . import inventory
from .certificates import DEFAULT_CERTIFICATES
from .log import logger

CHECK_EVERY = 900.0


class Snapshot(NamedTuple):
    """The inventory as JSON text, and its digest (empty for the short one that is sent while none was collected)."""

    digest: str
    text: str


class InventoryWatch(threading.Thread):
    """Keeps the newest inventory in the file `path`, not in memory, and calls `on_change` when it differs."""

    def __init__(
        self,
        path: Path,
        on_change: Callable[[], None],
        every: float = CHECK_EVERY,
        certificates: Sequence[str] = DEFAULT_CERTIFICATES,
    ) -> None:
        super().__init__(name="inventory", daemon=True)
        self._path, self._on_change, self._every = path, on_change, every
        self._certificates = certificates
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self.digest = ""

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                digest = inventory.write(self._path, self._certificates)
                changed, self.digest = digest != self.digest, digest
                if changed:
                    self._on_change()
            except Exception as error:
                logger.error("the inventory failed: %s: %s", type(error).__name__, error)
            self._ready.set()
            self._stopping.wait(self._every)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the first inventory of this run."""
        return self._ready.wait(timeout)

    def snapshot(self) -> Snapshot:
        """The newest inventory, or the short one before there is any."""
        digest = self.digest
        text: str | None = None
        if digest:
            try:
                text = self._path.read_text("utf-8")
            except OSError as error:
                logger.warning("the inventory cannot be read back: %s", error)
        if text is None:
            return Snapshot("", json.dumps(inventory.brief()))
        return Snapshot(digest, text)

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since a collection may hang."""
        self._stopping.set()
        self._ready.set()
