"""The front page: what it counts across rooms, and its checklist."""

import re

from conftest import Cast
from factories import make_computer, make_output, make_run


def tile(page: str, label: str) -> str:
    found = re.search(rf"{label}</span><b[^>]*>([^<]*)<", page)
    assert found, label
    return found[1]


def test_it_counts_runs_under_way_and_what_failed(cast: Cast) -> None:
    assert "All runs" not in cast.browser("rita").get("/").text, "none yet"
    with cast.app.app_context():
        one = make_computer("pc-1", tenant_id=cast.acme)
        make_run(one, command="wait")
        for exit_code in (0, 0, 1):
            make_output(make_run(one), exit_code=exit_code)
        make_output(make_run(one), outcome="timeout")
    page = cast.browser("rita").get("/").text
    assert (tile(page, "Running now"), tile(page, "Failed, last 24 h"), tile(page, "Success, last 24 h")) == ("1", "2", "50.0%")
    assert "All runs" not in cast.browser("charlie").get("/").text, "another tenant's"


def test_the_checklist_is_about_everything_whatever_tenant_is_chosen(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("pc-1", tenant_id=cast.acme)
    browser = cast.browser("alice")
    done = re.compile(r'<li class="bn-done"><a href="([^"]*)"')
    before = done.findall(browser.get("/").text)
    assert "/fleet/" in before
    browser.post("/tenant", tenant_id=cast.globex)
    assert done.findall(browser.get("/").text) == before
