"""Contract 002, "Servers", field by field, with the additions of contracts/README.md."""

from typing import Any
from uuid import uuid4

import pytest
from conftest import Cast
from factories import make_computer, make_samples

FIELDS = {"id", "name", "host", "port", "status", "created_at", "updated_at", "last_seen", "health_status", "metadata", "tenant_id",
          "tags", "kind"}  # fmt: skip
MINE = {"name": "New Server", "host": "192.168.1.101", "port": 22}


def test_create_answers_201_with_the_server(cast: Cast) -> None:
    answer = cast.client("alice").post("/api/v1/servers", json=MINE)
    assert answer.status_code == 201
    assert answer.json.keys() >= FIELDS
    assert {name: answer.json[name] for name in MINE} == MINE
    assert answer.json["status"] == "unknown"
    assert answer.json["health_status"] == "healthy"
    assert answer.json["last_seen"] is None
    assert answer.json["created_at"].endswith("Z")
    assert answer.json["tenant_id"] == cast.default


def test_host_and_port_are_optional_and_our_fields_are_taken(cast: Cast) -> None:
    body = {"name": "desk-1", "tenant_id": cast.acme, "tags": ["Prod", "ring-1"], "kind": "workstation", "metadata": {"rack": 7},
            "primary_user_name": "John Doe"}  # fmt: skip
    answer = cast.client("alice").post("/api/v1/servers", json=body)
    assert answer.status_code == 201
    assert answer.json["host"] is None
    assert answer.json["tags"] == ["prod", "ring-1"]
    assert answer.json["metadata"] == {"rack": 7}
    assert answer.json["kind"] == "workstation"
    assert answer.json["tenant_id"] == cast.acme


def test_list_is_a_bare_array_with_skip_and_limit(cast: Cast) -> None:
    with cast.app.app_context():
        for name in ("b", "c", "a"):
            make_computer(name)
    client = cast.client("alice")
    assert [row["name"] for row in client.get("/api/v1/servers").json] == ["a", "b", "c"]
    assert [row["name"] for row in client.get("/api/v1/servers?skip=1&limit=1").json] == ["b"]
    assert [row["name"] for row in client.get("/api/v1/servers/").json] == ["a", "b", "c"], "a trailing slash is accepted"


def test_get_put_and_delete(cast: Cast) -> None:
    client = cast.client("alice")
    made = client.post("/api/v1/servers", json=MINE).json
    path = f"/api/v1/servers/{made['id']}"
    assert client.get(path).json == made
    changed = client.put(path, json={"name": "Updated Name"})
    assert changed.status_code == 200
    assert (changed.json["name"], changed.json["host"]) == ("Updated Name", "192.168.1.101")
    assert client.put(path, json={"host": None}).json["host"] is None
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.data) == (204, b"")
    for method in ("get", "delete"):
        answer = getattr(client, method)(path)
        assert (answer.status_code, answer.json) == (404, {"detail": "Resource not found"})


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({}, ["body", "name"], "value_error.missing"),
        ({"name": 5}, ["body", "name"], "string_type"),
        ({"name": ""}, ["body", "name"], "string_too_short"),
        ({"name": "x" * 201}, ["body", "name"], "string_too_long"),
        ({"name": "x", "port": 0}, ["body", "port"], "greater_than_equal"),
        ({"name": "x", "port": 70000}, ["body", "port"], "less_than_equal"),
        ({"name": "x", "port": "22"}, ["body", "port"], "int_type"),
        ({"name": "x", "port": True}, ["body", "port"], "int_type"),
        ({"name": "x", "kind": "toaster"}, ["body", "kind"], "enum"),
        ({"name": "x", "tags": ["has space"]}, ["body", "tags"], "value_error"),
        ({"name": "x", "tags": "prod"}, ["body", "tags"], "list_type"),
    ],
)
def test_what_does_not_fit_is_422_with_the_list_form(cast: Cast, body: dict[str, Any], loc: list[str], kind: str) -> None:
    answer = cast.client("alice").post("/api/v1/servers", json=body)
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"] == loc
    assert answer.json["detail"][0]["type"] == kind
    assert answer.json["detail"][0]["msg"]


def test_the_documented_missing_field_message(cast: Cast) -> None:
    answer = cast.client("alice").post("/api/v1/servers", json={})
    assert answer.json == {"detail": [{"loc": ["body", "name"], "msg": "field required", "type": "value_error.missing"}]}


def test_unknown_fields_are_ignored_and_identities_in_bodies_never_applied(cast: Cast) -> None:
    client = cast.client("bob")
    body = MINE | {"id": str(uuid4()), "status": "online", "is_admin": True, "future": 1}
    answer = client.post("/api/v1/servers", json=body)
    assert answer.status_code == 201
    assert answer.json["id"] != body["id"]
    assert answer.json["status"] == "unknown"
    assert client.put(f"/api/v1/servers/{answer.json['id']}", json={"tenant_id": cast.globex}).status_code == 404


@pytest.mark.parametrize("query", ["skip=-1", "limit=0", "skip=x", "status=sleeping", "limit=1e400"])
def test_a_query_that_does_not_fit_is_422(cast: Cast, query: str) -> None:
    answer = cast.client("alice").get(f"/api/v1/servers?{query}")
    assert answer.status_code == 422
    assert answer.json["detail"][0]["loc"][0] == "query"


def test_missing_and_bad_credentials_are_401_and_no_permission_403(cast: Cast) -> None:
    stranger = cast.app.test_client()
    assert stranger.get("/api/v1/servers").json == {"detail": "Could not validate credentials"}
    for headers in ({"Authorization": "Bearer nonsense"}, {"X-API-Key": "itk_nonsense"}, {"Authorization": "Basic YTpi"}):
        answer = stranger.get("/api/v1/servers", headers=headers)
        assert (answer.status_code, answer.json) == (401, {"detail": "Could not validate credentials"})
    refused = cast.client("rita").post("/api/v1/servers", json=MINE)
    assert (refused.status_code, refused.json) == (403, {"detail": "Not enough permissions"})


def test_a_bearer_may_be_a_key_too(cast: Cast) -> None:
    client = cast.app.test_client()
    assert client.get("/api/v1/servers", headers={"Authorization": f"Bearer {cast.keys['rita']}"}).status_code == 200


def test_another_tenants_server_does_not_exist(cast: Cast) -> None:
    """RELIABILITY 9: in path, query and body."""
    with cast.app.app_context():
        foreign = make_computer("theirs", tenant_id=cast.globex)[1]
        own = make_computer("ours", tenant_id=cast.acme)[1]
    bob = cast.client("bob")
    assert [row["name"] for row in bob.get("/api/v1/servers").json] == ["ours"]
    for method, path, body in (("get", f"/api/v1/servers/{foreign}", None), ("put", f"/api/v1/servers/{foreign}", {"name": "mine"}),
                               ("delete", f"/api/v1/servers/{foreign}", None), ("get", f"/api/v1/metrics/{foreign}", None),
                               ("get", f"/api/v1/metrics/{foreign}/history", None),
                               ("post", f"/api/v1/metrics/{foreign}", {"cpu_percent": 1, "memory_percent": 1}),
                               ("get", f"/api/v1/servers?tenant_id={cast.globex}", None),
                               ("post", "/api/v1/servers", {"name": "x", "tenant_id": cast.globex}),
                               ("put", f"/api/v1/servers/{own}", {"tenant_id": cast.globex}),
                               ("post", "/api/v1/api-keys", {"name": "k", "server_id": foreign})):  # fmt: skip
        answer = getattr(bob, method)(path, json=body) if body else getattr(bob, method)(path)
        assert answer.status_code == 404, (method, path, answer.status_code)
        assert "theirs" not in answer.text
    page = cast.browser("bob")
    for path in (f"/fleet/{foreign}/", f"/fleet/{foreign}/metrics", f"/fleet/{foreign}/metrics.json", f"/fleet/{foreign}/edit"):
        assert page.get(path).status_code == 404, path
    assert "theirs" not in page.get("/fleet/").text
    assert "theirs" not in page.get("/fleet.csv").text
    assert "theirs" not in page.get(f"/fleet/?tenant={cast.globex}").text
    assert "theirs" not in page.get("/search?q=theirs").text.replace('value="theirs"', "")


def test_deleting_ends_keys_and_a_new_server_never_gets_the_old_id(cast: Cast) -> None:
    """RELIABILITY 22."""
    client = cast.client("alice")
    made = client.post("/api/v1/servers", json=MINE).json
    key = client.post("/api/v1/api-keys", json={"name": "agent", "server_id": made["id"]}).json["key"]
    host = cast.app.test_client()
    push = {"cpu_percent": 1.0, "memory_percent": 2.0}
    assert host.post("/api/v1/metrics", json=push, headers={"X-API-Key": key}).status_code == 201
    client.delete(f"/api/v1/servers/{made['id']}")
    assert host.post("/api/v1/metrics", json=push, headers={"X-API-Key": key}).status_code in (401, 404)
    assert client.post("/api/v1/servers", json=MINE).json["id"] != made["id"]


def test_a_server_that_was_heard_is_online_with_its_last_contact(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("live")
        make_samples(computer[0], 1)
    row = cast.client("alice").get(f"/api/v1/servers/{computer[1]}").json
    assert row["status"] == "online"
    assert row["last_seen"] is not None
