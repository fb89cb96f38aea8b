"""Counts every row again and compares with the counters that were kept as data arrived."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from app.sessions import counters
from app.sessions.models import BLOCK

Rows = Callable[[str], list[Any]]


def differences(rows: Rows) -> list[str]:
    """What the counters say differently from the rows; `rows` runs SQL and returns tuples."""
    names = (
        "id",
        "tenant_id",
        "status",
        "started_at",
        "country",
        "target_host",
        "duration_us",
        "error_key",
        "proxy_id",
        "events",
        "errors",
    )
    sessions = [dict(zip(names, row, strict=True)) for row in rows(f"SELECT {', '.join(names)} FROM sessions")]
    events = rows("SELECT tenant_id, event_type, id, session_row FROM events")
    return [
        *_unequal("session_counts", _blocks(sessions), rows("SELECT tenant_id, block, status, n, timed, duration_us FROM session_counts"), 3),
        *_unequal("session_hours", _hours(sessions), rows("SELECT tenant_id, hour, kind, value, status, n FROM session_hours"), 5),
        *_unequal("error_groups", _errors(sessions), rows("SELECT tenant_id, key, n FROM error_groups"), 2),
        *_unequal("event_counts", _events(events), rows("SELECT tenant_id, event_type, block, n FROM event_counts"), 3),
        *_unequal("sessions.events", Counter(e[3] for e in events), [(s["id"], s["events"]) for s in sessions], 1),
        *_unequal("sessions.errors", Counter(e[3] for e in events if e[1] == "error"), [(s["id"], s["errors"]) for s in sessions], 1),
        *_unequal("proxies", _proxies(sessions), rows("SELECT id, uses, successes, failures FROM proxies"), 1),
        *_unequal("proxy_targets", _targets(sessions), rows("SELECT proxy_id, host, successes, failures FROM proxy_targets"), 2),
    ]  # fmt: skip


def _unequal(name: str, counted: Any, kept: list[Any], width: int) -> list[str]:
    stored = {(row[0] if width == 1 else tuple(row[:width])): tuple(int(v) for v in row[width:]) for row in kept}
    right = {key: value if isinstance(value, tuple) else (value,) for key, value in counted.items()}
    keys = {key for key in stored.keys() | right.keys() if any(stored.get(key, (0,))) or any(right.get(key, (0,)))}
    return [
        f"{name} {key}: kept {stored.get(key)}, counted {right.get(key)}" for key in keys if stored.get(key) != right.get(key)
    ]


def _blocks(sessions: list[dict[str, Any]]) -> dict[Any, tuple[int, ...]]:
    sums: dict[Any, list[int]] = {}
    for row in sessions:
        entry = sums.setdefault(counters.block_key(row), [0, 0, 0])
        for place, value in enumerate(counters.block_values(row)):
            entry[place] += value
    return {key: tuple(entry) for key, entry in sums.items()}


def _hours(sessions: list[dict[str, Any]]) -> Counter[Any]:
    return Counter(key for row in sessions for key in counters.hour_keys(row))


def _errors(sessions: list[dict[str, Any]]) -> Counter[Any]:
    return Counter((row["tenant_id"], row["error_key"]) for row in sessions if row["error_key"])


def _events(events: list[Any]) -> Counter[Any]:
    return Counter((tenant, kind, number // BLOCK) for tenant, kind, number, _ in events)


def _proxies(sessions: list[dict[str, Any]]) -> dict[Any, tuple[int, ...]]:
    used = [row for row in sessions if row["proxy_id"] is not None]
    return {
        i: (
            sum(1 for row in used if row["proxy_id"] == i),
            sum(1 for row in used if row["proxy_id"] == i and row["status"] == "completed"),
            sum(1 for row in used if row["proxy_id"] == i and row["status"] == "failed"),
        )
        for i in {row["proxy_id"] for row in used}
    }


def _targets(sessions: list[dict[str, Any]]) -> dict[Any, tuple[int, ...]]:
    ended = [row for row in sessions if row["proxy_id"] is not None and row["target_host"] and row["status"] != "active"]
    good, bad = (Counter((r["proxy_id"], r["target_host"]) for r in ended if r["status"] == s) for s in ("completed", "failed"))
    return {key: (good[key], bad[key]) for key in good.keys() | bad.keys()}
