"""A person handles a real container: its log is followed line by line, it is restarted from its page, and stopped from the list."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PASSWORD
from e2e_desk import Desk
from launched import Launched
from playwright.sync_api import Browser, Page, expect
from serving import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("engine"), pytest.mark.timeout(240)]
SCRIPT = "trap 'exit 0' TERM; echo begun as a new process; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.3; done"


@pytest.fixture(scope="module")
def product(engine: Any) -> Iterator[Launched]:
    """The product as `make run` starts it; its own connector finds the engine by DOCKER_HOST."""
    launched = Launched(DOCKER_HOST=engine.host)
    yield launched
    launched.stop()


@pytest.fixture(scope="module")
def desk(browser: Browser, product: Launched) -> Iterator[Desk]:
    """The first admin, at work."""
    made = Desk(browser, product)
    page = made.tab(product.link)
    page.fill("input[name=username]", "alice")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=confirm]", PASSWORD)
    page.click("text=Create and sign in")
    page.wait_for_url("**/")
    page.close()
    yield made
    assert made.problems == []
    made.context.close()


def test_a_container_is_restarted_from_its_page_while_its_log_is_followed(desk: Desk, engine: Any) -> None:
    engine.remove("e2e-shop")
    engine.run("e2e-shop", SCRIPT)
    page = desk.tab("/containers/")
    page.locator("#rows a.bn-name", has_text="e2e-shop").click(timeout=60_000)
    lines = page.locator("[data-log-lines] .bn-l")
    expect(lines.filter(has_text="tick 3")).to_be_visible()
    seen = lines.count()
    eventually(lambda: lines.count() > seen + 2)  # line by line, while it runs
    page.locator("[data-log-times]").click()
    assert page.locator(".bn-log-times").count() == 1
    page.fill("[data-log-search]", "begun as")
    expect(page.locator("[data-log-found]")).to_have_text("1 line")
    page.fill("[data-log-search]", "")
    page.fill("input[name=timeout]", "2")
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#run-head .bn-pill", has_text="Succeeded")).to_be_visible()
    expect(lines.filter(has_text="begun as a new process")).to_have_count(2)  # the log went on past the restart
    expect(page.locator("#live-head .bn-pill", has_text="Running")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    assert "begun as a new process" in download.value.path().read_text()
    page.close()


def test_containers_are_stopped_from_the_list_and_one_that_dies_shows_it_live(desk: Desk, engine: Any) -> None:
    engine.remove("e2e-shop", "e2e-short")
    engine.run("e2e-shop", SCRIPT)
    page = desk.tab("/containers/?q=e2e-")
    row = page.locator("#rows tr", has_text="e2e-shop")
    expect(row.locator(".bn-pill")).to_have_text("Running", timeout=60_000)
    engine.run("e2e-short", "sleep 4; exit 9")
    short = page.locator("#rows tr", has_text="e2e-short")
    expect(short.locator(".bn-pill")).to_have_text("Running")
    expect(short.locator(".bn-pill")).to_have_text("Exited")
    expect(short).to_contain_text("code 9")
    row.locator("input.bn-select").check()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("h1")).to_have_text("Stop 1 container?")
    page.fill("input[name=timeout]", "2")
    page.locator("main .btn-danger").click()
    expect(page.locator("#run-head .bn-pill", has_text="Succeeded")).to_be_visible()
    assert engine.state("e2e-shop") == "exited"
    engine.remove("e2e-shop", "e2e-short")
    page.close()


def test_without_scripts_a_log_is_read_and_a_container_started(
    desk: Desk, browser: Browser, product: Launched, engine: Any
) -> None:
    engine.remove("e2e-plain")
    engine.run("e2e-plain", "echo hello; exit 0")
    eventually(lambda: engine.state("e2e-plain") == "exited")
    plain = Desk(browser, product, java_script_enabled=False)
    page: Page = plain.sign_in("alice", PASSWORD)
    eventually(lambda: page.goto("/containers/?q=e2e-plain") and page.locator("#rows .bn-pill", has_text="Exited").count(), 30)
    page.locator("#rows a.bn-name").click()
    page.get_by_role("link", name="Show the last lines").click()
    assert page.locator(".bn-l").all_inner_texts() == ["hello"]
    page.go_back()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/?run=*")
    eventually(lambda: engine.podman("logs", "e2e-plain").count("hello") == 2)
    assert plain.problems == []
    plain.context.close()
    engine.remove("e2e-plain")
