"""BINNACLE_SINGLE_USER: contract 001's keyless examples, on this machine only (contracts/README.md, "Local and network mode")."""

import pytest
from conftest import Cast

from app.factory import settings_of


def test_off_by_default(cast: Cast) -> None:
    assert cast.app.test_client().get("/api/v1/servers").status_code == 401


@pytest.fixture
def single(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Cast:
    monkeypatch.setattr(settings_of(cast.app), "single_user", True)
    return cast


def test_a_program_on_this_machine_is_the_first_admin(single: Cast) -> None:
    client = single.app.test_client()
    assert client.get("/api/v1/servers").status_code == 200
    assert client.post("/api/v1/tenants", json={"name": "By curl"}).status_code == 201
    assert client.get("/api/auth/me").json["username"] == "alice"
    for host in ("127.0.0.1:8000", "[::1]:8000", "localhost"):
        assert client.get("/api/v1/servers", headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "rebound.example:8000"},
        {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Via": "1.1 proxy"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_whatever_came_another_way_is_not(single: Cast, headers: dict[str, str]) -> None:
    assert single.app.test_client().get("/api/v1/servers", headers=headers).status_code == 401


def test_another_machine_is_not_and_pages_still_want_a_login(single: Cast) -> None:
    client = single.app.test_client()
    assert client.get("/api/v1/servers", environ_overrides={"REMOTE_ADDR": "192.0.2.9"}).status_code == 401
    assert client.get("/fleet/").status_code == 303


def test_bad_credentials_stay_bad(single: Cast) -> None:
    assert single.app.test_client().get("/api/v1/servers", headers={"X-API-Key": "itk_wrong"}).status_code == 401
