"""`kill -9` of web process and worker in mid-evaluation: no alert is lost, and none fires twice."""

import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from conftest import port_open
from serving import Server, eventually

ROUNDS = int(os.environ.get("TEST_ROUNDS", "1"))  # the promise is for 50
COMPUTERS = 4


def kill_everything(server: Server) -> None:
    """Both, at whatever they are doing."""
    assert server.worker is not None
    os.killpg(server.worker.pid, signal.SIGKILL)
    server.worker.wait()
    server.kill_web()


class Pusher:
    """A client that knows what was acknowledged of its computer: `last` is the newest value that the server has said it stored, None
    while the fate of one is unknown."""

    def __init__(self, server: Server, uuid: str, key: str) -> None:
        self.server, self.uuid, self.key = server, uuid, key
        self.last: float | None = None

    def push_until(self, stop: threading.Event, values: list[float]) -> None:
        with httpx.Client(base_url=self.server.url, headers={"X-API-Key": self.key}, timeout=5) as client:
            while not stop.is_set():
                for value in values:
                    self.last = None
                    try:
                        answer = client.post("/api/v1/metrics", json={"cpu_percent": value, "memory_percent": 5.0})
                    except httpx.TransportError:
                        return
                    if answer.status_code == 201:
                        self.last = value


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_alert_is_lost_or_fires_twice_over_kill_9(database: str) -> None:
    if database == "postgresql" and not port_open(5432):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432")
    server = Server(database, worker=True, BINNACLE_LOG_LEVEL="error")
    try:
        pushers = [Pusher(server, *server.computer(f"crash-{i}")) for i in range(COMPUTERS)]
        for pusher in pushers:
            for name, seconds in (("at once", 0), ("held", 2)):
                rule = {"server_id": pusher.uuid, "metric_type": "cpu", "threshold_value": 80.0, "name": name, "for_seconds": seconds,
                        "recovery_for_seconds": 0}  # fmt: skip
                server.http.post("/api/v1/alerts/thresholds", json=rule).raise_for_status()
        for number in range(ROUNDS):
            play(server, pushers, number)
        check_journal(server)
    finally:
        server.stop()


def play(server: Server, pushers: list[Pusher], number: int) -> None:
    stop = threading.Event()
    values = ([95.0], [95.0, 5.0], [95.0] * 9 + [5.0], [95.0])
    threads = [threading.Thread(target=p.push_until, args=(stop, v)) for p, v in zip(pushers, values, strict=True)]
    for thread in threads:
        thread.start()
    time.sleep(0.4 + 0.23 * (number % 9))
    kill_everything(server)
    stop.set()
    for thread in threads:
        thread.join()
    server.start()
    server.start_worker()
    known = {p.uuid: active(server, p.uuid) for p in pushers}
    for pusher in pushers:
        if pusher.last == 95.0:
            assert "at once" in known[pusher.uuid], "an acknowledged sample raised no alert"
    with httpx.Client(base_url=server.url, timeout=30) as client:
        push(client, pushers[0], 95.0)  # it may have been away for so long that it counts as offline
        eventually(lambda: "held" in active(server, pushers[0].uuid), 60, "a duration that had begun was lost")
    for pusher in pushers:  # a person ends what is left: what flapped would stay until it is quiet for ten minutes
        for row in server.http.get(f"/api/v1/alerts?status=active&server_id={pusher.uuid}").raise_for_status().json():
            server.http.post(f"/api/v1/alerts/{row['id']}/resolve").raise_for_status()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            push(client, pusher, 5.0)
        assert not active(server, pusher.uuid)


def push(client: httpx.Client, pusher: Pusher, value: float) -> None:
    body = {"cpu_percent": value, "memory_percent": 5.0}
    client.post("/api/v1/metrics", json=body, headers={"X-API-Key": pusher.key}).raise_for_status()


def active(server: Server, uuid: str) -> Counter[str]:
    rows: list[dict[str, Any]] = server.http.get(f"/api/v1/alerts?status=active&server_id={uuid}").raise_for_status().json()
    names = Counter(row["threshold_name"] for row in rows)
    assert not [name for name, count in names.items() if count > 1], "two open alerts of one rule"
    return names


def check_journal(server: Server) -> None:
    """Each alert has fired once and was resolved once, and there is one for each firing."""
    entries: list[dict[str, Any]] = []
    for type_ in ("alert.fired", "alert.resolved"):
        page = 1
        while (
            rows := server.http.get(f"/api/v1/audit?type={type_}&per_page=500&page={page}").raise_for_status().json()["entries"]
        ):
            entries += rows
            page += 1
    told = Counter((entry["type"], entry["subject_id"]) for entry in entries)
    assert max(told.values()) == 1
    ids = {row["id"] for row in server.http.get("/api/v1/alerts?limit=10000").raise_for_status().json()}
    assert (
        ids == {id_ for type_, id_ in told if type_ == "alert.fired"} == {id_ for type_, id_ in told if type_ == "alert.resolved"}
    )
