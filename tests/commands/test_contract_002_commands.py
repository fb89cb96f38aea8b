"""Contract 002, "Commands", on a real server: an agent of the original, and a connector that speaks our protocol."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from machines import Asked, Machine
from serving import Server, eventually

from app.commands import driver
from app.errors import Invalid


@pytest.fixture
def original(served: Server) -> Iterator[Machine]:
    machine = Machine(served)
    yield machine
    machine.close()


@pytest.fixture
def ours(served: Server) -> Iterator[Machine]:
    machine = Machine(served, ours=True)
    yield machine
    machine.close()


def test_a_command_is_answered_as_documented_by_an_original_agent(original: Machine) -> None:
    asked = original.run("ls -la")
    message = original.next()
    assert message.keys() >= {"type", "command", "request_id"}
    assert message["command"] == "ls -la"
    original.result(message, "total 100\n...", 0, duration_ms=150)
    answer = asked.done()
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert {k: body[k] for k in ("command", "output", "exit_code", "duration_ms", "success", "error")} == {
        "command": "ls -la", "output": "total 100\n...", "exit_code": 0, "duration_ms": 150, "success": True, "error": None,
    }  # fmt: skip
    run = original.served.http.get(f"/api/v1/runs/{body['command_id']}").json()
    assert (run["status"], run["kind"], run["total"], run["succeeded"]) == ("succeeded", "command", 1, 1)


def test_output_streams_in_order_and_twice_is_once(ours: Machine) -> None:
    asked = ours.run("make", timeout=60)
    message = ours.next()
    one = {"type": "command_output", "request_id": message["request_id"]}
    sent = ((1, "stdout", "a\n"), (2, "stderr", "b\n"), (2, "stderr", "b\n"), (1, "stdout", "a\n"), (3, "stdout", "ü\x00c"))
    for (seq, stream, text), known in zip(sent, (1, 2, 2, 2, 3), strict=True):
        ours.agent.send(**one, seq=seq, stream=stream, data=text)
        assert ours.agent.read("output_ack")["seq"] == known
    ours.result(message, "ignored, there was output already", 3, last_seq=3)
    body = asked.done().json()
    assert body["output"] == "a\nb\nü\ufffdc"
    assert (body["stdout"], body["stderr"]) == ("a\nü\ufffdc", "b\n")
    assert (body["exit_code"], body["success"], body["error"], body["status"]) == (3, False, "Exit code 3", "failed")


def test_an_offline_computer_answers_503_at_once_unless_it_shall_wait(served: Server) -> None:
    machine = Machine(served, ours=True)
    machine.agent.send(type="ping")
    machine.agent.read("pong")  # it has taken in the greeting, so nothing keeps it from hearing of the end
    machine.close()
    path = f"/api/v1/commands/{machine.id}"
    eventually(lambda: served.http.post(path, json={"command": "true"}).status_code == 503)
    began = time.monotonic()
    refused = served.http.post(path, json={"command": "true"})
    assert (refused.status_code, refused.json()) == (503, {"detail": "The computer is offline"})
    assert time.monotonic() - began < 5
    queued = served.http.post(path, json={"command": "true", "queue": True, "wait": False})
    assert queued.status_code == 202, queued.text
    run = queued.json()["run_id"]
    assert served.http.get(f"/api/v1/runs/{run}").json()["status"] == "queued"
    machine.connect()
    message = machine.next()
    machine.result(message, "here again")
    eventually(lambda: served.http.get(f"/api/v1/runs/{run}").json()["status"] == "succeeded")
    machine.close()


def test_a_timeout_is_504_and_the_run_says_so(ours: Machine) -> None:
    asked = ours.run("sleep 100", timeout=1)
    message = ours.next()
    assert message["timeout"] == 1
    ours.result(message, "", None, reason="timeout")
    answer = asked.done()
    assert answer.status_code == 504
    assert "1 s" in answer.json()["detail"]
    runs = ours.served.http.get("/api/v1/runs", params={"server_id": ours.id}).json()["runs"]
    assert runs[0]["status"] == "timed_out"


def test_cancel_reaches_the_computer(ours: Machine) -> None:
    run = ours.run("sleep 100", wait=False).done().json()["run_id"]
    message = ours.next()
    ours.agent.send(type="command_started", request_id=message["request_id"], pid=1)
    eventually(lambda: ours.served.http.get(f"/api/v1/runs/{run}").json()["steps"][0]["status"] == "running")
    assert ours.served.http.post(f"/api/v1/runs/{run}/cancel").status_code == 200
    assert ours.next("cancel_command")["request_id"] == message["request_id"]
    ours.result(message, "", None, reason="cancelled")
    eventually(lambda: ours.served.http.get(f"/api/v1/runs/{run}").json()["status"] == "cancelled")
    assert ours.served.http.post(f"/api/v1/runs/{run}/cancel").status_code == 409


def test_a_reconnecting_connector_gets_what_it_has_not_reported_again(ours: Machine) -> None:
    asked = ours.run("long", timeout=60)
    first = ours.next()
    ours.close()
    ours.connect()
    again = ours.next()
    assert again["request_id"] == first["request_id"]
    ours.result(again, "done", 0)
    assert asked.done().json()["success"] is True


def test_an_original_agent_that_goes_away_leaves_a_lost_run(original: Machine) -> None:
    run = original.run("long", wait=False).done().json()["run_id"]
    original.next()
    original.close()
    found = eventually(lambda: (r := original.served.http.get(f"/api/v1/runs/{run}").json())["finished_at"] and r, 30)
    assert (found["status"], found["steps"][0]["outcome"]) == ("lost", "lost")
    assert "connection" in found["reason"]


def test_a_computer_cannot_answer_for_another(served: Server, ours: Machine) -> None:
    other = Machine(served, ours=True)
    asked = ours.run("id")
    message = ours.next()
    other.agent.send(type="command_result", request_id=message["request_id"], data={"output": "root", "exit_code": 0})
    assert "names no command" in other.agent.read("error")["message"]
    for nonsense in (
        {"request_id": 5},
        {"request_id": message["request_id"], "data": {"exit_code": "0"}},
        {"request_id": message["request_id"]},
    ):
        ours.agent.send(type="command_result", **nonsense)
        ours.agent.read("error")
    ours.result(message, "me", 0)
    ours.result(message, "me again", 1)
    assert asked.done().json()["output"] == "me"
    other.close()


def test_who_may_run_commands(served: Server, ours: Machine) -> None:
    for role, status in (("readonly", 403), ("executor", 202), ("user", 202)):
        key = served.http.post("/api/v1/api-keys", json={"name": role, "role": role}).json()["key"]
        answer = Asked(served, ours.id, {"command": "true", "wait": False}, {"X-API-Key": key}).done()
        assert answer.status_code == status, answer.text
    tenant = served.http.post("/api/v1/tenants", json={"name": f"t-{uuid4()}"}).json()["id"]
    stranger = served.http.post("/api/v1/api-keys", json={"name": "x", "role": "user", "tenant_ids": [tenant]}).json()["key"]
    assert Asked(served, ours.id, {"command": "true"}, {"X-API-Key": stranger}).done().status_code == 404
    run = served.http.get("/api/v1/runs", params={"server_id": ours.id}).json()["runs"][0]["id"]
    for path in (f"/api/v1/runs/{run}", f"/api/v1/runs/{run}/log", f"/api/v1/runs/{run}/steps/0/output"):
        assert httpx.get(served.url + path, headers={"X-API-Key": stranger}).status_code == 404
    assert httpx.get(f"{served.url}/api/v1/runs", headers={"X-API-Key": stranger}).json()["total"] == 0


@pytest.mark.parametrize("body", [{}, {"command": ""}, {"command": "   "}, {"command": 5}, {"command": "x", "timeout": 0}, {"command": "x", "shell": "fish"},
                                  {"command": "x", "timeout": "5"}, {"command": "x" * 70_000}])  # fmt: skip
def test_bad_input_is_422(ours: Machine, body: dict[str, Any]) -> None:
    answer = ours.served.http.post(f"/api/v1/commands/{ours.id}", json=body)
    assert answer.status_code == 422, answer.text
    assert isinstance(answer.json()["detail"], list)


def test_the_journal_names_who_ran_what_where(ours: Machine) -> None:
    asked = ours.run("whoami --canary")
    ours.result(ours.next(), "root")
    asked.done()
    found = ours.served.http.get("/api/v1/audit", params={"type": "command.requested"}).text
    assert "whoami --canary" in found
    assert ours.id in found
    assert "127.0.0.1" in found


def test_an_error_ends_the_command_and_no_other_answer_does(ours: Machine) -> None:
    asked = ours.run("id", timeout=60)
    message = ours.next()
    for wrong in ({"type": "container_started"}, {"type": "command_result", "data": []}, {"type": "error", "message": 5}):
        ours.agent.send(request_id=message["request_id"], **wrong)
        assert ours.agent.read("error")["regarding"] == wrong["type"]
    ours.agent.send(type="error", message="about nothing in particular")
    ours.agent.send(type="error", request_id=message["request_id"], message="no such shell")
    ours.agent.read("command_ack")
    assert (asked.done().json()["success"], asked.done().json()["error"]) == (False, "no such shell")


def test_four_commands_at_once_on_a_computer_and_the_next_when_one_ends(ours: Machine) -> None:
    runs = [ours.run(f"sleep {n}", wait=False, timeout=60).done().json()["run_id"] for n in range(6)]
    messages = [ours.next() for _ in range(4)]
    assert [message["command"] for message in messages] == [f"sleep {n}" for n in range(4)]
    ours.agent.send(type="ping")
    ours.agent.read("pong")
    waiting = [ours.served.http.get(f"/api/v1/runs/{run}").json()["status"] for run in runs]
    assert waiting == ["running"] * 4 + ["queued"] * 2
    ours.agent.send(type="command_result", request_id=messages[2]["request_id"], data={"output": "", "exit_code": 0})
    found = sorted((ours.agent.read() for _ in range(2)), key=lambda m: m["type"])
    assert [m["type"] for m in found] == ["command_ack", "execute_command"] and found[1]["command"] == "sleep 4"
    for message in (*messages[:2], messages[3], found[1]):
        ours.agent.send(type="command_result", request_id=message["request_id"], data={"output": "", "exit_code": 0})
    eventually(lambda: ours.served.http.get(f"/api/v1/runs/{runs[4]}").json()["status"] == "succeeded")


@pytest.mark.parametrize(
    ("code", "stored"), [(0xC0000005, -1073741819), (2**32 - 1, -1), (2**31 - 1, 2**31 - 1), (-(2**31), -(2**31))]
)
def test_an_exit_code_of_windows_fits_where_it_is_stored(code: int, stored: int) -> None:
    ending = driver.result(None, {"request_id": "x", "data": {"exit_code": code}})  # type: ignore[arg-type]
    assert (ending.exit_code, ending.reason) == (stored, f"Exit code {stored}")


@pytest.mark.parametrize("code", [2**32, -(2**31) - 1, 1e30, 1.5, True, "0"])
def test_what_is_no_exit_code_is_refused(code: Any) -> None:
    with pytest.raises(Invalid):
        driver.result(None, {"request_id": "x", "data": {"exit_code": code}})  # type: ignore[arg-type]
