"""The first minutes with the product: what `make run` starts, this machine's real connector, a real browser. In order."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import DESKTOP, PHONE, faults
from conftest import PASSWORD
from e2e_desk import Desk
from launched import Launched, SecondComputer
from playwright.sync_api import Browser, Page, expect
from serving import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(240)]

ADMIN = "ada"
LABS = 52
SIZES = {"desktop": DESKTOP, "phone": PHONE}


@pytest.fixture(scope="module")
def desk(browser: Browser, product: Launched) -> Iterator[Desk]:
    """The first admin's browser; the account was made through the printed link."""
    made = Desk(browser, product)
    page = made.tab(product.link)
    made.found = [fault for size in SIZES.values() for fault in faults(page, size)]  # this page is here only once
    page.fill("input[name=username]", ADMIN)
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=confirm]", PASSWORD)
    page.click("text=Create and sign in")
    page.wait_for_url("**/")
    expect(page.locator("h1")).to_have_text("Overview")
    page.close()
    yield made
    made.context.close()


@pytest.fixture
def tab(desk: Desk) -> Iterator[Page]:
    """A tab of the admin's browser. Whatever its console says fails the test."""
    desk.problems.clear()
    page = desk.tab()
    yield page
    page.close()
    assert desk.problems == []


@pytest.fixture(scope="module")
def fleet(product: Launched, desk: Desk) -> list[str]:
    """Computers without a connector, more than a page holds; their ids."""
    with product.programs() as programs:
        tags = [["lab", "odd" if number % 2 else "even"] for number in range(LABS)]
        made = [programs.post("/api/v1/servers", json={"name": f"lab-{n:02}", "tags": t}) for n, t in enumerate(tags)]
        return [answer.raise_for_status().json()["id"] for answer in made]


def own_row(page: Page) -> Any:
    """The row of this machine; the second computer, which has the same host name, has a tag."""
    name = page.locator(f"a.bn-name:text-is('{socket.gethostname()}')")
    return page.locator("#rows tr", has=name, has_not=page.locator(".bn-tag"))


def shows(page: Page, *names: str) -> None:
    """Wait until the list has these names, in order."""
    expect(page.locator("#rows a.bn-name")).to_have_text(list(names))


def live(page: Page) -> None:
    """Wait until the tab is connected."""
    expect(page.locator("[data-live-state]")).to_have_text("Live")


def test_the_one_time_link_works_once(desk: Desk, product: Launched) -> None:
    page = desk.tab()
    answer = page.goto(product.link)
    assert answer is not None and answer.status == 404
    assert not (product.data / "data" / "setup-token").exists()
    page.close()


def test_this_machine_is_there_and_changes_by_itself(tab: Page) -> None:
    tab.goto("/")
    tab.click("nav >> text=Computers")
    row = own_row(tab)
    expect(row).to_contain_text("Online", timeout=30_000)
    live(tab)
    tab.evaluate("window.sameDocument = true; window.patches = 0")
    tab.evaluate("document.addEventListener('live:patched', () => { window.patches += 1 })")
    before = row.locator("relative-time").get_attribute("datetime")
    expect(row.locator("relative-time")).not_to_have_attribute("datetime", before or "", timeout=30_000)
    assert tab.evaluate("[window.sameDocument, window.patches > 0, bnLive.refetches]") == [True, True, 0]
    expect(row.locator(".bn-figure b").first).to_have_text(re.compile(r"\d+%"))


def test_its_charts_are_drawn_from_real_samples(tab: Page) -> None:
    tab.goto("/fleet/")
    own_row(tab).locator("a.bn-name").click()
    expect(tab.locator("#live-head")).to_contain_text("Online")
    tab.click("nav[aria-label=Sections] >> text=Metrics")
    expect(tab.locator("[data-plot] canvas")).to_have_count(4)
    source = "fetch(document.querySelector('[data-charts]').dataset.src).then(answer => answer.json())"
    eventually(lambda: len(tab.evaluate(source)["t"]) >= 2, 30, "a second sample never came")
    assert all(0 <= value <= 100 for value in tab.evaluate(source)["cpu"])
    tab.reload()
    expect(tab.locator("[data-plot] canvas")).to_have_count(4)
    drawn = """() => [...document.querySelectorAll('[data-plot] canvas')].every(one =>
        one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(byte => byte))"""
    assert tab.evaluate(drawn)
    expect(tab.locator(".bn-chart [data-summary]").first).to_contain_text("%")


def test_a_second_computer_arrives_while_the_page_waits(tab: Page, product: Launched, tmp_path: Path) -> None:
    tab.goto("/fleet/new")
    tab.fill("input[name=tags]", "second")
    tab.click("text=Make the install line")
    expect(tab.locator("#wait")).to_contain_text("Waiting for the first check-in")
    line = tab.locator("#line-linux").inner_text()
    token = re.search(r"--token (\S+)", line)
    assert token and f"{product.url}/install.sh" in line and token[1] not in tab.url
    second = SecondComputer(tmp_path)
    second.enrol(product.url, token[1])
    expect(tab.locator("#wait")).to_contain_text("has arrived")
    try:
        second.start()
        expect(tab.locator("#wait [data-live]")).to_contain_text("Online")
    finally:
        second.kill()


def test_the_address_is_the_state_of_the_list(tab: Page, fleet: list[str]) -> None:
    tab.goto("/fleet/")
    tab.fill("#filter-q", "lab-0")
    tab.wait_for_url("**/fleet/?*q=lab-0*")
    expect(tab.locator("#rows tr")).to_have_count(10)
    tab.click("th.bn-c-name a")
    tab.wait_for_url("**sort=-name*")
    expect(tab.locator("#rows a.bn-name").first).to_have_text("lab-09")
    tab.select_option("select[name=tag]", "odd")
    expect(tab.locator("#rows tr")).to_have_count(5)
    shows(tab, "lab-09", "lab-07", "lab-05", "lab-03", "lab-01")
    tab.click("summary:has-text('Columns')")
    tab.uncheck("#columns input[value=os]")
    tab.check("#columns input[value=address]")
    tab.click("text=Show these")
    tab.wait_for_url("**cols=*")
    expect(tab.locator("th.bn-c-os")).to_be_hidden()
    expect(tab.locator("th.bn-c-address")).to_be_visible()
    expect(tab.locator("#rows a.bn-name")).to_have_count(5)
    csv = tab.locator("a[download]").get_attribute("href") or ""
    assert "q=lab-0" in csv and "tag=odd" in csv
    tab.reload()
    shows(tab, "lab-09", "lab-07", "lab-05", "lab-03", "lab-01")


def test_a_view_is_saved_and_opened(tab: Page, fleet: list[str]) -> None:
    tab.goto("/fleet/?q=lab-0&tag=odd&sort=-name")
    tab.click("text=+ Save view")
    tab.fill("input[name=name]", "Odd labs")
    tab.click("button:has-text('Save view')")
    expect(tab.locator(".bn-toast")).to_contain_text("Odd labs saved")
    tab.goto("/fleet/")
    tab.click("nav[aria-label='Saved views'] >> text=Odd labs")
    shows(tab, "lab-09", "lab-07", "lab-05", "lab-03", "lab-01")
    expect(tab.locator("nav[aria-label='Saved views'] [aria-current=page]")).to_have_text("Odd labs")


def test_a_selection_is_tagged_and_the_tag_undone(tab: Page, fleet: list[str]) -> None:
    tab.goto("/fleet/?q=lab-0")
    ticks = tab.locator("#rows input.bn-select")
    ticks.nth(1).click()
    ticks.nth(3).click(modifiers=["Shift"])
    expect(tab.locator("[data-chosen]")).to_have_text("3 selected")
    tab.click("#bulk button:has-text('Tag')")
    expect(tab.locator("h1")).to_have_text("Tag 3 computers")
    tab.fill("input[name=add]", "ring-1")
    tab.click("text=Change tags")
    expect(tab.locator(".bn-toast")).to_contain_text("Tags changed on 3 computers")
    with tab.context.new_page() as other:
        other.goto("/fleet/?tag=ring-1")
        shows(other, "lab-01", "lab-02", "lab-03")
    tab.click(".bn-toast >> text=Undo")
    expect(tab.locator(".bn-toast")).to_contain_text("Undone on 3 computers")
    tab.goto("/fleet/?tag=ring-1")
    shows(tab)
    expect(tab.locator("#list")).to_contain_text("Clear")


def test_the_keyboard_is_enough(tab: Page, fleet: list[str]) -> None:
    tab.goto("/fleet/?q=lab")
    live(tab)
    for key in "jjkx":
        tab.keyboard.press(key)
    expect(tab.locator("#rows input.bn-select").first).to_be_checked()
    tab.keyboard.press("?")
    expect(tab.locator("#bn-help")).to_be_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("/")
    expect(tab.locator("#filter-q")).to_be_focused()
    tab.keyboard.press("Escape")
    tab.locator("h1").click()
    tab.keyboard.press("Control+k")
    tab.keyboard.type("lab-42", delay=10)
    expect(tab.locator("#bn-options [role=option][aria-selected=true]")).to_contain_text("lab-42")
    tab.keyboard.press("Enter")
    expect(tab.locator("h1")).to_have_text("lab-42")
    tab.keyboard.press("g")
    tab.keyboard.press("c")
    expect(tab.locator("h1")).to_have_text("Computers")


def test_a_row_that_moves_waits_for_the_person_who_selects(tab: Page, product: Launched, fleet: list[str]) -> None:
    tab.goto("/fleet/?q=lab-1&sort=-name")
    live(tab)
    tab.locator("#rows input.bn-select").nth(1).click()
    with product.programs() as programs:
        programs.post("/api/v1/servers", json={"name": "lab-1zz", "tags": ["lab"]}).raise_for_status()
    note = tab.locator("[data-live-note]")
    expect(note).to_be_visible()
    expect(tab.locator("#rows a.bn-name").first).to_have_text("lab-19")
    tab.keyboard.press(".")
    expect(tab.locator("#rows a.bn-name").first).to_have_text("lab-1zz")
    expect(note).to_be_hidden()
    assert tab.locator("#rows input.bn-select:checked").count() == 1


@pytest.mark.timeout(600)  # axe reads every node of every page
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_any_page_in_light_and_dark(
    browser: Browser, desk: Desk, product: Launched, fleet: list[str], size: str
) -> None:
    # Without motion: axe must not measure a colour that is on its way to another.
    still = Desk(browser, product, storage_state=desk.context.storage_state(), viewport=SIZES[size], reduced_motion="reduce")
    page, found = still.tab(), []
    report_sessions(product)
    for path in pages(still, fleet):
        page.goto(path)
        found += faults(page)
    still.context.close()
    assert (found, still.problems) == ([], [])


@pytest.mark.timeout(600)  # axe reads every node of every page
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_the_pages_of_strangers_and_of_errors(browser: Browser, product: Launched, size: str) -> None:
    context = browser.new_context(base_url=product.url, viewport=SIZES[size], reduced_motion="reduce")
    page, found, seen = context.new_page(), [], []
    for path in ("/login", "/login?next=/fleet/", "/register", "/setup?token=used-up", "/no/such/page", "/fleet/?per_page=x"):
        page.goto(path)
        seen.append(page.locator("h1").inner_text())
        found += faults(page)
    page.goto("/login")
    page.fill("input[name=username]", "nobody")
    page.fill("input[name=password]", "wrong")
    page.click("main button.btn-primary")
    expect(page.locator(".bn-alert")).to_contain_text("wrong")
    found += faults(page)
    context.close()
    assert found == []
    assert all(seen)


@pytest.mark.timeout(600)  # axe reads every node of every page
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_pages_that_answer_a_form(
    browser: Browser, desk: Desk, product: Launched, fleet: list[str], size: str
) -> None:
    """The first admin's page, install lines with a token, tags and deletion of a selection, a fresh key, an invitation and its page."""
    still = Desk(browser, product, storage_state=desk.context.storage_state(), viewport=SIZES[size], reduced_motion="reduce")
    page, found = still.tab("/fleet/new"), list(desk.found)
    page.click("text=Make the install line")
    expect(page.locator(".bn-code", has_text="--token").first).to_be_visible()
    found += faults(page)
    for action, title in (("Tag", "Tag 2 computers"), ("Delete", "Delete 2 computers?")):
        page.goto("/fleet/?q=lab")
        for place in (0, 1):
            page.locator("#rows input.bn-select").nth(place).click()
        page.locator(f"#bulk button:has-text('{action}')").click()
        expect(page.locator("h1")).to_have_text(title)
        found += faults(page)
    page.goto("/settings/api-keys")
    page.fill("input[name=name]", "seen once")
    page.click("main button:has-text('Create key')")
    expect(page.locator(".bn-code", has_text="itk_").first).to_be_visible()
    found += faults(page)
    page.goto("/settings/users")
    page.locator("main form[action='/settings/users/invite'] button.btn-primary").click()
    link = page.locator(".bn-code pre", has_text="/register?invitation=").first.inner_text()
    found += faults(page)
    guest = browser.new_context(base_url=product.url, viewport=SIZES[size], reduced_motion="reduce")
    with guest.new_page() as asked:
        asked.goto(link)
        expect(asked.locator("h1")).to_have_text("Join")
        found += faults(asked)
    guest.close()
    page.goto("/")
    page.keyboard.press("Control+k")
    expect(page.locator("dialog[open]")).to_be_visible()
    found += faults(page)
    still.context.close()
    assert (found, still.problems) == ([], [])


def report_sessions(product: Launched) -> None:
    """What a bot reports of a session that runs and one that failed."""
    with product.programs() as programs:
        for name in ("bot-1", "bot-2"):
            body = {
                "session_id": name,
                "profile_id": "p",
                "target_url": "https://example.com/",
                "proxy": "10.0.0.1:80",
                "country": "US",
            }
            programs.post("/api/sessions/register", json=body).raise_for_status()
            for kind in ("navigation", "screenshot", "error"):
                details = {"url": "https://example.com/1.png", "message": "gone", "more": [1]}
                event = {"session_id": name, "event_type": kind, "details": details}
                programs.post("/api/events", json=event).raise_for_status()
        programs.post("/api/sessions/end", json={"session_id": "bot-1", "success": False, "error": "gone"}).raise_for_status()


def pages(desk: Desk, fleet: list[str]) -> list[str]:
    """Every page that has an address; those of this machine for a computer's tabs, as it has everything to show."""
    own = own_page(desk)
    user = link_on(desk, "/settings/users", "a[href^='/settings/users/']:not([href$=new]):not([href$=invite])")
    tenant = link_on(desk, "/settings/tenants", "a[href^='/settings/tenants/'][href$=edit]")
    key = link_on(desk, "/settings/api-keys?of=computers", "a[href$=revoke]")
    run = a_run(desk, own)
    return ["/", "/fleet/", "/fleet/?q=nothing-has-this-name", "/fleet/?q=lab", "/fleet/new", "/fleet/views/new?q=lab", own,
            f"{own}metrics", f"{own}console", f"{own}console?run={run}", "/runs/", "/runs/?q=nothing-has-this-name", f"/runs/{run}/",
            f"{own}software", f"{own}events", f"{own}edit", f"{own}delete", f"/fleet/{fleet[5]}/",
            f"/fleet/{fleet[5]}/metrics", "/settings/account", "/settings/users", "/settings/users/new", user, "/settings/tenants",
            tenant, "/settings/api-keys", key, "/settings/audit", "/sessions/", "/sessions/?q=nothing-has-this-name", "/sessions/charts",
            "/events/", "/sessions/errors", "/sessions/views/new?q=bot", link_on(desk, "/sessions/", "#rows a.bn-name"),
            link_on(desk, "/events/", "#rows a.bn-word"),
            "/proxies/", "/proxies/?q=nothing-has-this-name", "/proxies/?cols=address,dead,exit,tenant", link_on(desk, "/proxies/", "#rows a.bn-name")]  # fmt: skip


def a_run(desk: Desk, own: str) -> str:
    """The id of a command on this machine that waits, or did."""
    with desk.tab(f"{own}console") as page:
        page.locator(".bn-options").evaluate("one => { one.open = true }")
        page.fill("textarea[name=command]", "uptime")
        page.check("input[name=queue]")
        page.click("main form.bn-console button.btn-primary")
        page.wait_for_url("**/console?run=*")
        return page.url.split("run=")[1]


def own_page(desk: Desk) -> str:
    """The address of this machine's page."""
    with desk.tab(f"/fleet/?q={socket.gethostname()}") as page:
        return own_row(page).locator("a.bn-name").get_attribute("href") or ""


def link_on(desk: Desk, path: str, selector: str) -> str:
    """Where the first such link of a page leads."""
    with desk.tab(path) as page:
        return page.locator(selector).first.get_attribute("href") or ""


def test_without_javascript_everything_reads_and_every_form_submits(
    browser: Browser, product: Launched, fleet: list[str]
) -> None:
    plain = Desk(browser, product, java_script_enabled=False)
    page = plain.sign_in(ADMIN, PASSWORD)
    page.click("nav >> text=Computers")
    page.fill("#filter-q", socket.gethostname())
    page.click("button:has-text('Filter')")
    page.wait_for_url(f"**q={socket.gethostname()}*")  # or the next words would be typed into the page that goes away
    expect(own_row(page)).to_contain_text("Online")
    page.fill("#filter-q", "lab-2")
    page.click("button:has-text('Filter')")
    page.wait_for_url("**q=lab-2*")
    expect(page.locator("#rows a.bn-name")).to_have_count(10)
    page.click("th.bn-c-name a")
    expect(page.locator("#rows a.bn-name").first).to_have_text("lab-29")
    page.locator("#rows input.bn-select").first.check()
    page.click("#bulk button:has-text('Tag')")
    page.fill("input[name=add]", "plain")
    page.click("text=Change tags")
    expect(page.locator(".bn-toast")).to_contain_text("Tags changed on 1 computers")
    page.goto("/fleet/?tag=plain")
    shows(page, "lab-29")
    for hidden in ("[data-live-state]", "[data-theme-toggle]", "[data-palette-open]"):
        expect(page.locator(hidden)).to_be_hidden()
    plain.context.close()
    assert plain.problems == []


def test_a_phone_shows_the_list_and_its_menu(browser: Browser, desk: Desk, product: Launched, fleet: list[str]) -> None:
    phone = Desk(
        browser, product, storage_state=desk.context.storage_state(), viewport=SIZES["phone"], has_touch=True, is_mobile=True
    )
    page = phone.tab("/")
    page.tap("button[aria-label=Menu]")
    page.tap("#bn-nav >> text=Computers")
    page.fill("#filter-q", socket.gethostname())
    expect(own_row(page)).to_contain_text("Online")
    live(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.context.close()
    assert phone.problems == []


def test_everything_that_matches_is_deleted_once_the_count_is_typed(desk: Desk, product: Launched, fleet: list[str]) -> None:
    with product.programs() as programs:
        total = sum("lab" in server["tags"] for server in programs.get("/api/v1/servers?limit=1000").raise_for_status().json())
    assert total >= LABS  # whatever the tests before have added
    page = desk.tab("/fleet/?tag=lab")
    page.locator("[data-select-page]").click()
    page.click("[data-select-all]")
    expect(page.locator("[data-chosen]")).to_have_text(f"{total} selected")
    page.click("#bulk button:has-text('Delete')")
    expect(page.locator("h1")).to_have_text(f"Delete {total} computers?")
    page.fill("#typed", "7")
    page.click("main button:has-text('Delete')")
    expect(page.locator("#typed-error")).to_contain_text(str(total))
    page.fill("#typed", str(total))
    page.click("main button:has-text('Delete')")
    expect(page.locator(".bn-toast")).to_contain_text(f"{total} computers deleted")
    page.goto("/fleet/?tag=lab")
    shows(page)
    page.close()


def test_signing_out_in_one_tab_stops_the_others(browser: Browser, product: Launched) -> None:
    shared = Desk(browser, product)
    watching = shared.sign_in(ADMIN, PASSWORD)
    watching.goto("/fleet/")
    live(watching)
    other = shared.tab("/")
    other.click("button[aria-label=Account]")
    other.click("text=Sign out")
    other.wait_for_url("**/login")
    expect(watching.locator("[data-live-state]")).to_have_text("Signed out", timeout=10_000)
    eventually(lambda: watching.evaluate("bnLive.socket === null || bnLive.socket.readyState === 3"), 5)
    shared.context.close()
    assert shared.problems == []
