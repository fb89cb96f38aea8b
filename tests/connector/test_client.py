"""The conversation with a console, good and bad, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid

import pytest
from binnacle_connector import inventory, wire
from binnacle_connector.client import Backoff

NONSENSE = [
    "{not json",
    "[" * 100_000,
    '"text"',
    "null",
    "[]",
    "{}",
    '{"type":7}',
    '{"type":["ping"]}',
    '{"type":"launch_rockets","at":"once"}',
    '{"type":"samples_ack"}',
    '{"type":"samples_ack","seq":"1"}',
    '{"type":"samples_ack","seq":true}',
    '{"type":"samples_ack","seq":-5}',
    '{"type":"samples_ack","seq":1e400}',
    '{"type":"samples_ack","seq":' + "9" * 4000 + "}",
    '{"type":"samples_refused","seqs":"all","reason":{}}',
    '{"type":"samples_refused","seqs":[1,null]}',
    '{"type":"samples_refused"}',
    '{"type":"retry"}',
    '{"type":"retry","after":"soon"}',
    '{"type":"retry","after":-1}',
    '{"type":"retry","after":NaN}',
    '{"type":"retry","after":1e308}',
    '{"type":"retry","after":' + "9" * 4000 + "}",
    '{"type":"hello_ok","interval":0,"acked":"x"}',
    '{"type":"hello_ok","interval":3601}',
    '{"type":"hello_ok","interval":Infinity}',
    '{"type":"hello_ok","interval":[10]}',
    '{"type":"auth_success"}',
    '{"type":"error","message":{"a":1}}',
    b"\x00\xff binary",
]


def no_gap(console) -> bool:
    """Everything up to the newest is stored, once."""
    newest = max(console.stored, default=0)
    return sorted(console.stored) == list(range(1, newest + 1)) and not console.duplicates


def test_it_introduces_itself_and_delivers_samples(console, machine, eventually) -> None:
    connector = machine.start(console.url)
    eventually(lambda: len(console.stored) >= 5)
    (hello,) = console.of("hello")
    assert console.peers[0].path == "/api/v1/agents/ws" and "origin" not in console.peers[0].headers
    assert str(uuid.UUID(hello["connector_id"])) == hello["connector_id"]
    assert hello["capabilities"] == ["metrics", "inventory", "containers", "commands"] and hello["spool"]["dropped"] == 0
    assert hello["inventory"]["os"]["family"] == "linux" and hello["inventory"]["software"] is not None
    assert no_gap(console)
    for seq, sample in list(console.stored.items()):
        assert sample["seq"] == seq and "cpu_percent" in sample and "memory_percent" in sample and "timestamp" in sample
    eventually(lambda: connector.spool.pending <= 1)


def test_the_servers_interval_is_in_force(console, machine, eventually) -> None:
    console.hello_ok = {"interval": 3600}
    connector = machine.start(console.url)
    eventually(lambda: console.stored or connector._sampler.interval == 3600)
    eventually(lambda: connector._sampler.interval == 3600)


@pytest.mark.parametrize("interval", [0, 3601, -1, True, "10", None, [1], 1e308])
def test_an_interval_out_of_bounds_is_not(console, machine, eventually, interval) -> None:
    console.hello_ok = {"interval": interval}
    connector = machine.start(console.url)
    eventually(lambda: len(console.stored) >= 2)
    assert connector._sampler.interval == 0.02


def test_an_outage_is_replayed_in_order_with_the_original_times(console, machine, eventually) -> None:
    connector = machine.start(console.url)
    eventually(lambda: len(console.stored) >= 3)
    console.shut()
    before = connector.spool.last_seq
    eventually(lambda: connector.spool.last_seq >= before + 30)
    waiting = {row.seq: json.loads(row.body)["timestamp"] for row in connector.spool.batch(10_000)}
    console.open()
    eventually(lambda: set(waiting) <= set(console.stored))
    assert no_gap(console) and console.arrivals == sorted(console.arrivals)
    assert all(console.stored[seq]["timestamp"] == taken for seq, taken in waiting.items())
    times = [console.stored[seq]["timestamp"] for seq in sorted(console.stored)]
    assert times == sorted(times)


def test_a_long_backlog_comes_in_batches_of_500_one_at_a_time(console, machine, eventually) -> None:
    connector = machine.start("http://127.0.0.1:9", interval=3600)
    for number in range(1, 1203):
        connector.spool.append(json.dumps({"timestamp": f"t{number}", "cpu_percent": 1, "memory_percent": 1}), time.time())
    machine.stop()
    sizes: list[int] = []

    def slow(peer, message) -> None:
        sizes.append(len(message["samples"]))
        console.store(peer, message)

    console.on_samples = slow
    machine.start(console.url, interval=3600)
    eventually(lambda: len(console.stored) >= 1202)
    assert sizes[:2] == [500, 500] and no_gap(console)
    assert console.of("hello")[0]["spool"]["pending"] >= 1202


def test_a_restart_goes_on_counting(console, machine, eventually) -> None:
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= 3)
    machine.stop()
    newest = max(console.stored)
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= newest + 3)
    first, second = console.of("hello")
    assert no_gap(console) and first["connector_id"] == second["connector_id"]


def test_an_ack_below_what_was_sent_forgets_that_much_and_the_rest_comes_again(console, machine, timing, eventually) -> None:
    def half(peer, message) -> None:
        kept = message["samples"][: (len(message["samples"]) + 1) // 2]
        console.keep(kept)
        console.on_samples = console.store
        peer.send({"type": "samples_ack", "seq": kept[-1]["seq"]})

    console.on_samples = half
    machine.start(console.url, timing._replace(ack=0.2))
    eventually(lambda: len(console.stored) >= 10)
    assert no_gap(console)


def test_an_ack_beyond_what_was_sent_forgets_only_what_was_sent(console, machine, eventually) -> None:
    def boast(peer, message) -> None:
        console.keep(message["samples"])
        peer.send({"type": "samples_ack", "seq": message["samples"][-1]["seq"] + 1_000_000})

    console.on_samples = boast
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= 10)
    assert no_gap(console)


def test_retry_means_the_same_again_later(console, machine, eventually) -> None:
    seen: list[list[int]] = []

    def later(peer, message) -> None:
        seen.append([sample["seq"] for sample in message["samples"]])
        if len(seen) < 3:
            peer.send({"type": "retry", "after": [0.01, 1e9][len(seen) - 1]})
        else:
            console.store(peer, message)

    console.on_samples = later
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= 10)
    assert seen[0][0] == seen[1][0] == seen[2][0] == 1 and len(console.peers) == 1 and no_gap(console)


def test_refused_samples_do_not_come_again(console, machine, eventually) -> None:
    def refuse(peer, message) -> None:
        seqs = [sample["seq"] for sample in message["samples"]]
        if not console.stored:
            peer.send({"type": "samples_refused", "seqs": seqs[:1], "reason": "a clock years away"})
        console.store(peer, message)

    console.on_samples = refuse
    connector = machine.start(console.url)
    eventually(lambda: len(console.stored) >= 10)
    assert connector.spool.refused == 1 and no_gap(console)


def test_without_an_ack_it_dials_again_and_sends_less(console, machine, timing, eventually) -> None:
    sizes: list[int] = []

    def deaf(peer, message) -> None:
        sizes.append(len(message["samples"]))
        if len(sizes) > 3:
            console.store(peer, message)

    console.on_samples = deaf
    connector = machine.start("http://127.0.0.1:9", interval=3600)
    for number in range(600):
        connector.spool.append(f'{{"timestamp":"t{number}"}}', time.time())
    machine.stop()
    machine.start(console.url, timing._replace(ack=0.2), interval=3600)
    eventually(lambda: len(console.stored) >= 600)
    assert sizes[:4] == [500, 250, 125, 62] and no_gap(console)
    assert len(console.peers) == 4


def test_a_connection_cut_before_the_ack_makes_no_duplicate(console, machine, eventually) -> None:
    def cut(peer, message) -> None:
        console.keep(message["samples"])
        if len(console.peers) < 6:
            peer.cut()
        else:
            peer.send({"type": "samples_ack", "seq": message["samples"][-1]["seq"]})

    console.on_samples = cut
    machine.start(console.url)
    eventually(lambda: len(console.peers) >= 6 and len(console.stored) >= 30)
    assert no_gap(console)


def test_a_refused_key_keeps_sampling_and_resumes_without_a_visit(console, machine, eventually) -> None:
    console.accepts_key = False
    connector = machine.start(console.url)
    eventually(lambda: console.attempts >= 4 and connector.spool.pending >= 10)
    assert connector.healthy() and not console.stored
    console.accepts_key = True
    eventually(lambda: len(console.stored) >= 10)
    for peer in list(console.peers):
        peer.close(1008, "revoked")
    newest = max(console.stored)
    eventually(lambda: max(console.stored) > newest + 3)
    assert no_gap(console)


def test_back_off_is_full_jitter_between_one_and_sixty_seconds() -> None:
    backoff = Backoff(1.0, 60.0)
    ceilings = []
    for _ in range(9):
        ceilings.append(backoff.ceiling)
        assert 0 <= backoff.next() <= ceilings[-1]
    assert ceilings == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    backoff.reset()
    assert backoff.ceiling == 1


def test_nonsense_from_the_server_changes_nothing(console, machine, eventually) -> None:
    def babble(peer, message) -> None:
        if len(console.stored) < 3:
            for frame in NONSENSE:
                peer.send(frame)
        console.store(peer, message)

    console.on_samples = babble
    connector = machine.start(console.url)
    eventually(lambda: len(console.stored) >= 20)
    assert connector.healthy() and connector._sampler.interval == 0.02
    assert sorted(console.stored) == list(range(1, max(console.stored) + 1))


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",  # a text frame of 2^63 bytes
        b"\x81\x7f\x00\x00\x00\x00\x00\x60\x00\x00",  # 6 MiB
        b"\xf1\x01x",  # reserved bits
        b"\x83\x01x",  # a reserved opcode
        b"\x88\x01x",  # half a close code
        b"\x88\x02\x03\xed",  # a close code that must not be sent
    ],
)
def test_broken_frames_end_the_connection_and_not_the_connector(console, machine, eventually, frame) -> None:
    def break_it(peer, message) -> None:
        console.keep(message["samples"])
        if len(console.peers) == 1:
            peer.raw.sendall(frame)
        else:
            peer.send({"type": "samples_ack", "seq": message["samples"][-1]["seq"]})

    console.on_samples = break_it
    machine.start(console.url)
    eventually(lambda: len(console.peers) >= 2 and len(console.stored) >= 5)
    assert no_gap(console)


def test_a_frame_that_only_drips_is_not_waited_for(console, machine, monkeypatch, eventually) -> None:
    def drip(peer, message) -> None:
        console.keep(message["samples"])
        if len(console.peers) > 1:
            peer.send({"type": "samples_ack", "seq": message["samples"][-1]["seq"]})
        else:
            peer.raw.sendall(b"\x81\x7e\xff\xff")
            while not peer.ws.event.wait(0.02):
                peer.raw.sendall(b"x")

    monkeypatch.setattr(wire, "STALL_LIMIT", 0.2)
    console.on_samples = drip
    connector = machine.start(console.url)
    eventually(lambda: connector.healthy() and len(console.peers) >= 2 and len(console.stored) >= 5)
    assert no_gap(console)


@pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "200 OK"])
def test_another_answer_than_an_upgrade_is_tried_again_and_never_followed(console, machine, eventually, status) -> None:
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while len(asked) < 2:
            sock, _ = listener.accept()
            asked.append(sock.recv(65536))
            head = f"HTTP/1.1 {status}\r\nLocation: ws{console.url[4:]}/api/v1/agents/ws\r\nContent-Length: 0\r\n\r\n"
            sock.sendall(head.encode())
            asked[-1] += sock.recv(65536)
            sock.close()

    threading.Thread(target=answer, daemon=True).start()
    connector = machine.start(f"http://127.0.0.1:{listener.getsockname()[1]}")
    eventually(lambda: len(asked) == 2)
    listener.close()
    assert console.attempts == 0 and connector.healthy() and b"api_key" not in b"".join(asked)


def test_fragments_become_one_message(console, machine, eventually) -> None:
    def in_pieces(peer, message) -> None:
        console.keep(message["samples"])
        whole = json.dumps({"type": "samples_ack", "seq": message["samples"][-1]["seq"]}).encode()
        middle = len(whole) // 2
        ping = b"\x89\x02hi"
        first, second = whole[:middle], whole[middle:]
        peer.raw.sendall(bytes([0x01, len(first)]) + first + ping + bytes([0x80, len(second)]) + second)

    console.on_samples = in_pieces
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= 5)
    assert len(console.peers) == 1 and no_gap(console)


def test_a_ping_is_answered_and_a_silent_server_is_pinged(console, machine, timing, eventually) -> None:
    def ask(peer) -> bool:
        admitted = console.admit(peer)
        peer.send({"type": "ping"})
        return admitted

    console.on_auth = ask
    machine.start(console.url, timing._replace(ping=0.05), interval=3600)
    eventually(lambda: console.of("pong") and len(console.of("ping")) >= 3)
    assert len(console.peers) == 1


def test_a_dead_server_is_dialled_again(console, machine, timing, eventually) -> None:
    console.on_auth = lambda peer: console.admit(peer) and peer.receive() and peer.ws.event.wait(0)
    machine.start(console.url, timing._replace(dead=0.3, ack=60), interval=3600)
    eventually(lambda: len(console.peers) >= 3)


def test_an_opening_that_leads_nowhere_is_given_up(console, machine, timing, eventually) -> None:
    console.on_auth = lambda peer: bool(peer.receive()) and len(console.peers) > 2 and bool(peer.receive())
    connector = machine.start(console.url, timing._replace(opening=0.2))
    eventually(lambda: console.attempts >= 3)
    assert connector.healthy()


def test_hello_ok_without_auth_success_is_no_welcome(console, machine, timing, eventually) -> None:
    def rude(peer) -> bool:
        peer.receive()
        peer.send({"type": "hello_ok", "interval": 10, "acked": 5})
        return True

    console.on_auth = rude
    machine.start(console.url, timing._replace(opening=0.2))
    eventually(lambda: console.attempts >= 2)
    assert not console.stored


def test_a_changed_inventory_is_sent_again(console, machine, monkeypatch, eventually) -> None:
    connector = machine.start(console.url)
    eventually(lambda: console.stored)
    monkeypatch.setattr(inventory, "users", lambda: ["somebody-new"])
    connector._watch._every = 0.02
    connector._watch.digest = ""
    connector._watch.digest = inventory.write(machine.state.inventory)
    connector._waker.ring()
    (sent,) = eventually(lambda: console.of("inventory"))
    assert sent["inventory"]["users"] == ["somebody-new"] and sent["inventory"]["os"]["family"] == "linux"


def test_a_lost_spool_makes_no_gap_and_no_duplicate(console, machine, eventually) -> None:
    machine.start(console.url)
    eventually(lambda: len(console.stored) >= 5)
    machine.stop()
    machine.state.spool.write_bytes(b"lightning struck here" * 400)
    newest = max(console.stored)
    machine.start(console.url)
    eventually(lambda: max(console.stored) >= newest + 5)
    assert no_gap(console)


def test_sampling_goes_on_while_the_server_reads_nothing(console, machine, eventually) -> None:
    console.on_samples = lambda peer, message: peer.ws.event.wait(0)
    connector = machine.start(console.url)
    eventually(lambda: console.of("samples"))
    taken = connector.spool.last_seq
    eventually(lambda: connector.spool.last_seq >= taken + 20)
