"""What bots do to proxies, for tests."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

import app.clock

CLOCKS = ("sessions.operations", "proxies.operations", "proxies.api", "proxies.queries", "proxies.live", "proxies.views")


def used(client: FlaskClient, session_id: str, proxy: str | None, **fields: Any) -> None:
    """A session begins."""
    body = {"session_id": session_id, "profile_id": "p", "device": "desktop", "target_url": "https://shop.example/a"}
    answer = client.post("/api/sessions/register", json=body | {"proxy": proxy} | fields)
    assert answer.status_code == 200, answer.text


def ended(client: FlaskClient, session_id: str, success: bool = True, error: str | None = None, duration: float = 1.5) -> None:
    """It ends."""
    body = {"session_id": session_id, "success": success, "duration": duration, "error": None if success else error or "Timeout"}
    answer = client.post("/api/sessions/end", json=body)
    assert answer.status_code == 200, answer.text


_sessions = iter(range(10**9))


def outcomes(client: FlaskClient, proxy: str, luck: str, **fields: Any) -> None:
    """One session for each letter: `+` succeeds, `-` fails."""
    for letter in luck:
        name = f"s-{next(_sessions)}"
        used(client, name, proxy, **fields)
        ended(client, name, letter == "+")


def proxies(client: FlaskClient) -> dict[str, dict[str, Any]]:
    """`/api/ip/status` by address."""
    return {row["url"]: row for row in client.get("/api/ip/status").json["proxies"]}


def proxy_id(client: FlaskClient, address: str) -> str:
    """Its public id."""
    return str(proxies(client)[address]["id"])


def turn_clock(monkeypatch: pytest.MonkeyPatch, later: timedelta) -> None:
    """It is later now, for all that concerns proxies."""
    moment = app.clock.now() + later
    for module in CLOCKS:
        monkeypatch.setattr(f"app.{module}.now", lambda: moment)
