"""Sessions on a real server: the documented examples run unchanged but for address and key; floods and `kill -9` lose nothing."""

import contextlib
import os
import re
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from conftest import port_open
from playwright.sync_api import Browser
from recount import differences
from serving import POSTGRES, Server, eventually

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "contract-003.md"
ROUNDS = int(os.environ.get("TEST_ROUNDS", "2"))  # the promise is for 100; `TEST_ROUNDS=100 make test` keeps it
FLOOD = int(os.environ.get("TEST_FLOOD", "40000"))  # events; the promise is for 1,000,000


def key_of(server: Server, rate_limit: int = 1_000_000) -> str:
    body = {"name": "bots", "role": "executor", "rate_limit": rate_limit}
    return str(server.http.post("/api/v1/api-keys", json=body).raise_for_status().json()["key"])


def example(language: str, number: int = 0) -> str:
    """A code block of the contract's "Code Examples", as it stands in the document."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(blocks[number])


def fitted(text: str, server: Server, key: str) -> str:
    """The same with our address and key: all that a client may have to change."""
    return text.replace("http://localhost:8000", server.url).replace("your_key_here", key).replace("your_key", key)


def test_the_documented_python_example_runs(served: Server) -> None:
    scope: dict[str, Any] = {}
    exec(fitted(example("python"), served, key_of(served)), scope)
    assert scope["sessions"].keys() >= {"sessions", "total", "page"}
    assert scope["response"].status_code == 200
    assert scope["response"].json()["session_id"] == "my-session-123"


def test_the_documented_javascript_example_runs(served: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{served.url}/health/live")
    code = fitted(example("javascript"), served, key_of(served))
    found = page.evaluate(f"async () => {{ {code}; return [sessions, await regResponse.json()]; }}")
    assert found[0].keys() >= {"sessions", "total"}
    assert found[1]["status"] == "registered"
    page.close()


def test_the_documented_curl_examples_run(served: Server, tmp_path: Path) -> None:
    script = tmp_path / "examples.sh"
    script.write_text("set -e\n" + fitted(example("bash"), served, key_of(served)).replace("curl ", "curl -sS --fail-with-body "))
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"registered"' in done.stdout
    assert '"total_sessions"' in done.stdout


def test_a_megabyte_of_details_is_refused_clearly(served: Server) -> None:
    client = httpx.Client(base_url=served.url, headers={"X-API-Key": key_of(served)})
    name = f"big-{uuid4()}"
    client.post("/api/sessions/register", json={"session_id": name, "profile_id": "p"}).raise_for_status()
    answer = client.post("/api/events", json={"session_id": name, "event_type": "custom", "details": {"x": "y" * (1 << 20)}})
    assert answer.status_code == 400
    assert "64 KiB" in answer.json()["detail"]
    huge = client.post("/api/events", content=b"[" + b" " * (6 << 20) + b"]")
    assert huge.status_code == 413


def test_a_flood_is_stored_or_answered_429(served: Server) -> None:
    """Each event of a flood is acknowledged and stored, or refused; nothing in between. `TEST_FLOOD=1000000` is the promise."""
    requests, senders = FLOOD // 1000, 32
    name, key = f"flood-{uuid4()}", key_of(served, requests // 2)
    admin = httpx.Client(base_url=served.url, headers={"X-API-Key": served.key}, timeout=30)
    admin.post("/api/sessions/register", json={"session_id": name, "profile_id": "p"}).raise_for_status()
    taken: list[int] = []
    refused: list[httpx.Response] = []
    left = iter(range(requests))

    def send() -> None:
        with httpx.Client(base_url=served.url, headers={"X-API-Key": key}, timeout=120) as client:
            while next(left, None) is not None:
                answer = client.post("/api/events", json=[{"session_id": name, "event_type": "click"}] * 1000)
                if answer.status_code == 200:
                    taken.extend(answer.json()["event_ids"])
                else:
                    refused.append(answer)

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, served.memory())
        threads[0].join(0.1)
    assert len(taken) + 1000 * len(refused) == FLOOD
    assert len(taken) == len(set(taken)) >= 20_000  # as many as may wait
    assert refused
    assert not [answer.text for answer in refused if answer.status_code != 429]
    said = {answer.json()["error"].removeprefix("Rate limit exceeded: ") for answer in refused}
    assert said <= {f"{requests // 2} per 1 minute", "more than can be stored just now"}
    assert min(int(answer.headers["Retry-After"]) for answer in refused) >= 1
    assert admin.get(f"/api/sessions/{name}").json()["event_count"] == len(taken)
    assert admin.get(f"/api/events?session_id={name}&per_page=1").json()["total"] == len(taken)
    assert most < 300 << 20


def test_a_client_that_stops_reading_gives_its_export_back() -> None:
    if not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432; SQLite holds nothing for a client")
    server = Server("postgresql", BINNACLE_EXPORT_STALLED_SECONDS="1")
    try:
        server.http.post("/api/sessions/register", json={"session_id": "s", "profile_id": "p"}).raise_for_status()
        events = [{"session_id": "s", "event_type": "custom", "details": {"html": "x" * 30_000}}] * 100
        for _ in range(10):
            server.http.post("/api/events", json=events).raise_for_status()
        stalled = [asleep(server) for _ in range(4)]
        answer = server.http.get("/api/events/export")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        eventually(lambda: server.http.head("/api/events/export").status_code == 200)
        assert server.http.get("/api/events/export").text.count("\r\n") == 1001
        for client in stalled:
            client.close()
        assert "was cut off: /api/events/export" in server.words()
        assert "Traceback" not in server.words()
    finally:
        server.stop()


def asleep(server: Server) -> socket.socket:
    """A client that has asked for all events and reads no more than the first bytes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(f"GET /api/events/export HTTP/1.1\r\nHost: {server.url[7:]}\r\nX-API-Key: {server.key}\r\n\r\n".encode())
    assert b"200 OK" in client.recv(64)
    return client


class Bot:
    """A bot that writes down each acknowledgement; what it was not sure of it sends again with the same id."""

    def __init__(self, server: Server, key: str, name: str) -> None:
        self.server, self.key, self.name = server, key, name
        self.sessions: set[str] = set()
        self.ended: set[str] = set()
        self.events: dict[str, int] = {}
        self.number = 0

    def run(self, stop: threading.Event) -> None:
        with (
            httpx.Client(base_url=self.server.url, headers={"X-API-Key": self.key}, timeout=10) as client,
            contextlib.suppress(httpx.TransportError),
        ):
            while not stop.is_set():
                self.number += 1
                name = f"{self.name}-{self.number}"
                body = {
                    "session_id": name,
                    "profile_id": "p",
                    "proxy": f"10.0.0.{self.number % 3}:80",
                    "target_url": "https://a.example",
                }
                if client.post("/api/sessions/register", json=body).status_code == 200:
                    self.sessions.add(name)
                for n in range(3):
                    event = {"session_id": name, "event_type": "click", "event_id": f"{name}/{n}"}
                    answer = client.post("/api/events", json=event)
                    if answer.status_code == 200:
                        self.events[event["event_id"]] = answer.json()["event_id"]
                        again = client.post("/api/events", json=event)
                        assert again.status_code != 200 or again.json()["event_id"] == self.events[event["event_id"]]
                end = {"session_id": name, "success": self.number % 4 > 0, "duration": 1.5, "error": f"boom {self.number}"}
                if client.post("/api/sessions/end", json=end).status_code == 200:
                    self.ended.add(name)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_was_acknowledged_survives_kill_9_and_the_counters_are_right(database: str) -> None:
    if database == "postgresql" and not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    server = Server(database, BINNACLE_LOG_LEVEL="error")
    try:
        key = key_of(server)
        bots = [Bot(server, key, f"bot{i}") for i in range(6)]
        for number in range(ROUNDS):
            stop = threading.Event()
            threads = [threading.Thread(target=bot.run, args=(stop,)) for bot in bots]
            for thread in threads:
                thread.start()
            time.sleep(0.8 + 0.13 * (number % 7))
            server.kill_web()
            stop.set()
            for thread in threads:
                thread.join()
            server.start()
        judge(server, bots)
    finally:
        server.stop()


def judge(server: Server, bots: list[Bot]) -> None:
    opened: Any = (
        psycopg.connect(f"{POSTGRES}/{server.database_name}")
        if server.database_name
        else sqlite3.connect(server.data / "binnacle.db")
    )
    with contextlib.closing(opened) as connection:

        def rows(statement: str) -> list[Any]:
            return list(connection.execute(statement).fetchall())

        stored = dict(rows("SELECT session_id, status FROM sessions"))
        events = dict(rows("SELECT key, event_id FROM event_keys"))
        ids = {row[0] for row in rows("SELECT id FROM events")}
        for bot in bots:
            assert bot.events
            assert not bot.sessions - stored.keys(), "lost sessions"
            assert all(stored[name] != "active" for name in bot.ended), "lost ends"
            assert all(events.get(key) == number for key, number in bot.events.items()), "lost events"
        assert ids == set(events.values())
        assert len(events) == len(ids), "duplicates"
        assert differences(rows) == []
