"""Tests that read the route map: each route has a permission, the map is known, lists stay cheap."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cast
from factories import make_computer, make_host_key, make_samples
from flask import Flask
from sqlalchemy import event

from app.actors import ROLE_PERMISSIONS, Permission, Role
from app.extensions import db

SNAPSHOT = Path(__file__).with_name("routes.json")
ROLE_OF = {"alice": Role.ADMIN, "bob": Role.USER, "rita": Role.READONLY, "eve": Role.EXECUTOR}


def route_map(app: Flask) -> dict[str, str]:
    """`METHOD /path` → permission."""
    found = {}
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            kind = "SOCKET" if rule.websocket else method
            found[f"{kind} {rule.rule}"] = app.view_functions[rule.endpoint].permission.value  # type: ignore[attr-defined]
    return dict(sorted(found.items()))


def test_the_route_map_is_the_one_that_was_reviewed(built: Flask) -> None:
    """A new, lost or differently protected route is noticed. To accept: delete routes.json, run once, read the diff."""
    found = route_map(built)
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail("routes.json was written anew: read it, commit it")
    assert found == json.loads(SNAPSHOT.read_text())


def test_a_route_without_a_permission_fails_the_boot(built: Flask) -> None:
    from app.web.access import permission_of

    with pytest.raises(RuntimeError, match="declares no permission"):
        permission_of(lambda: "")


def _filled(rule: str, uuid: str) -> str:
    path = rule
    for name in ("uuid", "user_id", "tenant_id", "key_id", "view_id", "token_id", "run_id"):
        path = path.replace(f"<{name}>", uuid if name == "uuid" else "00000000-0000-0000-0000-000000000000")
    return re.sub("<int:[a-z_]+>", "1", path)


def _expected(permission: Permission, name: str | None, api: bool) -> str:
    """What the access check must say: `open`, `anonymous` or `forbidden`."""
    if permission is Permission.PUBLIC:
        return "open"
    if name is None:
        return "anonymous"
    if permission is Permission.SIGNED_IN:
        return "open"
    granted = set(ROLE_PERMISSIONS[ROLE_OF[name]])
    if name != "alice":  # the others of the cast are limited to tenants
        granted -= {Permission.USERS_WRITE, Permission.TENANTS_WRITE, Permission.AUDIT_READ}
    return "open" if permission in granted else "forbidden"


def _verdict(status: int, location: str) -> str:
    if status == 401 or (status == 303 and location.startswith("/login")):
        return "anonymous"
    return "forbidden" if status == 403 else "open"


@pytest.mark.parametrize("name", [None, "alice", "bob", "rita", "eve"])
def test_every_route_asks_for_the_permission_it_declares(cast: Cast, name: str | None) -> None:
    """RELIABILITY 8: (anonymous + 4 roles) × every route. Bodies are empty on purpose: past the check they may be refused."""
    with cast.app.app_context():
        _, uuid = make_computer("acl", tenant_id=cast.acme)
    wrong = []
    for route, permission in route_map(cast.app).items():
        method, rule = route.split(" ", 1)
        if method == "SOCKET" or rule in ("/logout", "/api/auth/logout", "/api/v1/auth/logout", "/api/auth/refresh", "/api/v1/auth/refresh",
                                          "/api/auth/me", "/api/v1/auth/me"):  # fmt: skip
            continue
        if method != "GET" and name is None and not rule.startswith("/api"):
            continue  # a stranger's form fails at its CSRF token: tests/web/test_csrf.py
        answer = cast.client(name).open(_filled(rule, uuid), method=method, headers={"Accept": "application/json"})
        verdict = _verdict(answer.status_code, answer.headers.get("Location", ""))
        expected = _expected(Permission(permission), name, rule.startswith("/api"))
        own_rule = {
            "/api/v1/metrics",
            "/api/v1/api-keys/me",
            "/api/auth/register",
            "/api/v1/auth/register",
            "/settings/account",
            "/settings/logins/end",
        }
        if verdict != expected and rule not in own_rule and not (verdict == "anonymous" and rule.endswith("/login")):
            wrong.append((route, expected, answer.status_code))
        offline = answer.status_code == 503 and rule.startswith("/api/v1/docker/")  # the computer is not connected
        assert answer.status_code < 500 or offline, (route, answer.text)
    assert not wrong


def test_a_host_key_opens_only_its_own_paths(cast: Cast) -> None:
    """contracts/README.md, "Settled": a host key on any other path than its own is 403."""
    with cast.app.app_context():
        computer = make_computer("host", tenant_id=cast.acme)
        key = make_host_key(computer, cast.acme)
    client = cast.app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = key
    for path in ("/api/v1/servers", f"/api/v1/servers/{computer[1]}", "/api/v1/computers", "/api/v1/tenants", "/api/v1/api-keys",
                 f"/api/v1/metrics/{computer[1]}", "/api/v1/audit", "/api/v1/users", "/api/auth/me", "/fleet/"):  # fmt: skip
        assert client.get(path).status_code == 403, path
    assert client.get("/api/v1/api-keys/me").status_code == 200


@contextmanager
def counted_queries(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that run meanwhile."""
    with app.app_context():
        engine = db.engine
    statements: list[str] = []

    def note(_c: object, _cur: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_the_computers_page_asks_the_database_at_most_eight_times_however_many_there_are(cast: Cast) -> None:
    with cast.app.app_context():
        for number in range(60):
            computer = make_computer(f"pc-{number:02}", tenant_id=cast.acme, tags=["a", f"t{number % 7}"])
            make_samples(computer[0], 2, cpu=float(number))
    browser = cast.browser("alice")
    with counted_queries(cast.app) as statements:
        answer = browser.get("/fleet/?sort=-cpu")
    assert answer.status_code == 200
    assert answer.text.count('<tr id="r-') == 50
    assert len(statements) <= 14, statements  # the first time fills the short-lived caches of menus and counts
    with counted_queries(cast.app) as statements:
        browser.get("/fleet/?sort=-cpu")
    assert len(statements) <= 8, statements


def test_no_get_route_changes_anything(cast: Cast) -> None:
    """RELIABILITY 6: every GET of the map, as the admin, leaves every table but the login's and key's "last used" as it was."""
    from app.database import Base, session

    with cast.app.app_context():
        _, uuid = make_computer("still", tenant_id=cast.acme)
    browser = cast.browser("alice")

    def everything() -> dict[str, int]:
        with cast.app.app_context():
            counts = {t.name: session().execute(t.select()).fetchall() for t in Base.metadata.sorted_tables
                      if t.name not in ("login_sessions", "api_keys")}  # fmt: skip
            db.session.remove()
            return {name: hash(str(rows)) for name, rows in counts.items()}

    before = everything()
    for route in route_map(cast.app):
        method, rule = route.split(" ", 1)
        if method == "GET":
            browser.get(_filled(rule, uuid))
    assert everything() == before
