"""The connector at work: three threads, and a main thread that waits for a signal."""

from __future__ import annotations

import select
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from . import __version__
from .client import Client
from .commands import Commands
from .config import ConfigError, Settings
from .containers import ContainerWatch
from .engine import Finder
from .ledger import Ledger
from .log import logger
from .sampler import SamplingThread
from .session import Parts, Timing
from .spool import Spool
from .state import StateDir
from .watch import InventoryWatch
from .wire import Waker

CHECK_EVERY = 5.0
FIRST_INVENTORY = 20.0
DEFAULT_TIMING = Timing()


class Connector:
    """Sampling, inventory, commands and network, started and stopped together."""

    def __init__(self, settings: Settings, state: StateDir, timing: Timing = DEFAULT_TIMING) -> None:
        self.spool = Spool(state.spool)
        self._waker = Waker()
        self._sampler = SamplingThread(self.spool, settings.interval, self._waker.ring)
        self._watch = InventoryWatch(state.inventory, self._waker.ring, certificates=settings.certificates)
        patience = timing.output_ack
        finder = Finder(settings.containers)
        self.containers = ContainerWatch(finder, self._waker.ring)
        self.commands = Commands(Ledger(state.commands), self._waker.ring, settings.commands, patience, finder)
        self.commands.acted = self.containers.look
        parts = Parts(
            settings.key,
            state.connector_id(),
            self.spool,
            self._sampler,
            self._watch,
            self.commands,
            timing,
            finder,
            self.containers,
            self._waker.ring,
        )
        self._client = Client(settings, parts, self._waker)
        self._stopping = threading.Event()
        self._starter = threading.Thread(target=self._start_network, name="starter", daemon=True)

    def start(self) -> None:
        """Sample at once; dial as soon as there is an inventory to introduce ourselves with, or after 20 s."""
        self._sampler.start()
        self._watch.start()
        self.containers.start()
        self._starter.start()

    def _start_network(self) -> None:
        self._watch.wait(FIRST_INVENTORY)
        if not self._stopping.is_set():
            self._client.start()

    def healthy(self) -> bool:
        """Whether every thread that should run does; also breaks a connection that hangs."""
        self._client.check()
        return (
            self._sampler.is_alive()
            and self._watch.is_alive()
            and (self._starter.is_alive() or self._client.is_alive())
        )

    def stop(self) -> None:
        """End within 2 s, or 4 s when commands run. What was not delivered waits on the disk."""
        self._stopping.set()
        self.commands.stop()
        self._watch.stop()
        self.containers.stop()
        self._sampler.stop()
        self._starter.join(0.2)
        if self._client.is_alive():
            self._client.stop()
        self._sampler.join(0.4)
        self.spool.close()
        self.commands.close()


class Signals:
    """SIGTERM and SIGINT as something to wait for; a handler that only writes to a socket cannot deadlock."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._noted)

    @staticmethod
    def _noted(number: int, frame: Any) -> None:
        """The wake-up socket has it already."""

    def wait(self, timeout: float) -> bool:
        """Whether a signal came within `timeout` seconds."""
        return bool(select.select([self._reader], [], [], timeout)[0])


def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT (0), or until a part fails for good (1). Raises ConfigError."""
    signals = Signals()
    with StateDir(settings.state_dir) as state:
        try:
            connector = Connector(settings, state)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"The spool in {settings.state_dir} cannot be used: {error}.") from None
        logger.info("connector %s, server %s, every %d s", __version__, settings.server, settings.interval)
        _warn_about_clear_text(settings.server, logger.warning)
        connector.start()
        try:
            while not signals.wait(CHECK_EVERY):
                if not connector.healthy():
                    logger.error("a part of the connector ended by itself: the whole ends")
                    return 1
        finally:
            connector.stop()
    logger.info("stopped")
    return 0


def _warn_about_clear_text(server: str, warn: Callable[[str], None]) -> None:
    host = server.split("://", 1)[1].split("/")[0].rsplit(":", 1)[0]
    if server.startswith("http:") and host not in ("localhost", "[::1]") and not host.startswith("127."):
        warn("the server is reached without TLS: anyone on the way can read the key")
