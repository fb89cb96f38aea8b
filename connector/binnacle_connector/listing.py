"""What is said of a container: from what engines list and tell, everything short and of known types."""

from __future__ import annotations

import datetime
import json
from typing import Any

MAX_CONTAINERS = 1000
MAX_REPORT = 4 * 1024 * 1024
MAX_PORTS = 16
STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
LABELS = (
    "com.docker.compose.project",
    "com.docker.compose.service",
    "io.podman.compose.project",
    "com.docker.stack.namespace",
    "com.docker.swarm.service.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "org.opencontainers.image.title",
    "org.opencontainers.image.version",
    "org.opencontainers.image.source",
)


def _text(value: Any, limit: int) -> str:
    """A text as the database and JSON take it: no NUL, nothing that UTF-8 cannot say, at most `limit` characters."""
    text = value if isinstance(value, str) else ""
    return text[:limit].encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _moment(value: Any) -> str | None:
    """A time of an engine as RFC 3339 to the millisecond; none for its "never" (the year 1) and for nonsense."""
    if not isinstance(value, str) or len(value) < 19 or value.startswith("0001"):
        return None
    zone = "Z" if value.endswith("Z") else value[-6:]
    digits = value[20:23] if value[19:20] == "." else ""
    return f"{value[:19]}.{digits}{zone}" if len(digits) == 3 and digits.isdecimal() else value[:19] + zone


def _created(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _moment(value)
    try:
        moment = datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _ports(found: Any) -> list[dict[str, Any]]:
    ports: list[dict[str, Any]] = []
    for one in found if isinstance(found, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("PrivatePort"), int):
            continue
        public = one.get("PublicPort")
        port = {
            "ip": _text(one.get("IP"), 64) or None,
            "private_port": one["PrivatePort"],
            "public_port": public if isinstance(public, int) and public else None,
            "type": _text(one.get("Type"), 8),
        }
        if port not in ports:
            ports.append(port)
    return ports[:MAX_PORTS]


def entry(listed: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """A container as it is reported: `listed` of the engine's list, `told` by its inspection (may be empty)."""
    names = listed.get("Names")
    name = names[0] if isinstance(names, list) and names else ""
    state = _text(listed.get("State"), 16).lower()
    labels = listed.get("Labels") if isinstance(listed.get("Labels"), dict) else {}
    inner = told.get("State") if isinstance(told.get("State"), dict) else {}
    code = inner.get("ExitCode")
    ended = state in ("exited", "dead")
    health = inner.get("Health") if isinstance(inner.get("Health"), dict) else {}
    return {
        "id": _text(listed.get("Id"), 64),
        "name": _text(name, 255).lstrip("/"),
        "image": _text(listed.get("Image"), 300),
        "state": {"configured": "created", "stopped": "exited", "stopping": "running"}.get(state, state),
        "status": _text(listed.get("Status"), 100),
        "created": _created(listed.get("Created")),
        "started_at": _moment(inner.get("StartedAt")),
        "finished_at": _moment(inner.get("FinishedAt")) if ended else None,
        "exit_code": code if ended and isinstance(code, int) and not isinstance(code, bool) else None,
        "oom_killed": bool(inner.get("OOMKilled")) and ended,
        "health": _text(health.get("Status"), 16) or None,
        "command": _text(_command(listed.get("Command")), 300),
        "ports": _ports(listed.get("Ports")),
        "labels": {key: _text(labels[key], 200) for key in LABELS if isinstance(labels.get(key), str)},
    }


def _command(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(one) for one in value[:50])
    return value if isinstance(value, str) else ""


def report(engine: dict[str, Any], found: list[dict[str, Any]]) -> tuple[str, str]:
    """The message that lists them, and what tells it from another (the words of `status` change with every second).

    What is above 1,000, or 4 MiB, is left out and counted in `total`; what runs comes first.
    """
    total = len(found)
    kept = sorted(found, key=lambda one: (one["state"] != "running", one["name"], one["id"]))[:MAX_CONTAINERS]
    while True:
        message = {"type": "containers", "engine": engine, "total": total, "containers": kept}
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
        if len(text) <= MAX_REPORT or not kept:
            break
        kept = kept[: len(kept) // 2]
    plain = [{name: value for name, value in one.items() if name != "status"} for one in kept]
    return text, json.dumps([engine, total, plain], separators=(",", ":"))
