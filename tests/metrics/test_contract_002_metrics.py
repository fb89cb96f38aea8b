"""Contract 002, "Metrics", field by field, with the pushes and aliases of contracts/README.md."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_host_key, make_samples
from flask.testing import FlaskClient

from app.clock import from_ms, iso, now, to_ms

FIELDS = {"server_id", "cpu_percent", "memory_percent", "disk_usage", "network", "timestamp"}
DOCUMENTED = {
    "cpu_percent": 45.2, "memory_percent": 62.5,
    "disk_usage": [{"path": "/", "total": 1000000000, "used": 500000000, "free": 500000000, "percent": 50.0}],
    "network": [{"interface": "eth0", "bytes_sent": 1000000, "bytes_recv": 2000000}],
}  # fmt: skip
NESTED = {
    "cpu": {"usage_percent": 12.5, "cores": 8, "frequency_mhz": 2400.0},
    "memory": {"total_gb": 16.0, "used_gb": 8.0, "available_gb": 8.0, "usage_percent": 50.0},
    "disk": {"total_gb": 100.0, "used_gb": 40.0, "available_gb": 60.0, "usage_percent": 40.0},
    "network": {"bytes_sent": 10, "bytes_recv": 20, "packets_sent": 1, "packets_recv": 2},
    "containers": [], "processes": [{"name": "x"}],
}  # fmt: skip


class Host:
    """An agent that pushes over HTTP with its host key."""

    def __init__(self, cast: Cast, name: str = "web-1") -> None:
        with cast.app.app_context():
            self.id, self.uuid = make_computer(name)
            self.key = make_host_key((self.id, self.uuid), cast.default)
        self.client: FlaskClient = cast.app.test_client()
        self.reader = cast.client("alice")

    def push(self, body: Any, path: str = "/api/v1/metrics") -> Any:
        return self.client.post(path, json=body, headers={"X-API-Key": self.key})

    def latest(self) -> Any:
        return self.reader.get(f"/api/v1/metrics/{self.uuid}").json


@pytest.fixture
def host(cast: Cast) -> Host:
    return Host(cast)


def test_a_pushed_sample_is_stored_before_the_201(host: Host) -> None:
    answer = host.push(DOCUMENTED)
    assert answer.status_code == 201
    assert (answer.json["status"], answer.json["server_id"]) == ("ok", host.uuid)
    latest = host.latest()
    assert latest.keys() >= FIELDS
    assert {name: latest[name] for name in DOCUMENTED} == DOCUMENTED
    assert latest["server_id"] == host.uuid
    assert (
        latest["timestamp"] == answer.json["timestamp"].replace("Z", "000Z")
        or latest["timestamp"][:19] == answer.json["timestamp"][:19]
    )


@pytest.mark.parametrize("body", [{"data": NESTED}, NESTED])
def test_the_agents_nested_form_is_taken_too(host: Host, body: Any) -> None:
    assert host.push(body).status_code == 201
    latest = host.latest()
    assert (latest["cpu_percent"], latest["memory_percent"]) == (12.5, 50.0)
    assert latest["disk_usage"][0]["percent"] == 40.0
    assert latest["network"] == [{"interface": "all", "bytes_sent": 10, "bytes_recv": 20}]


def test_push_names_its_server_in_the_path_too_but_only_its_own(cast: Cast, host: Host) -> None:
    assert host.push(DOCUMENTED, f"/api/v1/metrics/{host.uuid}").status_code == 201
    other = Host(cast, "other")
    answer = host.push(DOCUMENTED, f"/api/v1/metrics/{other.uuid}")
    assert (answer.status_code, "another server" in answer.json["detail"]) == (403, True)
    assert host.push(DOCUMENTED | {"server_id": other.uuid}).status_code == 403


def test_a_user_pushes_for_a_named_server_a_reader_does_not(cast: Cast) -> None:
    with cast.app.app_context():
        uuid = make_computer("acme-1", tenant_id=cast.acme)[1]
    assert cast.client("bob").post(f"/api/v1/metrics/{uuid}", json=DOCUMENTED).status_code == 201
    assert cast.client("bob").post("/api/v1/metrics", json=DOCUMENTED).status_code == 403
    assert cast.client("rita").post(f"/api/v1/metrics/{uuid}", json=DOCUMENTED).status_code == 403
    assert cast.client("charlie").post(f"/api/v1/metrics/{uuid}", json=DOCUMENTED).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"cpu_percent": "45"}, {"cpu_percent": None}, {"cpu_percent": True}, {"cpu_percent": -1}, {"cpu_percent": 100.1}, {"memory_percent": 1e9},
        {"disk_usage": "full"}, {"disk_usage": [{"path": "/"}]}, {"disk_usage": [{"path": "/", "total": -1, "used": 0, "free": 0, "percent": 5}]},
        {"network": [{"interface": "eth0", "bytes_sent": 1.5, "bytes_recv": 2}]}, {"network": [5]}, {"timestamp": "yesterday"}, {"timestamp": 5},
        {"timestamp": "9999-12-31T23:59:59Z"}, {"timestamp": "0001-01-01T00:00:00Z"}, {"timestamp": "2020-01-01T00:00:00Z"}, {"load": [1, 2, 3, 4]},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_422_and_nothing_is_stored(host: Host, change: dict[str, Any]) -> None:
    answer = host.push(DOCUMENTED | change)
    assert answer.status_code == 422, answer.text
    assert answer.json["detail"][0]["loc"][0] == "body"
    assert host.reader.get(f"/api/v1/metrics/{host.uuid}").status_code == 404


@pytest.mark.parametrize(("offset", "status"), [(-6 * 86400, 201), (-8 * 86400, 422), (4 * 60, 201), (6 * 60, 422)])
def test_clocks_up_to_seven_days_old_and_five_minutes_ahead_are_taken(host: Host, offset: int, status: int) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=offset)
    assert host.push(DOCUMENTED | {"timestamp": moment.isoformat()}).status_code == status


def test_latest_is_404_while_there_are_none_and_has_an_alias(host: Host) -> None:
    assert host.reader.get(f"/api/v1/metrics/{host.uuid}").json == {"detail": "Resource not found"}
    host.push(DOCUMENTED)
    assert host.reader.get(f"/api/v1/metrics/{host.uuid}/latest").json == host.latest()


def test_the_same_sample_twice_is_stored_once(host: Host) -> None:
    body = DOCUMENTED | {"timestamp": iso(now())}
    assert [host.push(body).status_code for _ in range(3)] == [201, 201, 201]
    assert len(host.reader.get(f"/api/v1/metrics/{host.uuid}/history").json) == 1


def test_history_is_oldest_first_between_start_and_end_under_both_names(cast: Cast, host: Host) -> None:
    with cast.app.app_context():
        times = make_samples(host.id, 10)
    path = f"/api/v1/metrics/{host.uuid}/history"
    rows = host.reader.get(f"{path}?start={iso(from_ms(times[0]))}&end={iso(from_ms(times[-1]))}".replace("+", "%2B")).json
    assert rows[0].keys() >= FIELDS
    assert [row["resolution"] for row in rows] == ["raw"] * 10
    stamps = [row["timestamp"] for row in rows]
    assert stamps == sorted(stamps)
    middle = f"start_time={iso(from_ms(times[3]))}&end_time={iso(from_ms(times[5]))}"
    assert len(host.reader.get(f"{path}?{middle}").json) == 3
    assert len(host.reader.get(f"{path}?start={iso(from_ms(times[0]))}&limit=4").json) == 4


@pytest.mark.parametrize(
    "query", ["start=x", "end=NaN", "limit=0", "limit=9999", "start=2024-01-02T00:00:00Z&end=2024-01-01T00:00:00Z"]
)
def test_a_range_that_makes_no_sense_is_422(host: Host, query: str) -> None:
    answer = host.reader.get(f"/api/v1/metrics/{host.uuid}/history?{query}")
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"][0] == "query"


def test_rates_come_from_the_counters_of_agents_that_send_only_those(host: Host) -> None:
    start = now() - timedelta(seconds=60)
    for i, (sent, recv) in enumerate([(1000, 5000), (2000, 9000), (500, 100)]):
        net = [
            {"interface": "eth0", "bytes_sent": sent, "bytes_recv": recv},
            {"interface": "lo", "bytes_sent": 10**9 * i, "bytes_recv": 0},
        ]
        host.push(DOCUMENTED | {"network": net, "timestamp": iso(start + timedelta(seconds=10 * i))})
    raw = host.reader.get(f"/api/v1/metrics/{host.uuid}/history?start={iso(start - timedelta(seconds=5))}").json
    assert [(r["sent_per_s"], r["recv_per_s"]) for r in raw] == [(None, None), (100.0, 400.0), (None, None)]


def test_host_keys_have_their_own_budget(cast: Cast, host: Host) -> None:
    from app.api_keys.models import ApiKey
    from app.api_keys.queries import forget_cached
    from app.database import session, unit_of_work

    with cast.app.app_context(), unit_of_work():
        for row in session().query(ApiKey).filter_by(computer_id=host.id):
            row.rate_limit = None
    forget_cached()
    assert host.push(DOCUMENTED).headers["X-RateLimit-Limit"] == "600"


def test_ms_survive_the_way_through(host: Host) -> None:
    moment = now().replace(microsecond=123000)
    host.push(DOCUMENTED | {"timestamp": iso(moment)})
    assert to_ms(datetime.fromisoformat(host.latest()["timestamp"])) == to_ms(moment)
