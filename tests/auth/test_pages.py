"""Login, logout, first admin and invitations as a person meets them."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import PASSWORD, Browser, Cast
from flask import Flask
from sqlalchemy.exc import OperationalError

from app.auth import authenticator
from app.factory import settings_of


def setup_token(app: Flask) -> str:
    return Path(settings_of(app).data_dir, "setup-token").read_text().strip()


def test_the_first_admin_is_made_with_the_one_time_link_and_then_the_page_is_gone(app: Flask) -> None:
    """RELIABILITY 3."""
    browser = Browser(app)
    assert "Nobody can sign in yet" in browser.get("/login").text, "whoever comes without the link learns of it"
    link = f"/setup?token={setup_token(app)}"
    assert browser.get(link).status_code == 200
    token = setup_token(app)
    answer = browser.post("/setup", username="root", email="", password=PASSWORD, confirm=PASSWORD, token=token)
    assert answer.status_code == 303, answer.text
    assert browser.get("/").status_code == 200
    assert "Never" not in browser.get("/settings/account").text, "who has just made the account has signed in"
    assert browser.get(link).status_code == 404
    assert "Nobody can sign in yet" not in Browser(app).get("/login").text
    assert browser.post("/setup", username="root2", password=PASSWORD, confirm=PASSWORD, token=token).status_code == 404


def test_without_the_link_there_is_no_setup(app: Flask) -> None:
    assert Browser(app).get("/setup").status_code == 404
    answer = Browser(app).get("/setup?token=guess")
    assert answer.status_code == 404 and "This link does not work" in answer.text and "tenant" not in answer.text


def test_in_network_mode_the_login_says_that_it_needs_https(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "Nobody can sign in over HTTP"
    assert words not in Browser(app).get("/login").text, "local mode"
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SECURE", True)
    assert words in Browser(app).get("/login").text
    assert words not in Browser(app).get("/login", base_url="https://localhost").text


def test_a_weak_password_is_refused_where_it_was_typed(app: Flask) -> None:
    browser = Browser(app)
    token = setup_token(app)
    browser.get(f"/setup?token={token}")
    answer = browser.post("/setup", username="root", email="", password="password1", confirm="password1", token=token)
    assert answer.status_code == 422
    assert "too easy to guess" in answer.text
    assert setup_token(app) == token


def test_a_page_is_shown_though_the_database_is_too_busy_to_note_the_login(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def busy(login_id: str, _moment: datetime) -> None:
        asked.append(login_id)
        raise OperationalError("UPDATE login_sessions", {}, Exception("database is locked"))

    browser = cast.browser("bob")
    monkeypatch.setattr(authenticator, "TOUCH_EVERY", timedelta(0))
    monkeypatch.setattr(authenticator.operations, "touch_login", busy)
    assert browser.get("/fleet/").status_code == 200 and asked


def test_a_stranger_is_sent_to_the_login_and_back(cast: Cast) -> None:
    browser = Browser(cast.app)
    answer = browser.get("/fleet/?status=offline")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/fleet/?status%3Doffline"
    browser.get(answer.headers["Location"])
    signed_in = browser.post("/login", username="bob", password=PASSWORD, next="/fleet/?status=offline")
    assert signed_in.headers["Location"] == "/fleet/?status=offline"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "///evil.example",
        "\\\\evil.example",
        " //evil.example",
    ],
)
def test_a_login_never_leads_to_another_site(cast: Cast, target: str) -> None:
    browser = Browser(cast.app)
    browser.get("/login")
    assert browser.post("/login", username="bob", password=PASSWORD, next=target).headers["Location"] == "/"


def test_a_wrong_password_and_an_unknown_user_show_the_same_page(cast: Cast) -> None:
    pages = []
    for name in ("bob", "nobody"):
        browser = Browser(cast.app)
        browser.get("/login")
        answer = browser.post("/login", username=name, password="wrong")
        assert answer.status_code == 422
        pages.append(answer.text.replace(name, "").replace(browser.token, ""))
    assert pages[0] == pages[1]


def test_the_login_is_new_each_time_and_the_old_cookie_dies_with_logout(cast: Cast) -> None:
    """RELIABILITY 4, 5."""
    browser = cast.browser("bob")
    stolen = cast.app.test_client()
    cookie = browser.client.get_cookie("binnacle")
    assert cookie is not None
    stolen.set_cookie("binnacle", cookie.value)
    assert stolen.get("/fleet/").status_code == 200
    assert browser.post("/logout").status_code == 303
    assert browser.get("/fleet/").status_code == 303
    assert stolen.get("/fleet/").status_code == 303


def test_the_cookie_is_http_only_and_lax_and_in_network_mode_secure_with_the_host_prefix(cast: Cast, tmp_path: Path) -> None:
    browser = Browser(cast.app)
    browser.get("/login")
    header = browser.post("/login", username="bob", password=PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    from app.config import load_settings
    from app.factory import make_flask

    strict = make_flask(load_settings(BINNACLE_BIND="192.0.2.7:443", SECRET_KEY="k" * 40, BINNACLE_DATA_DIR=tmp_path))
    assert strict.config["SESSION_COOKIE_NAME"] == "__Host-binnacle"
    assert strict.config["SESSION_COOKIE_SECURE"] is True


def test_an_idle_login_ends(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from app import clock

    browser = cast.browser("bob")
    real = clock.now
    monkeypatch.setattr("app.auth.queries.now", lambda: real() + timedelta(minutes=31))
    assert browser.get("/fleet/").status_code == 303


def test_a_login_ends_after_its_absolute_length_however_busy_it_is(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELIABILITY 5: 8 h."""
    from datetime import timedelta

    from app import clock
    from app.auth import queries

    browser, real, passed = cast.browser("bob"), clock.now, timedelta()
    for module in ("authenticator", "queries"):
        monkeypatch.setattr(f"app.auth.{module}.now", lambda: real() + passed)
    for minutes in range(20, 480, 20):
        passed = timedelta(minutes=minutes)
        queries.forget_logins()
        assert browser.get("/fleet/").status_code == 200, minutes
    passed = timedelta(minutes=481)
    queries.forget_logins()
    assert browser.get("/fleet/").status_code == 303


def test_what_a_page_fetches_by_the_clock_does_not_keep_a_login(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from app import clock
    from app.auth import queries

    browser, real, passed = cast.browser("bob"), clock.now, timedelta()
    for module in ("authenticator", "queries"):
        monkeypatch.setattr(f"app.auth.{module}.now", lambda: real() + passed)

    def after(minutes: int, **headers: str) -> int:
        nonlocal passed
        passed = timedelta(minutes=minutes)
        queries.forget_logins()
        return int(browser.get("/sessions/charts", headers={"HX-Request": "true"} | headers).status_code)

    unattended = {"X-Unattended": "1"}
    assert after(20) == 200
    assert after(45, **unattended) == 200, "a person was here 25 minutes ago"
    assert after(55, **unattended) == 401, "35 minutes"


def test_changing_my_password_keeps_me_signed_in_and_ends_my_other_logins(cast: Cast) -> None:
    here, elsewhere = cast.browser("bob"), cast.browser("bob")
    new = "another-fine-password"
    wrong = here.post("/settings/account", current_password="nope", password=new, confirm=new)
    assert wrong.status_code == 422
    assert "not the current password" in wrong.text
    assert here.post("/settings/account", current_password=PASSWORD, password=new, confirm=new).status_code == 303
    assert here.get("/fleet/").status_code == 200
    assert elsewhere.get("/fleet/").status_code == 303


def test_an_invited_colleague_joins_with_the_rights_of_the_invitation(cast: Cast) -> None:
    page = cast.browser("alice").post("/settings/users/invite", role="readonly", all_tenants="y")
    token = page.text.split("/register?invitation=", 1)[1].split('"', 1)[0].split("<", 1)[0].strip()
    guest = Browser(cast.app)
    guest.get(f"/register?invitation={token}")
    answer = guest.post("/register", username="newbie", email="", password=PASSWORD, confirm=PASSWORD, token=token)
    assert answer.status_code == 303
    assert guest.get("/fleet/").status_code == 200
    assert guest.get("/fleet/new").status_code == 403
    assert Browser(cast.app).get(f"/register?invitation={token}").status_code == 404


def test_an_invitation_names_the_public_address_and_not_the_host_of_the_request(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_of(cast.app), "public_url", "https://binnacle.example.com/")
    alice = cast.browser("alice")
    page = alice.post("/settings/users/invite", role="user", all_tenants="y")
    assert "https://binnacle.example.com/register?invitation=" in page.text
