"""Contract 002, "API Keys", both kinds, and what contracts/README.md promises of keys."""

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_host_key

from app.api_keys.models import ALPHABET, ApiKey, looks_right, make_key
from app.database import Base, session, unit_of_work


def test_a_host_key_is_made_as_documented_and_shown_once(cast: Cast) -> None:
    with cast.app.app_context():
        uuid = make_computer("prod", tenant_id=cast.acme)[1]
    answer = cast.client("bob").post("/api/v1/api-keys", json={"server_id": uuid, "name": "Production Agent"})
    assert answer.status_code == 201
    made = answer.json
    assert made.keys() >= {"id", "name", "server_id", "key", "created_at"}
    assert (made["name"], made["server_id"]) == ("Production Agent", uuid)
    assert made["key"].startswith("chatops_")
    again = cast.client("bob").get(f"/api/v1/api-keys/{made['id']}").json
    assert "key" not in again
    with cast.app.app_context():
        row = session().get(ApiKey, made["id"])
        assert made["key"] not in str(row.__dict__)
        assert len(row.key_hash) == 64
        session().remove()


def test_me_lists_a_persons_keys_and_tells_a_host_key_about_itself(cast: Cast) -> None:
    mine = cast.browser("bob").client.get("/api/v1/api-keys/me")
    assert [row["name"] for row in mine.json] == ["bob's key"]
    with cast.app.app_context():
        computer = make_computer()
        key = make_host_key(computer, cast.default)
    answer = cast.app.test_client().get("/api/v1/api-keys/me", headers={"X-API-Key": key})
    assert answer.json.keys() == {"server_id", "key_id", "name", "is_active"}
    assert (answer.json["server_id"], answer.json["is_active"]) == (computer[1], True)
    assert cast.app.test_client().get("/api/v1/api-keys/me").status_code == 401


def test_an_integration_key_has_role_scope_expiry_and_limit(cast: Cast) -> None:
    body = {"name": "scripts", "role": "readonly", "tenant_ids": [cast.acme], "rate_limit": 7, "description": "nightly",
            "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}  # fmt: skip
    made = cast.client("alice").post("/api/v1/api-keys", json=body)
    assert made.status_code == 201
    assert made.json["key"].startswith("itk_")
    client = cast.app.test_client()
    answer = client.get("/api/v1/tenants", headers={"X-API-Key": made.json["key"]})
    assert [row["name"] for row in answer.json["tenants"]] == ["Acme"]
    assert answer.headers["X-RateLimit-Limit"] == "7"
    assert client.post("/api/v1/tenants", json={"name": "x"}, headers={"X-API-Key": made.json["key"]}).status_code == 403


def test_nobody_makes_a_key_that_may_more_than_its_maker(cast: Cast) -> None:
    bob = cast.client("bob")
    assert bob.post("/api/v1/api-keys", json={"name": "x", "role": "admin"}).status_code == 403
    assert bob.post("/api/v1/api-keys", json={"name": "x", "role": "user", "tenant_ids": [cast.globex]}).status_code == 404
    assert bob.post("/api/v1/api-keys", json={"name": "x", "role": "user", "rate_limit": 10**6}).status_code == 403
    unscoped = bob.post("/api/v1/api-keys", json={"name": "x", "role": "user"})
    assert unscoped.json["tenant_ids"] == [cast.acme], "without tenants it gets its maker's"


def test_expired_and_revoked_keys_are_dead(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from app import clock

    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    made = cast.client("alice").post("/api/v1/api-keys", json={"name": "short", "expires_at": soon}).json
    client = cast.app.test_client()
    assert client.get("/api/v1/tenants", headers={"X-API-Key": made["key"]}).status_code == 200
    real = clock.now
    monkeypatch.setattr("app.api_keys.queries.now", lambda: real() + timedelta(seconds=31))
    assert client.get("/api/v1/tenants", headers={"X-API-Key": made["key"]}).status_code == 401
    monkeypatch.undo()
    other = cast.client("alice").post("/api/v1/api-keys", json={"name": "revoked"}).json
    assert cast.client("alice").delete(f"/api/v1/api-keys/{other['id']}").status_code == 204
    assert client.get("/api/v1/tenants", headers={"X-API-Key": other["key"]}).status_code == 401
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert cast.client("alice").post("/api/v1/api-keys", json={"name": "past", "expires_at": past}).status_code == 422


def test_others_keys_do_not_exist_but_for_an_admin(cast: Cast) -> None:
    alices = cast.client("alice").post("/api/v1/api-keys", json={"name": "alice's other"}).json["id"]
    bob = cast.client("bob")
    for method, body in (("get", None), ("delete", None), ("put", {"name": "mine"})):
        answer = getattr(bob, method)(f"/api/v1/api-keys/{alices}", **({"json": body} if body else {}))
        assert (answer.status_code, answer.json) == (404, {"detail": "Resource not found"})
    names = {row["name"] for row in bob.get("/api/v1/api-keys").json["api_keys"]}
    assert names == {"bob's key"}
    assert {"bob's key", "alice's other"} <= {
        row["name"] for row in cast.client("alice").get("/api/v1/api-keys").json["api_keys"]
    }


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 5}, {"name": "x", "role": "god"}, {"name": "x", "rate_limit": 0},
                                  {"name": "x", "expires_at": "soon"}, {"name": "x", "tenant_ids": "all"}])  # fmt: skip
def test_what_does_not_fit_is_422(cast: Cast, body: dict[str, Any]) -> None:
    assert cast.client("alice").post("/api/v1/api-keys", json=body).status_code == 422


def test_a_key_for_an_unknown_server_is_404(cast: Cast) -> None:
    answer = cast.client("alice").post("/api/v1/api-keys", json={"name": "x", "server_id": "nothing"})
    assert (answer.status_code, answer.json) == (404, {"detail": "Resource not found"})


def test_a_key_is_32_random_base62_characters_and_a_checksum() -> None:
    """RELIABILITY 7."""
    keys = {make_key("itk_") for _ in range(200)}
    assert len(keys) == 200
    for key in keys:
        body = key.removeprefix("itk_")
        assert len(body) == 38
        assert set(body) <= set(ALPHABET)
        assert looks_right(key)
        assert not looks_right(key[:-1] + ("a" if key[-1] != "a" else "b"))
    assert zlib.crc32(b"") == 0


def test_a_canary_key_is_on_no_page_in_no_audit_row_and_in_no_column(cast: Cast) -> None:
    """RELIABILITY 7: shown once, in the answer that makes it."""
    browser = cast.browser("alice")
    made = browser.post("/settings/api-keys", name="by page", role="readonly", all_tenants="y", expires="90")
    by_page = made.text.split("itk_", 1)[1][:38]
    by_api = cast.client("alice").post("/api/v1/api-keys", json={"name": "by program"}).json["key"].removeprefix("itk_")
    secrets = [by_page.encode(), by_api.encode()]
    assert cast.app.test_client().get("/api/v1/tenants", headers={"X-API-Key": f"itk_{by_api}"}).status_code == 200
    paths = [
        rule.rule
        for rule in cast.app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and "<" not in rule.rule and not rule.websocket
    ]
    for path in [*paths, "/settings/audit?per_page=500", "/api/v1/audit?per_page=500"]:
        answer = browser.get(path)
        assert not [secret for secret in secrets if secret in answer.data], path
    with cast.app.app_context():
        for table in Base.metadata.sorted_tables:
            rows = repr(session().execute(table.select()).fetchall()).encode()
            assert not [secret for secret in secrets if secret in rows], table.name
        session().remove()


def test_a_time_without_a_zone_is_utc_and_one_past_the_calendar_is_422(cast: Cast) -> None:
    alice = cast.client("alice")
    made = alice.post("/api/v1/api-keys", json={"name": "x", "expires_at": "2099-01-01T00:00:00"})
    assert made.json["expires_at"] == "2099-01-01T00:00:00Z"
    for never in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
        assert alice.post("/api/v1/api-keys", json={"name": "x", "expires_at": never}).status_code == 422


def test_a_persons_keys_stop_while_the_person_is_disabled_and_a_computers_key_goes_on(cast: Cast) -> None:
    alice, client, push = cast.client("alice"), cast.app.test_client(), {"cpu_percent": 1.0, "memory_percent": 1.0}
    with cast.app.app_context():
        uuid = make_computer("prod", tenant_id=cast.acme)[1]
    host = cast.client("bob").post("/api/v1/api-keys", json={"server_id": uuid, "name": "agent"}).json["key"]
    script = cast.client("bob").post("/api/v1/api-keys", json={"name": "script", "role": "user"}).json

    def works(secret: str, path: str = "/api/v1/servers") -> bool:
        return bool(client.get(path, headers={"X-API-Key": secret}).status_code == 200)

    assert works(script["key"])
    user = f"/api/v1/users/{cast.users['bob']}"
    alice.put(user, json={"is_active": False})
    assert not works(script["key"])
    assert alice.get(f"/api/v1/api-keys/{script['id']}").json["is_active"] is False
    assert "its maker cannot sign in" in cast.browser("alice").get("/settings/api-keys").text
    assert client.post("/api/v1/metrics", json=push, headers={"X-API-Key": host}).status_code == 201
    alice.put(user, json={"is_active": True})
    assert works(script["key"]), "whoever is back has the keys back"
    assert alice.delete(user).status_code == 204
    assert not works(script["key"])
    assert works(host, "/api/v1/api-keys/me")


def test_keys_that_ended_long_ago_are_shown_when_asked_for(cast: Cast) -> None:
    alice = cast.client("alice")
    ids = {name: alice.post("/api/v1/api-keys", json={"name": name}).json["id"] for name in ("of-today", "of-last-week", "lives")}
    for name in ("of-today", "of-last-week"):
        alice.delete(f"/api/v1/api-keys/{ids[name]}")
    with cast.app.app_context(), unit_of_work():
        session().get(ApiKey, ids["of-last-week"]).revoked_at = datetime.now(UTC) - timedelta(days=8)
    browser = cast.browser("alice")
    page = browser.get("/settings/api-keys").text
    assert "of-today" in page
    assert "of-last-week" not in page
    assert "Show 1 more that ended more than 7 days ago" in page
    assert "of-last-week" in browser.get("/settings/api-keys?past=1").text
