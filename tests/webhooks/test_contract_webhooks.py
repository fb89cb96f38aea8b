"""`/api/v1/webhooks` and what is sent (contracts/README.md): shapes, both signatures, scopes, the table of events."""

import hashlib
import hmac
import json
from base64 import b64decode
from ipaddress import ip_network
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_output, make_run
from flask import Flask
from receivers import Received, Receiver, Reply, receiving
from serving import eventually
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.actors import SYSTEM
from app.clock import now
from app.database import reading, session, unit_of_work
from app.deliveries.courier import Courier
from app.deliveries.models import Delivery
from app.factory import settings_of
from app.fleet.queries import by_ids
from app.journal.models import JournalEntry
from app.journal.operations import Subject, record
from app.system.bootstrap import prepare
from app.webhooks import events, operations, signing
from app.webhooks.models import Webhook

URL = "https://hooks.example.com/in"
DOCUMENTED = [
    "session.started",
    "session.completed",
    "session.failed",
    "computer.added",
    "computer.status_changed",
    "deployment.created",
    "deployment.updated",
    "software.added",
    "software.updated",
    "agent.execution.completed",
    "agent.execution.failed",
    "execution.completed",
    "execution.failed",
    "alert.fired",
    "alert.resolved",
    "automation_session.started",
    "automation_session.ended",
    "proxy.status_changed",
]


def create(cast: Cast, who: str = "alice", **fields: Any) -> Any:
    return cast.client(who).post("/api/v1/webhooks", json={"name": "Ops", "url": URL, "events": ["*"]} | fields)


@pytest.fixture
def told(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(cast, receiver): a courier runs, and receivers on this machine may be reached."""
    monkeypatch.setattr(settings_of(cast.app), "outbound_allow", (ip_network("127.0.0.0/8"),))
    with receiving() as receiver:
        courier = Courier(cast.app)
        courier.run()
        yield cast, receiver
        courier.stop()


def got(receiver: Receiver, count: int = 1) -> list[Received]:
    eventually(lambda: len(receiver.received) >= count)
    return receiver.received


def test_create_list_get_change_delete(cast: Cast) -> None:
    made = create(cast, description="to the pager", events=["computer.added", "alert.fired", "computer.added"])
    assert made.status_code == 201
    secret = made.json["secret"]
    assert secret.startswith("whsec_")
    assert len(b64decode(secret.removeprefix("whsec_"))) == 32
    assert made.json["events"] == ["computer.added", "alert.fired"]
    client, one = cast.client("alice"), f"/api/v1/webhooks/{made.json['id']}"
    listed = client.get("/api/v1/webhooks").json
    assert listed.keys() == {"total", "webhooks"}
    assert "secret" not in listed["webhooks"][0]
    assert secret not in json.dumps([listed, client.get(one).json])
    changed = client.put(one, json={"name": "Pager", "events": ["*", "alert.fired"], "enabled": False})
    assert (changed.json["name"], changed.json["events"], changed.json["enabled"]) == ("Pager", ["*"], False)
    assert changed.json["description"] == "to the pager", "what is not given stays"
    assert client.put(one, json={"description": None}).json["description"] is None
    assert client.delete(one).status_code == 204
    assert client.get(one).json["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "body",
    [
        {"url": URL, "events": ["*"]}, {"name": "", "url": URL, "events": ["*"]}, {"name": "x", "events": ["*"]}, {"name": "x", "url": URL},
        {"name": "x", "url": URL, "events": []}, {"name": "x", "url": URL, "events": ["no.such"]}, {"name": "x", "url": URL, "events": "*"},
        {"name": "x", "url": URL, "events": ["webhook.test"]}, {"name": "x", "url": "ftp://example.com/", "events": ["*"]},
        {"name": "x", "url": "https://", "events": ["*"]}, {"name": "x", "url": "https://x:99999/", "events": ["*"]},
        {"name": "x", "url": "https://[::1", "events": ["*"]}, {"name": "x", "url": "not a url", "events": ["*"]},
        {"name": "x", "url": "https://ex\nample.com/", "events": ["*"]}, {"name": "x", "url": 5, "events": ["*"]},
        {"name": "x", "url": "http://127.0.0.1/", "events": ["*"]}, {"name": "x", "url": "http://localhost:8000/", "events": ["*"]},
        {"name": "x", "url": "http://[::ffff:10.0.0.1]/", "events": ["*"]}, {"name": "x", "url": "http://169.254.169.254/", "events": ["*"]},
        {"name": "x", "url": f"https://example.com/{'a' * 2100}", "events": ["*"]}, {"name": "x" * 201, "url": URL, "events": ["*"]},
        {"name": "x", "url": URL, "events": ["*"], "tenant_ids": ["nothing"]}, {"name": "x", "url": URL, "events": ["*"], "enabled": "yes"},
        {"name": "x", "url": URL, "events": [None]}, [], "x",
    ],
)  # fmt: skip
def test_bad_input_gets_the_contracts_own_error(cast: Cast, body: Any) -> None:
    answer = cast.client("alice").post("/api/v1/webhooks", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json["error"].keys() == {"code", "message", "details"}
    assert cast.client("alice").get("/api/v1/webhooks").json["total"] == 0


def test_every_documented_event_can_be_subscribed_to_and_no_other_is_told() -> None:
    assert sorted(events.EVENTS) == sorted(DOCUMENTED)
    assert {event for mapping in events.TABLE.values() for event in mapping.events} <= set(events.EVENTS)


def test_an_address_is_shown_without_its_secrets_and_can_be_put_back(cast: Cast) -> None:
    made = create(cast, url="https://canary-user:canary-pass@hooks.example.com/in?sig=canary-sig&v=canary-v").json
    assert made["url"] == "https://***@hooks.example.com/***?sig=***&v=***"
    one = f"/api/v1/webhooks/{made['id']}"
    with cast.app.app_context(), reading():
        before = session().get(Webhook, made["id"]).url
    assert cast.client("alice").put(one, json={"url": made["url"], "name": "same"}).json["name"] == "same"
    with cast.app.app_context(), reading():
        assert session().get(Webhook, made["id"]).url == before


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/canary", "https://hooks.example.com/***"),
        ("https://hooks.example.com:8443", "https://hooks.example.com:8443"),
        ("https://hooks.example.com/", "https://hooks.example.com/"),
        ("https://hooks.example.com/?canary", "https://hooks.example.com/?***"),
        ("https://hooks.example.com?a=canary&b=", "https://hooks.example.com?a=***&b=***"),
        (f"https://hooks.example.com?{'a&' * 900}", "https://hooks.example.com?***"),
    ],
)
def test_an_address_is_shown_without_its_path_and_showing_it_twice_changes_nothing(url: str, shown: str) -> None:
    assert operations.shown(url) == shown
    assert operations.shown(shown) == shown


def test_an_address_that_was_changed_in_part_is_refused(cast: Cast) -> None:
    one = f"/api/v1/webhooks/{create(cast, url='https://hooks.example.com/services/canary').json['id']}"
    answer = cast.client("alice").put(one, json={"url": "https://other.example.com/***"})
    assert answer.status_code == 400 and "write the whole address" in answer.text
    assert cast.client("alice").get(one).json["url"] == "https://hooks.example.com/***"


def test_addresses_that_an_earlier_version_has_stored_are_hidden_at_the_start(cast: Cast) -> None:
    made = create(cast, url="https://hooks.example.com/services/canary").json["id"]
    with cast.app.app_context():
        with unit_of_work():
            session().get(Webhook, made).shown_url = "https://hooks.example.com/services/canary"
        prepare(cast.app)
        with reading():
            assert session().get(Webhook, made).shown_url == "https://hooks.example.com/***"
        assert operations.hide_addresses() == 0


def test_what_an_address_hides_is_masked_in_what_comes_back(told: Any) -> None:
    cast, receiver = told
    hidden = "/services/canary-path?canary-bare&k=canary-value"
    receiver.replies[hidden] = Reply(500, body=b"no /services/canary-path: canary-path, canary-bare, canary-value")
    made = create(cast, url=f"{receiver.url}{hidden}").json["id"]
    place = f"/api/v1/webhooks/{made}/deliveries/{cast.client('alice').post(f'/api/v1/webhooks/{made}/test').json['id']}"
    row = eventually(lambda: (found := cast.client("alice").get(place).json)["attempts"] and found["log"] and found)
    assert row["log"][0]["response"] == "no ***: ***, ***, ***"


def test_the_body_is_the_one_of_both_contracts_and_its_signature_verifies(told: Any) -> None:
    cast, receiver = told
    secret = create(cast, url=f"{receiver.url}/in", events=["computer.added"]).json["secret"]
    with cast.app.app_context():
        _, uuid = make_computer("Büro ✓ <b>", tenant_id=cast.acme)
    one = got(receiver)[0]
    body = one.body
    assert body.keys() == {"event_type", "event", "timestamp", "instance_id", "data", "signature"}
    assert body["event_type"] == body["event"] == "computer.added"
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {"computer_id": uuid, "computer_name": "Büro ✓ <b>", "tenant_id": cast.acme}
    claimed = body.pop("signature")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    key = b64decode(secret.removeprefix("whsec_"))
    assert claimed == "sha256=" + hmac.new(key, canonical, hashlib.sha256).hexdigest()
    assert one.headers["content-type"] == "application/json"
    StandardWebhook(secret).verify(one.raw, one.headers)
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(secret).verify(one.raw + b" ", one.headers)
    assert abs(int(one.headers["webhook-timestamp"]) - now().timestamp()) < 30


def test_two_secrets_sign_while_one_rotates(told: Any) -> None:
    cast, receiver = told
    made = create(cast, url=f"{receiver.url}/in", events=["computer.added"]).json
    rotated = cast.client("alice").post(f"/api/v1/webhooks/{made['id']}/rotate").json
    assert rotated["secret"] != made["secret"]
    with cast.app.app_context():
        make_computer("pc")
    one = got(receiver)[0]
    assert len(one.headers["webhook-signature"].split(" ")) == 2
    for secret in (made["secret"], rotated["secret"]):
        StandardWebhook(secret).verify(one.raw, one.headers)
    with cast.app.app_context(), unit_of_work():
        session().get(Webhook, made["id"]).previous_until = now()
    with cast.app.app_context():
        make_computer("later")
    later = got(receiver, 2)[1]
    StandardWebhook(rotated["secret"]).verify(later.raw, later.headers)
    with pytest.raises(WebhookVerificationError):
        StandardWebhook(made["secret"]).verify(later.raw, later.headers)


def test_the_table_tells_what_happened(told: Any) -> None:
    """Real operations where rooms have them; entries of alerts and proxies as their rooms write them."""
    cast, receiver = told
    create(cast, url=f"{receiver.url}/in")
    with cast.app.app_context():
        computer = make_computer("pc", tenant_id=cast.acme)
        good = make_run(computer, command="true")
        make_output(good, exit_code=0)
        bad = make_run(computer, command="false")
        make_output(bad, exit_code=1)
        with unit_of_work():
            found = by_ids([computer[0]])[computer[0]]
            subject = Subject("computer", found.uuid, found.name, found.tenant_id)
            record("computer.status_changed", SYSTEM, subject, before="online", after="offline")
            record(
                "proxy.status_changed",
                SYSTEM,
                Subject("proxy", "p1", "http://***@p:1", cast.acme),
                before="healthy",
                after="flagged",
                reason="x",
            )
            said = {"severity": "critical", "metric": "cpu", "value": 97.5, "limit": 90, "muted": False}
            record("alert.fired", SYSTEM, Subject("alert", "a1", "CPU on pc", cast.acme), **said)
            record("alert.resolved", SYSTEM, Subject("alert", "a1", "CPU on pc", cast.acme), **said, duration_s=61)
            record("alert.acknowledged", SYSTEM, Subject("alert", "a1", "CPU on pc", cast.acme), **said)
    session_id = {"session_id": "s-1", "profile_id": "p"}
    cast.client("eve").post("/api/sessions/register", json=session_id)
    cast.client("eve").post("/api/sessions/end", json=session_id | {"success": True})
    bodies = {}
    eventually(lambda: len(receiver.received) >= 9)
    for one in receiver.received:
        bodies.setdefault(one.body["event"], []).append(one.body["data"])
    assert sorted((event, len(found)) for event, found in bodies.items()) == [
        ("alert.fired", 1), ("alert.resolved", 1), ("automation_session.ended", 1), ("automation_session.started", 1), ("computer.added", 1),
        ("computer.status_changed", 1), ("execution.completed", 1), ("execution.failed", 1), ("proxy.status_changed", 1)]  # fmt: skip
    assert bodies["computer.status_changed"][0] | {"computer_id": 0} == {
        "computer_id": 0, "computer_name": "pc", "tenant_id": cast.acme, "status": "offline", "previous_status": "online"}  # fmt: skip
    assert bodies["execution.completed"][0] == {
        "execution_id": good, "kind": "command", "name": "true", "tenant_id": cast.acme, "status": "succeeded", "succeeded": 1, "failed": 0}  # fmt: skip
    assert (bodies["execution.failed"][0]["execution_id"], bodies["execution.failed"][0]["status"]) == (bad, "failed")
    assert bodies["alert.fired"][0] | {"x": 0} == {
        "alert_id": "a1",
        "title": "CPU on pc",
        "tenant_id": cast.acme,
        "escalated": False,
        **said,
        "x": 0,
    }
    assert bodies["alert.resolved"][0]["duration_s"] == 61
    assert bodies["proxy.status_changed"][0] == {
        "proxy_id": "p1", "address": "http://***@p:1", "tenant_id": cast.acme, "status": "flagged", "previous_status": "healthy", "reason": "x"}  # fmt: skip
    assert bodies["automation_session.ended"][0]["success"] is True
    assert len({one.body["instance_id"] for one in receiver.received}) == 1


def test_a_webhook_of_some_tenants_is_told_of_no_other(told: Any) -> None:
    cast, receiver = told
    create(cast, url=f"{receiver.url}/acme", events=["computer.added"], tenant_ids=[cast.acme])
    create(cast, url=f"{receiver.url}/all", events=["computer.added"])
    with cast.app.app_context():
        make_computer("of globex", tenant_id=cast.globex)
        make_computer("of acme", tenant_id=cast.acme)
    eventually(lambda: len(receiver.at("/all")) == 2 and receiver.at("/acme"))
    assert [one.body["data"]["computer_name"] for one in receiver.at("/acme")] == ["of acme"]


def test_only_admins_and_a_limited_admin_sees_only_own_webhooks(cast: Cast) -> None:
    for name in ("bob", "rita", "eve"):
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/x"), ("POST", "/x/test"), ("GET", "/x/deliveries")):
            answer = cast.client(name).open(f"/api/v1/webhooks{path}", method=method, json={})
            assert (answer.status_code, answer.json["error"]["code"]) == (403, "forbidden")
    everything, acme = create(cast).json, create(cast, tenant_ids=[cast.acme]).json
    with cast.app.app_context():
        from factories import make_key

        from app.actors import Role

        cast.keys["ada"] = make_key("ada", Role.ADMIN, [cast.acme])
    ada = cast.client("ada")
    assert [row["id"] for row in ada.get("/api/v1/webhooks").json["webhooks"]] == [acme["id"]]
    for path in ("", "/deliveries", "/deliveries/x"):
        assert ada.get(f"/api/v1/webhooks/{everything['id']}{path}").status_code == 404
    assert ada.put(f"/api/v1/webhooks/{everything['id']}", json={"name": "mine"}).status_code == 404
    assert create(cast, "ada", tenant_ids=[cast.globex]).status_code == 400
    assert create(cast, "ada").json["tenant_ids"] == [cast.acme], "no wider than its maker"
    assert ada.put(f"/api/v1/webhooks/{acme['id']}", json={"tenant_ids": None}).json["tenant_ids"] == [cast.acme]


def test_a_test_of_another_webhook_cannot_be_redelivered_through_mine(cast: Cast) -> None:
    mine, other = create(cast).json["id"], create(cast).json["id"]
    client = cast.client("alice")
    delivery = client.post(f"/api/v1/webhooks/{other}/test").json["id"]
    assert client.get(f"/api/v1/webhooks/{mine}/deliveries/{delivery}").status_code == 404
    assert client.post(f"/api/v1/webhooks/{mine}/deliveries/{delivery}/redeliver").status_code == 404
    assert client.post(f"/api/v1/webhooks/{other}/deliveries/{delivery}/redeliver").status_code == 409, "it is under way"


def test_every_change_is_in_the_journal_without_address_or_secret(cast: Cast) -> None:
    made = create(cast, url="https://hooks.example.com/canary-path?x=canary-query").json
    client, one = cast.client("alice"), f"/api/v1/webhooks/{made['id']}"
    client.put(one, json={"url": "https://other.example.com/canary-path"})
    client.post(f"{one}/rotate")
    client.post(f"{one}/test")
    client.delete(one)
    with cast.app.app_context(), reading():
        rows = session().query(JournalEntry).filter(JournalEntry.subject_id == made["id"]).order_by(JournalEntry.seq).all()
        text = json.dumps([[row.type, row.subject_name, row.data] for row in rows])
    assert [row.type for row in rows] == [
        "webhook.added",
        "webhook.updated",
        "webhook.secret_rotated",
        "webhook.tested",
        "webhook.deleted",
    ]
    assert "canary" not in text
    assert "whsec" not in text


def test_the_list_of_webhooks_is_whole_unless_pages_are_asked_for(cast: Cast) -> None:
    for name in ("c", "a", "b"):
        create(cast, name=name)
    client = cast.client("alice")
    assert [row["name"] for row in client.get("/api/v1/webhooks").json["webhooks"]] == ["a", "b", "c"]
    page = client.get("/api/v1/webhooks?page=2&per_page=2").json
    assert (page["total"], page["page"], page["per_page"], [row["name"] for row in page["webhooks"]]) == (3, 2, 2, ["c"])
    assert client.get("/api/v1/webhooks?page=0").status_code == 400


def test_the_list_of_deliveries_is_filtered_and_paged(cast: Cast) -> None:
    made = create(cast).json["id"]
    client = cast.client("alice")
    ids = [client.post(f"/api/v1/webhooks/{made}/test").json["id"] for _ in range(3)]
    base = f"/api/v1/webhooks/{made}/deliveries"
    whole = client.get(base).json
    assert {row["id"] for row in whole["deliveries"]} == set(ids)
    assert (whole["page"], whole["per_page"]) == (1, 50), "they are never all listed at once"
    page = client.get(f"{base}?page=2&per_page=2").json
    assert (page["total"], page["page"], page["per_page"], len(page["deliveries"])) == (3, 2, 2, 1)
    assert client.get(f"{base}?status=failed").json["total"] == 0
    for wrong in ("status=maybe", "page=0", "per_page=0", "per_page=nan", "page=99999999999999999999"):
        assert client.get(f"{base}?{wrong}").status_code == 400, wrong


def test_signing_by_the_letter_of_the_specification() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    secret, raw = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    heads = dict(signing.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, raw, [secret]))
    assert heads["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_nothing_secret_is_stored_in_the_clear(cast: Cast, built: Flask) -> None:
    made = create(cast, url="https://u:canary-pass@hooks.example.com/canary-path?k=canary-query").json
    with cast.app.app_context(), reading():
        found = session().get(Webhook, made["id"])
        stored = " ".join(str(getattr(found, column.key)) for column in Webhook.__table__.columns)
        stored += " ".join(row.payload for row in session().query(Delivery))
    for canary in ("canary-pass", "canary-query", "canary-path", made["secret"], made["secret"].removeprefix("whsec_")):
        assert canary not in stored


def test_a_webhook_that_tells_of_fewer_tenants_keeps_nothing_of_the_others(cast: Cast) -> None:
    alice = cast.client("alice")
    made = alice.post("/api/v1/webhooks", json={"name": "All", "url": "https://hooks.example.com/in", "events": ["*"]}).get_json()
    place = f"/api/v1/webhooks/{made['id']}"
    alice.post(f"{place}/test")
    assert alice.get(f"{place}/deliveries").get_json()["total"] == 1
    alice.put(place, json={"tenant_ids": [cast.acme, cast.globex]})
    assert alice.get(f"{place}/deliveries").get_json()["total"] == 0, "it may have told of the default tenant"
    alice.post(f"{place}/test")
    alice.put(place, json={"tenant_ids": [cast.globex, cast.acme, cast.default]})
    assert alice.get(f"{place}/deliveries").get_json()["total"] == 1
    alice.put(place, json={"tenant_ids": [cast.acme]})
    assert alice.get(f"{place}/deliveries").get_json()["total"] == 0


def test_a_tenant_that_a_webhook_is_limited_to_cannot_be_deleted(cast: Cast) -> None:
    alice = cast.client("alice")
    body = {"name": "Theirs", "url": "https://hooks.example.com/in", "events": ["*"], "tenant_ids": [cast.globex]}
    made = alice.post("/api/v1/webhooks", json=body).get_json()
    refused = alice.delete(f"/api/v1/tenants/{cast.globex}")
    assert refused.status_code == 409 and "webhooks are limited to it" in refused.text
    alice.delete(f"/api/v1/webhooks/{made['id']}")
    assert alice.delete(f"/api/v1/tenants/{cast.globex}").status_code == 204
