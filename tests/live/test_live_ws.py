"""`/ws/live` on a real server: pushes, catch-up, permissions, sign-outs, slow readers, and "the client equals the server"."""

import contextlib
import json
import random
import threading
import time
from typing import Any

import httpx
import pytest
from serving import Agent, Server, eventually
from websocket import WebSocket, WebSocketBadStatusException, WebSocketConnectionClosedException, create_connection

METRICS = {"cpu_percent": 10.0, "memory_percent": 20.0}


class Viewer:
    """A viewer that keeps rows as the page does: by patches that follow its own revision, else by a refetch."""

    def __init__(self, served: Server, browser: httpx.Client, query: str = "") -> None:
        self.served, self.browser, self.query = served, browser, query
        self.key = f"fleet?{query}" if query else "fleet"
        self.rows: dict[str, str] = {}
        self.order: list[str] = []
        self.refetches = 0
        self.patches = 0
        self.rev = -1
        self.refetch()
        self.ws = self.connect()
        self.subscribe()

    def connect(self) -> WebSocket:
        cookie = "; ".join(f"{c.name}={c.value}" for c in self.browser.cookies.jar)
        return create_connection(f"ws://127.0.0.1:{self.served.port}/ws/live", cookie=cookie, origin=self.served.url, timeout=5)

    def subscribe(self) -> None:
        self.ws.send(json.dumps({"op": "sub", "view": self.key, "rev": self.rev}))

    def refetch(self) -> None:
        answer = self.browser.get(f"/fleet/?{self.query}", headers={"HX-Request": "true"})
        body = answer.raise_for_status().text.split("<tbody", 1)[1].split("</tbody>", 1)[0]
        parts = list(body.split('<tr id="r-')[1:])
        self.rows = {part[:36]: '<tr id="r-' + part.strip() for part in parts}
        self.order = list(self.rows)
        self.rev = int(answer.headers["X-Rev"])
        self.refetches += 1

    def read(self, timeout: float = 5) -> dict[str, Any]:
        self.ws.settimeout(timeout)
        message: dict[str, Any] = json.loads(self.ws.recv())
        return message

    def take(self, message: dict[str, Any]) -> None:
        if message["op"] == "stale" or (message["op"] == "patch" and message["from"] != self.rev and message["rev"] > self.rev):
            self.refetch()
            self.subscribe()
        elif message["op"] == "patch" and message["from"] == self.rev:
            self.patches += 1
            self.rows |= dict(message["up"])
            for gone in message.get("rm", []):
                self.rows.pop(gone, None)
            if "order" in message:
                self.order = message["order"]
            self.rev = message["rev"]

    def drain(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.take(self.read(max(0.05, left)))
            except TimeoutError:
                return
            except Exception as error:
                if "timed out" in str(error):
                    return
                raise

    def shown(self) -> list[tuple[str, str]]:
        return [(i, self.rows[i]) for i in self.order if i in self.rows]


def push(served: Server, key: str, cpu: float) -> None:
    answer = served.http.post("/api/v1/metrics", json=METRICS | {"cpu_percent": cpu}, headers={"X-API-Key": key})
    assert answer.status_code == 201


@pytest.fixture(scope="module")
def browser(served: Server) -> httpx.Client:
    return served.sign_in()


def test_a_row_changes_by_itself_when_its_computer_reports(served: Server, browser: httpx.Client) -> None:
    uuid, key = served.computer("live-1")
    viewer = Viewer(served, browser, "q=live-1")
    assert viewer.read()["op"] == "build"
    push(served, key, 73.0)
    eventually(lambda: viewer.take(viewer.read()) or "73%" in viewer.rows[uuid], 5)
    assert viewer.refetches == 1, "no reload was needed"


def test_rows_come_go_and_move_and_the_counts_follow(served: Server, browser: httpx.Client) -> None:
    first, key = served.computer("moves-a")
    viewer = Viewer(served, browser, "q=moves-&sort=-cpu")
    second, other = served.computer("moves-b")
    push(served, key, 10.0)
    push(served, other, 90.0)
    eventually(lambda: viewer.drain(0.4) or viewer.order == [second, first], 5)
    push(served, key, 95.0)
    eventually(lambda: viewer.drain(0.4) or viewer.order == [first, second], 5)
    assert served.http.delete(f"/api/v1/servers/{second}").status_code == 204
    eventually(lambda: viewer.drain(0.4) or viewer.order == [first], 5)
    assert second not in viewer.rows


def test_a_returning_viewer_gets_what_it_missed_without_a_refetch(served: Server, browser: httpx.Client) -> None:
    uuid, key = served.computer("returns")
    viewer, stays = Viewer(served, browser, "q=returns"), Viewer(served, browser, "q=returns")
    push(served, key, 11.0)
    viewer.drain(0.8)
    viewer.ws.close()
    for cpu in (22.0, 33.0, 44.0):
        push(served, key, cpu)
        stays.drain(0.5)
    viewer.ws = viewer.connect()
    viewer.subscribe()
    eventually(lambda: viewer.drain(0.3) or "44%" in viewer.rows[uuid], 5)
    assert viewer.refetches == 1


def test_a_viewer_that_was_away_too_long_is_told_stale(served: Server, browser: httpx.Client) -> None:
    served.computer("stale-1")
    viewer = Viewer(served, browser, "q=stale-1")
    viewer.drain(0.3)
    viewer.ws.send(json.dumps({"op": "sub", "view": viewer.key, "rev": 0}))
    assert eventually(lambda: viewer.read()["op"] == "stale", 5)


def test_churn_and_forced_disconnects_leave_the_client_equal_to_the_server(served: Server, browser: httpx.Client) -> None:
    """ux/README.md: keep it in CI."""
    dice = random.Random(5)
    agents = [Agent(served, served.computer(f"churn-{i:02}")[1]) for i in range(20)]
    viewers = [Viewer(served, browser, "per_page=15&q=churn&sort=-cpu") for _ in range(3)]
    stop = threading.Event()

    def churn() -> None:
        seq = 0
        while not stop.is_set():
            seq += 1
            agent = dice.choice(agents)
            agent.send(
                type="metrics", data={"cpu": {"usage_percent": round(dice.uniform(0, 100), 1)}, "memory": {"usage_percent": 5.0}}
            )
            agent.read("metrics_received")
            time.sleep(0.01)

    thread = threading.Thread(target=churn)
    thread.start()
    for _ in range(12):
        for viewer in viewers:
            viewer.drain(0.1)
            if dice.random() < 0.3:
                viewer.ws.sock.close()
                viewer.ws = viewer.connect()
                viewer.subscribe()
    stop.set()
    thread.join()
    time.sleep(0.6)
    for viewer in viewers:
        viewer.drain(1.0)
    truth = Viewer(served, browser, viewers[0].query)
    for viewer in viewers:
        assert viewer.shown() == truth.shown()
        assert viewer.patches > 3


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
def test_a_foreign_origin_is_refused_in_the_handshake(served: Server, browser: httpx.Client, origin: str) -> None:
    """RELIABILITY 18."""
    cookie = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)
    with pytest.raises(WebSocketBadStatusException) as refused:
        create_connection(f"ws://127.0.0.1:{served.port}/ws/live", cookie=cookie, origin=origin)
    assert refused.value.status_code == 403
    with pytest.raises(WebSocketBadStatusException):
        create_connection(f"ws://127.0.0.1:{served.port}/ws/live", cookie=cookie, suppress_origin=True)


def close_code(ws: WebSocket, seconds: float = 8) -> int:
    ws.settimeout(seconds)
    while True:
        opcode, data = ws.recv_data()
        if opcode == 8:
            return int.from_bytes(data[:2], "big")


def test_without_credentials_it_is_closed_after_five_seconds(served: Server) -> None:
    ws = create_connection(f"ws://127.0.0.1:{served.port}/ws/live", origin=served.url)
    began = time.monotonic()
    assert close_code(ws) == 1008
    assert time.monotonic() - began < 7


def test_a_key_may_watch_with_a_header_or_a_first_message_a_host_key_may_not(served: Server) -> None:
    by_header = create_connection(f"ws://127.0.0.1:{served.port}/ws/live", header=[f"X-API-Key: {served.key}"])
    assert json.loads(by_header.recv())["op"] == "build"
    by_message = create_connection(f"ws://127.0.0.1:{served.port}/ws/live")
    by_message.send(json.dumps({"type": "auth", "api_key": served.key}))
    assert json.loads(by_message.recv())["op"] == "build"
    host = create_connection(f"ws://127.0.0.1:{served.port}/ws/live")
    host.send(json.dumps({"type": "auth", "api_key": served.computer("not a viewer")[1]}))
    assert close_code(host) == 1008


def test_logging_a_token_out_ends_the_sockets_it_opened(served: Server) -> None:
    """RELIABILITY 4."""
    anonymous = httpx.Client(base_url=served.url)
    token = anonymous.post("/api/auth/login", data={"username": "alice", "password": "a-long-enough-password"}).json()[
        "access_token"
    ]
    bearer = {"Authorization": f"Bearer {token}"}
    ws = create_connection(f"ws://127.0.0.1:{served.port}/ws/live", header=[f"Authorization: Bearer {token}"])
    assert json.loads(ws.recv())["op"] == "build"
    assert anonymous.post("/api/auth/logout", headers=bearer).status_code == 200
    assert close_code(ws) == 1008


def make_user(served: Server, name: str, tenant: str) -> tuple[str, httpx.Client]:
    body = {
        "username": name,
        "email": f"{name}@example.com",
        "password": "a-long-enough-password",
        "role": "user",
        "tenant_ids": [tenant],
    }
    made = served.http.post("/api/v1/users", json=body).raise_for_status().json()
    return made["id"], served.sign_in(name)


def test_a_viewer_sees_only_its_tenants_rows(served: Server) -> None:
    """RELIABILITY 9."""
    ours = served.http.post("/api/v1/tenants", json={"name": f"Ours {time.time()}"}).json()["id"]
    _, bob = make_user(served, f"bob{time.time_ns()}", ours)
    viewer = Viewer(served, bob, "q=scoped")
    mine, mine_key = served.computer("scoped-mine", tenant_id=ours)
    foreign, foreign_key = served.computer("scoped-foreign")
    push(served, foreign_key, 50.0)
    push(served, mine_key, 50.0)
    eventually(lambda: viewer.drain(0.4) or mine in viewer.rows, 5)
    viewer.drain(0.6)
    assert foreign not in viewer.rows
    viewer.ws.send(json.dumps({"op": "sub", "view": f"computer?id={foreign}", "rev": -1}))
    viewer.drain(0.6)
    assert foreign not in viewer.rows


def test_logout_a_changed_password_and_new_rights_end_open_sockets_within_five_seconds(served: Server) -> None:
    """RELIABILITY 4."""
    tenant = served.http.get("/api/v1/tenants").json()["tenants"][0]["id"]
    for number, change in enumerate(({"password": "another-long-password"}, {"is_active": False}, {"role": "readonly"}, None)):
        user_id, person = make_user(served, f"ends{number}x{time.time_ns()}", tenant)
        viewer = Viewer(served, person)
        began = time.monotonic()
        if change is None:
            token = person.get("/fleet/").text.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
            assert person.post("/logout", data={"csrf_token": token}).status_code == 303
        else:
            assert served.http.put(f"/api/v1/users/{user_id}", json=change).status_code == 200
        assert close_code(viewer.ws) == 1008
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("message", ["x", "[]", '{"op":"sub"}', '{"op":"sub","view":"passwords","rev":1}', '{"op":"sub","view":"fleet?sort=evil","rev":1}',
                                     '{"op":"sub","view":"fleet?page=1&sort=name","rev":1}', '{"op":"sub","view":5,"rev":"x"}', '{"op":"drop"}',
                                     '{"op":"sub","view":"computer?id=1","rev":1}'])  # fmt: skip
def test_nonsense_is_answered_with_an_error(served: Server, browser: httpx.Client, message: str) -> None:
    viewer = Viewer(served, browser)
    viewer.ws.send(message)
    assert eventually(lambda: viewer.read()["op"] == "error", 5)


def test_more_than_a_hundred_messages_a_minute_and_large_ones_are_cut(served: Server, browser: httpx.Client) -> None:
    """RELIABILITY 18."""
    viewer = Viewer(served, browser)
    for _ in range(101):
        viewer.ws.send('{"op":"hb"}')
    assert close_code(viewer.ws) == 1008
    viewer = Viewer(served, browser)
    viewer.ws.send("x" * (65 << 10))
    with contextlib.suppress(WebSocketConnectionClosedException, OSError):
        assert close_code(viewer.ws) == 1009


def test_a_slow_reader_slows_nobody_and_catches_up(served: Server, browser: httpx.Client) -> None:
    keys = [served.computer(f"slow-{i:03}")[1] for i in range(30)]
    agents = [Agent(served, key) for key in keys]
    slow, quick = Viewer(served, browser, "q=slow-"), Viewer(served, browser, "q=slow-")
    for round_number in range(8):
        for agent in agents:
            agent.send(
                type="metrics", data={"cpu": {"usage_percent": float(round_number * 10)}, "memory": {"usage_percent": 5.0}}
            )
        for agent in agents:
            agent.read("metrics_received")
        quick.drain(0.3)
    quick.drain(0.6)
    truth = Viewer(served, browser, "q=slow-")
    assert quick.shown() == truth.shown()
    slow.drain(2.0)
    assert slow.shown() == truth.shown()
