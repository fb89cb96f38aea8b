"""Commands of the console, carried out by real processes: each at most once, whatever happens to the line or the connector."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from binnacle_connector import output as output_module
from binnacle_connector.ledger import Ledger
from binnacle_connector.output import MAX_DATA, MAX_OUTPUT

MIB = 1024 * 1024


class Desk:
    """A console's side of commands: it stores what it is sent, once, and acknowledges it unless told otherwise."""

    def __init__(self, console: Any, eventually: Callable[..., Any]) -> None:
        self.console, self.eventually = console, eventually
        self.acknowledges = True
        self.started: dict[str, int] = {}
        self.parts: dict[str, dict[int, dict[str, Any]]] = {}
        self.again: list[tuple[str, int]] = []
        self.results: dict[str, list[dict[str, Any]]] = {}
        self.errors: list[str] = []
        self.arrived: list[tuple[float, str, dict[str, Any]]] = []
        console.on_other = self.take
        console.hello_ok = {"time": later(0)}

    def take(self, peer: Any, message: dict[str, Any]) -> None:
        kind, name = message["type"], message.get("request_id", "")
        self.arrived.append((time.monotonic(), kind, message))
        if kind == "command_started":
            self.started[name] = message["pid"]
        elif kind == "command_output":
            assert message["seq"] >= 1 and len(message["data"].encode()) <= MAX_DATA and message["data"]
            parts = self.parts.setdefault(name, {})
            if message["seq"] in parts:
                self.again.append((name, message["seq"]))
                assert parts[message["seq"]]["data"] == message["data"]
            else:
                assert message["seq"] > max(parts, default=0), "out of order"
            parts[message["seq"]] = message
            if self.acknowledges:
                peer.send({"type": "output_ack", "request_id": name, "seq": message["seq"]})
        elif kind == "command_result":
            self.results.setdefault(name, []).append(message["data"])
            if self.acknowledges:
                peer.send({"type": "command_ack", "request_id": name})
        elif kind == "error":
            self.errors.append(message["message"])

    def send(self, message: Any) -> None:
        self.eventually(lambda: self.console.of("hello"))
        self.console.peers[-1].send(message)

    def execute(self, command: str, request_id: str | None = None, **more: Any) -> str:
        name = request_id or str(uuid.uuid4())
        self.send({"type": "execute_command", "request_id": name, "command": command, "timeout": 60, **more})
        return name

    def result(self, name: str, seconds: float = 15.0) -> dict[str, Any]:
        return self.eventually(lambda: self.results.get(name), seconds)[-1]

    def run(self, command: str, seconds: float = 15.0, **more: Any) -> dict[str, Any]:
        return self.result(self.execute(command, **more), seconds)

    def text(self, name: str, stream: str | None = None) -> str:
        parts = self.parts.get(name, {})
        return "".join(parts[seq]["data"] for seq in sorted(parts) if stream in (None, parts[seq]["stream"]))


@pytest.fixture
def desk(console, eventually) -> Desk:
    return Desk(console, eventually)


@pytest.fixture
def patience(timing) -> Any:
    """A connector that soon takes a console that acknowledges nothing for one that never does."""
    return timing._replace(output_ack=0.3)


def ready(desk: Desk, machine: Any, *arguments: Any, **named: Any) -> Any:
    connector = machine.start(desk.console.url, *arguments, interval=3600, **named)
    desk.eventually(lambda: desk.console.of("hello"))
    return connector


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


# What a command is


def test_a_command_runs_and_its_output_and_result_come_back(desk, machine) -> None:
    connector = ready(desk, machine)
    name = desk.execute("echo out; echo err >&2; exit 3")
    result = desk.result(name)
    assert (result["exit_code"], result["reason"], result["message"]) == (3, "exited", None)
    assert desk.text(name, "stdout") == "out\n" and desk.text(name, "stderr") == "err\n"
    assert sorted(result["output"].splitlines()) == ["err", "out"]
    assert (result["stdout_bytes"], result["stderr_bytes"], result["dropped_bytes"]) == (4, 4, 0)
    assert result["last_seq"] == len(desk.parts[name]) == 2 and 0 < result["duration_ms"] < 5000
    assert desk.started[name] > 1
    desk.eventually(lambda: not connector.commands.entries())
    assert [kind for _, kind, message in desk.arrived if message.get("request_id") == name] == [
        "command_started", "command_output", "command_output", "command_result",
    ]  # fmt: skip


def test_hello_says_that_it_takes_commands_and_which_it_holds(desk, machine) -> None:
    ready(desk, machine)
    hello = desk.console.of("hello")[0]
    assert "commands" in hello["capabilities"] and hello["commands"] == []
    assert str(uuid.UUID(hello["commands_memory"])) == hello["commands_memory"]


@pytest.mark.parametrize("shell", ["sh", "bash", None])
def test_the_shell_gets_the_command_as_it_was_typed(desk, machine, shell) -> None:
    ready(desk, machine)
    name = desk.execute("""printf '%s|' "a  b" 'c"d' $((1 + 2)) "$0" é '*' \\\\""", shell=shell)
    assert desk.result(name)["exit_code"] == 0
    assert desk.text(name).startswith('a  b|c"d|3|') and desk.text(name).endswith("|é|*|\\|")


def test_a_command_that_looks_like_an_option_is_a_command(desk, machine) -> None:
    ready(desk, machine)
    result = desk.run("-x 'echo no'")
    assert (result["reason"], result["exit_code"]) == ("exited", 127)


def test_folder_environment_input_and_session_are_its_own(desk, machine, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BINNACLE_KEY", "chatops_secret")
    monkeypatch.setenv("PYTHONPATH", "/ours")
    ready(desk, machine)
    script = 'pwd; echo "$VERSION/$HOME"; cat; umask; ps -o pid=,pgid=,sid= -p $$; env'
    name = desk.execute(script, cwd=str(tmp_path), env={"VERSION": "1.2 $x"})
    assert desk.result(name)["exit_code"] == 0
    lines = desk.text(name).splitlines()
    assert lines[0] == str(tmp_path) and lines[1].startswith("1.2 $x/") and lines[2] == "0022"
    assert len(set(lines[3].split())) == 1, "it leads its own session and group"
    assert "BINNACLE_" not in desk.text(name) and "PYTHONPATH" not in desk.text(name)
    home = desk.execute("pwd")
    assert desk.result(home)["exit_code"] == 0 and desk.text(home) == str(Path.home()) + "\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cwd": "/no/such/folder"}, "/no/such/folder"),
        ({"cwd": "/etc/passwd"}, "/etc/passwd"),
        ({"shell": "cmd"}, "There is no cmd on this computer"),
        ({"env": {"PATH": "/nowhere"}, "shell": "bash"}, "There is no bash"),
    ],
)
def test_what_cannot_start_says_why(desk, machine, more, words) -> None:
    ready(desk, machine)
    result = desk.run("echo hi", **more)
    assert result["reason"] == "failed_to_start" and result["exit_code"] is None and words in result["message"]
    assert not desk.started


def test_a_signal_is_no_exit(desk, machine) -> None:
    ready(desk, machine)
    result = desk.run("kill -9 $$")
    assert (result["reason"], result["exit_code"]) == ("signal", 137) and "SIGKILL" in result["message"]


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": None},
        {"command": ""},
        {"command": " \n"},
        {"command": ["ls"]},
        {"command": "echo \0"},
        {"command": "echo \ud800"},
        {"command": "x" * 200_000},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "30"},
        {"timeout": True},
        {"timeout": 1e9},
        {"timeout": 10**400},
        {"timeout": float("nan")},
        {"shell": "fish"},
        {"shell": ""},
        {"shell": 0},
        {"shell": ["sh"]},
        {"cwd": "relative"},
        {"cwd": 7},
        {"cwd": "/a\0b"},
        {"env": []},
        {"env": {"A": 1}},
        {"env": {"A=B": "x"}},
        {"env": {"": "x"}},
        {"env": {"A": "\0"}},
        {"env": {"A": "x" * 300_000}},
        {"expires": 7},
        {"expires": "tomorrow"},
        {"expires": "2026-01-01T00:00:00"},
        {"expires": "2026-99-01T00:00:00Z"},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_a_malformed_command_is_refused_in_words_and_nothing_ends(desk, machine, tmp_path, wrong) -> None:
    connector = ready(desk, machine)
    result = desk.run(f"touch {tmp_path}/ran", **wrong) if "command" not in wrong else desk.run(**wrong)
    assert result["reason"] == "refused" and result["message"].endswith(".") and result["exit_code"] is None
    assert not desk.started and not (tmp_path / "ran").exists()
    assert desk.run("echo still here")["reason"] == "exited" and connector.healthy() and len(desk.console.peers) == 1


def test_without_an_id_there_is_an_error_and_nothing_ends(desk, machine) -> None:
    connector = ready(desk, machine)
    for wrong in (None, 7, "", "x" * 201, "a\nb", "\ud800", [], {}):
        desk.send({"type": "execute_command", "request_id": wrong, "command": "echo hi"})
    desk.send({"type": "execute_command"})
    desk.eventually(lambda: len(desk.errors) == 9)
    nonsense: list[Any] = [{}, {"request_id": 1}, {"request_id": "nobody"}, {"request_id": "nobody", "seq": "1"}]
    nonsense += [{"request_id": "nobody", "seq": seq} for seq in (-1, True, 2**70, 1.5, None)]
    for fields in nonsense:
        for kind in ("output_ack", "command_ack"):
            desk.send({"type": kind, **fields})
    desk.send({"type": "cancel_command"})
    assert desk.run("echo still here")["reason"] == "exited"
    assert connector.healthy() and not desk.started.get("nobody") and len(desk.console.peers) == 1


def test_a_connector_without_commands_refuses_them_all(desk, machine, tmp_path) -> None:
    ready(desk, machine, commands=False)
    result = desk.run(f"touch {tmp_path}/ran")
    assert result["reason"] == "refused" and "--no-commands" in result["message"] and not (tmp_path / "ran").exists()
    assert desk.console.of("hello")[0]["capabilities"] == ["metrics", "inventory", "containers"]


@pytest.mark.parametrize("how", ["option", "environment", "file"])
def test_commands_can_be_turned_off_in_every_way(programs, console, eventually, how) -> None:
    desk = Desk(console, eventually)
    config = programs.config(console, **({"commands": False} if how == "file" else {}))
    env = {"BINNACLE_CONNECTOR_COMMANDS": "0"} if how == "environment" else {}
    programs.start("--config", str(config), *(["--no-commands"] if how == "option" else []), **env)
    eventually(lambda: console.of("hello"))
    assert "commands" not in console.of("hello")[0]["capabilities"]
    assert desk.run("echo hi")["reason"] == "refused"


def test_an_expired_command_never_runs(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    assert desk.run(f"touch {tmp_path}/ran", expires=later(-1))["reason"] == "expired"
    assert desk.run("echo in time", expires=later(60))["reason"] == "exited"
    assert not (tmp_path / "ran").exists()


def test_what_has_expired_is_judged_by_the_clock_of_the_console(desk, machine) -> None:
    desk.console.hello_ok = {"time": later(7200)}
    ready(desk, machine)
    assert desk.run("echo hi", expires=later(7000))["reason"] == "expired"
    assert desk.run("echo hi", expires=later(7300))["reason"] == "exited"


# How it ends


def test_a_timeout_ends_the_whole_group(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("sleep 100 & echo $!; (sleep 101 & echo $!; wait) & wait", timeout=0.5)
    result = desk.result(name)
    assert result["reason"] == "timeout" and result["exit_code"] is None and "0.5 s" in result["message"]
    assert 400 < result["duration_ms"] < 2500
    pids = [int(line) for line in desk.text(name).split()]
    assert len(pids) == 2 and all(map(gone, pids)) and gone(desk.started[name])


def test_cancel_kills_after_three_seconds_what_does_not_listen(desk, machine) -> None:
    ready(desk, machine)
    stubborn = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & while :; do sleep 0.1; done"
    name = desk.execute(stubborn)
    pid = int(desk.eventually(lambda: desk.text(name)))
    asked = time.monotonic()
    desk.send({"type": "cancel_command", "request_id": name})
    assert desk.result(name)["reason"] == "cancelled"
    assert 2.8 < time.monotonic() - asked < 4.5
    assert gone(pid) and gone(desk.started[name])


def test_cancel_ends_a_grandchild_in_a_session_of_its_own(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("setsid sh -c 'echo $$; sleep 100'; echo never")
    pid = int(desk.eventually(lambda: desk.text(name)))
    desk.send({"type": "cancel_command", "request_id": name})
    assert desk.result(name)["reason"] == "cancelled" and gone(pid)


def test_a_command_that_cleans_up_when_it_is_told_to_end_has_the_time(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    name = desk.execute(f"trap 'sleep 0.3; echo bye; touch {tmp_path}/clean; exit 0' TERM; echo on; while :; do sleep 0.05; done")
    desk.eventually(lambda: desk.text(name))
    desk.send({"type": "cancel_command", "request_id": name})
    assert desk.result(name)["reason"] == "cancelled" and desk.result(name)["exit_code"] is None
    assert desk.text(name, "stdout") == "on\nbye\n" and (tmp_path / "clean").exists()


def test_a_process_left_in_the_background_is_not_waited_for(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("sleep 60 & echo $!")
    result = desk.result(name, 5)
    pid = int(desk.text(name))
    try:
        assert result["reason"] == "exited" and result["exit_code"] == 0 and "background" in result["message"]
        assert result["duration_ms"] < 2500 and not gone(pid), "it was started on purpose"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_closing_the_output_early_is_not_the_end(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    result = desk.run(f"exec >&- 2>&-; sleep 0.4; touch {tmp_path}/went-on; exit 5")
    assert (result["reason"], result["exit_code"]) == ("exited", 5) and (tmp_path / "went-on").exists()


def test_a_command_that_reads_finds_no_input(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("read line; echo \"$?:$line\"; cat; python3 -c 'import sys; print(repr(sys.stdin.read()))'")
    assert desk.result(name)["exit_code"] == 0 and desk.text(name) == "1:\n''\n"


def test_a_connector_that_is_stopped_ends_its_commands_and_says_so_later(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("echo on; sleep 100")
    waiting = [desk.execute("sleep 100") for _ in range(3)]
    never = desk.execute("echo never begun")
    desk.eventually(lambda: desk.text(name) and len(desk.started) == 4)
    desk.console.cut()
    desk.console.accepts_key = False
    asked = time.monotonic()
    machine.stop()
    assert time.monotonic() - asked < 3
    assert all(gone(pid) for pid in desk.started.values())
    desk.console.accepts_key = True
    ready(desk, machine)
    for each in [name, *waiting]:
        assert desk.result(each)["reason"] == "lost" and "stopped" in desk.result(each)["message"]
    assert never not in [one["request_id"] for one in desk.console.of("hello")[-1]["commands"]]
    assert desk.run("echo now", request_id=never)["exit_code"] == 0


# Beside each other


def test_four_run_at_once_and_the_fifth_waits(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    script = f"touch {tmp_path}/$N; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo $N >> {tmp_path}/order"
    names = [desk.execute(script, env={"N": str(number)}) for number in range(6)]
    desk.eventually(lambda: len(desk.started) == 4)
    time.sleep(0.2)
    assert sorted(path.name for path in tmp_path.glob("[0-9]")) == ["0", "1", "2", "3"] and len(desk.started) == 4
    (tmp_path / "go").touch()
    assert all(desk.result(name)["reason"] == "exited" for name in names)
    assert sorted((tmp_path / "order").read_text().split()) == list("012345")


def test_what_waits_starts_in_order(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    for _ in range(3):
        desk.execute("sleep 100")
    names = [desk.execute(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")]
    names += [desk.execute(f"echo {number} >> {tmp_path}/order") for number in range(8)]
    (tmp_path / "go").touch()
    assert all(desk.result(name)["reason"] == "exited" for name in names)
    assert (tmp_path / "order").read_text().split() == list("01234567")


def test_what_waits_can_be_cancelled_and_expires_while_it_waits(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    long = [desk.execute("sleep 100") for _ in range(4)]
    cancelled, expired = desk.execute(f"touch {tmp_path}/a"), desk.execute(f"touch {tmp_path}/b", expires=later(0.5))
    desk.send({"type": "cancel_command", "request_id": cancelled})
    assert desk.result(cancelled)["reason"] == "cancelled" and desk.result(expired, 3)["reason"] == "expired"
    for name in long:
        desk.send({"type": "cancel_command", "request_id": name})
    assert all(desk.result(name)["reason"] == "cancelled" for name in long)
    assert not list(tmp_path.glob("[ab]"))


def test_a_cancelled_command_that_comes_late_never_runs(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    name = str(uuid.uuid4())
    desk.send({"type": "cancel_command", "request_id": name})
    assert desk.result(name)["reason"] == "cancelled"
    desk.execute(f"touch {tmp_path}/ran", request_id=name)
    desk.eventually(lambda: len(desk.results[name]) == 2)
    assert desk.results[name][1]["reason"] == "cancelled" and not (tmp_path / "ran").exists()


# At most once


def test_delivered_a_hundred_times_it_runs_once(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    name = str(uuid.uuid4())
    for _ in range(50):
        desk.execute(f"echo ran >> {tmp_path}/runs; sleep 0.3; echo done", request_id=name)
    desk.result(name)
    for _ in range(50):
        desk.execute(f"echo ran >> {tmp_path}/runs", request_id=name)
    desk.eventually(lambda: len(desk.results[name]) >= 20)
    assert (tmp_path / "runs").read_text() == "ran\n" and desk.text(name) == "done\n"
    assert {(one["reason"], one["exit_code"], one["stdout_bytes"]) for one in desk.results[name]} == {("exited", 0, 5)}


def test_a_finished_one_is_answered_with_its_result_also_by_a_later_connector(desk, machine, tmp_path) -> None:
    desk.acknowledges = False
    ready(desk, machine)
    name = desk.execute(f"echo ran | tee -a {tmp_path}/runs; exit 4")
    first = desk.result(name)
    desk.execute("echo other", request_id=name)
    desk.eventually(lambda: len(desk.results[name]) == 2)
    machine.stop()
    ready(desk, machine)
    assert {"request_id": name, "state": "finished"} in desk.eventually(lambda: desk.console.of("hello")[1:])[0]["commands"]
    desk.eventually(lambda: len(desk.results[name]) == 3)
    assert all(one == first for one in desk.results[name]) and first["output"] == "ran\n"
    desk.acknowledges = True
    desk.execute("echo other", request_id=name)
    desk.eventually(lambda: len(desk.results[name]) == 4)
    machine.stop()
    ready(desk, machine)
    desk.eventually(lambda: len(desk.console.of("hello")) == 3)
    assert desk.console.of("hello")[2]["commands"] == []
    desk.execute("echo other", request_id=name)
    desk.eventually(lambda: len(desk.results[name]) == 5)
    assert desk.results[name][4] == {**first, "output": ""} and (tmp_path / "runs").read_text() == "ran\n"


def test_kill_9_in_the_middle_is_lost_and_never_a_second_run(programs, console, eventually, tmp_path) -> None:
    desk = Desk(console, eventually)
    config = programs.config(console)
    process = programs.start("--config", str(config))
    script = f"echo ran >> {tmp_path}/runs; echo $$; exec sleep 100"
    name = desk.execute(script)
    pid = int(eventually(lambda: desk.text(name)))
    process.kill()
    process.wait(timeout=20)
    assert not gone(pid)
    console.messages.clear()
    programs.start("--config", str(config))
    eventually(lambda: console.of("hello"))
    assert console.of("hello")[0]["commands"] == [{"request_id": name, "state": "finished"}]
    desk.execute(script, request_id=name)
    result = desk.result(name)
    assert result["reason"] == "lost" and result["exit_code"] is None and "not started again" in result["message"]
    eventually(lambda: gone(pid), 6)
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert desk.run("echo goes on")["exit_code"] == 0


def test_kill_9_at_any_moment_runs_nothing_twice(programs, console, eventually, tmp_path) -> None:
    desk = Desk(console, eventually)
    config = programs.config(console)
    names: list[str] = []
    for round_ in range(4):
        console.messages.clear()
        process = programs.start("--config", str(config))
        eventually(lambda: console.of("hello"))
        for name in names:
            desk.execute(f"echo {name} >> {tmp_path}/runs", request_id=name)
        for _ in range(6):
            names.append(str(uuid.uuid4()))
            desk.execute(f"echo {names[-1]} >> {tmp_path}/runs", request_id=names[-1])
        time.sleep(0.013 * round_)
        process.kill()
        process.wait(timeout=20)
    console.messages.clear()
    programs.start("--config", str(config))
    eventually(lambda: console.of("hello"))
    for name in names:
        desk.execute(f"echo {name} >> {tmp_path}/runs", request_id=name)
    reasons = {name: desk.result(name)["reason"] for name in names}
    runs = (tmp_path / "runs").read_text().split()
    assert len(runs) == len(set(runs)) and set(reasons.values()) <= {"exited", "lost"}
    assert {name for name in names if reasons[name] == "exited"} <= set(runs)


def test_it_is_remembered_before_it_starts(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    ask = f"import sqlite3; print(sqlite3.connect('{machine.state.commands}').execute('select request_id from commands').fetchall())"
    name = desk.execute(f'python3 -c "{ask}"')
    desk.result(name)
    assert name in desk.text(name)


def test_what_cannot_be_remembered_is_not_started(desk, machine, tmp_path, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    ready(desk, machine)
    monkeypatch.setattr(Ledger, "begin", full)
    monkeypatch.setattr(Ledger, "finish", full)
    result = desk.run(f"touch {tmp_path}/ran")
    assert result["reason"] == "refused" and "disk is full" in result["message"] and not (tmp_path / "ran").exists()


def test_a_full_disk_after_a_crash_does_not_keep_it_from_starting(desk, machine, monkeypatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    ledger = Ledger(machine.state.commands)
    ledger.begin("begun")
    ledger.close()
    monkeypatch.setattr(Ledger, "finish", full)
    ready(desk, machine)
    assert desk.result("begun")["reason"] == "lost"


def test_ids_are_remembered_for_seven_days_and_the_newest_in_any_case(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("binnacle_connector.ledger.ALWAYS_REMEMBERED", 2)
    monkeypatch.setattr("binnacle_connector.ledger.PRUNE_EVERY", -1)
    ledger, day = Ledger(tmp_path / "commands.db"), 24 * 3600.0
    start = time.time()
    for number in range(5):
        monkeypatch.setattr(time, "time", lambda number=number: start + number * 3 * day)
        ledger.begin(f"r{number}")
        ledger.finish(f"r{number}", {"output": ""})
    monkeypatch.setattr(time, "time", lambda: start + 13 * day)
    ledger.begin("now")
    assert [ledger.knows(f"r{number}") for number in range(5)] == [False, False, True, True, True]
    monkeypatch.setattr(time, "time", lambda: start + 400 * day)
    ledger.begin("later")
    assert [ledger.knows(name) for name in ("r3", "r4", "now", "later")] == [False, True, True, True]


def test_a_broken_memory_is_set_aside_and_the_console_can_tell(desk, machine) -> None:
    ready(desk, machine)
    machine.stop()
    machine.state.commands.write_bytes(b"lightning struck here" * 400)
    ready(desk, machine)
    desk.eventually(lambda: len(desk.console.of("hello")) == 2)
    assert len({hello["commands_memory"] for hello in desk.console.of("hello")}) == 2
    assert desk.run("echo hi")["exit_code"] == 0 and list(machine.state.path.glob("commands.db.corrupt-*"))


# Output


def test_text_is_put_together_and_made_harmless_but_not_changed_otherwise(desk, machine) -> None:
    ready(desk, machine)
    script = r"""printf '\303'; sleep 0.2; printf '\251|\360\237\230'; sleep 0.2; printf '\200|\377\376|a\000b|\033[31mred\033[0m|\r\n\303'"""
    name = desk.execute(script)
    result = desk.result(name)
    expected = "é|😀|\ufffd\ufffd|a\ufffdb|\x1b[31mred\x1b[0m|\r\n\ufffd"
    assert desk.text(name) == expected == result["output"] and result["stdout_bytes"] == 31


def test_binary_output_arrives_as_text(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("head -c 300000 /dev/urandom; head -c 100000 /dev/zero >&2")
    result = desk.result(name)
    assert (result["stdout_bytes"], result["stderr_bytes"], result["dropped_bytes"]) == (300_000, 100_000, 0)
    assert desk.text(name, "stderr") == "\ufffd" * 100_000 and "\0" not in desk.text(name)


def test_the_first_words_come_at_once_and_the_rest_joined(desk, machine) -> None:
    ready(desk, machine)
    begun = time.monotonic()
    name = desk.execute("echo first; for i in $(seq 300); do echo $i; sleep 0.005; done")
    desk.eventually(lambda: desk.text(name))
    started = next(at for at, kind, _ in desk.arrived if kind == "command_started")
    first = next(at for at, kind, _ in desk.arrived if kind == "command_output")
    assert first - started < 0.1, (started - begun, first - begun)
    desk.result(name)
    seconds = time.monotonic() - begun
    assert desk.text(name).split() == ["first", *(str(number) for number in range(1, 301))]
    assert len(desk.parts[name]) <= 10 * seconds + 22


def test_the_two_streams_keep_their_order_as_far_as_it_can_be_seen(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("for i in 1 2 3 4; do echo o$i; sleep 0.02; echo e$i >&2; sleep 0.02; done")
    desk.result(name)
    assert desk.text(name).split() == ["o1", "e1", "o2", "e2", "o3", "e3", "o4", "e4"]


def test_alternating_streams_lose_nothing(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("i=0; while [ $i -lt 3000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done")
    desk.result(name)
    assert desk.text(name, "stdout").split() == [f"o{i}" for i in range(3000)]
    assert desk.text(name, "stderr").split() == [f"e{i}" for i in range(3000)]
    assert len(desk.parts[name]) < 200


def test_one_line_of_ten_megabytes_arrives_whole(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("head -c 10485760 /dev/zero | tr '\\0' x")
    result = desk.result(name)
    assert result["dropped_bytes"] == 0 and desk.text(name) == "x" * 10 * MIB
    assert result["output"] == "x" * 64 * 1024


def test_the_line_cut_in_the_middle_loses_and_doubles_nothing(desk, machine, tmp_path) -> None:
    ready(desk, machine)
    name = desk.execute(f"for i in $(seq 120); do echo line $i; sleep 0.01; done; touch {tmp_path}/end; echo err >&2")
    for words in ("line 20\n", "line 60\n"):
        desk.eventually(lambda words=words: words in desk.text(name))
        desk.console.cut()
    result = desk.result(name)
    assert desk.text(name, "stdout") == "".join(f"line {i}\n" for i in range(1, 121)) and desk.text(name, "stderr") == "err\n"
    assert result["last_seq"] == max(desk.parts[name]) == len(desk.parts[name]) and result["dropped_bytes"] == 0
    assert len(desk.console.peers) == 3 and {"request_id": name, "state": "running"} in desk.console.of("hello")[-1]["commands"]


def test_what_was_not_acknowledged_comes_again_in_order(desk, machine) -> None:
    desk.acknowledges = False
    ready(desk, machine)
    name = desk.execute("for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
    first = desk.result(name)
    desk.console.cut()
    desk.eventually(lambda: len(desk.results[name]) == 2)
    assert [seq for _, seq in desk.again] == sorted(desk.parts[name]) and desk.results[name][1] == first
    desk.send({"type": "output_ack", "request_id": name, "seq": 3})
    desk.acknowledges = True
    desk.console.cut()
    desk.eventually(lambda: len(desk.results[name]) == 3)
    assert [seq for _, seq in desk.again][len(desk.parts[name]) :] == [seq for seq in sorted(desk.parts[name]) if seq > 3]


def test_an_acknowledgement_of_what_was_never_sent_loses_nothing(desk, machine) -> None:
    ready(desk, machine)
    name = desk.execute("echo a; sleep 0.5; echo b")
    desk.eventually(lambda: desk.text(name))
    desk.send({"type": "output_ack", "request_id": name, "seq": 1_000_000})
    desk.send({"type": "command_ack", "request_id": name})
    assert desk.result(name)["exit_code"] == 0 and desk.text(name) == "a\nb\n"


def test_while_nobody_is_connected_the_oldest_goes_and_is_counted(desk, machine, tmp_path) -> None:
    connector = ready(desk, machine)
    name = desk.execute(
        f"echo head; touch {tmp_path}/on; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; yes | head -c 12000000; echo tail; touch {tmp_path}/end"
    )
    desk.eventually(lambda: "head" in desk.text(name))
    desk.eventually(lambda: connector.commands.buffers.size == 0)  # or what was sent and not acknowledged would count as dropped
    desk.console.shut()
    (tmp_path / "go").touch()
    desk.eventually(lambda: (tmp_path / "end").exists())
    desk.eventually(lambda: connector.commands.entries()[0].state == "finished")
    assert connector.commands.buffers.size <= MAX_OUTPUT
    desk.console.open()
    result = desk.result(name)
    text = desk.text(name)
    assert text.startswith("head\ny\n") and text.endswith("y\ntail\n")
    assert result["stdout_bytes"] == 12_000_010 == len(text) + result["dropped_bytes"]
    assert sum(part.get("dropped", 0) for part in desk.parts[name].values()) == result["dropped_bytes"] > 7_000_000


def test_all_commands_together_are_bounded(desk, machine, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(output_module, "MAX_TOTAL", 2 * MIB)
    connector = ready(desk, machine)
    names = [desk.execute(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; yes | head -c 1500000") for _ in range(4)]
    desk.eventually(lambda: len(desk.started) == 4)
    desk.console.shut()
    (tmp_path / "go").touch()
    desk.eventually(lambda: all(entry.state == "finished" for entry in connector.commands.entries()))
    assert connector.commands.buffers.size <= 2 * MIB
    desk.console.open()
    for name in names:
        result = desk.result(name)
        assert result["dropped_bytes"] + len(desk.text(name)) == 1_500_000 and desk.text(name)


def test_a_console_that_acknowledges_nothing_gets_the_result_all_the_same(desk, machine, patience) -> None:
    desk.acknowledges = False
    connector = ready(desk, machine, patience)
    name = desk.execute("yes | head -c 9000000; echo end")
    result = desk.result(name)
    assert result["reason"] == "exited" and result["output"].endswith("y\nend\n") and len(result["output"]) == 64 * 1024
    assert connector.commands.buffers.size <= MAX_OUTPUT
    assert len(desk.text(name)) + result["dropped_bytes"] >= 9_000_000


def test_a_slow_console_makes_the_command_wait_and_loses_nothing(desk, machine) -> None:
    connector = ready(desk, machine)
    desk.acknowledges = False
    name = desk.execute("yes | head -c 7000000; echo end", timeout=60)
    desk.eventually(lambda: connector.commands.buffers.size >= MAX_OUTPUT)
    time.sleep(0.3)
    in_flight = len(desk.text(name))
    assert connector.commands.buffers.size < MAX_OUTPUT + 256 * 1024 and in_flight < 512 * 1024
    assert name not in desk.results
    desk.acknowledges = True
    desk.send({"type": "output_ack", "request_id": name, "seq": max(desk.parts[name])})
    result = desk.result(name)
    assert result["dropped_bytes"] == 0 and len(desk.text(name)) == 7_000_004


def test_a_flood_stops_neither_the_sampling_nor_grows_the_memory(programs, console, eventually) -> None:
    desk = Desk(console, eventually)
    process = programs.start("--config", str(programs.config(console, interval=1)))
    eventually(lambda: console.stored)
    before = psutil.Process(process.pid).memory_info().rss
    endless = desk.execute("yes", timeout=2)
    name = desk.execute("yes | head -c 50000000")
    peak = 0
    while name not in desk.results or endless not in desk.results:
        peak = max(peak, psutil.Process(process.pid).memory_info().rss)
        desk.parts.get(endless, {}).clear()
        time.sleep(0.05)
    assert peak - before < 40 * MIB
    assert desk.result(name)["dropped_bytes"] == 0 and len(desk.text(name)) == 50_000_000
    assert desk.result(endless)["reason"] == "timeout" and desk.result(endless)["duration_ms"] < 5500
    seconds = desk.arrived[-1][0] - desk.arrived[0][0]
    assert len(console.stored) >= seconds - 1 and len(console.peers) == 1


def test_a_flood_into_nowhere_keeps_the_memory_and_the_beat(desk, machine, eventually, tmp_path) -> None:
    connector = machine.start(desk.console.url)
    name = desk.execute("yes", timeout=2)
    eventually(lambda: name in desk.started)
    desk.console.shut()
    before = connector.spool.last_seq
    time.sleep(1)
    assert connector.spool.last_seq - before >= 25
    assert connector.commands.buffers.size <= MAX_OUTPUT + 256 * 1024
    desk.console.open()
    assert desk.result(name)["reason"] == "timeout"


def test_pipes_read_by_threads_do_the_same(desk, machine, monkeypatch) -> None:
    """As on Windows, where pipes cannot be selected."""
    from binnacle_connector import runner
    from binnacle_connector.pipes import ThreadedPipes

    monkeypatch.setattr(runner, "Pipes", ThreadedPipes)
    ready(desk, machine)
    name = desk.execute("yes | head -c 5000000; echo err >&2; sleep 60 & echo $!")
    result = desk.result(name)
    pid = int(desk.text(name, "stdout").split()[-1])
    try:
        assert result["exit_code"] == 0 and "background" in result["message"] and desk.text(name, "stderr") == "err\n"
    finally:
        os.kill(pid, signal.SIGKILL)
    assert desk.run("yes", timeout=0.3)["reason"] == "timeout"
    assert threading.active_count() < 30 and json.dumps(result)


def test_only_what_was_handed_out_can_be_acknowledged() -> None:
    output = output_module.Output(output_module.Buffers(lambda: None, 15))
    output.feed("stdout", b"x" * 3 * MAX_DATA)
    output.finish()
    first = output.take(0)
    output.acknowledge(1_000_000)
    assert first.seq == 1 and output.size == 2 * MAX_DATA and output.take(0).seq == 2 and output.last_seq == 3
