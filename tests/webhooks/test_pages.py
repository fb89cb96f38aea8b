"""`/settings/webhooks` and `/settings/channels` as a person uses them."""

import html
import re
from functools import lru_cache

import pytest
from conftest import Browser, Cast
from factories import make_channel, make_webhook

from app.apprise_call import describe
from app.database import reading, session
from app.notifications import operations
from app.webhooks.models import Webhook

_describe = lru_cache(describe)


def secret_in(page: str) -> str:
    found = re.search(r"whsec_[A-Za-z0-9+/=]+", html.unescape(page))
    assert found
    return found[0]


@pytest.fixture(autouse=True)
def _ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apprise is asked once about an address, not on both databases."""
    monkeypatch.setattr(operations, "describe", _describe)


@pytest.fixture
def alice(cast: Cast) -> Browser:
    return cast.browser("alice")


def test_a_webhook_is_made_and_its_secret_shown_once(cast: Cast, alice: Browser) -> None:
    alice.get("/settings/webhooks/new")
    fields = {"name": "Tickets", "url": "https://hooks.example.com/in?key=canary-query", "events": ["alert.fired", "alert.resolved"],
              "all_tenants": "y", "enabled": "y"}  # fmt: skip
    made = alice.post("/settings/webhooks/new", **fields)
    assert made.status_code == 200
    secret = secret_in(made.text)
    listed = alice.get("/settings/webhooks").text
    place = re.search(r'href="(/settings/webhooks/[0-9a-f-]{36})"', listed)
    assert place
    for path in ("/settings/webhooks", place[1], f"{place[1]}/edit", f"{place[1]}/delete"):
        page = alice.get(path).text
        assert secret not in html.unescape(page)
        assert "canary-query" not in page
    assert "alert.fired" in alice.get(place[1]).text
    assert "standardwebhooks" in alice.get(place[1]).text


def test_a_form_that_does_not_fit_comes_back_with_what_is_wrong(alice: Browser) -> None:
    alice.get("/settings/webhooks/new")
    for fields, word in (({"name": "", "url": "https://x.example/"}, "This field is required"), ({"url": "http://127.0.0.1/"}, "loopback"),
                         ({"events": [], "everything": ""}, "Choose at least one event"), ({"all_tenants": "", "tenants": []}, "Choose at least one tenant")):  # fmt: skip
        given = {"name": "n", "url": "https://x.example/", "everything": "y", "all_tenants": "y", "enabled": "y"} | fields
        answer = alice.post("/settings/webhooks/new", **{name: value for name, value in given.items() if value not in ("", [])})
        assert answer.status_code == 422
        assert word in answer.text, word


def test_editing_keeps_the_address_and_disabling_is_seen(cast: Cast, alice: Browser) -> None:
    with cast.app.app_context():
        hook = make_webhook("https://hooks.example.com/in?key=canary", "computer.added")
        with reading():
            before = session().get(Webhook, hook).url
    form = alice.get(f"/settings/webhooks/{hook}/edit").text
    shown = re.search(r'name="url"[^>]*value="([^"]+)"', form)
    assert shown
    saved = alice.post(
        f"/settings/webhooks/{hook}/edit", name="Renamed", url=html.unescape(shown[1]), events=["computer.added"], all_tenants="y"
    )
    assert (saved.status_code, saved.headers["Location"]) == (303, f"/settings/webhooks/{hook}")
    page = alice.get(f"/settings/webhooks/{hook}").text
    assert "Renamed" in page
    assert "Disabled" in page
    with cast.app.app_context(), reading():
        assert session().get(Webhook, hook).url == before


def test_rotate_test_redeliver_and_delete(cast: Cast, alice: Browser) -> None:
    with cast.app.app_context():
        hook = make_webhook()
    place = f"/settings/webhooks/{hook}"
    assert "24 hours" in alice.get(f"{place}/rotate").text
    assert secret_in(alice.post(f"{place}/rotate").text)
    assert "Old secret signs until" in alice.get(place).text
    delivery = alice.post(f"{place}/test").headers["Location"]
    assert "webhook.test" in alice.get(delivery).text
    assert alice.post(f"{delivery}/redeliver").headers["Location"] == delivery
    assert "under way already" in alice.get(place).text
    assert "goes too" in alice.get(f"{place}/delete").text
    assert alice.post(f"{place}/delete").headers["Location"] == "/settings/webhooks"
    assert alice.get(place).status_code == 404


def test_others_than_admins_see_none_of_it(cast: Cast) -> None:
    with cast.app.app_context():
        hook, channel = make_webhook(), make_channel()
    for name in ("bob", "rita", "eve"):
        browser = cast.browser(name)
        for path in ("/settings/webhooks", f"/settings/webhooks/{hook}", "/settings/channels", f"/settings/channels/{channel}"):
            assert browser.get(path).status_code == 403
        assert "/settings/webhooks" not in browser.get("/settings/account").text


def test_a_channel_is_made_edited_and_deleted(cast: Cast, alice: Browser) -> None:
    alice.get("/settings/channels/new")
    fields = {
        "name": "On call",
        "url": "ntfy://canary-topic",
        "critical": "y",
        "tell_recovery": "y",
        "repeat_minutes": "30",
        "all_tenants": "y",
        "enabled": "y",
    }
    made = alice.post("/settings/channels/new", **fields)
    assert made.status_code == 303, made.text
    place = made.headers["Location"]
    page = alice.get(place).text
    assert "ntfy://***" in page
    assert "canary" not in page
    assert "after 30 min" in page
    refused = alice.post(f"{place}/edit", **(fields | {"url": "ntfy://***", "critical": "", "repeat_minutes": "-1"}))
    assert refused.status_code == 422
    saved = alice.post(f"{place}/edit", **(fields | {"url": "ntfy://***", "warning": "y", "tag": "prod"}))
    assert saved.status_code == 303, saved.text
    assert "Warning and critical" in alice.get(place).text
    assert alice.post(f"{place}/delete").headers["Location"] == "/settings/channels"
    wrong = alice.post("/settings/channels/new", **(fields | {"url": "nonsense://x"}))
    assert wrong.status_code == 422
    assert "Apprise does not understand" in wrong.text
