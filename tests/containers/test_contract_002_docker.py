"""Contract 002, "Docker", on a real server: an agent of the original, and a connector that speaks our protocol."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from conftest import port_open
from serving import Agent, Server, eventually

METRICS = {"cpu": {"usage_percent": 1.0, "cores": 2}, "memory": {"total_gb": 4, "used_gb": 1, "usage_percent": 25.0}}
FIELDS = {"id", "name", "image", "state", "status", "created", "ports"}


def engine_id(name: str) -> str:
    return (name.encode().hex() * 64)[:64]


def row(name: str, state: str = "running", **fields: Any) -> dict[str, Any]:
    """A container of our connector's report."""
    return {
        "id": engine_id(name), "name": name, "image": "nginx:1.27", "state": state, "status": "Up 2 minutes",
        "created": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z" if state == "running" else None,
        "ports": [{"ip": "0.0.0.0", "private_port": 80, "public_port": 8080, "type": "tcp"}],
        "labels": {"com.docker.compose.project": "shop"},
    } | fields  # fmt: skip


class Machine:
    """A computer whose agent handles containers as the test says."""

    def __init__(
        self, served: Server, *, ours: bool, capabilities: tuple[str, ...] = ("metrics", "commands", "containers")
    ) -> None:
        self.served, self.ours = served, ours
        self.id, self.key = served.computer(f"docker-{uuid4()}")
        self.capabilities = list(capabilities)
        self.connect()

    def connect(self) -> None:
        self.agent = Agent(self.served, self.key)
        if self.ours:
            hello = {"connector_id": str(uuid4()), "version": "t", "interval": 10, "capabilities": self.capabilities}
            self.agent.send(type="hello", **hello, commands_memory="m")
            self.agent.read("hello_ok")

    @property
    def path(self) -> str:
        return f"/api/v1/docker/{self.id}/containers"

    def report(self, *rows: dict[str, Any], engine: dict[str, Any] | None = None, **fields: Any) -> None:
        engine = engine or {"state": "ok", "name": "Docker", "version": "27.0", "message": None}
        self.agent.send(type="containers", engine=engine, total=len(rows), containers=list(rows), **fields)

    def metrics(self, *containers: Any) -> None:
        self.agent.send(type="metrics", data=METRICS | {"containers": list(containers)})
        assert self.agent.read("metrics_received")["status"] == "ok"

    def listed(self) -> Any:
        return self.served.http.get(self.path).json()

    def has(self, name: str, state: str = "running") -> dict[str, Any]:
        """The container, once it is listed so."""
        return dict(eventually(lambda: next((c for c in self.listed() if (c["name"], c["state"]) == (name, state)), None)))

    def begin(self, method: str, path: str, **headers: str) -> Callable[[], httpx.Response]:
        """A request in a thread of its own; the answer when it is called."""
        answers: list[httpx.Response] = []
        sent = headers or {"X-API-Key": self.served.key}
        url = f"{self.served.url}{self.path}{path}"
        thread = threading.Thread(target=lambda: answers.append(httpx.request(method, url, headers=sent, timeout=60)))
        thread.start()

        def done() -> httpx.Response:
            thread.join(60)
            return answers[0]

        return done

    def answer(self, asked: dict[str, Any], kind: str, **fields: Any) -> None:
        """Answer a request about an action; it is acknowledged."""
        self.agent.send(type=kind, request_id=asked["request_id"], **fields)
        self.agent.read("command_ack")

    def close(self) -> None:
        self.agent.ws.close()


@pytest.fixture
def original(served: Server) -> Iterator[Machine]:
    machine = Machine(served, ours=False)
    yield machine
    machine.close()


@pytest.fixture
def ours(served: Server) -> Iterator[Machine]:
    machine = Machine(served, ours=True)
    yield machine
    machine.close()


def test_the_containers_of_a_computer_are_listed_in_the_documented_shape(ours: Machine) -> None:
    ours.report(row("web"), row("job", "exited", status="Exited (3) 2 days ago", exit_code=3, finished_at="2026-01-02T00:00:00Z"))
    web, job = ours.has("web"), ours.has("job", "exited")
    assert web.keys() >= FIELDS
    assert (web["id"], web["image"], web["created"]) == (engine_id("web"), "nginx:1.27", "2026-01-01T00:00:00Z")
    assert web["status"].startswith("Up ")
    assert web["ports"] == [{"ip": "0.0.0.0", "private_port": 80, "public_port": 8080, "type": "tcp"}]
    assert web["labels"] == {"com.docker.compose.project": "shop"}
    assert (job["exit_code"], job["status"].startswith("Exited (3) ")) == (3, True)
    ours.agent.send(type="container_figures", figures=[[engine_id("web"), 12.5, 1000, 4000], [engine_id("nobody"), 1.0, 1, 1]])
    figures = eventually(lambda: (c := ours.has("web"))["cpu_percent"] is not None and c)
    assert (figures["cpu_percent"], figures["memory_usage"], figures["memory_limit"]) == (12.5, 1000, 4000)
    ours.report(row("job", "exited"))
    eventually(lambda: [c["name"] for c in ours.listed()] == ["job"], 5, "a container that is gone is not listed")


def test_actions_answer_as_documented(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    past = {"start": "started", "stop": "stopped", "restart": "restarted"}
    wanted = (("start", "", 10), ("stop", "?timeout=3", 3), ("stop", "", 10), ("restart", "?timeout=0", 0), ("restart", "", 10))
    for action, query, timeout in wanted:
        asked = ours.begin("POST", f"/web/{action}{query}")
        message = ours.agent.read(f"{action}_container")
        assert (message["container_id"], message["timeout"]) == (engine_id("web"), timeout)
        ours.answer(message, f"container_{past[action]}", data={"reason": "exited", "duration_ms": 12})
        answer = asked()
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["status"], body["message"]) == ("success", f"Container web {past[action]}")
        run = ours.served.http.get(f"/api/v1/runs/{body['run_id']}").json()
        assert (run["kind"], run["status"], run["title"]) == ("container", "succeeded", f"{action.capitalize()} web")
        assert run["steps"][0]["duration_ms"] == 12


def test_a_container_is_named_by_its_id_the_beginning_of_it_or_its_name(ours: Machine) -> None:
    ours.report(row("web"), row("webmail"), row("db"))
    ours.has("db")
    for named in (engine_id("db"), engine_id("db")[:12], "db", engine_id("db").upper()[:7]):
        asked = ours.begin("POST", f"/{named}/start")
        message = ours.agent.read("start_container")
        assert message["container_id"] == engine_id("db")
        ours.answer(message, "container_started")
        assert asked().status_code == 200
    for nobody in ("nobody", engine_id("web")[:6], "d", "..%2f..", "x" * 300):
        for method, path in (("POST", f"/{nobody}/start"), ("GET", f"/{nobody}/logs")):
            answer = ours.begin(method, path)()
            assert answer.status_code == 404, (nobody, answer.text)


def test_logs_are_an_array_of_lines(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    asked = ours.begin("GET", "/web/logs?tail=3")
    message = ours.agent.read("follow_container_logs")
    assert (message["container_id"], message["tail"], message["follow"]) == (engine_id("web"), 3, False)
    lines = [["stdout", "2026-01-01T00:00:00.5Z", "one"], ["stderr", None, "<b>two</b>\x1b[31m"], ["stdout", None, "thr\x00ee"]]
    one = {"type": "container_log", "request_id": message["request_id"]}
    ours.agent.send(**one, seq=1, lines=lines[:2])
    assert ours.agent.read("container_log_ack")["seq"] == 1
    ours.agent.send(**one, seq=1, lines=lines[:2])  # delivered twice is once
    ours.agent.send(**one, seq=2, lines=lines[2:])
    ours.agent.send(type="container_log_end", request_id=message["request_id"], reason="ended", message=None)
    answer = asked()
    assert answer.status_code == 200, answer.text
    assert answer.json() == ["one", "<b>two</b>\x1b[31m", "thr\ufffdee"]


def test_what_the_engine_refuses_is_an_error(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    for reason, status in (("not_found", 404), ("failed", 400), ("refused", 400)):
        asked = ours.begin("POST", "/web/stop?timeout=1")
        ours.answer(ours.agent.read("stop_container"), "error", message="the engine says no", data={"reason": reason})
        answer = asked()
        assert answer.status_code == status
        assert answer.json() == {"detail": "Resource not found" if status == 404 else "the engine says no"}
        asked = ours.begin("GET", "/web/logs")
        message = ours.agent.read("follow_container_logs")
        ours.agent.send(type="container_log_end", request_id=message["request_id"], reason=reason, message="no log")
        assert asked().status_code == status


BAD = [
    ("POST", "/web/stop?timeout=soon", "timeout"), ("POST", "/web/stop?timeout=-1", "timeout"),
    ("POST", "/web/restart?timeout=99999", "timeout"), ("POST", "/web/restart?timeout=1.5", "timeout"),
    ("POST", "/web/restart?timeout=NaN", "timeout"), ("GET", "/web/logs?tail=0", "tail"), ("GET", "/web/logs?tail=all", "tail"),
    ("GET", "/web/logs?tail=-5", "tail"), ("GET", "/web/logs?tail=1e400", "tail"), ("GET", "/web/logs?tail=99999999", "tail"),
]  # fmt: skip


def test_a_bad_timeout_or_tail_is_422_in_the_list_form(ours: Machine) -> None:
    for method, path, field in BAD:
        answer = ours.served.http.request(method, ours.path + path)
        assert answer.status_code == 422, (path, answer.text)
        detail = answer.json()["detail"]
        assert detail[0]["loc"] == ["query", field]
        assert detail[0].keys() >= {"loc", "msg", "type"}


def test_an_offline_computer_answers_503_and_an_unknown_one_404(served: Server) -> None:
    machine = Machine(served, ours=True)
    machine.report(row("web"))
    machine.has("web")
    machine.close()
    eventually(lambda: served.http.get(machine.path).status_code == 503)
    for method, path in (
        ("GET", ""),
        ("POST", "/web/start"),
        ("POST", "/web/stop"),
        ("POST", "/web/restart"),
        ("GET", "/web/logs"),
    ):
        answer = served.http.request(method, machine.path + path)
        assert (answer.status_code, answer.json()) == (503, {"detail": "The computer is offline"})
        unknown = served.http.request(method, f"/api/v1/docker/{uuid4()}/containers{path}")
        assert (unknown.status_code, unknown.json()) == (404, {"detail": "Resource not found"})
        assert served.http.request(method, f"/api/v1/docker/nonsense/containers{path}").status_code == 404


def test_an_action_that_the_engine_does_not_end_in_time_is_504(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    asked = ours.begin("POST", "/web/stop?timeout=1")
    ours.answer(
        ours.agent.read("stop_container"), "error", message="The engine did not answer in time.", data={"reason": "timeout"}
    )
    assert asked().status_code == 504


def test_a_log_that_breaks_off_with_the_connection_is_503(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    asked = ours.begin("GET", "/web/logs")
    ours.agent.read("follow_container_logs")
    ours.close()
    assert asked().status_code == 503
    ours.connect()


def test_an_action_is_sent_again_after_a_reconnect_and_done_once(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    asked = ours.begin("POST", "/web/restart")
    first = ours.agent.read("restart_container")
    ours.close()
    ours.connect()
    again = ours.agent.read("restart_container")
    assert again["request_id"] == first["request_id"]
    for _ in range(2):  # told twice, it has happened once
        ours.answer(again, "container_restarted")
    assert asked().json()["status"] == "success"


def test_a_computer_without_docker_is_a_state_and_not_an_error(ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    ours.report(engine={"state": "silent", "name": None, "version": None, "message": "nobody answers"})
    eventually(lambda: [c["state"] for c in ours.listed()] == ["unknown"])
    ours.report(row("web"))
    ours.has("web")
    ours.report(engine={"state": "none", "name": None, "version": None, "message": None})
    eventually(lambda: ours.listed() == [])
    assert ours.served.http.get(ours.path).status_code == 200


def test_a_connector_that_does_not_handle_containers_is_503(served: Server) -> None:
    machine = Machine(served, ours=True, capabilities=("metrics", "commands"))
    answer = served.http.get(machine.path)
    assert (answer.status_code, answer.json()) == (503, {"detail": "The connector on this computer does not handle containers"})
    machine.close()


# An agent of the original


def test_an_original_agent_shows_its_containers_in_its_metrics(original: Machine) -> None:
    original.metrics(
        {"id": "abc123def456", "name": "web", "image": "nginx:latest", "status": "running", "cpu_percent": 3.5, "memory_usage": 1024,
         "created": "2026-01-01T00:00:00.123456789Z", "ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
        {"Id": "fff", "Names": ["/db"], "Image": "postgres", "State": "exited", "Status": "Exited (1) 3 hours ago", "Ports": []},
        "nonsense", {"name": "no id"}, {"id": 7}, {"id": "x" * 999}, {"id": "odd", "state": "on fire", "ports": "all", "created": -1},
    )  # fmt: skip
    web, db, odd = original.has("web"), original.has("db", "exited"), original.has("odd", "unknown")
    assert web.keys() >= FIELDS
    assert web["ports"] == [{"ip": "0.0.0.0", "private_port": 80, "public_port": 8080, "type": "tcp"}]
    assert (web["cpu_percent"], web["memory_usage"]) == (3.5, 1024)
    assert (db["status"], db["exit_code"], odd["ports"]) == ("Exited (1) 3 hours ago", 1, [])
    original.metrics({"id": "fff", "name": "db", "status": "Up 3 seconds"})
    original.has("db")
    assert len(original.listed()) == 1


def test_an_original_agent_is_sent_the_documented_messages(original: Machine) -> None:
    original.metrics({"id": "abc123def456", "name": "web", "image": "nginx", "status": "running"})
    original.has("web")
    for action, answer in (("start", "container_started"), ("stop", "container_stopped"), ("restart", "container_restarted")):
        asked = original.begin("POST", f"/web/{action}")
        message = original.agent.read(f"{action}_container")
        assert message.keys() >= {"type", "container_id", "request_id", "timeout"}
        original.answer(message, answer)
        assert asked().json()["status"] == "success"
    asked = original.begin("POST", "/web/stop")
    original.answer(original.agent.read("stop_container"), "error", message="No such container")
    assert asked().status_code == 400
    for logs in ("one\ntwo\n", ["one", "two"]):
        asked = original.begin("GET", "/web/logs?tail=2")
        message = original.agent.read("get_container_logs")
        assert (message["container_id"], message["tail"]) == ("abc123def456", 2)
        original.agent.send(type="container_logs", request_id=message["request_id"], data={"logs": logs})
        assert asked().json() == ["one", "two"]
    asked = original.begin("GET", "/web/logs")
    message = original.agent.read("get_container_logs")
    original.agent.send(type="error", request_id=message["request_id"], message="no such log")
    assert (asked().status_code, asked().json()) == (400, {"detail": "no such log"})


# A connector that lies


def test_a_connector_answers_for_no_other_computer_and_not_with_nonsense(served: Server, ours: Machine) -> None:
    liar = Machine(served, ours=True)
    ours.report(row("web"))
    liar.report(row("web"))
    ours.has("web")
    asked = ours.begin("POST", "/web/stop")
    message = ours.agent.read("stop_container")
    log = ours.begin("GET", "/web/logs")
    wanted = ours.agent.read("follow_container_logs")
    liar.agent.send(type="container_stopped", request_id=message["request_id"])
    assert "names no command of this computer" in liar.agent.read("error")["message"]
    liar.agent.send(type="container_log", request_id=wanted["request_id"], seq=1, lines=[["stdout", None, "a lie"]])
    assert liar.agent.read("unfollow_container_logs")["request_id"] == wanted["request_id"]
    liar.agent.send(type="container_log_end", request_id=wanted["request_id"], reason="ended")
    liar.agent.send(type="containers", engine={"state": "ok"}, total=1, containers=[row("x", server_id=ours.id, computer_id=1)])
    liar.has("x")
    ours.agent.send(type="container_restarted", request_id=message["request_id"])
    assert "no answer to what was asked" in ours.agent.read("error")["message"]
    ours.agent.send(type="container_log", request_id=wanted["request_id"], seq=1, lines=[["stdout", None, "the truth"]])
    ours.agent.read("container_log_ack")
    ours.agent.send(type="container_log_end", request_id=wanted["request_id"], reason="ended")
    assert log().json() == ["the truth"]
    ours.answer(message, "container_stopped")
    assert asked().status_code == 200
    assert [c["name"] for c in ours.listed()] == ["web"]
    liar.close()


NONSENSE: list[dict[str, Any]] = [
    {"type": "containers"}, {"type": "containers", "engine": {"state": "ok"}, "containers": "all"},
    {"type": "containers", "engine": {"state": "ok"}, "containers": [{"id": ""}]},
    {"type": "containers", "engine": {"state": "ok"}, "containers": [{"id": "../x"}]},
    {"type": "containers", "engine": {"state": "ok"}, "containers": [{"id": "a", "ports": [{"private_port": 99999}]}]},
    {"type": "containers", "engine": {"state": "ok"}, "containers": [{"id": f"a{i}"} for i in range(1001)]},
    {"type": "container_figures", "figures": [["a", "x", 1, 1]]}, {"type": "container_figures", "figures": [["a", -1, 1, 1]]},
    {"type": "container_figures", "figures": [["a", 1.0, 2**63, 1]]}, {"type": "container_log", "request_id": 1},
    {"type": "container_log", "request_id": "x", "seq": 0, "lines": []}, {"type": "container_logs", "data": {}},
    {"type": "container_log", "request_id": "x", "seq": 1, "lines": [["stdlog", None, "x"]]},
    {"type": "container_stopped", "request_id": "nobody"}, {"type": "container_started"},
]  # fmt: skip


def test_nonsense_is_refused_and_the_connection_goes_on(ours: Machine) -> None:
    for message in NONSENSE:
        ours.agent.send(**message)
        assert ours.agent.read("error")["regarding"] in (message["type"], "None"), message
        ours.agent.send(type="ping")
        ours.agent.read("pong")


def test_hostile_names_are_kept_as_text_and_cut(ours: Machine) -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e"
    hostile = {
        "name": evil + "n" * 500,
        "image": evil,
        "command": evil,
        "labels": {evil: evil},
        "status": evil,
        "health": "x" * 99,
    }
    ours.report(row("web") | hostile)
    found = eventually(lambda: (rows := ours.listed()) and rows[0])
    assert found["name"] == (evil + "n" * 500)[:255]
    assert found["image"] == evil
    ours.report({"id": "a1", "state": "on fire", "created": "yesterday", "started_at": "0001-01-01T00:00:00Z"})
    assert ours.has("a1", "unknown")["created"] is None


# Reading at the reader's pace


def test_a_log_is_acknowledged_only_as_it_is_read(served: Server, ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    page = served.sign_in()
    uuid = page.get(f"/containers.csv?computer={ours.id}").text.splitlines()[1].split(",")[0]
    begun = page.get(f"/containers/{uuid}/logs/new")
    assert begun.headers["X-Open"] == "1"
    wanted = ours.agent.read("follow_container_logs")
    assert wanted["follow"] is True
    acknowledged = 0
    for sent in range(1, 65):
        ours.agent.send(type="container_log", request_id=wanted["request_id"], seq=sent, lines=[["stdout", None, f"line {sent}"]])
        if sent < 64:
            acknowledged = ours.agent.read("container_log_ack")["seq"]
    assert acknowledged == 63, "the last one waits until somebody reads"
    ours.agent.send(type="ping")
    ours.agent.read("pong")
    first = page.get(f"/containers/{uuid}/logs/new?after={begun.headers['X-After']}")
    assert (first.text.count("bn-l"), first.headers["X-More"]) == (32, "1")
    second = page.get(f"/containers/{uuid}/logs/new?after={first.headers['X-After']}")
    assert ours.agent.read("container_log_ack")["seq"] == 64
    assert "line 64" in second.text
    assert second.headers["X-More"] == "0"
    gone = page.get(f"/containers/{uuid}/logs/new?after={uuid4()}.0")
    assert gone.status_code == 404
    page.close()


def test_a_connector_that_sends_more_than_it_was_acknowledged_is_not_listened_to(served: Server, ours: Machine) -> None:
    ours.report(row("web"))
    ours.has("web")
    page = served.sign_in()
    uuid = page.get(f"/containers.csv?computer={ours.id}").text.splitlines()[1].split(",")[0]
    begun = page.get(f"/containers/{uuid}/logs/new").headers["X-After"]
    wanted = ours.agent.read("follow_container_logs")
    mega = [["stdout", None, "x" * 99_000]] * 11
    for seq in range(1, 6):
        ours.agent.send(type="container_log", request_id=wanted["request_id"], seq=seq, lines=mega)
    assert [ours.agent.read("container_log_ack")["seq"] for _ in range(4)] == [1, 2, 3, 4]
    assert ours.agent.read("unfollow_container_logs")["request_id"] == wanted["request_id"]
    answer = page.get(f"/containers/{uuid}/logs/new?after={begun}")
    assert (answer.headers["X-Open"], answer.headers["X-Words"]) == (
        "0",
        "The computer sent more of the log than it was acknowledged",
    )
    ours.agent.send(type="ping")
    ours.agent.read("pong")
    page.close()


def test_a_request_at_another_web_process_reaches_the_computer() -> None:
    """Each request opens a connection of its own, so that both processes get some; one of them holds the computer's socket."""
    if not (port_open(5432) and port_open(6379)):
        pytest.skip("no PostgreSQL on 127.0.0.1:5432 or no Redis on 127.0.0.1:6379")
    server = Server("postgresql", redis=True, BINNACLE_WEB_PROCESSES="2")
    try:
        machine = Machine(server, ours=True)
        machine.report(row("web"))
        machine.has("web")
        for _ in range(6):
            asked = machine.begin("POST", "/web/restart")
            machine.answer(machine.agent.read("restart_container"), "container_restarted")
            assert asked().json()["status"] == "success"
            asked = machine.begin("GET", "/web/logs")
            wanted = machine.agent.read("follow_container_logs")
            one = {"type": "container_log", "request_id": wanted["request_id"], "seq": 1, "lines": [["stdout", None, "x"]]}
            machine.agent.send(**one)
            machine.agent.read("container_log_ack")
            machine.agent.send(type="container_log_end", request_id=wanted["request_id"], reason="ended")
            assert asked().json() == ["x"]
        machine.close()
    finally:
        server.stop()
