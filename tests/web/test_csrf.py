"""RELIABILITY 6: every unsafe route of the map refuses a missing or foreign CSRF token from a cookie."""

import pytest
from conftest import Browser, Cast
from flask import Flask

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def unsafe_routes(app: Flask) -> list[tuple[str, str]]:
    found = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<{name}>", "00000000-0000-0000-0000-000000000000")
        found += [(method, path) for method in (rule.methods or set()) & UNSAFE]
    return sorted(found)


@pytest.mark.parametrize("token", [None, "foreign"])
def test_every_unsafe_route_needs_the_token_of_the_session(cast: Cast, token: str | None) -> None:
    browser = cast.browser("alice")
    if token:
        other = Browser(cast.app)
        other.get("/login")
        token = other.token
    headers = {"X-CSRFToken": token} if token else {}
    for method, path in unsafe_routes(cast.app):
        answer = browser.client.open(path, method=method, headers=headers, data={})
        assert answer.status_code == 403, (method, path, answer.status_code)


def test_a_strangers_forms_need_it_too(cast: Cast) -> None:
    for path in ("/login", "/setup", "/register", "/logout"):
        assert cast.app.test_client().post(path, data={"username": "alice"}).status_code == 403, path


def test_keys_and_tokens_need_none(cast: Cast) -> None:
    assert cast.client("alice").post("/api/v1/tenants", json={"name": "New"}).status_code == 201


def test_a_cookie_with_its_own_token_may_use_the_api(cast: Cast) -> None:
    browser = cast.browser("alice")
    answer = browser.client.post("/api/v1/tenants", json={"name": "By cookie"}, headers={"X-CSRFToken": browser.token})
    assert answer.status_code == 201
