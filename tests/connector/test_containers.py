"""Containers as the connector reports and handles them, with a real engine (Podman behind Docker's API)."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from binnacle_connector import containers as watching  # isort: skip
from binnacle_connector.engine import EngineError, Finder, candidates  # isort: skip
from binnacle_connector.listing import entry, report  # isort: skip
from binnacle_connector.lines import Line, Lines, Told  # isort: skip

pytestmark = pytest.mark.xdist_group("engine")


class Watched:
    """A connector that watches the engine, and the console that it reports to."""

    def __init__(self, console: Any, machine: Any, eventually: Any, host: str) -> None:
        self.console, self.machine, self.eventually = console, machine, eventually
        self.connector = machine.start(console.url, containers=host)
        self.answers: list[dict[str, Any]] = []
        self.number = 0
        console.on_other = self.hear

    def hear(self, peer: Any, message: dict[str, Any]) -> None:
        if message["type"].startswith(("container_started", "container_stopped", "container_restarted", "error")):
            peer.send({"type": "command_ack", "request_id": message["request_id"]})
        if message["type"] == "container_log":
            peer.send({"type": "container_log_ack", "request_id": message["request_id"], "seq": message["seq"]})

    def report(self) -> dict[str, Any] | None:
        found = self.console.of("containers")
        return found[-1] if found else None

    def container(self, name: str) -> dict[str, Any] | None:
        report = self.report()
        return next((one for one in report["containers"] if one["name"] == name), None) if report else None

    def is_in(self, name: str, state: str) -> dict[str, Any] | None:
        found = self.container(name)
        return found if found and found["state"] == state else None

    def ask(self, kind: str, **fields: Any) -> str:
        self.number += 1
        request_id = fields.pop("request_id", f"request-{self.number}")
        self.console.peers[-1].send({"type": kind, "request_id": request_id, **fields})
        return str(request_id)

    def answer(self, request_id: str, seconds: float = 20.0) -> dict[str, Any]:
        """The first answer to a request, of any kind."""

        def found() -> dict[str, Any] | None:
            named = [m for m in list(self.console.messages) if m.get("request_id") == request_id]
            return named[0] if named else None

        return dict(self.eventually(found, seconds))

    def lines(self, request_id: str) -> list[list[str]]:
        pieces = [m for m in self.console.of("container_log") if m["request_id"] == request_id]
        return [line for piece in pieces for line in piece["lines"]]


@pytest.fixture
def watched(console: Any, machine: Any, eventually: Any, engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watching, "LOOK_AGAIN", 0.3)
    monkeypatch.setattr(watching.ContainerWatch.__init__, "__defaults__", (0.5,))
    made = Watched(console, machine, eventually, engine.host)
    eventually(made.report)
    yield made


def test_the_containers_of_the_computer_are_reported_and_changes_show_at_once(watched: Watched, engine: Any) -> None:
    engine.remove("w1")
    assert watched.report()["engine"]["state"] == "ok"  # type: ignore[index]
    assert watched.report()["engine"]["name"] == "Podman"  # type: ignore[index]
    long_id = engine.run("w1", "trap 'exit 7' TERM; while true; do sleep 0.1; done", "--label", "com.docker.compose.project=shop")
    found = watched.eventually(lambda: watched.is_in("w1", "running"), 5)
    assert found["id"] == long_id
    assert found["image"].endswith("local/busy:1")
    assert found["labels"] == {"com.docker.compose.project": "shop"}
    assert found["started_at"].endswith(("Z", "+00:00"))
    before = time.monotonic()
    engine.podman("stop", "-t", "5", "w1")
    stopped_in = time.monotonic()
    ended = watched.eventually(lambda: watched.is_in("w1", "exited"), 5)
    assert time.monotonic() - stopped_in < 4, f"it took {time.monotonic() - before:.1f} s to show"
    assert (ended["exit_code"], bool(ended["finished_at"])) == (7, True)
    engine.remove("w1")
    watched.eventually(lambda: watched.container("w1") is None, 5)


def test_a_container_that_dies_by_itself_shows_as_exited(watched: Watched, engine: Any) -> None:
    engine.remove("w2")
    engine.run("w2", "sleep 0.5; exit 3")
    watched.eventually(lambda: (found := watched.is_in("w2", "exited")) and found["exit_code"] == 3, 10)  # known a moment later
    engine.remove("w2")


def test_figures_of_running_containers_arrive(watched: Watched, engine: Any) -> None:
    engine.remove("w3")
    long_id = engine.run("w3", "while true; do true; done")

    def busy() -> Any:
        figures = [f for m in watched.console.of("container_figures") for f in m["figures"] if f[0] == long_id]
        return next((f for f in figures if f[1] is not None and f[1] > 10), None)

    _, cpu, used, limit = watched.eventually(busy, 15)
    assert 10 < cpu <= 110
    assert 0 < used < limit
    engine.remove("w3")


def test_actions_start_stop_and_restart_a_container(watched: Watched, engine: Any) -> None:
    engine.remove("w4")
    engine.run("w4")
    assert watched.answer(watched.ask("stop_container", container_id="w4", timeout=2))["type"] == "container_stopped"
    assert engine.state("w4") == "exited"
    assert watched.answer(watched.ask("start_container", container_id="w4"))["type"] == "container_started"
    assert engine.state("w4") == "running"
    before = engine.podman("inspect", "-f", "{{.State.StartedAt}}", "w4")
    answer = watched.answer(watched.ask("restart_container", container_id="w4", timeout=2))
    assert (answer["type"], answer["data"]["reason"]) == ("container_restarted", "exited")
    assert engine.podman("inspect", "-f", "{{.State.StartedAt}}", "w4") != before
    engine.remove("w4")


def test_a_container_that_ignores_the_request_to_end_is_killed_after_the_timeout(watched: Watched, engine: Any) -> None:
    engine.remove("w5")
    engine.run("w5", "trap '' TERM; while true; do sleep 0.1; done")
    begun = time.monotonic()
    assert watched.answer(watched.ask("stop_container", container_id="w5", timeout=1))["type"] == "container_stopped"
    assert 1 <= time.monotonic() - begun < 6
    assert engine.state("w5") == "exited"
    engine.remove("w5")


def test_an_action_that_is_delivered_again_is_done_once(watched: Watched, engine: Any) -> None:
    engine.remove("w6")
    engine.run("w6")
    watched.answer(watched.ask("restart_container", container_id="w6", timeout=1, request_id="only-once"))
    before = engine.podman("inspect", "-f", "{{.State.StartedAt}}", "w6")
    for _ in range(5):
        watched.ask("restart_container", container_id="w6", timeout=1, request_id="only-once")
    watched.answer(watched.ask("get_container_logs", container_id="w6"))
    watched.eventually(lambda: len(watched.console.of("container_restarted")) >= 2)
    assert engine.podman("inspect", "-f", "{{.State.StartedAt}}", "w6") == before
    engine.remove("w6")


def test_an_action_that_a_crash_interrupted_is_lost_and_not_done_again(watched: Watched, machine: Any) -> None:
    ledger = watched.connector.commands._ledger
    ledger.begin("half-done", {"kind": "stop_container", "reason": "lost", "message": "The connector ended."})
    machine.stop()
    watched.console.messages.clear()
    machine.start(watched.console.url)
    told = watched.answer("half-done")
    assert (told["type"], told["data"]["reason"]) == ("error", "lost")


def test_what_cannot_be_done_is_answered_with_an_error(watched: Watched) -> None:
    unknown = watched.answer(watched.ask("start_container", container_id="nobody-knows-it"))
    assert (unknown["type"], unknown["data"]["reason"]) == ("error", "not_found")
    for bad in ({"container_id": "../../etc"}, {"container_id": 7}, {}, {"container_id": "w", "timeout": -1},
                {"container_id": "w", "timeout": "soon"}, {"container_id": "w", "timeout": True}):  # fmt: skip
        answer = watched.answer(watched.ask("stop_container", **bad))
        assert (answer["type"], answer["data"]["reason"]) == ("error", "refused"), bad
    gone = watched.answer(watched.ask("get_container_logs", container_id="nobody-knows-it"))
    assert (gone["type"], gone["data"]["reason"]) == ("error", "not_found")
    assert watched.answer(watched.ask("get_container_logs", container_id="x", tail=-1))["data"]["reason"] == "refused"


def test_no_action_is_taken_where_commands_are_turned_off(console: Any, machine: Any, eventually: Any, engine: Any) -> None:
    engine.remove("w7")
    engine.run("w7")
    machine.start(console.url, commands=False, containers=engine.host)
    eventually(lambda: console.of("containers"))
    console.peers[-1].send({"type": "stop_container", "request_id": "r", "container_id": "w7"})
    assert eventually(lambda: console.of("error"))[0]["data"]["reason"] == "refused"
    assert engine.state("w7") == "running"
    engine.remove("w7")


def test_the_last_lines_of_a_log_are_answered(watched: Watched, engine: Any) -> None:
    engine.remove("w8")
    engine.run("w8", "seq 1 50; printf '\\377\\000<script>\\033[31mred\\n' >&2")
    watched.eventually(lambda: watched.is_in("w8", "exited"))
    answer = watched.answer(watched.ask("get_container_logs", container_id="w8", tail=3))
    assert answer["type"] == "container_logs"
    assert answer["data"]["logs"] == ["49", "50", "\ufffd\ufffd<script>\x1b[31mred"]
    engine.remove("w8")


def test_a_followed_log_arrives_line_by_line_also_past_a_restart(watched: Watched, engine: Any) -> None:
    engine.remove("w9")
    engine.run("w9", "trap 'exit 0' TERM; echo begun $RANDOM; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done")
    request = watched.ask("follow_container_logs", container_id="w9", tail=10)
    watched.eventually(lambda: len(watched.lines(request)) > 4)
    texts = [text for _, _, text in watched.lines(request)]
    assert texts[1:5] == ["tick 1", "tick 2", "tick 3", "tick 4"]
    assert all(at for _, at, _ in watched.lines(request))
    watched.answer(watched.ask("restart_container", container_id="w9", timeout=1))
    for number in (1, 2, 3):
        watched.eventually(lambda n=number: [t for _, _, t in watched.lines(request)].count(f"tick {n}") == 2, 15)
    watched.ask("unfollow_container_logs", request_id=request)
    watched.eventually(lambda: not any(t.name == "container-log" for t in __import__("threading").enumerate()))
    engine.remove("w9")


def test_ten_megabytes_of_log_come_whole_and_at_the_readers_pace(watched: Watched, engine: Any) -> None:
    engine.remove("w10")
    line = "x" * 999
    engine.run("w10", f"yes {line} | head -n 10000; echo the end")
    watched.eventually(lambda: watched.is_in("w10", "exited"), 30)
    acknowledge = watched.console.on_other
    watched.console.on_other = lambda peer, message: None
    request = watched.ask("follow_container_logs", container_id="w10", tail="all", follow=False)
    watched.eventually(lambda: watched.lines(request))
    watched.answer(watched.ask("get_container_logs", container_id="w10", tail=1))
    held = sum(len(text) for _, _, text in watched.lines(request))
    assert held <= 400_000, "what is not acknowledged is bounded"
    watched.console.on_other = acknowledge
    last = [m for m in watched.console.of("container_log") if m["request_id"] == request][-1]["seq"]
    watched.ask("container_log_ack", request_id=request, seq=last)
    end = watched.eventually(lambda: [m for m in watched.console.of("container_log_end") if m["request_id"] == request], 60)
    assert end[0]["reason"] == "ended"
    texts = [text for _, _, text in watched.lines(request)]
    assert len(texts) == 10_001
    assert set(texts[:-1]) == {line}
    assert texts[-1] == "the end"
    short = watched.answer(watched.ask("get_container_logs", container_id="w10", tail="all"), 30)
    assert short["data"]["truncated"]
    assert sum(map(len, short["data"]["logs"])) < 2 * 1024 * 1024
    engine.remove("w10")


def test_an_engine_that_goes_is_told_and_found_again_when_it_is_back(watched: Watched, engine: Any) -> None:
    watched.connector.containers.look()
    engine.unserve()
    state = watched.eventually(lambda: (r := watched.report()) and r["engine"]["state"] != "ok" and r, 15)
    assert state["engine"]["state"] in ("none", "silent")
    assert state["containers"] == []
    engine.serve()
    watched.eventually(lambda: watched.report()["engine"]["state"] == "ok", 15)  # type: ignore[index]


def test_a_computer_without_an_engine_says_so_and_loads_no_library(
    programs: Any, console: Any, eventually: Any, tmp_path: Any
) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    programs.start("--config", str(programs.config(console, containers=nowhere)))
    report = eventually(lambda: console.of("containers"))[0]
    assert (report["engine"]["state"], report["containers"]) == ("none", [])
    source = f"import sys; from binnacle_connector.run import Connector; from binnacle_connector.engine import *\n" \
             f"try: Finder({nowhere!r}).open()\nexcept EngineError as e: print(e.state, 'docker' in sys.modules)"  # fmt: skip
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=programs.environment())
    assert done.stdout.strip() == "none False"


def test_where_an_engine_is_looked_for() -> None:
    assert candidates("off", {}) == []
    assert candidates("unix:///x", {"DOCKER_HOST": "unix:///y"}) == ["unix:///x"]
    assert candidates("auto", {"DOCKER_HOST": "unix:///y"}) == ["unix:///y"]
    places = candidates("auto", {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert places[:3] == [
        "unix:///var/run/docker.sock",
        "unix:///run/podman/podman.sock",
        "unix:///run/user/7/podman/podman.sock",
    ]
    with pytest.raises(EngineError) as off:
        Finder("off").open()
    assert off.value.state == "off"


def test_a_socket_that_may_not_be_used_is_a_state_of_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(EngineError) as denied:
        Finder(f"unix://{tmp_path}/docker.sock").open()
    assert denied.value.state == "denied"


def test_hostile_words_of_an_engine_are_made_short_and_plain() -> None:
    odd = {"Id": "a" * 200, "Names": ["/<script>\ud800\0"], "Image": 7, "State": "Running", "Status": None, "Created": 1e300,
           "Ports": [{"PrivatePort": "x"}, {"PrivatePort": 80, "IP": "::", "PublicPort": 8080, "Type": "tcp"}, 3],
           "Labels": {"com.docker.compose.project": "p" * 999, "secret": "x"}, "Command": ["a", 1]}  # fmt: skip
    made = entry(odd, {"State": {"StartedAt": "0001-01-01T00:00:00Z", "ExitCode": "x"}})
    assert (len(made["id"]), made["name"], made["image"], made["state"]) == (64, "<script>?\ufffd", "", "running")
    assert made["ports"] == [{"ip": "::", "private_port": 80, "public_port": 8080, "type": "tcp"}]
    assert made["labels"] == {"com.docker.compose.project": "p" * 200}
    assert (made["created"], made["started_at"], made["exit_code"]) == (None, None, None)
    many = [{**made, "id": str(i), "name": "n" * 255, "command": "c" * 300, "image": "i" * 300} for i in range(20_000)]
    text, _ = report({"state": "ok"}, many)
    assert len(text) <= 4 * 1024 * 1024
    assert '"total":20000' in text


def test_lines_are_whole_wherever_the_log_was_split() -> None:
    framed = b"".join(
        bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        for stream, data in ((1, b"2026-01-01T00:00:00Z caf\xc3"), (2, b"err\n"), (1, b"\xa9\r\nnext"), (1, b" line\n\n"))
    )
    for size in (1, 3, 7, 1000):
        lines = Lines(terminal=False)
        found = [line for i in range(0, len(framed), size) for line in lines.feed(framed[i : i + size])] + list(lines.rest())
        assert [(line.stream, line.text) for line in found] == [
            ("stderr", "err"), ("stdout", "café"), ("stdout", "next line"), ("stdout", ""),
        ]  # fmt: skip
        assert found[1].at == "2026-01-01T00:00:00Z"
    parts = (b"2026-01-01T00:00:00Z one ", b"2026-01-01T00:00:01Z and the same\n", b"2026-01-01T00:00:02Z two\n")
    framed = b"".join(b"\1\0\0\0" + len(part).to_bytes(4, "big") + part for part in parts)
    assert [line.text for line in Lines(terminal=False).feed(framed)] == ["one and the same", "two"]
    terminal = Lines(terminal=True)
    raw = b"2026-01-01T00:00:00.123Z one\r\n2026-01-01T00:00:01Z tw"
    assert [(line.stream, line.text) for line in terminal.feed(raw)] == [("stdout", "one")]
    assert [line.text for line in terminal.rest()] == ["tw"]


def test_a_log_that_is_read_anew_tells_no_line_twice_and_leaves_none_out() -> None:
    def line(at: str, text: str) -> Line:
        return Line("stdout", at, text)

    told = Told()
    assert told.again() is None
    before = [line("1", "a"), line("2", "b"), line("2", "b"), line("2", "c")]
    assert all(told.is_new(one) for one in before)
    assert told.again() == "2"
    anew = [line("2", "b"), line("2", "b"), line("2", "c"), line("2", "b"), line("2", "d"), line("3", "b")]
    assert [told.is_new(one) for one in anew] == [False, False, False, True, True, True]
    assert told.again() == "3"
    assert [told.is_new(one) for one in (line("3", "b"), line("4", "b"))] == [False, True]
