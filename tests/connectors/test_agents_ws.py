"""`/api/v1/agents/ws` on a real server: the original agents of contract 002, our own connector's messages, and the hostile."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from serving import Agent, Server, eventually
from websocket import WebSocketException

METRICS = {
    "cpu": {"usage_percent": 12.5, "cores": 8, "frequency_mhz": 2400.0},
    "memory": {"total_gb": 16.0, "used_gb": 8.0, "available_gb": 8.0, "usage_percent": 50.0},
    "disk": {"total_gb": 100.0, "used_gb": 40.0, "available_gb": 60.0, "usage_percent": 40.0},
    "network": {"bytes_sent": 10, "bytes_recv": 20, "packets_sent": 1, "packets_recv": 2}, "containers": [], "processes": [],
}  # fmt: skip
EVIL = "<script>alert(1)</script>"


def stamp(ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()


def sample(seq: int, ago: float = 0, **change: Any) -> dict[str, Any]:
    return {"seq": seq, "timestamp": stamp(ago), "cpu_percent": 10.0 + seq % 50, "memory_percent": 20.0} | change


def hello(agent: Agent, connector: str = "11111111-2222-3333-4444-555555555555", **fields: Any) -> dict[str, Any]:
    agent.send(type="hello", connector_id=connector, version="0.1.0", interval=10, capabilities=["metrics"], **fields)
    return agent.read("hello_ok")


def history(served: Server, uuid: str) -> list[dict[str, Any]]:
    start = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows: list[dict[str, Any]] = (
        served.http.get(f"/api/v1/metrics/{uuid}/history", params={"start": start}).raise_for_status().json()
    )
    return rows


def test_an_original_agent_connects_pushes_and_is_answered(served: Server) -> None:
    uuid, key = served.computer("original")
    agent = Agent(served, key)
    assert agent.welcome == {"type": "auth_success", "server_id": uuid, "message": "Authenticated"}
    assert served.http.get(f"/api/v1/servers/{uuid}").json()["status"] == "online"
    agent.send(type="metrics", data=METRICS)
    assert agent.read() == {"type": "metrics_received", "status": "ok"}
    latest = served.http.get(f"/api/v1/metrics/{uuid}").json()
    assert (latest["cpu_percent"], latest["disk_usage"][0]["percent"]) == (12.5, 40.0)
    agent.send(type="ping")
    assert agent.read() == {"type": "pong"}


@pytest.mark.parametrize("first", [
    {"type": "auth", "api_key": "chatops_wrong"}, {"type": "auth"}, {"type": "auth", "api_key": 5}, {"type": "metrics", "data": METRICS},
    ["auth"], "auth", None,
])  # fmt: skip
def test_whoever_does_not_authenticate_is_closed_with_1008(served: Server, first: Any) -> None:
    agent = Agent(served)
    agent.ws.send(json.dumps(first))
    assert agent.closed() == 1008


def test_silence_at_the_door_is_closed_with_1008(served: Server) -> None:
    assert Agent(served).closed() == 1008


def test_an_integration_key_is_no_host_key(served: Server) -> None:
    agent = Agent(served)
    agent.send(type="auth", api_key=served.key)
    assert agent.closed() == 1008


def test_samples_are_acknowledged_after_they_are_stored_and_a_replay_is_stored_once(served: Server) -> None:
    uuid, key = served.computer("ours")
    agent = Agent(served, key)
    assert hello(agent)["acked"] == 0
    batch = [sample(seq, ago=100 - seq) for seq in range(1, 51)]
    for _ in range(3):
        agent.send(type="samples", samples=batch)
        assert agent.read() == {"type": "samples_ack", "seq": 50}
        rows = history(served, uuid)
        assert len(rows) == 50
        assert [row["cpu_percent"] for row in rows] == [10.0 + seq % 50 for seq in range(1, 51)]
    agent.ws.close()
    again = Agent(served, key)
    assert hello(again)["acked"] == 50, "the connector drops what the server has"
    other = Agent(served, key)
    assert hello(other, "99999999-2222-3333-4444-555555555555")["acked"] == 0, "another installation counts anew"


def test_a_spool_of_an_hour_keeps_its_times_and_raises_no_false_state(served: Server) -> None:
    """RELIABILITY 23."""
    uuid, key = served.computer("spool")
    agent = Agent(served, key)
    hello(agent)
    for start in range(0, 360, 120):
        agent.send(type="samples", samples=[sample(start + i + 1, ago=3600 - (start + i) * 10) for i in range(120)])
        assert agent.read("samples_ack")["seq"] == start + 120
    rows = history(served, uuid)
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    assert times == sorted(times)
    assert len(rows) == 360
    assert served.http.get(f"/api/v1/servers/{uuid}").json()["status"] == "online"


def test_bad_samples_of_a_batch_are_refused_by_seq_and_the_good_ones_stored(served: Server) -> None:
    uuid, key = served.computer("mixed")
    agent = Agent(served, key)
    hello(agent)
    batch = [
        sample(1),
        sample(2, timestamp="1999-01-01T00:00:00Z"),
        sample(3, cpu_percent=5000.0),
        sample(4, memory_percent="x"),
        sample(5, ago=1),
    ]
    agent.send(type="samples", samples=batch)
    refused = agent.read("samples_refused")
    assert refused["seqs"] == [2, 3, 4]
    assert refused["reason"]
    assert agent.read("samples_ack")["seq"] == 5
    assert len(history(served, uuid)) == 2


def test_a_clock_years_away_is_said_on_the_computers_page(served: Server) -> None:
    uuid, key = served.computer("time traveller")
    agent = Agent(served, key)
    hello(agent)
    agent.send(type="samples", samples=[sample(1, timestamp="2009-01-01T00:00:00Z")])
    agent.read("samples_refused")
    agent.read("samples_ack")
    assert served.http.get(f"/api/v1/servers/{uuid}").json()["status"] == "online"
    page = served.sign_in().get(f"/fleet/{uuid}/").text
    assert "more than 7 days old" in page
    agent.send(type="samples", samples=[sample(2)])
    agent.read("samples_ack")
    assert "more than 7 days old" not in served.sign_in().get(f"/fleet/{uuid}/").text


HOSTILE: dict[str, Any] = {
    "not json": "hello", "cut": '{"type":', "array": "[]", "no type": "{}", "number type": '{"type": 5}', "NaN": '{"type":"metrics","data":{"cpu":NaN}}',
    "NUL": '{"type":"ping\\u0000"}', "deep": "[" * 5000, "huge number": '{"type":"samples","samples":[{"seq":99999999999999999999999}]}',
    "samples no list": '{"type":"samples","samples":5}', "samples empty": '{"type":"samples","samples":[]}',
    "seq text": '{"type":"samples","samples":[{"seq":"1"}]}', "seq negative": '{"type":"samples","samples":[{"seq":-1}]}',
    "hello wrong": '{"type":"hello","connector_id":5,"interval":"x"}', "hello interval": '{"type":"hello","connector_id":"12345678","interval":0}',
    "metrics wrong": '{"type":"metrics","data":"x"}', "inventory wrong": '{"type":"inventory","inventory":[1]}',
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_message_that_does_not_fit_is_answered_and_the_conversation_goes_on(served: Server, what: str) -> None:
    _, key = served.computer(f"hostile {what}")
    agent = Agent(served, key)
    agent.ws.send(HOSTILE[what])
    assert agent.read("error")["message"]
    agent.send(type="metrics", data=METRICS)
    assert agent.read("metrics_received")


def test_a_connector_that_talks_nonsense_is_cut_and_the_others_go_on(served: Server) -> None:
    """RELIABILITY 22: malformed frames never stop the server."""
    _, good_key = served.computer("good")
    good = Agent(served, good_key)
    _, key = served.computer("babbler")
    babbler = Agent(served, key)
    for _ in range(25):
        try:
            babbler.ws.send("nonsense")
        except (OSError, WebSocketException):
            break
    assert babbler.closed() == 1008
    _, key = served.computer("breaker")
    breaker = Agent(served, key)
    breaker.ws.sock.sendall(b"\xff\xff\xff\xff\xff\xff\xff\xff not a frame at all")
    _, key = served.computer("giant")
    giant = Agent(served, key)
    try:
        giant.ws.send("x" * (6 << 20))
        giant.closed()
    except (OSError, WebSocketException):
        pass
    half = Agent(served, served.computer("half")[1])
    half.ws.sock.sendall(b"\x81")
    good.send(type="metrics", data=METRICS)
    assert good.read("metrics_received")
    assert served.http.get("/health/live").status_code == 200


def test_unknown_types_and_fields_are_ignored(served: Server) -> None:
    agent = Agent(served, served.computer("future")[1])
    agent.send(type="from_the_future", x=1)
    agent.send(type="ping", extra=True)
    assert agent.read() == {"type": "pong"}


def test_scripts_in_everything_that_a_connector_reports_are_text(served: Server) -> None:
    """RELIABILITY 13."""
    uuid, key = served.computer("scripted")
    agent = Agent(served, key)
    inventory = {"hostname": EVIL, "fqdn": EVIL, "domain": EVIL, "users": [EVIL], "os": {"family": "linux", "name": EVIL, "kernel": EVIL},
                 "hardware": {"manufacturer": EVIL, "model": EVIL, "serial_number": EVIL, "processor": EVIL},
                 "network": {"interfaces": [{"name": EVIL, "mac": EVIL, "addresses": [EVIL]}]},
                 "software": [{"name": EVIL, "version": EVIL, "publisher": EVIL}]}  # fmt: skip
    hello(agent, inventory=inventory)
    agent.send(type="samples", samples=[sample(1, disk_usage=[{"path": EVIL, "total": 1, "used": 1, "free": 0, "percent": 99.0}],
                                               network=[{"interface": EVIL, "bytes_sent": 1, "bytes_recv": 1}])])  # fmt: skip
    agent.read("samples_ack")
    browser = served.sign_in()
    for path in (
        "/",
        "/fleet/",
        f"/fleet/{uuid}/",
        f"/fleet/{uuid}/software",
        f"/fleet/{uuid}/metrics",
        f"/fleet/{uuid}/events",
        "/search?q=script",
    ):
        page = browser.get(path)
        assert page.status_code == 200, path
        assert EVIL not in page.text, path
    assert "&lt;script&gt;" in browser.get(f"/fleet/{uuid}/software").text
    csv = browser.get(f"/fleet/{uuid}/software.csv")
    assert csv.headers["Content-Type"].startswith("text/csv")


def test_texts_and_counters_past_what_is_stored_are_cut_and_stored(served: Server) -> None:
    uuid, key = served.computer("verbose")
    agent = Agent(served, key)
    long = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 5000
    inventory = {"hostname": long, "fqdn": long, "domain": long, "users": ["u" * 200], "os": {"family": "linux", "name": long, "kernel": long},
                 "hardware": {"serial_number": long, "model": long}, "software": [{"name": long, "version": long, "publisher": long}],
                 "network": {"interfaces": [{"name": long, "addresses": ["9" * 64]}]}}  # fmt: skip
    hello(agent, inventory=inventory)
    most = {"bytes_sent": 2**63 - 1, "bytes_recv": 2**63 - 1}
    network = [{"interface": "a"} | most, {"interface": "b"} | most]
    agent.send(type="samples", samples=[sample(1, network=network)])
    assert agent.read() == {"type": "samples_ack", "seq": 1}
    shown = served.http.get(f"/api/v1/computers/{uuid}").raise_for_status().json()
    assert long[:200] in json.dumps(shown, ensure_ascii=False)
    push = {"cpu_percent": 1.0, "memory_percent": 2.0, "network": network}
    assert served.http.post("/api/v1/metrics", json=push, headers={"X-API-Key": key}).status_code == 201


def test_a_revoked_key_is_cut_within_five_seconds_and_dead_everywhere(served: Server) -> None:
    """RELIABILITY 7, 22."""
    uuid, key = served.computer("revoked")
    agent = Agent(served, key)
    row = next(k for k in served.http.get("/api/v1/api-keys", params={"server_id": uuid}).json()["api_keys"] if k["is_active"])
    began = time.monotonic()
    assert served.http.delete(f"/api/v1/api-keys/{row['id']}").status_code == 204
    agent.ws.settimeout(6)
    assert agent.closed() == 1008
    assert time.monotonic() - began < 6
    again = Agent(served)
    again.send(type="auth", api_key=key)
    assert again.closed() == 1008
    push = {"cpu_percent": 1.0, "memory_percent": 2.0}
    eventually(lambda: served.http.post("/api/v1/metrics", json=push, headers={"X-API-Key": key}).status_code == 401, 5)


def test_a_deleted_computers_connector_is_cut(served: Server) -> None:
    uuid, key = served.computer("deleted")
    agent = Agent(served, key)
    assert served.http.delete(f"/api/v1/servers/{uuid}").status_code == 204
    agent.ws.settimeout(6)
    assert agent.closed() == 1008


def test_enrolment_spends_its_token_once(served: Server) -> None:
    """RELIABILITY 22."""
    browser = served.sign_in()
    page = browser.get("/fleet/new").text
    token = page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    tenant = served.http.get("/api/v1/tenants").json()["tenants"][0]["id"]
    made = browser.post("/fleet/new", data={"csrf_token": token, "tenant_id": tenant, "tags": "new"})
    assert made.status_code == 200, made.text
    secret = made.text.split("--token ", 1)[1].split("<", 1)[0].split("&", 1)[0].strip()
    body = {"token": secret, "hostname": "fresh", "connector_id": "11111111-2222-3333-4444-555555555555", "os": "linux"}
    anonymous = served.http.__class__(base_url=served.url)
    answer = anonymous.post("/api/v1/agents/enrol", json=body)
    assert answer.status_code == 201
    assert answer.json()["interval"] == 10
    assert Agent(served, answer.json()["key"]).welcome["server_id"] == answer.json()["server_id"]
    assert served.http.get(f"/api/v1/servers/{answer.json()['server_id']}").json()["tags"] == ["new"]
    for token in (secret, "guess"):
        again = anonymous.post("/api/v1/agents/enrol", json=body | {"token": token})
        assert again.status_code == 404
        assert "detail" in again.json()


def test_no_log_knows_a_key_or_a_token(served: Server) -> None:
    """RELIABILITY 7: a canary key appears in no log."""
    _, key = served.computer("canary")
    Agent(served, key)
    served.http.get("/api/v1/servers", params={"api_key": key})
    served.http.get(f"/nothing/{key}")
    bad = Agent(served)
    bad.send(type="auth", api_key=key + "x")
    bad.closed()
    time.sleep(0.2)
    assert key not in served.words()
    assert key[:20] not in served.words()


def test_a_site_behind_one_address_reconnects_all_its_connectors_at_once(served: Server) -> None:
    _, key = served.computer("one of many")
    agents = [Agent(served, key) for _ in range(130)]
    agents[-1].send(type="ping")
    assert agents[-1].read() == {"type": "pong"}


def test_connections_that_come_and_go_by_the_hundred_leave_the_process_standing(served: Server) -> None:
    """A file descriptor closed under a waiting reader once made libev abort the whole process."""
    keys = [served.computer(f"churned-{i}")[1] for i in range(10)]
    before = {line for line in served.words().splitlines() if "SIGABRT" in line}
    for round_number in range(30):
        agents = [Agent(served, key) for key in keys]
        for number, agent in enumerate(agents):
            if number % 3 == 0:
                agent.ws.sock.close()
            elif number % 3 == 1:
                agent.ws.sock.sendall(b"\xff\xff\xff\xff")
            else:
                agent.ws.close()
        assert served.http.get("/health/live").status_code == 200, round_number
    assert {line for line in served.words().splitlines() if "SIGABRT" in line} == before
    assert "Assertion" not in served.words()
