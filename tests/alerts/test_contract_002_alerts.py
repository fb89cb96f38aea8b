"""Contract 002, "Alerts", field by field, with the additions of contracts/README.md."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from alerts_kit import Desk
from conftest import Cast
from factories import make_computer, make_host_key, make_samples

from app.alerts.models import Threshold
from app.database import session, unit_of_work

ALERT = {"type", "severity", "message", "threshold", "current_value", "resolved", "created_at", "resolved_at", "id", "server_id", "status",
         "metric_type", "muted", "acknowledged_at", "acknowledged_by", "note", "threshold_id", "subject", "tenant_id"}  # fmt: skip
THRESHOLD = {"id", "server_id", "metric_type", "threshold_value", "comparison", "enabled", "severity", "recovery_value", "for_seconds",
             "recovery_for_seconds", "scope", "scope_id", "tenant_id", "name", "warning_value", "critical_value"}  # fmt: skip
RULES, ALERTS, SILENCES = "/api/v1/alerts/thresholds", "/api/v1/alerts", "/api/v1/alerts/silences"
PUSH = {"cpu_percent": 95.5, "memory_percent": 10.0}


def rule_for(uuid: str, **values: Any) -> dict[str, Any]:
    """The documented body."""
    return {"server_id": uuid, "metric_type": "cpu", "threshold_value": 80.0, "comparison": "gt", "enabled": True} | values


@pytest.fixture
def acme(cast: Cast) -> tuple[int, str]:
    """A computer of Acme, in an installation without the default rules."""
    with cast.app.app_context():
        with unit_of_work():
            session().query(Threshold).delete()
        return make_computer("ours", tenant_id=cast.acme, tags=["web"])


def fired(cast: Cast, computer: tuple[int, str], **values: Any) -> dict[str, Any]:
    """An alert, over the API alone."""
    client = cast.client("bob")
    assert client.post(RULES, json=rule_for(computer[1], **values)).status_code == 201
    with cast.app.app_context():
        key = make_host_key(computer, cast.acme)
    host = cast.app.test_client()
    assert host.post("/api/v1/metrics", json=PUSH, headers={"X-API-Key": key}).status_code == 201
    (alert,) = client.get(f"{ALERTS}?status=active&server_id={computer[1]}").json
    return alert


def test_a_threshold_is_created_as_the_document_shows(cast: Cast, acme: tuple[int, str]) -> None:
    answer = cast.client("bob").post(RULES, json=rule_for(acme[1]))
    assert answer.status_code == 201
    made = answer.json
    assert made.keys() >= THRESHOLD
    assert {name: made[name] for name in rule_for(acme[1])} == rule_for(acme[1])
    assert (made["for_seconds"], made["recovery_value"], made["severity"], made["scope"]) == (0, None, "warning", "computer")
    assert made["tenant_id"] == cast.acme
    listed = cast.client("bob").get(f"{RULES}?server_id={acme[1]}").json
    assert listed == [made]
    assert cast.client("bob").get(f"{RULES}/{made['id']}").json == made
    assert cast.client("rita").get(f"{RULES}/").json == [made], "a trailing slash is accepted"


def test_it_fires_at_once_and_the_alert_has_every_field(cast: Cast, acme: tuple[int, str]) -> None:
    alert = fired(cast, acme)
    assert alert.keys() >= ALERT
    assert (alert["type"], alert["severity"], alert["status"], alert["resolved"]) == ("cpu", "warning", "active", False)
    assert (alert["threshold"], alert["current_value"], alert["server_id"], alert["resolved_at"]) == (80.0, 95.5, acme[1], None)
    assert alert["message"] == "CPU 95.5 %, above 80 %"
    assert alert["created_at"].endswith("Z")
    assert alert["subject"] == {"kind": "computer", "id": acme[1], "name": "ours"}
    assert cast.client("rita").get(f"{ALERTS}/{alert['id']}").json["id"] == alert["id"]
    server = cast.client("bob").get(f"/api/v1/servers/{acme[1]}").json
    assert server["health_status"] == "warning"


def test_resolve_and_the_filters(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme, severity="critical")
    assert client.get(f"/api/v1/servers/{acme[1]}").json["health_status"] == "critical"
    answer = client.post(f"{ALERTS}/{alert['id']}/resolve")
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["resolved"], answer.json["resolved_by"]) == ("resolved", True, "bob's key")
    assert answer.json["resolved_at"] is not None
    assert client.post(f"{ALERTS}/{alert['id']}/resolve").json["resolved_at"] == answer.json["resolved_at"], (
        "again changes nothing"
    )
    assert client.get(f"/api/v1/servers/{acme[1]}").json["health_status"] == "healthy"
    for query, number in (("status=active", 0), ("status=resolved", 1), ("resolved=true", 1), ("resolved=false", 0), ("", 1),
                          ("type=cpu", 1), ("metric_type=memory", 0), ("severity=critical", 1), ("severity=warning", 0), ("skip=1", 0),
                          ("muted=false", 1), ("q=above", 1), ("q=nothing", 0), (f"tenant_id={cast.acme}", 1), ("status=pending", 0),
                          (f"threshold_id={alert['threshold_id']}", 1), ("start=2000-01-01T00:00:00Z", 1), ("end=2000-01-01", 0),
                          ("status=acknowledged", 0), ("status=resolved&resolved=true", 1)):  # fmt: skip
        assert len(client.get(f"{ALERTS}?{query}").json) == number, query
    assert client.post(f"{ALERTS}/{alert['id']}/acknowledge", json={}).status_code == 409


def test_acknowledge_with_a_note_counts_as_active(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme)
    answer = client.post(f"{ALERTS}/{alert['id']}/acknowledge", json={"note": "a batch job"})
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["note"], answer.json["acknowledged_by"]) == (
        "acknowledged",
        "a batch job",
        "bob's key",
    )
    assert client.post(f"{ALERTS}/{alert['id']}/acknowledge").json["note"] == "a batch job", "without a body"
    assert [a["id"] for a in client.get(f"{ALERTS}?status=active").json] == [alert["id"]]
    assert [a["id"] for a in client.get(f"{ALERTS}?status=acknowledged").json] == [alert["id"]]
    assert client.get(f"{ALERTS}?status=pending").json == []


def test_put_changes_what_is_given_and_delete_resolves(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme)
    path = f"{RULES}/{alert['threshold_id']}"
    changed = client.put(path, json={"threshold_value": 90.0, "recovery_value": 70, "for_seconds": 60}).json
    assert (changed["threshold_value"], changed["recovery_value"], changed["for_seconds"]) == (90.0, 70.0, 60)
    assert (changed["metric_type"], changed["comparison"], changed["server_id"]) == ("cpu", "gt", acme[1])
    assert client.put(path, json={"critical_value": 95}).json["critical_value"] == 95.0
    assert client.put(path, json={"recovery_value": None}).json["recovery_value"] is None
    worse = client.put(path, json={"severity": "critical", "threshold_value": 97}).json
    assert (worse["warning_value"], worse["critical_value"], worse["severity"]) == (None, 97.0, "critical")
    assert client.get(f"{ALERTS}/{alert['id']}").json["status"] == "active"
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.data) == (204, b"")
    assert client.get(path).json == {"detail": "Resource not found"}
    over = client.get(f"{ALERTS}/{alert['id']}").json
    assert (over["status"], over["resolve_reason"]) == ("resolved", "threshold_changed")


def test_a_threshold_can_be_moved_to_another_scope(cast: Cast, acme: tuple[int, str]) -> None:
    client = cast.client("alice")
    with cast.app.app_context():
        other = make_computer("other", tenant_id=cast.globex)
    made = client.post(RULES, json=rule_for(acme[1])).json
    path = f"{RULES}/{made['id']}"
    moved = client.put(path, json={"server_id": other[1]}).json
    assert (moved["server_id"], moved["tenant_id"]) == (other[1], cast.globex)
    assert client.put(path, json={"tenant_id": cast.acme}).status_code == 422, "the server's tenant is another one"
    moved = client.put(path, json={"scope": "tenant", "scope_id": cast.acme}).json
    assert (moved["server_id"], moved["scope"], moved["tenant_id"]) == (None, "tenant", cast.acme)
    assert client.put(path, json={"scope": "tenant", "scope_id": cast.acme, "enabled": False}).json["tenant_id"] == cast.acme
    assert client.put(path, json={"scope": "all"}).json["tenant_id"] is None
    assert cast.client("bob").put(path, json={"scope": "all"}).status_code == 403


def test_a_rule_by_tag_stays_inside_its_tenant_when_only_the_tag_changes(cast: Cast, acme: tuple[int, str]) -> None:
    with cast.app.app_context():
        make_computer("ours too", tenant_id=cast.acme, tags=["db"])
        stranger = make_computer("other", tenant_id=cast.globex, tags=["web", "db"])
    bob, alice = cast.client("bob"), cast.client("alice")
    made = bob.post(RULES, json=rule_for("", server_id=None, scope="tag", scope_id="web", tenant_id=cast.acme)).json
    changed = bob.put(f"{RULES}/{made['id']}", json={"scope_id": "db"})
    assert (changed.status_code, changed.json["scope_id"], changed.json["tenant_id"]) == (200, "db", cast.acme)
    assert alice.put(f"{RULES}/{made['id']}", json={"scope_id": "web", "threshold_value": 70.0}).json["tenant_id"] == cast.acme
    assert made["id"] not in {rule["id"] for rule in alice.get(f"{RULES}?applies_to={stranger[1]}").json}
    assert alice.put(f"{RULES}/{made['id']}", json={"scope": "tag", "scope_id": "db"}).json["tenant_id"] is None, "asked for anew"


def test_switching_a_threshold_off_resolves_its_alerts(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme)
    assert client.put(f"{RULES}/{alert['threshold_id']}", json={"enabled": False}).json["enabled"] is False
    assert client.get(f"{ALERTS}/{alert['id']}").json["resolved"] is True


BAD_RULES: list[tuple[dict[str, Any], str]] = [
    ({"metric_type": "mood"}, "metric_type"),
    ({"metric_type": 5}, "metric_type"),
    ({"threshold_value": "high"}, "threshold_value"),
    ({"threshold_value": None}, "threshold_value"),
    ({"threshold_value": 101}, "warning_value"),
    ({"threshold_value": -1}, "warning_value"),
    ({"threshold_value": True}, "threshold_value"),
    ({"comparison": "eq"}, "comparison"),
    ({"severity": "dreadful"}, "severity"),
    ({"enabled": "yes"}, "enabled"),
    ({"recovery_value": 85.0}, "recovery_value"),
    ({"recovery_value": 75.0, "comparison": "lt"}, "recovery_value"),
    ({"recovery_value": 80.0, "comparison": "gte"}, "recovery_value"),
    ({"critical_value": 70.0}, "critical_value"),
    ({"for_seconds": -1}, "for_seconds"),
    ({"for_seconds": 10**9}, "for_seconds"),
    ({"for_seconds": 1.5}, "for_seconds"),
    ({"recovery_for_seconds": -1}, "recovery_for_seconds"),
    ({"argument": "/"}, "argument"),
    ({"metric_type": "network", "argument": "sideways"}, "argument"),
    ({"scope": "tenant"}, "scope"),
    ({"server_id": None, "scope": "tag"}, "scope_id"),
    ({"server_id": None, "scope": "tag", "scope_id": "nobody-has-it"}, "scope_id"),
    ({"server_id": None, "scope": "threshold", "scope_id": "x"}, "scope"),
    ({"server_id": None, "scope": "galaxy"}, "scope"),
]


def test_a_threshold_that_makes_no_sense_is_422(cast: Cast, acme: tuple[int, str]) -> None:
    client = cast.client("bob")
    for body, field in BAD_RULES:
        answer = client.post(RULES, json=rule_for(acme[1]) | body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json["detail"][0]["loc"] == ["body", field], body
    assert client.get(RULES).json == []


def test_what_is_no_number_is_refused(cast: Cast, acme: tuple[int, str]) -> None:
    client = cast.client("bob")
    for number in ("NaN", "Infinity", "-Infinity", "1e400"):
        for field in ("threshold_value", "recovery_value", "critical_value"):
            raw = f'{{"server_id": "{acme[1]}", "metric_type": "cpu", "threshold_value": 80, "{field}": {number}}}'
            assert client.post(RULES, data=raw, content_type="application/json").status_code in (400, 422)
    assert client.get(RULES).json == []


def test_missing_fields_have_the_documented_message(cast: Cast, acme: tuple[int, str]) -> None:
    answer = cast.client("bob").post(RULES, json={"server_id": acme[1], "threshold_value": 5})
    assert answer.json == {"detail": [{"loc": ["body", "metric_type"], "msg": "field required", "type": "value_error.missing"}]}
    answer = cast.client("bob").post(RULES, json={"server_id": acme[1], "metric_type": "cpu"})
    assert answer.json == {
        "detail": [{"loc": ["body", "threshold_value"], "msg": "field required", "type": "value_error.missing"}]
    }


def test_a_query_that_does_not_fit_is_422(cast: Cast) -> None:
    for query in ("status=sleeping", "severity=x", "limit=0", "skip=-1", "resolved=maybe", "type=mood", "status=active&resolved=true",
                  "start=yesterday", "limit=1e400"):  # fmt: skip
        answer = cast.client("alice").get(f"{ALERTS}?{query}")
        assert answer.status_code == 422, query
        assert answer.json["detail"][0]["loc"][0] == "query"


def test_credentials_and_permissions(cast: Cast, acme: tuple[int, str]) -> None:
    stranger = cast.app.test_client()
    for path in (ALERTS, RULES, SILENCES):
        assert (stranger.get(path).status_code, stranger.get(path).json) == (401, {"detail": "Could not validate credentials"})
    rita, id_ = cast.client("rita"), str(uuid4())
    for method, path, body in (("post", RULES, rule_for(acme[1])), ("put", f"{RULES}/{id_}", {}), ("delete", f"{RULES}/{id_}", None),
                               ("post", f"{ALERTS}/{id_}/resolve", None), ("post", f"{ALERTS}/{id_}/acknowledge", {}),
                               ("post", SILENCES, {"duration_seconds": 60}), ("delete", f"{SILENCES}/{id_}", None)):  # fmt: skip
        answer = getattr(rita, method)(path, json=body)
        assert (answer.status_code, answer.json) == (403, {"detail": "Not enough permissions"}), path


def test_nothing_of_another_tenant_exists(cast: Cast, acme: tuple[int, str]) -> None:
    """RELIABILITY 9: in path, query and body."""
    alert = fired(cast, acme)
    silence = cast.client("bob").post(SILENCES, json={"server_id": acme[1], "duration_seconds": 600}).json
    charlie = cast.client("charlie")
    rule = f"{RULES}/{alert['threshold_id']}"
    for method, path, body in (
        ("get", f"{ALERTS}/{alert['id']}", None), ("post", f"{ALERTS}/{alert['id']}/resolve", None),
        ("post", f"{ALERTS}/{alert['id']}/acknowledge", {}), ("get", f"{ALERTS}?server_id={acme[1]}", None),
        ("get", f"{ALERTS}?tenant_id={cast.acme}", None), ("get", f"{ALERTS}?threshold_id={alert['threshold_id']}", None),
        ("get", rule, None), ("put", rule, {"enabled": False}), ("delete", rule, None), ("get", f"{RULES}?server_id={acme[1]}", None),
        ("get", f"{RULES}?applies_to={acme[1]}", None), ("post", RULES, rule_for(acme[1])), ("post", f"{RULES}/preview", rule_for(acme[1])),
        ("post", RULES, rule_for(acme[1], server_id=None, scope="tenant", scope_id=cast.acme)),
        ("post", RULES, rule_for(acme[1], server_id=None, tenant_id=cast.acme)),
        ("get", f"{SILENCES}/{silence['id']}", None), ("put", f"{SILENCES}/{silence['id']}", {}),
        ("delete", f"{SILENCES}/{silence['id']}", None), ("post", SILENCES, {"server_id": acme[1], "duration_seconds": 60}),
        ("post", SILENCES, {"scope": "threshold", "scope_id": alert["threshold_id"], "duration_seconds": 60}),
    ):  # fmt: skip
        answer = getattr(charlie, method)(path, json=body) if body is not None else getattr(charlie, method)(path)
        assert (answer.status_code, answer.json) == (404, {"detail": "Resource not found"}), (method, path, answer.text)
    for path in (ALERTS, RULES, SILENCES):
        assert charlie.get(path).json == []
    assert "ours" not in cast.browser("charlie").get("/alerts.csv").text
    tagged = charlie.post(RULES, json=rule_for(acme[1], server_id=None, scope="tag", scope_id="web"))
    assert tagged.status_code == 422, "no computer of his has the tag"


def test_who_sees_one_tenant_makes_rules_inside_it_and_only_reads_those_of_all(cast: Cast, acme: tuple[int, str]) -> None:
    bob, alice = cast.client("bob"), cast.client("alice")
    mine = bob.post(RULES, json=rule_for(acme[1], server_id=None))
    assert (mine.json["scope"], mine.json["tenant_id"]) == ("all", cast.acme)
    wide = alice.post(RULES, json=rule_for(acme[1], server_id=None)).json
    assert wide["tenant_id"] is None
    assert bob.get(f"{RULES}/{wide['id']}").status_code == 200
    for answer in (bob.put(f"{RULES}/{wide['id']}", json={"enabled": False}), bob.delete(f"{RULES}/{wide['id']}")):
        assert answer.status_code == 403
    everybody = alice.post(SILENCES, json={"duration_seconds": 60}).json
    assert bob.delete(f"{SILENCES}/{everybody['id']}").status_code == 403


def test_unknown_ids_are_404(cast: Cast, acme: tuple[int, str]) -> None:
    client, id_ = cast.client("alice"), str(uuid4())
    for method, path in (("get", f"{ALERTS}/{id_}"), ("post", f"{ALERTS}/{id_}/resolve"), ("get", f"{ALERTS}?server_id={id_}"),
                         ("get", f"{RULES}/{id_}"), ("delete", f"{RULES}/x"), ("get", f"{SILENCES}/{id_}"),
                         ("get", f"{ALERTS}?threshold_id={id_}")):  # fmt: skip
        assert getattr(client, method)(path).json == {"detail": "Resource not found"}, path
    assert client.post(RULES, json=rule_for(id_)).status_code == 404


def test_rules_by_tag_and_tenant_reach_what_they_name(cast: Cast, acme: tuple[int, str]) -> None:
    client = cast.client("alice")
    with cast.app.app_context():
        other = make_computer("other", tenant_id=cast.globex)
    client.post(RULES, json=rule_for("", server_id=None, scope="tag", scope_id="WEB", name="by tag"))
    client.post(RULES, json=rule_for("", server_id=None, scope="tenant", scope_id=cast.globex, name="by tenant"))
    client.post(RULES, json=rule_for("", server_id=None, name="of all", metric_type="memory"))
    assert [r["name"] for r in client.get(f"{RULES}?applies_to={acme[1]}").json] == ["by tag", "of all"]
    assert [r["name"] for r in client.get(f"{RULES}?applies_to={other[1]}").json] == ["by tenant", "of all"]
    with cast.app.app_context():
        make_samples(acme[0], 1, cpu=90.0)
        make_samples(other[0], 1, cpu=90.0)
    assert sorted(a["threshold_name"] for a in client.get(ALERTS).json) == ["by tag", "by tenant"]


def test_states_need_no_value(cast: Cast, acme: tuple[int, str]) -> None:
    made = cast.client("bob").post(RULES, json={"server_id": acme[1], "metric_type": "offline", "for_seconds": 300})
    assert made.status_code == 201
    assert (made.json["threshold_value"], made.json["severity"], made.json["name"]) == (0.0, "critical", "Offline offline")


def test_what_can_be_measured_is_listed(cast: Cast) -> None:
    found = {m["metric_type"]: m for m in cast.client("rita").get(f"{ALERTS}/metrics").json}
    assert found.keys() >= {
        "cpu",
        "memory",
        "disk",
        "network",
        "load",
        "clock_skew",
        "offline",
        "proxy_health",
        "session_failures",
        "run_failed",
    }
    assert (found["disk"]["unit"], found["disk"]["argument"], found["network"]["argument"]) == ("%", "path", "recv|sent")


def test_silences_are_made_changed_listed_and_ended(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme)
    made = client.post(SILENCES, json={"server_id": acme[1], "duration_seconds": 3600, "reason": "new disk"})
    assert made.status_code == 201
    assert (made.json["active"], made.json["server_id"], made.json["reason"], made.json["created_by"]) == (
        True, acme[1], "new disk", "bob's key")  # fmt: skip
    assert client.get(f"{ALERTS}/{alert['id']}").json["muted"] is True
    assert [a["id"] for a in client.get(f"{ALERTS}?muted=true&status=active").json] == [alert["id"]]
    path = f"{SILENCES}/{made.json['id']}"
    assert client.put(path, json={"reason": "a bigger disk"}).json["reason"] == "a bigger disk"
    assert [s["id"] for s in client.get(SILENCES).json] == [made.json["id"]]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.get(f"{ALERTS}/{alert['id']}").json["muted"] is False


BAD_SILENCES: list[tuple[dict[str, Any], str]] = [
    ({}, "ends_at"),
    ({"ends_at": "2000-01-01T00:00:00Z"}, "ends_at"),
    ({"starts_at": "2001-01-01T00:00:00Z", "ends_at": "2001-01-02T00:00:00Z"}, "ends_at"),
    ({"duration_seconds": 0}, "duration_seconds"),
    ({"duration_seconds": 10**12}, "duration_seconds"),
    ({"duration_seconds": 60, "repeat": "hourly"}, "repeat"),
    ({"duration_seconds": 100_000, "repeat": "daily"}, "ends_at"),
    ({"duration_seconds": 60, "repeat_until": "2090-01-01T00:00:00Z"}, "repeat_until"),
    ({"duration_seconds": 60, "scope": "tag"}, "scope_id"),
    ({"ends_at": "soon"}, "ends_at"),
    ({"ends_at": "0001-01-01T00:00:00+14:00"}, "ends_at"),
    ({"ends_at": "9999-12-31T23:59:59-14:00"}, "ends_at"),
]


def test_a_silence_that_makes_no_sense_is_422(cast: Cast, acme: tuple[int, str]) -> None:
    client = cast.client("bob")
    for body, field in BAD_SILENCES:
        answer = client.post(SILENCES, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json["detail"][0]["loc"] == ["body", field], body
    assert client.get(SILENCES).json == []


def test_a_window_repeats(cast: Cast, acme: tuple[int, str]) -> None:
    start = (datetime.now(UTC) - timedelta(days=3, minutes=10)).isoformat()
    made = cast.client("bob").post(SILENCES, json={"starts_at": start, "duration_seconds": 3600, "repeat": "daily"}).json
    assert (made["active"], made["over"], made["repeat"]) == (True, False, "daily")


def test_csv_has_the_filters_of_the_list(cast: Cast, acme: tuple[int, str]) -> None:
    fired(cast, acme)
    answer = cast.client("bob").get("/alerts.csv?status=active")
    assert answer.mimetype == "text/csv"
    lines = answer.text.splitlines()
    assert lines[0].startswith("id,status,severity,metric")
    assert len(lines) == 2
    assert "ours" in lines[1]
    assert len(cast.client("bob").get("/alerts.csv?status=resolved").text.splitlines()) == 1


def test_the_default_rules_are_made_once_and_stay_deleted(cast: Cast) -> None:
    from app.system.bootstrap import prepare

    client = cast.client("alice")
    rules = {r["metric_type"]: r for r in client.get(RULES).json}
    assert rules.keys() == {"disk", "offline", "memory"}
    assert (rules["disk"]["threshold_value"], rules["disk"]["for_seconds"]) == (90.0, 600)
    assert (rules["offline"]["severity"], rules["offline"]["for_seconds"]) == ("critical", 300)
    assert (rules["memory"]["threshold_value"], rules["memory"]["for_seconds"]) == (95.0, 900)
    for rule in rules.values():
        assert client.delete(f"{RULES}/{rule['id']}").status_code == 204
    prepare(cast.app)
    assert client.get(RULES).json == []


def test_alerts_of_a_deleted_server_are_over_and_stay_readable(cast: Cast, acme: tuple[int, str]) -> None:
    client, alert = cast.client("bob"), fired(cast, acme)
    assert client.delete(f"/api/v1/servers/{acme[1]}").status_code == 204
    over = client.get(f"{ALERTS}/{alert['id']}").json
    assert (over["status"], over["resolve_reason"], over["server_id"]) == ("resolved", "subject_gone", acme[1])
    assert client.get(f"{RULES}/{alert['threshold_id']}").status_code == 404


def test_a_flapping_threshold_of_the_api_is_told_twice_at_most(desk: Desk) -> None:
    """With nothing but the documented fields."""
    from app.alerts.rule_schemas import ThresholdIn

    computer = make_computer()
    desk.rule(**ThresholdIn.model_validate_json(orjson.dumps(rule_for(computer[1]))).values())
    for number in range(90):
        desk.later(20, work=number % 15 == 0)
        desk.sample(computer[0], 95 if number // 3 % 2 == 0 else 20)
    assert desk.told() == ["fired"]
    for _ in range(6):
        desk.later(20)
        desk.sample(computer[0], 20)
    assert desk.told() == ["fired", "resolved"]
