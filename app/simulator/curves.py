"""What a simulated computer measures at a moment: daily curves, noise, leaks, disks that fill up. No state: the same
(seed, number, time) gives the same sample, also for the past."""

from datetime import UTC, datetime
from math import cos, exp, pi, sin
from typing import Any

import orjson

from app.simulator.chance import noise, unit
from app.simulator.machines import DAY, Machine

_WAVES = ((DAY, 0.45), (3700.0, 0.25), (607.0, 0.2))  # seconds, share of the mean; together below 1, so never negative
_PATHS = {"windows": "C:", "macos": "/", "linux": "/"}


def _daily(at: float, shift: float) -> float:
    """Office hours as a curve from 0 (night) to 1 (early afternoon, UTC plus the shift in seconds)."""
    return 0.5 - 0.5 * cos(2 * pi * ((at + shift) / DAY - 0.06))


def cpu(machine: Machine, at: float) -> float:
    """Percent of CPU."""
    busy = 6 + 34 * machine.draw(20) ** 2
    rise = (35 if machine.system.server else 22) * machine.draw(21) * _daily(at, (machine.draw(22) - 0.5) * 4 * 3600)
    wobble = 6 * noise(machine.key, at, 900) + 4 * noise(machine.key + 1, at, 70) + 3 * noise(machine.key + 2, at, 9)
    peak = 55 * max(0.0, noise(machine.key + 3, at, 240) - 0.8) / 0.2  # now and then a job that runs a few minutes
    return round(min(100.0, max(0.4, busy + rise + wobble + peak)), 1)


def memory(machine: Machine, at: float) -> float:
    """Percent of memory."""
    base = 25 + 35 * machine.draw(23) + 6 * _daily(at, 0) + 2 * noise(machine.key + 4, at, 1800)
    if machine.leaks:
        hours = (4 + 8 * machine.draw(24)) * 3600
        base += 45 * (((at + machine.draw(25) * hours) / hours) % 1.0)
    return round(min(98.5, base), 1)


def disk(machine: Machine, at: float) -> float:
    """Percent of the first disk."""
    base = 18 + 45 * machine.draw(26)
    if machine.fills_up:
        days = (2 + 5 * machine.draw(27)) * DAY
        return round(60 + 39.5 * (((at + machine.draw(28) * days) / days) % 1.0), 2)
    return round(base + 4 * ((at / (30 * DAY) + machine.draw(29)) % 1.0), 2)


def rate_and_total(mean: float, phase: float, start: float, at: float) -> tuple[float, int]:
    """Bytes a second at a moment, and the bytes since `start`: a sum of waves and its integral, so that they agree."""
    rate, total = mean, mean * (at - start)
    for period, share in _WAVES:
        turn = 2 * pi / period
        rate += mean * share * sin(turn * at + phase)
        total += mean * share / turn * (cos(turn * start + phase) - cos(turn * at + phase))
    return round(rate, 1), int(total)


def measured(machine: Machine, at: float) -> dict[str, Any]:
    """A sample of docs/connector-protocol.md at a time in seconds since 1970, without its seq."""
    percent, used, full = cpu(machine, at), memory(machine, at), disk(machine, at)
    booted, total = machine.booted(at), machine.disk
    mean = exp(7 + 6 * machine.draw(30))
    sent_rate, sent = rate_and_total(mean, machine.draw(31) * 6, booted, at)
    recv_rate, recv = rate_and_total(mean * (0.5 + 2 * machine.draw(32)), machine.draw(33) * 6, booted, at)
    load = percent / 100 * machine.cores
    occupied = int(total * full / 100)
    return {
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "cpu_percent": percent, "memory_percent": used, "memory_total": machine.memory,
        "memory_used": int(machine.memory * used / 100), "swap_percent": 0.0,
        "load": [round(load, 2), round(load * 0.9, 2), round(load * 0.8, 2)],
        "uptime_seconds": int(at - booted), "process_count": 90 + int(200 * machine.draw(34)) + int(percent),
        "disk_usage": [{"path": _PATHS[machine.system.family], "total": total, "used": occupied, "free": total - occupied,
                        "percent": full}],
        "network": [{"interface": "eth0", "bytes_sent": sent, "bytes_recv": recv}],
        "network_rates": {"sent_per_s": sent_rate, "recv_per_s": recv_rate},
    }  # fmt: skip


def encoded(machine: Machine, at: float, seq: int) -> bytes:
    """The same as JSON, with its seq."""
    return orjson.dumps({"seq": seq, **measured(machine, at)})


def phase(machine: Machine, interval: float) -> float:
    """When in the interval it takes its samples: the fleet is spread evenly over it."""
    return unit(machine.key, 35) * interval


def moments(machine: Machine, interval: float, start: float, end: float) -> list[float]:
    """When it took its samples between two times, on the same grid in every run; none while it was quiet."""
    offset = phase(machine, interval)
    first = int((start - offset) // interval) + 1
    times = (round(offset + n * interval, 3) for n in range(first, int((end - offset) // interval) + 1))
    return [at for at in times if not machine.is_quiet(at)]
