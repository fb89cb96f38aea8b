"""RELIABILITY 24: acknowledged ⊆ stored over rounds of `kill -9` of the web process under load. Lost 0, duplicates 0."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import port_open
from serving import Agent, Server, eventually

ROUNDS = int(os.environ.get("TEST_ROUNDS", "3"))  # the promise is for 100; `TEST_ROUNDS=100 make test` keeps it


class Oracle:
    """A client that writes down each attempt before it sends, and each acknowledgement after it came; the log is the judge."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.file = path.open("a")
        self.acked: list[tuple[str, str]] = []

    def attempt(self, uuid: str, stamp: str) -> None:
        with self.lock:
            self.file.write(f"attempt {uuid} {stamp}\n")
            self.file.flush()
            os.fsync(self.file.fileno())

    def ack(self, uuid: str, stamp: str) -> None:
        with self.lock:
            self.acked.append((uuid, stamp))


def push_until(stop: threading.Event, server: Server, uuid: str, key: str, oracle: Oracle, base_ms: int) -> None:
    with httpx.Client(base_url=server.url, headers={"X-API-Key": key}, timeout=5) as client:
        number = 0
        while not stop.is_set():
            number += 1
            ms = base_ms + number
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000)) + f".{ms % 1000:03d}Z"
            oracle.attempt(uuid, stamp)
            try:
                answer = client.post("/api/v1/metrics", json={"timestamp": stamp, "cpu_percent": 5.0, "memory_percent": 6.0})
            except httpx.TransportError:
                return
            if answer.status_code == 201:
                oracle.ack(uuid, stamp)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_an_acknowledged_sample_survives_kill_9(database: str, tmp_path: Path) -> None:
    if database == "postgresql" and not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    server = Server(database, BINNACLE_LOG_LEVEL="error")
    try:
        computers = [server.computer(f"crash-{i}") for i in range(6)]
        oracle = Oracle(tmp_path / "oracle")
        for round_number in range(ROUNDS):
            stop = threading.Event()
            base = int(time.time() * 1000) - 3_600_000 + round_number * 1_000_000
            threads = [
                threading.Thread(target=push_until, args=(stop, server, u, k, oracle, base + i * 100_000))
                for i, (u, k) in enumerate(computers)
            ]
            for thread in threads:
                thread.start()
            enough = len(oracle.acked) + 20
            eventually(lambda n=enough: len(oracle.acked) >= n, 60)  # under load …
            time.sleep(0.13 * (round_number % 7))  # … and at another moment of a batch each time
            server.kill_web()
            stop.set()
            for thread in threads:
                thread.join()
            server.start()
        check(server, computers, oracle)
    finally:
        server.stop()


def check(server: Server, computers: list[tuple[str, str]], oracle: Oracle) -> None:
    import sqlite3

    assert len(oracle.acked) > 50
    assert len(oracle.acked) == len(set(oracle.acked))
    if server.database_name:
        import psycopg
        from serving import POSTGRES

        with psycopg.connect(f"{POSTGRES}/{server.database_name}") as connection:
            rows: list[Any] = connection.execute(
                "SELECT c.uuid, s.at FROM samples s JOIN computers c ON c.id = s.computer_id"
            ).fetchall()
    else:
        with sqlite3.connect(server.data / "binnacle.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = connection.execute("SELECT c.uuid, s.at FROM samples s JOIN computers c ON c.id = s.computer_id").fetchall()
    stored = [(uuid, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at / 1000)) + f".{at % 1000:03d}Z") for uuid, at in rows]
    assert len(stored) == len(set(stored)), "duplicates"
    assert not set(oracle.acked) - set(stored), "lost"


def test_a_connector_loses_nothing_over_a_kill_of_the_web_process(tmp_path: Path) -> None:
    """Samples on the socket that were not acknowledged are sent again by the connector; acknowledged ones are there."""
    server = Server("sqlite", BINNACLE_LOG_LEVEL="error")
    try:
        _uuid, key = server.computer("socket")
        agent = Agent(server, key)
        agent.send(type="hello", connector_id="11111111-2222-3333-4444-555555555555", version="t", interval=1)
        agent.read("hello_ok")
        acked = 0
        start = time.time() - 3000
        for seq in range(1, 40):
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + seq))
            agent.send(type="samples", samples=[{"seq": seq, "timestamp": stamp, "cpu_percent": 1.0, "memory_percent": 1.0}])
            if seq == 30:
                server.kill_web()
                break
            acked = agent.read("samples_ack")["seq"]
        server.start()
        again = Agent(server, key)
        again.send(type="hello", connector_id="11111111-2222-3333-4444-555555555555", version="t", interval=1)
        assert again.read("hello_ok")["acked"] >= acked
    finally:
        server.stop()


def test_sigterm_finishes_requests_and_closes_sockets_at_once() -> None:
    """RELIABILITY 27."""
    server = Server("sqlite", BINNACLE_LOG_LEVEL="error")
    try:
        agent = Agent(server, server.computer("stays")[1])
        assert server.web is not None
        began = time.monotonic()
        server.web.terminate()
        agent.ws.settimeout(10)
        assert agent.closed() in (1001, None)
        assert server.web.wait(20) == 0
        assert time.monotonic() - began < 20
    finally:
        server.stop()
