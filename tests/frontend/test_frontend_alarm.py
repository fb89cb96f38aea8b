"""The title and the icon of a tab that nobody looks at: it has no socket, and asks for the counts once a minute."""

import json
from typing import Any

import pytest
from frontend_kit import CSP, ORIGIN
from jinja2 import Environment
from playwright.sync_api import Page

from app.shapes import Fixed

HIDDEN = "Object.defineProperty(document, 'hidden', {get: () => window.away !== false});"


@pytest.fixture
def asked(page: Page, jinja: Environment) -> dict[str, Any]:
    """A page with the alarms of every page, in a tab that is hidden unless `away` is false; what it asks, and what it is told."""
    state: dict[str, Any] = {"critical": 0, "status": 200, "asked": []}
    item = Fixed(
        label="Alerts", href="/alerts/", icon="bell", count=3, count_key="alerts-active", alarm_key="alerts-critical", alarms=0
    )
    watched = [{"view": "alerts-count", "rev": 1, "src": "/alerts/count"}]
    html = jinja.get_template("base.html").render(
        nav=(Fixed(title="Watch", items=(item,)),), watched=watched, page_title="Account"
    )

    def count(route: Any) -> None:
        state["asked"].append(route.request.headers)
        counts = json.dumps({"alerts-active": 4, "alerts-critical": state["critical"]}).replace('"', "&quot;")
        route.fulfill(status=state["status"], body=f'<div data-counts="{counts}"></div>', content_type="text/html")

    headers = {"Content-Security-Policy": CSP}
    page.route(f"{ORIGIN}/settings", lambda route: route.fulfill(body=html, content_type="text/html", headers=headers))
    page.route(f"{ORIGIN}/alerts/count", count)
    page.route_web_socket("ws://binnacle.test/ws/live", lambda socket: None)
    page.clock.install()
    page.add_init_script(HIDDEN)
    page.goto(f"{ORIGIN}/settings")
    return state


def minute(page: Page, title: str) -> None:
    page.clock.fast_forward(61_000)
    page.wait_for_function("title => document.title === title", arg=title)


def test_a_hidden_tab_shows_what_becomes_critical_and_what_is_over(page: Page, asked: dict[str, Any]) -> None:
    icon = page.locator("link[rel=icon]")
    assert page.title() == "Account · Binnacle" and asked["asked"] == []
    asked["critical"] = 1200
    minute(page, "(1,200) Account · Binnacle")
    assert icon.get_attribute("href") == icon.get_attribute("data-alarm")
    assert page.locator("[data-count=alerts-active]").text_content() == "4"
    assert asked["asked"][0]["x-unattended"] == "1", "nobody is there: this keeps no login alive"
    asked["critical"] = 0
    minute(page, "Account · Binnacle")
    assert icon.get_attribute("href") == icon.get_attribute("data-calm")
    asked["critical"], asked["status"] = 7, 401
    with page.expect_response(f"{ORIGIN}/alerts/count"):
        page.clock.fast_forward(61_000)
    page.evaluate("window.away = false")
    asked["status"], number = 200, len(asked["asked"])
    page.clock.fast_forward(61_000)
    assert page.evaluate("document.title") == "Account · Binnacle", "a refusal changes nothing"
    assert len(asked["asked"]) == number == 3, "a tab that is looked at has its socket"
