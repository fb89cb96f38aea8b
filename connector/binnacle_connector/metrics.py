"""One sample of this computer, as the protocol's section "Samples" has it, without `seq` (the spool gives that)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from . import disks
from .log import logger

MAX_INTERFACES = 200
NET = Path("/sys/class/net")


class Traffic(NamedTuple):
    """One interface's counters, in bytes since it came up."""

    bytes_sent: int
    bytes_recv: int


class Rates:
    """Bytes a second over all interfaces, from counters that may wrap, reset, appear and vanish."""

    def __init__(self) -> None:
        self._before: dict[str, Traffic] = {}
        self._at: float | None = None

    def update(self, counters: Mapping[str, Traffic], at: float) -> dict[str, float] | None:
        """Rates since the call before; none on the first call. `at` is a monotonic clock in seconds.

        A counter that fell was reset: what it shows now was sent since. An interface that is new adds nothing yet.
        """
        elapsed = at - self._at if self._at is not None else 0.0
        sent = received = 0
        for name, now in counters.items():
            before = self._before.get(name)
            if before is not None:
                sent += _grown(before.bytes_sent, now.bytes_sent)
                received += _grown(before.bytes_recv, now.bytes_recv)
        first = self._at is None
        self._before, self._at = dict(counters), at
        if first or elapsed <= 0:
            return None
        return {"sent_per_s": round(sent / elapsed, 1), "recv_per_s": round(received / elapsed, 1)}


def _grown(before: int, now: int) -> int:
    return now - before if now >= before else now


def is_loopback(name: str) -> bool:
    """Whether an interface of this name leads nowhere but to this computer."""
    return name == "lo" or (name[:2] == "lo" and name[2:].isdigit()) or name.startswith("Loopback Pseudo-Interface")


def traffic() -> dict[str, Traffic]:
    """The counters of every interface but loopback, sorted by name, at most 200."""
    counters = psutil.net_io_counters(pernic=True, nowrap=False)
    names = sorted(name for name in counters if not is_loopback(name))[:MAX_INTERFACES]
    return {name: Traffic(counters[name].bytes_sent, counters[name].bytes_recv) for name in names}


def counted(names: Iterable[str], net: Path = NET) -> set[str]:
    """The interfaces whose traffic this computer has with others.

    What a bridge, a bond, a VLAN, a tunnel or a container's cable carries goes through a network card, too, and would
    count twice. Where there is no card, as in a container, all count.
    """
    every = set(names)
    if sys.platform == "darwin":
        return {name for name in every if name.startswith("en")} or every
    if os.name == "nt":
        return {name for name in every if not name.startswith("vEthernet")} or every
    cards = {name for name in every if (net / name / "device").exists()}
    # A card whose master is a card as well hands its traffic on to that one (accelerated network of virtual machines).
    return {name for name in cards if not (net / name / "master" / "device").exists()} or every


class Sampler:
    """Takes samples; rates and the CPU's percentage are over the time since the one before."""

    def __init__(self) -> None:
        self._rates = Rates()
        psutil.cpu_percent(interval=None)
        self._part("network_rates", lambda: self._rate(traffic()))

    def sample(self) -> dict[str, Any]:
        """A sample of now; parts that cannot be read are left out. Without CPU or memory: OSError, psutil.Error."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        memory = psutil.virtual_memory()
        sample: dict[str, Any] = {
            "timestamp": now,
            "cpu_percent": _percent(psutil.cpu_percent(interval=None)),
            "memory_percent": _percent(memory.percent),
            "memory_total": memory.total,
            "memory_used": memory.total - memory.available,
        }
        counters = self._part("network", traffic) or {}
        parts: dict[str, Callable[[], Any]] = {
            "swap_percent": lambda: _percent(psutil.swap_memory().percent),
            "load": _load,
            "uptime_seconds": uptime,
            "process_count": lambda: len(psutil.pids()),
            "disk_usage": disks.usage,
            "network": lambda: [{"interface": name[:1000], **now._asdict()} for name, now in counters.items()],
            "network_rates": lambda: self._rate(counters),
        }
        for name, read in parts.items():
            value = self._part(name, read)
            if value is not None:
                sample[name] = value
        return sample

    def _rate(self, counters: Mapping[str, Traffic]) -> dict[str, float] | None:
        own = counted(counters)
        return self._rates.update({name: counters[name] for name in own}, time.monotonic())

    @staticmethod
    def _part(name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, psutil.Error, RuntimeError, ValueError, NotImplementedError) as error:
            logger.debug("no %s in this sample: %s", name, error)
            return None


def _percent(value: float) -> float:
    return round(min(max(float(value), 0.0), 100.0), 1)


def _load() -> list[float] | None:
    """Runnable tasks over 1, 5 and 15 minutes; none where the system does not count them."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def uptime() -> int:
    """Whole seconds since the boot, suspended time included, whatever the wall clock does."""
    if sys.platform.startswith("linux"):
        return int(time.clock_gettime(time.CLOCK_BOOTTIME))
    return max(0, int(time.time() - psutil.boot_time()))
