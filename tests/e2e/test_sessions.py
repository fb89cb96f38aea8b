"""A technician watches a bot: what it reports over the API appears in a real browser without a reload."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from accessibility import DESKTOP, PHONE, faults
from conftest import PASSWORD
from e2e_desk import Desk
from playwright.sync_api import Browser, Page, expect
from serving import ADMIN, Server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(240)]
SAME = "window.sameDocument"


@pytest.fixture
def desk(browser: Browser, served: Server) -> Iterator[Desk]:
    """The admin's browser; whatever its tabs' consoles say fails the test."""
    made = Desk(browser, served)
    made.sign_in(ADMIN, PASSWORD).close()
    yield made
    made.context.close()
    assert made.problems == []


class Bot:
    """A bot with one session."""

    def __init__(self, served: Server) -> None:
        self.http, self.id = served.http, f"bot-{time.time_ns()}"

    def post(self, path: str, **fields: Any) -> Any:
        return self.http.post(path, json={"session_id": self.id} | fields).raise_for_status().json()

    def register(self, **fields: Any) -> None:
        self.post("/api/sessions/register", profile_id="profile-7", device="mobile", country="DE", proxy="http://u:secret@10.1.2.3:8080",
                  target_url="https://shop.example/login", **fields)  # fmt: skip

    def log(self, kind: str, **details: Any) -> int:
        return int(self.post("/api/events", event_type=kind, details=details)["event_id"])


@pytest.fixture
def bot(served: Server) -> Bot:
    return Bot(served)


def watch(desk: Desk, path: str) -> Page:
    """A tab that is connected, and remembers that it was never loaded again. Its mouse is not over the list."""
    page = desk.tab(path)
    expect(page.locator("[data-live-state]")).to_have_text("Live")
    page.mouse.move(3, 3)
    page.evaluate(f"{SAME} = true")
    return page


def test_a_session_appears_runs_and_ends_while_somebody_watches(desk: Desk, bot: Bot) -> None:
    sessions = watch(desk, f"/sessions/?q={bot.id}")
    expect(sessions.locator(".bn-when-empty")).to_be_visible()
    bot.register()
    row = sessions.locator("#rows tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Active")
    expect(row).to_contain_text("shop.example")
    expect(row.locator(".bn-m-fig relative-time")).to_contain_text("s")
    assert "secret" not in sessions.content()

    address = row.locator("a.bn-name").get_attribute("href") or ""
    one = watch(desk, address)
    expect(one.locator("h1")).to_have_text(bot.id)
    feed = watch(desk, f"/events/?session={bot.id}")
    bot.log("navigation", url="https://shop.example/login", load_time_ms=1500)
    bot.log("screenshot", url="https://shots.example/1.png")
    failed = bot.log("error", message="Element is gone <b>now</b>")
    steps = one.locator("#rows > li")
    expect(steps).to_have_count(3)
    expect(steps.nth(0)).to_contain_text("Navigation")
    expect(steps.nth(2)).to_contain_text("Element is gone <b>now</b>")
    expect(one.locator("#live-head")).to_contain_text("1 screenshot")
    one.click("#live-head >> text=1 error")
    expect(one).to_have_url(re.compile(f"#r-{failed}$"))
    expect(one.locator("[data-count=timeline]")).to_have_text("3")
    expect(feed.locator("#rows > tr")).to_have_count(3)
    expect(feed.locator("#rows > tr").first).to_contain_text("Element is gone")
    expect(row).to_contain_text("1 error")

    bot.post("/api/sessions/end", success=False, duration=12.5, error="Timeout of 3000 ms")
    for page, place in ((sessions, "#rows tr"), (one, "#live-head")):
        expect(page.locator(place)).to_contain_text("Failed")
        expect(page.locator(place)).to_contain_text("12 s")
        expect(page.locator(place)).to_contain_text("Timeout of 3000 ms")
    for page in (sessions, one, feed):
        assert page.evaluate(f"[{SAME}, bnLive.refetches]") == [True, 0], "nothing was loaded again"


def test_a_paused_feed_stands_still_and_goes_on(desk: Desk, bot: Bot) -> None:
    bot.register()
    bot.log("click", n=1)
    feed = watch(desk, f"/events/?session={bot.id}")
    feed.click("text=Pause")
    expect(feed.locator("text=New events do not show")).to_be_visible()
    follows = watch(desk, f"/events/?session={bot.id}&type=click")
    bot.log("click", n=2)
    expect(follows.locator("#rows > tr")).to_have_count(2)  # whoever follows has been told
    expect(feed.locator("#rows > tr")).to_have_count(1)
    feed.click("text=Follow")
    expect(feed.locator("#rows > tr")).to_have_count(2)
    feed.mouse.move(3, 3)
    bot.log("click", n=3)
    expect(feed.locator("#rows > tr")).to_have_count(3)


def test_the_filters_are_the_address_and_the_charts_come_after_the_page(desk: Desk, bot: Bot) -> None:
    bot.register()
    page = watch(desk, f"/sessions/?q={bot.id}")
    expect(page.locator("#charts svg.bn-hours")).to_be_visible()
    page.select_option("select[name=status]", "failed")
    page.wait_for_url("**status=failed*")
    expect(page.locator("#rows tr")).to_have_count(0)
    page.select_option("select[name=status]", "active")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.click("summary:has-text('More filters')")
    page.fill("input[name=profile]", "nobody")
    page.wait_for_url("**profile=nobody*")
    expect(page.locator("#rows tr")).to_have_count(0)
    page.fill("input[name=profile]", "profile-7")
    expect(page.locator("#rows tr")).to_have_count(1)
    csv = page.locator("a[download]").get_attribute("href") or ""
    assert f"/sessions.csv?q={bot.id}&status=active&profile=profile-7" in csv
    page.click("th.bn-c-started a")
    page.wait_for_url("**sort=started*")
    page.reload()
    expect(page.locator("#rows tr")).to_have_count(1)
    assert page.evaluate(f"{SAME} === undefined")


def test_without_javascript_everything_reads(browser: Browser, served: Server, bot: Bot) -> None:
    bot.register()
    bot.log("error", message="Element is gone")
    plain = Desk(browser, served, java_script_enabled=False)
    page = plain.sign_in(ADMIN, PASSWORD)
    page.goto("/sessions/")
    page.fill("#filter-q", bot.id)
    page.select_option("select[name=status]", "active")
    page.click(".bn-filter:has(#filter-q) button:has-text('Filter')")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.goto("/sessions/charts")
    expect(page.locator("svg.bn-hours")).to_be_visible()
    page.goto(f"/events/?session={bot.id}")
    expect(page.locator("#rows")).to_contain_text("Element is gone")
    expect(page.locator(".bn-follow")).to_be_hidden()
    page.click("#rows a.bn-name")
    expect(page.locator("#rows li")).to_have_count(1)
    plain.context.close()
    assert plain.problems == []


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_what_a_hostile_bot_left(browser: Browser, served: Server, bot: Bot, size: dict[str, int]) -> None:
    bot.id = f"<script>alert(1)</script>{'w' * 120}{bot.id}"
    bot.register(metadata={"<b>": "\u05e9\u05dc\u05d5\u05dd", "deep": {"list": [1, 2]}})
    number = bot.log("error", message="\x1b[31m<script>alert(2)</script>\x1b[0m " + "w" * 3000, stack=["a", "b"])
    bot.log("screenshot", url="https://shots.example/" + "x" * 900)
    bot.post("/api/sessions/end", success=False, duration=2, error="<img src=x onerror=alert(3)>" + "E" * 5000)
    desk = Desk(browser, served, viewport=size, reduced_motion="reduce")
    page = desk.sign_in(ADMIN, PASSWORD)
    page.on("dialog", lambda dialog: desk.problems.append(f"a script ran: {dialog.message}"))
    page.goto("/sessions/?range=1h")
    own = page.locator("#rows a.bn-name").first.get_attribute("href") or ""
    found = []
    for path in ("/sessions/?range=1h&text=img", own, f"{own}events/{number}", "/events/", "/sessions/errors", "/sessions/charts",
                 "/sessions/views/new?status=failed"):  # fmt: skip
        page.goto(path)
        found += faults(page)
    desk.context.close()
    assert (found, desk.problems) == ([], [])
