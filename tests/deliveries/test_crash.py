"""`kill -9` of the worker between a real alert and its acknowledged notification, with a real receiver as the oracle: none is lost,
and none is sent again after its delivery was noted. TEST_ROUNDS (default 2) says how often."""

import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from conftest import port_open
from receivers import Receiver, Reply, receiving
from serving import POSTGRES, Server, eventually

ROUNDS = int(os.environ.get("TEST_ROUNDS", "2"))
ALERTS = 6  # a round
CANARY = "canary-pass"


def slowly(_before: int) -> Reply:
    return Reply(pause_s=random.choice((0.0, 0.05, 0.3)))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def told(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Receiver]]:
    """A server whose alerts go to a webhook and a channel, which take their time."""
    if request.param == "postgresql" and not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    with receiving({"/hook": slowly, "/chat": slowly}) as receiver:
        server = Server(request.param, worker=True, BINNACLE_OUTBOUND_ALLOW="127.0.0.0/8")
        try:
            hook = {
                "name": "h",
                "url": f"http://u:{CANARY}@127.0.0.1:{receiver.port}/hook",
                "events": ["alert.fired", "alert.resolved"],
            }
            server.hook = server.http.post("/api/v1/webhooks", json=hook).raise_for_status().json()  # type: ignore[attr-defined]
            chat = {"name": "c", "url": f"json://u:{CANARY}@127.0.0.1:{receiver.port}/chat"}
            server.chat = server.http.post("/api/v1/notification-channels", json=chat).raise_for_status().json()  # type: ignore[attr-defined]
            yield server, receiver
        finally:
            server.stop()


def execute(server: Server, statement: str) -> None:
    if server.database_name:
        with psycopg.connect(f"{POSTGRES}/{server.database_name}", autocommit=True) as connection:
            connection.execute(statement)
    else:
        with sqlite3.connect(server.data / "binnacle.db", timeout=20) as connection:
            connection.execute(statement)


def kill_worker(server: Server) -> None:
    assert server.worker is not None
    os.killpg(server.worker.pid, signal.SIGKILL)
    server.worker.wait()
    # nobody waits for a minute here: the leases of the dead have run out
    execute(server, "UPDATE deliveries SET due_at = '2020-01-01 00:00:00' WHERE status = 'sending'")
    server.start_worker()


def rows(server: Server, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.http.get(f"{path}?per_page=1000").raise_for_status().json()["deliveries"]
    return found


def test_no_notification_is_lost_and_none_is_sent_after_it_was_acknowledged(told: tuple[Server, Receiver]) -> None:
    server, receiver = told
    began, wall = time.monotonic(), time.time()
    names = []
    for number in range(ROUNDS):
        for index in range(ALERTS):
            name = f"round-{number}-{index}"
            computer, key = server.computer(name)
            rule = {
                "server_id": computer,
                "metric_type": "cpu",
                "comparison": "gt",
                "threshold_value": 50.0,
                "severity": "critical",
                "enabled": True,
            }
            server.http.post("/api/v1/alerts/thresholds", json=rule).raise_for_status()
            sample = {"cpu_percent": 97.0, "memory_percent": 10.0, "disk_percent": 10.0}
            server.http.post(f"/api/v1/metrics/{computer}", json=sample, headers={"X-API-Key": key}).raise_for_status()
            names.append(name)
        time.sleep(random.uniform(0.0, 2.5))  # anywhere in the life of a delivery
        kill_worker(server)
    hooks, chats = (
        f"/api/v1/webhooks/{server.hook['id']}/deliveries",
        f"/api/v1/notification-channels/{server.chat['id']}/deliveries",
    )  # type: ignore[attr-defined]

    def all_done() -> bool:
        return all([row["status"] for row in rows(server, path)].count("delivered") == len(names) for path in (hooks, chats))

    eventually(all_done, 120, f"not everything was delivered; the server's words are in {server.data}/log")
    for path, mark in ((hooks, "/hook"), (chats, "/chat")):
        found = rows(server, path)
        assert len(found) == len(names), "one row for each alert, however often the follower died"
        received = receiver.at(mark)
        unnamed = sum(int(more) for one in received for more in re.findall(rb"and ([0-9]+) more", one.raw))  # of a great storm
        untold = []
        for name in names:
            (row,) = [row for row in found if f"{name}:" in row["title"]]
            times = [wall + one.at - began for one in received if f"{name}:".encode() in one.raw]
            noted = _seconds(row["finished_at"])
            assert max(times, default=0) <= noted + 0.01, f"{name} was sent again after its acknowledgement was stored"
            untold += [] if times else [name]
        assert len(untold) <= unnamed, f"never told: {untold}; told without a name: {unnamed}"
    ids = {}
    for one in receiver.at("/hook"):
        ids.setdefault(one.body["data"]["alert_id"], set()).add(one.headers["webhook-id"])
    assert all(len(found) == 1 for found in ids.values()), "a repetition has the same id"


def _seconds(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()


def test_a_worker_that_is_asked_to_stop_finishes_what_it_sends(told: tuple[Server, Receiver]) -> None:
    server, receiver = told
    receiver.replies["/slow"] = Reply(pause_s=1.5)
    hook = {"name": "slow", "url": f"http://127.0.0.1:{receiver.port}/slow", "events": ["alert.fired"]}
    made = server.http.post("/api/v1/webhooks", json=hook).raise_for_status().json()["id"]
    server.http.post(f"/api/v1/webhooks/{made}/test").raise_for_status()
    eventually(lambda: receiver.at("/slow"), 60)
    assert server.worker is not None
    server.worker.terminate()
    assert server.worker.wait(30) == 0
    (row,) = rows(server, f"/api/v1/webhooks/{made}/deliveries")
    assert (row["status"], row["attempts"], len(receiver.at("/slow"))) == ("delivered", 1, 1)
    server.start_worker()


def test_nothing_secret_is_in_database_log_pages_or_deliveries(told: tuple[Server, Receiver]) -> None:
    """RELIABILITY 20, with what the test before has left behind."""
    server, _ = told
    secret = server.hook["secret"]  # type: ignore[attr-defined]
    written = server.words().encode()
    if server.database_name is None:
        written += b"".join(path.read_bytes() for path in server.data.glob("binnacle.db*"))
    else:
        with psycopg.connect(f"{POSTGRES}/{server.database_name}") as connection:
            for table in ("webhooks", "channels", "deliveries", "delivery_attempts", "receiver_states", "journal"):
                written += repr(connection.execute(f"SELECT * FROM {table}").fetchall()).encode()
    person = server.sign_in()
    hook, chat = server.hook["id"], server.chat["id"]  # type: ignore[attr-defined]
    for place in ("/settings/webhooks", f"/settings/webhooks/{hook}", f"/settings/webhooks/{hook}/edit", "/settings/channels",
                  f"/settings/channels/{chat}", f"/settings/channels/{chat}/edit", "/settings/audit", "/api/v1/webhooks", f"/api/v1/webhooks/{hook}/deliveries",
                  "/api/v1/notification-channels", f"/api/v1/notification-channels/{chat}/deliveries", "/api/v1/audit"):  # fmt: skip
        written += person.get(place).raise_for_status().content
    for canary in (CANARY, secret, secret.removeprefix("whsec_")):
        assert canary.encode() not in written
