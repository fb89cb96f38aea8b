"""Contract 004, "Authentication APIs", field by field, and what its README adds."""

import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
from conftest import PASSWORD, Cast
from factories import make_user
from flask import Flask

from app import tokens
from app.actors import Role
from app.auth import authenticator
from app.factory import settings_of

USER_FIELDS = {"id", "username", "email", "is_active", "is_admin", "created_at", "last_login"}
BOTH = pytest.mark.parametrize("base", ["/api/auth", "/api/v1/auth"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(client: Any, name: str = "alice", base: str = "/api/auth") -> str:
    answer = client.post(f"{base}/login", data={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    token: str = answer.json["access_token"]
    return token


@BOTH
def test_register_answers_201_with_the_user(app: Flask, base: str) -> None:
    body = {"username": "john_doe", "email": "john@example.com", "password": "secure_password_of_john"}
    answer = app.test_client().post(f"{base}/register", json=body)
    assert answer.status_code == 201
    assert answer.json.keys() >= USER_FIELDS
    assert answer.json["username"] == "john_doe"
    assert answer.json["email"] == "john@example.com"
    assert answer.json["is_active"] is True
    assert answer.json["is_admin"] is False
    assert answer.json["last_login"] is None
    assert answer.json["created_at"].endswith("Z")
    assert "password" not in answer.text


@pytest.mark.parametrize("change", [{"username": "john_doe"}, {"email": "john@example.com"}, {"username": "JOHN_DOE"}])
def test_a_duplicate_is_400(app: Flask, change: dict[str, str]) -> None:
    client = app.test_client()
    body = {"username": "john_doe", "email": "john@example.com", "password": "secure_password_of_john"}
    assert client.post("/api/auth/register", json=body).status_code == 201
    other = {"username": "somebody", "email": "some@example.com", "password": "another_long_password"} | change
    answer = client.post("/api/auth/register", json=other)
    assert answer.status_code == 400
    assert "already registered" in answer.json["detail"]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"username": "jo"}, "username", "Username must be at least 3 characters"),
        ({"username": "j" * 51}, "username", "Username must be at most 50 characters"),
        ({"username": 5}, "username", "valid string"),
        ({"username": None}, "username", "valid string"),
        ({"password": "short"}, "password", "Password must be at least 8 characters"),
        ({"password": "password1"}, "password", "too easy"),
        ({"email": "no-address"}, "email", "not an e-mail address"),
    ],
)
def test_what_does_not_fit_is_400_with_the_bare_field(app: Flask, change: dict[str, Any], field: str, message: str) -> None:
    body = {"username": "john_doe", "email": "john@example.com", "password": "secure_password_of_john"} | change
    answer = app.test_client().post("/api/auth/register", json=body)
    assert answer.status_code == 400
    assert answer.json["type"] == "validation_error"
    assert [row["field"] for row in answer.json["errors"]] == [field]
    assert message in answer.json["errors"][0]["message"]


def test_privileges_in_a_body_are_never_applied(app: Flask) -> None:
    body = {"username": "mallory", "email": "m@example.com", "password": "secure_password_of_m", "is_admin": True, "role": "admin",
            "id": "chosen", "tenant_ids": []}  # fmt: skip
    answer = app.test_client().post("/api/auth/register", json=body)
    assert answer.status_code == 201
    assert answer.json["is_admin"] is False
    assert answer.json["id"] != "chosen"
    assert answer.json["role"] == "readonly"


@BOTH
def test_login_takes_the_documented_form(cast: Cast, base: str) -> None:
    answer = cast.app.test_client().post(f"{base}/login", data={"username": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["token_type"] == "bearer"
    assert answer.json["expires_in"] == 1800
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims.keys() >= {"sub", "username", "is_admin", "jti", "iat", "exp"}
    assert claims["is_admin"] is True
    assert claims["exp"] - claims["iat"] == 1800
    assert jwt.get_unverified_header(answer.json["access_token"])["alg"] == "HS256"


def test_login_takes_json_and_the_email_too(cast: Cast) -> None:
    answer = cast.app.test_client().post("/api/auth/login", json={"username": "ALICE@example.com", "password": PASSWORD})
    assert answer.status_code == 200


def test_unknown_user_wrong_password_and_disabled_user_look_the_same(cast: Cast) -> None:
    client = cast.app.test_client()
    cast.client("alice").put(f"/api/v1/users/{cast.users['rita']}", json={"is_active": False})
    bodies = [{"username": "nobody", "password": PASSWORD}, {"username": "bob", "password": "wrong"},
              {"username": "rita", "password": PASSWORD}]  # fmt: skip
    answers = [client.post("/api/auth/login", data=body) for body in bodies]
    assert {a.status_code for a in answers} == {401}
    assert {a.text for a in answers} == {'{"detail":"Invalid authentication credentials"}'}
    assert all(a.headers["WWW-Authenticate"] == "Bearer" for a in answers)


def test_ten_logins_a_minute_per_account_and_address(cast: Cast) -> None:
    client = cast.app.test_client()
    answers = [client.post("/api/auth/login", data={"username": "bob", "password": "wrong"}) for _ in range(11)]
    assert [a.status_code for a in answers] == [401] * 10 + [429]
    assert answers[-1].json["detail"] == "Rate limit exceeded"
    assert 0 < answers[-1].json["retry_after"] <= 61
    assert int(answers[-1].headers["Retry-After"]) == answers[-1].json["retry_after"]
    assert client.post("/api/auth/login", data={"username": "alice", "password": PASSWORD}).status_code == 200


@BOTH
def test_me_is_the_user_behind_the_token(cast: Cast, base: str) -> None:
    client = cast.app.test_client()
    answer = client.get(f"{base}/me", headers=bearer(token_of(client, base=base)))
    assert answer.status_code == 200
    assert answer.json.keys() >= USER_FIELDS
    assert answer.json["id"] == cast.users["alice"]
    assert answer.json["last_login"] is not None


def test_me_without_credentials_is_401_in_the_documents_words(app: Flask) -> None:
    answer = app.test_client().get("/api/auth/me")
    assert answer.status_code == 401
    assert answer.json == {"detail": "Invalid authentication credentials"}


@BOTH
def test_refresh_gives_a_fresh_token_and_logout_revokes_one(cast: Cast, base: str) -> None:
    client = cast.app.test_client()
    first = token_of(client)
    second = client.post(f"{base}/refresh", headers=bearer(first)).json["access_token"]
    assert second != first
    assert client.post(f"{base}/logout", headers=bearer(first)).status_code == 200
    assert client.get("/api/auth/me", headers=bearer(first)).status_code == 401
    assert client.get("/api/auth/me", headers=bearer(second)).status_code == 200


def test_a_refresh_chain_ends_with_the_absolute_length_of_a_login(cast: Cast) -> None:
    from app.clock import now

    settings = settings_of(cast.app)
    old = now() - timedelta(minutes=settings.session_absolute_minutes + 1)
    token = tokens.issue(authenticator.jwt_key(settings), cast.users["alice"], "alice", True, 0, timedelta(minutes=5), old)
    client = cast.app.test_client()
    assert client.get("/api/auth/me", headers=bearer(token)).status_code == 200
    assert client.post("/api/auth/refresh", headers=bearer(token)).status_code == 401


def test_forged_expired_and_tampered_tokens_are_401(cast: Cast) -> None:
    """RELIABILITY 4."""
    client, settings = cast.app.test_client(), settings_of(cast.app)
    good = token_of(client)
    claims = jwt.decode(good, options={"verify_signature": False})
    key = authenticator.jwt_key(settings)
    head, body, signature = good.split(".")
    forged = {
        "none": jwt.encode(claims, None, algorithm="none"),
        "another key": jwt.encode(claims, "x" * 32, algorithm="HS256"),
        "another algorithm": jwt.encode(claims, key, algorithm="HS512"),
        "expired": jwt.encode(claims | {"exp": int(time.time()) - 1}, key, algorithm="HS256"),
        "no jti": jwt.encode({k: v for k, v in claims.items() if k != "jti"}, key, algorithm="HS256"),
        "wrong type": jwt.encode(claims | {"ver": "first"}, key, algorithm="HS256"),
        "tampered": ".".join((head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), signature)),
        "nobody": jwt.encode(claims | {"sub": "nobody"}, key, algorithm="HS256"),
        "cookie secret": jwt.encode(claims, settings.secret_key.get_secret_value(), algorithm="HS256"),  # type: ignore[union-attr]
    }
    for what, token in forged.items():
        assert client.get("/api/auth/me", headers=bearer(token)).status_code == 401, what


@pytest.mark.parametrize("change", [{"password": "a-brand-new-password"}, {"is_active": False}, {"role": "user"}])
def test_a_changed_password_role_or_disabling_ends_tokens_and_cookies(cast: Cast, change: dict[str, Any]) -> None:
    """RELIABILITY 4."""
    client, browser = cast.app.test_client(), cast.browser("rita")
    token = token_of(client, "rita")
    assert browser.get("/fleet/").status_code == 200
    assert cast.client("alice").put(f"/api/v1/users/{cast.users['rita']}", json=change).status_code == 200
    assert client.get("/api/auth/me", headers=bearer(token)).status_code == 401
    assert browser.get("/fleet/").status_code == 303


def test_registration_in_network_mode_is_by_invitation(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_of(cast.app), "bind", "192.0.2.1:8000")
    client = cast.app.test_client()
    body = {"username": "john_doe", "email": "john@example.com", "password": "secure_password_of_john"}
    answer = client.post("/api/auth/register", json=body)
    assert answer.status_code == 403
    assert answer.json == {"detail": "Registration is by invitation"}
    alice = cast.browser("alice")
    page = alice.post("/settings/users/invite", role="user", all_tenants="", tenants=cast.acme)
    token = page.text.split("/register?invitation=", 1)[1].split('"', 1)[0].split("<", 1)[0].strip()
    made = client.post("/api/auth/register", json=body | {"invitation": token})
    assert made.status_code == 201
    assert (made.json["role"], made.json["tenant_ids"]) == ("user", [cast.acme])
    again = body | {"username": "other", "email": "o@example.com", "invitation": token}
    assert client.post("/api/auth/register", json=again).status_code == 403


@pytest.mark.parametrize("came", [{"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}, {"X-Real-IP": "203.0.113.9"},
                                  {"Via": "1.1 proxy"}, {"Host": "binnacle.example.com"}, {"Origin": "https://evil.example"}])  # fmt: skip
@BOTH
def test_in_local_mode_registration_is_for_this_machine_only_also_behind_a_proxy(
    app: Flask, base: str, came: dict[str, str]
) -> None:
    """A loopback bind behind a reverse proxy must not be open to the world."""
    body = {"username": "john_doe", "email": "john@example.com", "password": "secure_password_of_john"}
    answer = app.test_client().post(f"{base}/register", json=body, headers=came)
    assert (answer.status_code, answer.json) == (403, {"detail": "Registration is by invitation"})
    for number, host in enumerate(("127.0.0.1:8000", "localhost:8000", "[::1]:8000")):
        body |= {"username": f"john{number}", "email": f"john{number}@example.com"}
        assert app.test_client().post(f"{base}/register", json=body, headers={"Host": host}).status_code == 201, host


def test_admin_only_is_403_in_the_documents_words(cast: Cast) -> None:
    answer = cast.client("bob").get("/api/v1/users")
    assert answer.status_code == 403
    assert answer.json == {"detail": "Administrative privileges required"}


def test_users_can_be_made_changed_and_deleted_by_an_admin(cast: Cast) -> None:
    alice = cast.client("alice")
    body = {"username": "dora", "email": "dora@example.com", "password": "a-good-password-of-dora", "role": "user",
            "tenant_ids": [cast.acme]}  # fmt: skip
    made = alice.post("/api/v1/users", json=body)
    assert made.status_code == 201
    assert made.json["tenant_ids"] == [cast.acme]
    path = f"/api/v1/users/{made.json['id']}"
    assert alice.get(path).json["username"] == "dora"
    assert alice.put(path, json={"tenant_ids": None, "role": "executor"}).json["tenant_ids"] is None
    assert {"total", "users"} <= alice.get("/api/v1/users").json.keys()
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404
    assert alice.get(path).json["detail"] == "User not found"


def test_the_last_admin_stays(cast: Cast) -> None:
    alice, path = cast.client("alice"), f"/api/v1/users/{cast.users['alice']}"
    for change in ({"role": "user"}, {"tenant_ids": [cast.acme]}):
        assert alice.put(path, json=change).status_code == 400, change
    assert alice.delete(path).status_code == 400
    with cast.app.app_context():
        make_user("second", Role.ADMIN)
    assert alice.put(path, json={"role": "user"}).status_code == 200


def test_an_unknown_tenant_for_a_user_is_404(cast: Cast) -> None:
    body = {"username": "dora", "email": "dora@example.com", "password": "a-good-password-of-dora", "tenant_ids": ["nothing"]}
    assert cast.client("alice").post("/api/v1/users", json=body).status_code == 404
