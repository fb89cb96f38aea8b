"""RELIABILITY 2, 19, 26, 29: a locked or full database, slow clients, forged addresses, and equal work for unknown users."""

import socket
import sqlite3
from typing import Any

import pytest
from conftest import PASSWORD, Cast
from factories import make_computer
from serving import Server
from sqlalchemy.exc import OperationalError

from app import database, passwords
from app.factory import settings_of


def test_a_locked_database_answers_503_to_writers_and_still_serves_readers(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(cast.app)
    if not settings.sqlalchemy_url.startswith("sqlite"):
        pytest.skip("PostgreSQL has no lock of the whole database")
    with cast.app.app_context():
        make_computer("readable")
    client = cast.client("alice")
    client.get("/api/v1/servers")
    monkeypatch.setattr(database, "LOCK_PATIENCE_S", 0.2)
    with sqlite3.connect(settings.data_dir / "binnacle.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = client.post("/api/v1/servers", json={"name": "late"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "nothing was stored" in refused.json["detail"]
        assert [row["name"] for row in client.get("/api/v1/servers").json] == ["readable"]
        assert client.get("/health/live").status_code == 200
        other.execute("ROLLBACK")
    assert client.post("/api/v1/servers", json={"name": "late"}).status_code == 201


def test_a_full_disk_is_507(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", None, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr("app.fleet.api.operations.create_computer", full)
    answer = cast.client("alice").post("/api/v1/servers", json={"name": "x"})
    assert (answer.status_code, answer.json) == (507, {"detail": "The server's disk is full; nothing was stored"})


def test_a_bug_is_a_500_with_an_id_and_no_internals(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("app.fleet.api.operations.create_computer", broken)
    monkeypatch.setattr("app.auth.api.queries.list_users", broken)
    answer = cast.client("alice").post("/api/v1/servers", json={"name": "x"})
    assert (answer.status_code, answer.json) == (500, {"detail": "Internal server error"})
    other = cast.client("alice").get("/api/v1/users")
    assert other.json["detail"] == "Internal server error"
    assert len(other.json["error_id"]) == 32
    assert "secret detail" not in answer.text + other.text


def test_an_unknown_user_costs_the_same_hash_as_a_wrong_password(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = passwords.off_the_loop

    def counted(function: Any, *arguments: Any) -> Any:
        calls.append(function.__name__)
        return real(function, *arguments)

    monkeypatch.setattr(passwords, "off_the_loop", counted)
    client = cast.app.test_client()
    for name in ("nobody", "bob"):
        calls.clear()
        client.post("/api/auth/login", data={"username": name, "password": "wrong"})
        assert calls == ["_matches"], name
    parameters = passwords._hasher
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert passwords.hash_password(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(cast: Cast) -> None:
    client = cast.app.test_client()
    answers = [client.get("/api/v1/servers", headers={"X-Forwarded-For": f"192.0.2.{i}"}) for i in range(3)]
    assert [int(a.headers["X-RateLimit-Remaining"]) for a in answers] == [99, 98, 97]


def test_the_limits_of_strangers_users_and_admins(cast: Cast) -> None:
    stranger = cast.app.test_client()
    assert stranger.get("/api/auth/me").headers["X-RateLimit-Limit"] == "100"
    answers = [stranger.get("/api/auth/me") for _ in range(100)]
    assert answers[-1].status_code == 429
    assert answers[-1].json.keys() == {"detail", "retry_after"}
    assert cast.browser("alice").client.get("/api/auth/me").headers["X-RateLimit-Limit"] == "200"
    assert cast.browser("bob").client.get("/api/auth/me").headers["X-RateLimit-Limit"] == "100"


def test_slow_clients_do_not_keep_the_others_from_being_served(served: Server) -> None:
    """RELIABILITY 29: 128 clients that never finish their headers."""
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(128)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for _ in range(20):
            assert served.http.get("/health/live", timeout=5).status_code == 200
            assert served.http.get("/api/v1/servers", timeout=5).status_code == 200
    finally:
        for connection in slow:
            connection.close()
