"""`WS /ws` of contract 003 on a real server: its four frames, who may listen, slow listeners, and several web processes' worth
of order."""

import json
import threading
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from serving import Server, eventually
from websocket import (
    WebSocket,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketTimeoutException,
    create_connection,
)  # fmt: skip


def connect(served: Server, **options: Any) -> WebSocket:
    return create_connection(f"ws://127.0.0.1:{served.port}/ws", timeout=10, **options)


def bot(served: Server, tenants: list[str] | None = None) -> httpx.Client:
    body = {"name": "bots", "role": "executor", "rate_limit": 1_000_000} | ({"tenant_ids": tenants} if tenants else {})
    key = served.http.post("/api/v1/api-keys", json=body).raise_for_status().json()["key"]
    return httpx.Client(base_url=served.url, headers={"X-API-Key": key}, timeout=60)


def until(ws: WebSocket, kind: str, session_id: str | None = None) -> list[dict[str, Any]]:
    """Every frame up to the first of this kind (and session)."""
    seen = []
    while True:
        seen.append(json.loads(ws.recv()))
        data = seen[-1]["data"]
        if seen[-1]["type"] == kind and (session_id is None or data["session_id"] == session_id):
            return seen


def test_a_session_is_told_as_documented_and_in_order(served: Server) -> None:
    name, client, ws = f"ws-{uuid4()}", bot(served), connect(served)
    client.post(
        "/api/sessions/register",
        json={"session_id": name, "profile_id": "p1", "device": "desktop", "proxy": "http://u:canary@1.2.3.4:1", "country": "US"},
    ).raise_for_status()
    client.post(
        "/api/events", json={"session_id": name, "event_type": "navigation", "details": {"url": "https://example.com"}}
    ).raise_for_status()
    client.post(
        "/api/sessions/end", json={"session_id": name, "success": True, "duration": 15.0, "error": None}
    ).raise_for_status()
    frames = [f for f in until(ws, "session_end", name) if f["data"].get("session_id") == name]
    assert [f["type"] for f in frames] == ["session_start", "event", "session_end"]
    assert all(f.keys() == {"type", "timestamp", "data"} and f["timestamp"].endswith("+00:00") for f in frames)
    assert frames[0]["data"] == {
        "session_id": name,
        "profile_id": "p1",
        "device": "desktop",
        "proxy": "http://***@1.2.3.4:1",
        "country": "US",
    }
    assert frames[1]["data"] == {"session_id": name, "event_type": "navigation", "details": {"url": "https://example.com"}}
    assert frames[2]["data"] == {"session_id": name, "success": True, "duration": 15.0, "error": None}
    stats = until(ws, "stats_update")[-1]
    assert stats["data"].keys() == {"total_sessions", "active_sessions", "success_rate"}
    ws.close()


def test_statistics_come_at_most_once_a_second(served: Server) -> None:
    name, client, ws = f"ws-{uuid4()}", bot(served), connect(served)
    client.post("/api/sessions/register", json={"session_id": name, "profile_id": "p1"}).raise_for_status()
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        client.post("/api/events", json={"session_id": name, "event_type": "click"}).raise_for_status()
    took = time.monotonic() - began
    client.post("/api/sessions/end", json={"session_id": name, "success": True}).raise_for_status()
    kinds = [frame["type"] for frame in until(ws, "session_end", name)]
    assert 1 <= kinds.count("stats_update") <= took + 1
    assert kinds.count("event") > 10
    ws.close()


def test_any_other_text_is_answered_with_a_pong(served: Server) -> None:
    ws = connect(served)
    for text in ("ping", "{}", '{"type": "ping"}', "[1", "é"):
        ws.send(text)
        assert until(ws, "pong")[-1]["data"] == text
    ws.close()


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}])
def test_behind_a_proxy_a_listener_authenticates(served: Server, headers: dict[str, str]) -> None:
    ws = connect(served, header=headers)
    ws.send(json.dumps({"type": "auth", "api_key": "wrong"}))
    opcode, data = ws.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, 1008)
    ws = connect(served, header=headers)
    ws.send(json.dumps({"type": "auth", "api_key": served.key}))
    ws.send("hello")
    assert until(ws, "pong")[-1]["data"] == "hello"
    ws.close()


def test_a_foreign_page_may_not_listen(served: Server) -> None:
    with pytest.raises(WebSocketBadStatusException) as refused:
        connect(served, origin="https://evil.example")
    assert refused.value.status_code == 403


def test_a_key_of_one_tenant_hears_nothing_of_another(served: Server) -> None:
    tenants = [
        served.http.post("/api/v1/tenants", json={"name": f"t-{uuid4()}"}).raise_for_status().json()["id"] for _ in range(2)
    ]
    own, other = (bot(served, [tenant]) for tenant in tenants)
    ws = connect(served, header={"X-API-Key": own.headers["X-API-Key"]})
    for client in (other, own):
        client.post("/api/sessions/register", json={"session_id": f"of-{uuid4()}", "profile_id": "p"}).raise_for_status()
    started = until(ws, "session_start")[-1]
    mine = own.get("/api/sessions").json()["sessions"][0]["id"]
    assert started["data"]["session_id"] == mine
    ws.settimeout(1.5)
    with pytest.raises(WebSocketTimeoutException):
        until(ws, "session_start")
    ws.close()


def test_a_revoked_keys_connection_ends_within_seconds(served: Server) -> None:
    made = served.http.post("/api/v1/api-keys", json={"name": "x", "role": "readonly"}).raise_for_status().json()
    ws = connect(served, header={"X-API-Key": made["key"]})
    ws.send("hello")
    until(ws, "pong")
    served.http.delete(f"/api/v1/api-keys/{made['id']}").raise_for_status()
    began = time.monotonic()
    ws.settimeout(10)
    while ws.recv_data()[0] != 8:
        pass
    assert time.monotonic() - began < 6


def test_a_listener_that_does_not_read_is_dropped_and_holds_nobody_up(served: Server) -> None:
    slow, quick, client, name = connect(served), connect(served), bot(served), f"ws-{uuid4()}"
    client.post("/api/sessions/register", json={"session_id": name, "profile_id": "p"}).raise_for_status()
    heavy = [{"session_id": name, "event_type": "custom", "details": {"x": "y" * 3000}}] * 500
    heard: list[str] = []
    quick.settimeout(60)

    def listen() -> None:
        while "session_end" not in heard:
            opcode, data = quick.recv_data()
            heard.append(json.loads(data)["type"] if opcode == 1 else f"closed: {data!r}")
            if opcode == 8:
                return

    listening = threading.Thread(target=listen)
    listening.start()
    for sent in range(500, 10_001, 500):
        client.post("/api/events", json=heavy).raise_for_status()
        eventually(
            lambda n=sent: heard.count("event") >= n - 1000 or not listening.is_alive(), 60
        )  # no faster than one can listen
        assert listening.is_alive(), heard[-1]
    client.post("/api/sessions/end", json={"session_id": name, "success": True}).raise_for_status()
    listening.join(60)
    assert heard.count("event") == 10_000

    slow.settimeout(15)
    try:
        while slow.recv_data()[0] != 8:  # what the kernel still held comes first, then the goodbye
            pass
    except (WebSocketConnectionClosedException, OSError):
        pass  # cut, which is as good
    quick.close()
