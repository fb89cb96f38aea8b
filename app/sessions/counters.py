"""Every counter as a pure function of a row: what one session or event adds to each.

A change of a row changes the counters by the difference, and a recount is the sum over all rows; so the two can be compared.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from app.sessions.models import BLOCK, HOUR_MS

COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")  # what steers a terminal
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\"")
_IDS = re.compile(r"\b(?=[0-9a-f-]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,}){0,4}\b|0x[0-9a-f]+", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+(?:[.:]\d+)*")
_SPACE = re.compile(r"\s+")


def normalised(error: str) -> str:
    """An error message without what differs from time to time: addresses, quoted names, ids, numbers, and a terminal's colours:
    ≤ 500 characters."""
    text = _URL.sub("<url>", COLOURS.sub("", error[:4000]))
    text = _QUOTED.sub("<text>", text)
    text = _IDS.sub("<id>", text)
    text = _NUMBERS.sub("<n>", text)
    return _SPACE.sub(" ", text).strip()[:500] or "(no message)"


def error_key(error: str) -> str:
    """The key of the group that an error message belongs to."""
    return hashlib.sha256(normalised(error).encode()).hexdigest()[:32]


def block_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key in `session_counts` that a session counts under: tenant, block, status."""
    return row["tenant_id"], row["id"] // BLOCK, row["status"]


def block_values(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """What it adds there: 1, whether it has a duration, the duration in µs."""
    duration = row["duration_us"]
    return 1, int(duration is not None), duration or 0


def hour_keys(row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The keys in `session_hours` that a session counts under, 1 each: tenant, hour, kind, value, status."""
    tenant, hour, status = row["tenant_id"], row["started_at"] // HOUR_MS, row["status"]
    found = [(tenant, hour, "", "", status)]
    if row["country"]:
        found.append((tenant, hour, "country", row["country"], status))
    if row["target_host"]:
        found.append((tenant, hour, "target", row["target_host"], status))
    return found
