"""RELIABILITY 11, 12 and contracts/README.md, "Where documents meet", for every route of the map: whatever comes, the answer has its
contract's shape, a request id and, for programs, the figures of its rate limit; and it is never a 500."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_run, make_samples
from flask import Flask

from app.actors import SYSTEM
from app.connectors.operations import create_token
from app.database import unit_of_work
from app.fleet.saved import save_view

NAMES = ("name", "host", "port", "tenant_id", "tenant_ids", "tags", "kind", "metadata", "username", "email", "password", "role", "is_active",
         "expires_at", "rate_limit", "server_id", "description", "command", "timeout", "token", "hostname", "cpu_percent", "memory_percent",
         "session_id", "event_type", "status", "enabled", "timestamp", "events", "sessions", "details")  # fmt: skip
BODIES = {
    "nothing": b"",
    "objects": json.dumps({name: {"x": [1]} for name in NAMES}).encode(),
    "numbers": json.dumps(dict.fromkeys(NAMES, -1.5e300)).encode(),
    "nulls": json.dumps(dict.fromkeys(NAMES)).encode(),
    "empty texts": json.dumps(dict.fromkeys(NAMES, "")).encode(),
    "times without a zone": json.dumps(dict.fromkeys(NAMES, "2031-01-01T00:00:00")).encode(),
    "times beyond the calendar": json.dumps(dict.fromkeys(NAMES, "9999-12-31T23:59:59-14:00")).encode(),
}
QUERIES = ("q=%00", "q=%ff%fe&page=99999999999999999999&limit=NaN&skip=-1&sort=__class__&cols=x&after=-1&hours=x",
           "status=x&status=y&tenant_id=x&server_id=y&agent_id=z", "start=9999-12-31T23:59:59-14:00&end=0001-01-01T00:00:00%2B14:00")  # fmt: skip
ROWS = (
    "/servers",
    "/metrics",
    "/docker",
    "/commands",
    "/alerts",
    "/api-keys",
    "/agents",
    "/runs",
)  # of contract 002, below /api/v1


Places = dict[str, str]


@pytest.fixture
def places(cast: Cast) -> Places:
    """Something real for each argument of an address."""
    with cast.app.app_context():
        computer = make_computer("real", tenant_id=cast.acme)
        make_samples(computer[0], 3)
        run = make_run(computer)
        with unit_of_work():
            token, _ = create_token(cast.acme, actor=SYSTEM)
            view = save_view("fleet", "mine", "q=x", False, actor=replace(SYSTEM, user_id=cast.users["alice"]))
    key = cast.client("alice").get("/api/v1/api-keys").json["api_keys"][0]["id"]
    return {"uuid": computer[1], "run_id": run, "user_id": cast.users["rita"], "tenant_id": cast.globex, "key_id": key, "view_id": view.id,
            "token_id": token.id}  # fmt: skip


def routes(app: Flask, places: Places, methods: set[str], prefix: str) -> list[tuple[str, str]]:
    """(method, path) of the map, what there is put in for the arguments; what is deleted has never been."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.websocket or not rule.rule.startswith(prefix):
            continue
        for method in (rule.methods or set()) & methods:
            path = re.sub("<int:[a-z_]+>", "0" if "steps" in rule.rule else "1", rule.rule)
            for name in rule.arguments:
                path = re.sub(f"<(path:)?{name}>", "never-was" if method == "DELETE" else places.get(name, "never-was"), path)
            found.append((method, path))
    assert found
    return sorted(found)


def failed(path: str, answer: Any) -> bool:
    """Whether the server failed: that a computer is not connected is contract 002's 503."""
    return answer.status_code >= 500 and not (answer.status_code == 503 and path.startswith("/api/v1/docker/"))


def fault(path: str, answer: Any) -> str | None:
    """What is wrong with an answer."""
    if failed(path, answer):
        return f"{answer.status_code} {answer.text[:200]}"
    if len(answer.headers.getlist("X-Request-ID")) != 1:
        return "no request id"
    if path.startswith("/api/") and "X-RateLimit-Remaining" not in answer.headers:
        return "no rate limit"
    if answer.status_code >= 400 and path.startswith("/api/") and not shaped(path, answer):
        return f"not its contract's shape: {answer.status_code} {answer.text[:200]}"
    return None


def shaped(path: str, answer: Any) -> bool:
    body = answer.json
    if not path.startswith("/api/v1/") or path.startswith(("/api/v1/auth", "/api/v1/users", "/api/v1/audit")):
        return "detail" in body or answer.status_code == 429
    if path.startswith(tuple(f"/api/v1{row}" for row in ROWS)):
        return isinstance(body["detail"], list) == (answer.status_code == 422)
    return set(body) == {"error"} and set(body["error"]) == {"code", "message", "details"}


@pytest.mark.parametrize("what", BODIES)
def test_every_unsafe_route_answers_a_body_of_every_kind(cast: Cast, places: Places, what: str) -> None:
    client, wrong = unlimited(cast), []
    for method, path in routes(cast.app, places, {"POST", "PUT", "DELETE", "PATCH"}, "/api/"):
        answer = client.open(path, method=method, data=BODIES[what], content_type="application/json")
        if said := fault(path, answer):
            wrong.append((method, path, said))
    assert not wrong


@pytest.mark.parametrize(
    "kind",
    ["", "multipart/form-data; boundary=x", "application/json; charset=utf-16"],
)
def test_every_unsafe_route_answers_a_content_type_of_every_kind(cast: Cast, places: Places, kind: str) -> None:
    client, wrong = unlimited(cast), []
    for method, path in routes(cast.app, places, {"POST", "PUT"}, "/api/"):
        answer = client.open(path, method=method, data=b"--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\n\xff\x00\r\n--x--\r\n",
                             content_type=kind)  # fmt: skip
        if said := fault(path, answer):
            wrong.append((method, path, said))
    assert not wrong


@pytest.mark.parametrize("query", QUERIES)
def test_every_get_answers_a_query_of_every_kind(cast: Cast, places: Places, query: str) -> None:
    client, browser, wrong = unlimited(cast), cast.browser("alice"), []
    for _, path in routes(cast.app, places, {"GET"}, "/"):
        answer = (client if path.startswith("/api/") else browser).get(f"{path}?{query}")
        if said := fault(path, answer):
            wrong.append((path, said))
    assert not wrong


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PROPFIND"])
def test_every_address_answers_methods_that_it_does_not_serve(cast: Cast, places: Places, method: str) -> None:
    client, wrong = unlimited(cast), []
    for _, path in routes(cast.app, places, {"GET", "POST"}, "/"):
        answer = client.open(path, method=method)
        if method == "HEAD":
            continue_here = not failed(path, answer) and not answer.data
            said = None if continue_here else f"HEAD {answer.status_code}"
        else:
            said = fault(path, answer) or (
                None if answer.status_code == 405 and answer.headers["Allow"] else f"{answer.status_code}"
            )
        if said:
            wrong.append((path, said))
    assert not wrong


def test_a_trailing_slash_is_the_same_address_for_programs(cast: Cast, places: Places) -> None:
    client, nothing = unlimited(cast), {"uuid": places["uuid"]}
    for method, path in routes(cast.app, nothing, {"GET", "POST", "PUT", "DELETE"}, "/api/"):
        plain, slashed = (client.open(p, method=method, data=b"5", content_type="application/json") for p in (path, f"{path}/"))
        assert (plain.status_code, plain.mimetype) == (slashed.status_code, slashed.mimetype), (method, path)
        assert not failed(path, plain)


def unlimited(cast: Cast) -> Any:
    """Alice's programs, with a key that no rate limit stops."""
    made = cast.client("alice").post("/api/v1/api-keys", json={"name": "many", "role": "admin", "rate_limit": 1_000_000})
    client = cast.app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = made.json["key"]
    return client
