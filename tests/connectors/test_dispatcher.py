"""What is sent to a computer, and when: in order for kinds that ask for it, four beside each other for the rest."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from conftest import Cast
from factories import make_computer, make_run
from serving import eventually

from app.actors import SYSTEM
from app.commands.operations import target_of
from app.connectors.conversation import handler_of, on_result
from app.connectors.dispatcher import dispatcher_of
from app.connectors.registry import Connection, registry_of
from app.database import reading, unit_of_work
from app.errors import Invalid, Malformed
from app.factory import vault_of
from app.fleet.queries import by_ids
from app.runs import drivers, queries
from app.runs.drivers import Driver, Ending, Remote
from app.runs.masking import MASK
from app.runs.operations import NewRun, create_remote


class Wire:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.sent.append(orjson.loads(text))


LANE = Driver(
    "lane", "Lane", lambda *_a, **_k: None, lane=True,
    remote=Remote("lane", "It has no lane", lambda run, _s, _secrets: {"type": "go", "title": run.title},
                  {"gone": lambda _step, said: Ending("done", result=said["data"])}, original=False, cancel=None, ack="gone_ack"),
)  # fmt: skip


@pytest.fixture
def lane() -> Iterator[None]:
    drivers.register(LANE)
    yield
    drivers.forget("lane")


def request(computer: tuple[int, str], title: str) -> str:
    with unit_of_work():
        target = target_of(by_ids([computer[0]])[computer[0]])
        return create_remote(NewRun("lane", title, {}, 60), [target], deliver_for=timedelta(minutes=1), actor=SYSTEM).id


def test_a_lane_keeps_its_order_beside_four_commands(cast: Cast, lane: None) -> None:
    with cast.app.app_context():
        computer = make_computer("pc", tenant_id=cast.acme)
        other = make_computer("old", tenant_id=cast.acme)
        wire, old = Wire(), Wire()
        connections = [
            Connection(wire, computer[0], computer[1], "k", frozenset({"commands", "lane"}), "m", True),  # type: ignore[arg-type]
            Connection(old, other[0], other[1], "k", frozenset({"commands"}), "m", True),
        ]  # type: ignore[arg-type]
        registry, dispatcher = registry_of(cast.app), dispatcher_of(cast.app)
        first, second = request(computer, "first"), request(computer, "second")
        for number in range(6):
            make_run(computer, command=f"sleep {number}")
        refused = request(other, "nobody takes it")
        registry._by_computer.update({c.computer_id: c for c in connections})
        try:
            dispatcher._seen = -1
            dispatcher._look()
            assert [m.get("title") or m["command"] for m in wire.sent] == ["first", *(f"sleep {n}" for n in range(4))]
            assert old.sent == []
            request_id = wire.sent[0]["request_id"]
            with pytest.raises(Malformed, match="no answer"):
                on_result(connections[0], {"type": "command_result", "request_id": request_id, "data": {"exit_code": 0}})
            with pytest.raises(Malformed, match="names no command"):
                on_result(connections[1], {"type": "gone", "request_id": request_id, "data": {}})
            with reading():
                waits = queries.get_step(second, 0).uuid
            with pytest.raises(Malformed, match="nothing that was sent"):
                on_result(connections[0], {"type": "gone", "request_id": waits, "data": {}})
            on_result(connections[0], {"type": "gone", "request_id": request_id, "data": {"state": "up"}})
            on_result(connections[0], {"type": "gone", "request_id": request_id, "data": {"state": "twice"}})
            dispatcher._seen = -1
            dispatcher._look()
            eventually(lambda: len(wire.sent) == 8, 20, "the process's own thread may send it before us, or between the answers")
            assert sorted(m.get("title", m["type"]) for m in wire.sent[5:]) == ["gone_ack", "gone_ack", "second"]
            with reading():
                assert queries.by_ids([first])[first].status == "succeeded"
                assert queries.get_step(first, 0).result == '{"state":"up"}'
                assert queries.by_ids([refused])[refused].status == "queued"
        finally:
            registry._by_computer.clear()


NONSENSE: list[dict[str, Any]] = [
    {"seq": 0}, {"seq": -1}, {"seq": "1"}, {"seq": 2**31}, {"seq": 1.5}, {"seq": None}, {"seq": True}, {"stream": "stdin"}, {"stream": 1},
    {"data": None}, {"data": ["x"]}, {"data": "x" * ((1 << 20) + 1)}, {"request_id": ["x"]}, {"request_id": ""}, {"request_id": "x" * 65},
]  # fmt: skip


def test_what_a_connector_says_out_of_turn_changes_no_run(cast: Cast) -> None:
    """For another computer's run, before it was sent, in nonsense; and after the end nothing that could show half a secret."""
    say = {kind: handler_of(kind) for kind in ("command_started", "command_output", "command_result")}
    with cast.app.app_context():
        computer, other = make_computer("pc", tenant_id=cast.acme), make_computer("other", tenant_id=cast.acme)
        wires = {one[0]: Wire() for one in (computer, other)}
        mine, stranger = (
            Connection(wires[one[0]], one[0], one[1], "k", frozenset({"commands"}), "m", True)  # type: ignore[arg-type]
            for one in (computer, other)
        )
        run = make_run(computer, secrets={"KEY": "sparrow-hawk"}, vault=vault_of(cast.app))
        request_id = queries.get_step(run, 0).uuid
        fits = {"type": "command_output", "request_id": request_id, "seq": 1, "stream": "stdout", "data": "x"}
        with pytest.raises(Malformed, match="nothing that was sent"):
            say["command_started"](mine, {"type": "command_started", "request_id": request_id})
        with pytest.raises(Malformed, match="nothing that was sent"):
            say["command_output"](mine, fits)
        registry_of(cast.app)._by_computer[computer[0]] = mine
        try:
            dispatcher_of(cast.app)._seen = -1
            dispatcher_of(cast.app)._look()
            eventually(lambda: wires[computer[0]].sent, 20, "neither this look nor the process's own thread has sent it")
        finally:
            registry_of(cast.app)._by_computer.clear()
        assert wires[computer[0]].sent[0]["env"] == {"KEY": "sparrow-hawk"}
        for message in (
            fits,
            {"type": "command_started", "request_id": request_id},
            fits | {"type": "command_result", "data": {}},
        ):
            with pytest.raises(Malformed, match="names no command of this computer"):
                say[message["type"]](stranger, message)
        for wrong in NONSENSE:
            with pytest.raises(Invalid):
                say["command_output"](mine, fits | wrong)
        with reading():
            step = queries.get_step(run, 0)
            assert (step.status, step.log_seq, queries.output_of(step)["output"]) == ("pending", 0, "")
        say["command_output"](mine, fits | {"data": "key: sparr"})
        say["command_result"](mine, {"type": "command_result", "request_id": request_id, "data": {"exit_code": 3}})
        say["command_started"](mine, {"type": "command_started", "request_id": request_id})
        say["command_output"](mine, fits | {"seq": 2, "data": "ow-hawk\n"})
        say["command_result"](mine, {"type": "command_result", "request_id": request_id, "data": {"exit_code": 0}})
        with reading():
            step = queries.get_step(run, 0)
            assert (step.status, step.exit_code, queries.output_of(step)["output"]) == ("failed", 3, f"key: {MASK}")
            assert queries.by_ids([run])[run].status == "failed"
        assert wires[computer[0]].sent[-2] == {"type": "output_ack", "request_id": request_id, "seq": 2}, "or it would come again"
    assert wires[other[0]].sent == []
