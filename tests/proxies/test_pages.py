"""The pages of the proxies: who sees what, filters, sorts, CSV, actions, live patches, hostile text."""

import csv
import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
from bot_traffic import outcomes, proxies, proxy_id, turn_clock, used
from conftest import Browser, Cast
from flask import Flask
from sqlalchemy import event

from app.database import session, unit_of_work
from app.extensions import db
from app.live.hub import hub_of
from app.proxies import health, operations, queries
from app.proxies.live import PROXIES, PROXY, bars, latency_text
from app.proxies.models import Proxy
from app.proxy_check import CheckResult
from app.web import live

GOOD, FLAGGED, BURNT = "1.1.1.1:80", "2.2.2.2:80", "http://user:pw@3.3.3.3:80"
SHOWN = {GOOD: GOOD, FLAGGED: FLAGGED, BURNT: "http://***@3.3.3.3:80"}


@pytest.fixture
def exits(cast: Cast) -> dict[str, str]:
    """Three proxies of Acme with different luck; their public ids by address."""
    bot = cast.client("eve")
    outcomes(bot, GOOD, "+++++", country="US")
    outcomes(bot, FLAGGED, "+++-", country="DE")
    outcomes(bot, BURNT, "+---", country="DE")
    return {address: proxy_id(bot, shown) for address, shown in SHOWN.items()}


def listed(page: str) -> list[str]:
    """The addresses in the list, in order."""
    return [
        html.unescape(name) for name in re.findall(r'class="bn-name bn-ltr" href="/proxies/[^"]+" title="[^"]*">([^<]+)<', page)
    ]


def toasts(page: str) -> list[str]:
    """What the notices say."""
    return [html.unescape(text) for text in re.findall(r"<span data-text>([^<]+)</span>", page)]


def row_of(page: str, uuid: str) -> str:
    """The row of one proxy."""
    return page.split(f'<tr id="r-{uuid}"', 1)[1].split("</tr>", 1)[0].replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("who", ["alice", "bob", "rita", "eve"])
def test_whoever_reads_sees_each_exit_with_its_reason(cast: Cast, exits: dict[str, str], who: str) -> None:
    browser = cast.browser(who)
    page = browser.get("/proxies/").text
    assert listed(page) == [SHOWN[BURNT], FLAGGED, GOOD], "the worst first"
    row = row_of(page, exits[BURNT])
    assert "Blacklisted" in row
    assert "Rests after 3 failures in a row; 25 % of 4 sessions succeeded, below 50 %" in row
    assert re.search(r"Back <relative-time [^>]*>\d{4}-", row)
    assert "Dead for shop.example" in row
    assert "last hour 25% of 4" in row
    assert "75 % of 4 sessions succeeded, below 80 %" in row_of(page, exits[FLAGGED])
    assert "Dead for" not in row_of(page, exits[GOOD])
    for address, uuid in exits.items():
        one = browser.get(f"/proxies/{uuid}/")
        assert one.status_code == 200
        assert f"<h1>{SHOWN[address]}</h1>" in one.text
        assert f'href="/sessions/?proxy={uuid}"' in one.text
        assert "shop.example" in one.text


@pytest.mark.parametrize("who", ["alice", "bob", "rita", "eve"])
def test_only_whoever_may_change_proxies_gets_forms(cast: Cast, exits: dict[str, str], who: str) -> None:
    browser, may = cast.browser(who), who in ("alice", "bob")
    assert ("data-bulk" in browser.get("/proxies/").text) is may
    page = browser.get(f"/proxies/{exits[GOOD]}/").text
    assert ("Check now" in page) is may
    browser.get("/settings/account")  # a token of one's own: what follows is refused for the role
    for action in ("check", "disable", "enable"):
        for path in (f"/proxies/{exits[GOOD]}/{action}", f"/proxies/bulk/{action}"):
            assert browser.post(path, ids=exits[GOOD]).status_code == (303 if may else 403), path


def test_another_tenants_proxies_do_not_exist(cast: Cast, exits: dict[str, str]) -> None:
    charlie = cast.browser("charlie")
    page = charlie.get("/proxies/").text
    assert listed(page) == []
    assert "No proxy yet" in page
    assert list(csv.reader(io.StringIO(charlie.get("/proxies.csv").text)))[1:] == []
    charlie.get("/settings/account")
    for uuid in exits.values():
        assert charlie.get(f"/proxies/{uuid}/").status_code == 404
        for action in ("check", "disable", "enable"):
            assert charlie.post(f"/proxies/{uuid}/{action}").status_code == 404
            assert charlie.post(f"/proxies/bulk/{action}", ids=uuid).status_code == 400
    assert charlie.post("/proxies/bulk/disable", all="1", query="", count="3").status_code == 409
    assert not re.findall("[123].[123].[123].[123]:80", charlie.get("/search?q=80").text)
    assert all(row["enabled"] or row["is_in_cooldown"] for row in proxies(cast.client("eve")).values())
    alice = cast.browser("alice")
    alice.post("/tenant", tenant=cast.globex)
    with cast.app.app_context():
        assert live.rows(PROXY, PROXY.keys(f"id={exits[GOOD]}", frozenset({cast.globex}))) == {}
        assert live.rows(PROXIES, PROXIES.keys("", frozenset({cast.globex}))) == {}


def test_a_stranger_gets_nothing(cast: Cast, exits: dict[str, str]) -> None:
    stranger = Browser(cast.app)
    for path in ("/proxies/", "/proxies.csv", f"/proxies/{exits[GOOD]}/"):
        assert stranger.get(path).headers["Location"].startswith("/login")


@pytest.mark.parametrize(
    ("query", "expected"),
    [("status=healthy", [GOOD]), ("status=flagged", [FLAGGED]), ("status=blacklisted", [BURNT]), ("status=resting", [BURNT]),
     ("status=disabled", []), ("status=unhealthy", [BURNT, FLAGGED]), ("country=DE", [BURNT, FLAGGED]), ("q=2.2.2", [FLAGGED]),
     ("q=us", [GOOD]), ("q=us+DE", []), ("q=pw", []), ("country=DE&status=flagged", [FLAGGED]), ("sort=address", [GOOD, FLAGGED, BURNT]),
     ("sort=-address", [BURNT, FLAGGED, GOOD]), ("sort=rate", [BURNT, FLAGGED, GOOD]), ("sort=-rate", [GOOD, FLAGGED, BURNT]),
     ("sort=-uses", [GOOD, FLAGGED, BURNT]), ("sort=status", [BURNT, FLAGGED, GOOD]), ("sort=-status", [GOOD, FLAGGED, BURNT]),
     ("sort=latency", [GOOD, FLAGGED, BURNT]), ("sort=country", [FLAGGED, BURNT, GOOD]), ("sort=-last_used", [BURNT, FLAGGED, GOOD]),
     ("sort=address&per_page=1&page=2", [FLAGGED])],
)  # fmt: skip
def test_page_fragment_and_csv_filter_and_sort_alike(cast: Cast, exits: dict[str, str], query: str, expected: list[str]) -> None:
    browser, shown = cast.browser("rita"), [SHOWN[address] for address in expected]
    page, part = browser.get(f"/proxies/?{query}"), browser.get(f"/proxies/?{query}", headers={"HX-Request": "true"})
    assert listed(page.text) == listed(part.text) == shown
    assert "<html" not in part.text
    assert part.headers["X-Rev"] == page.headers["X-Rev"]
    assert part.vary
    table = list(csv.DictReader(io.StringIO(browser.get(f"/proxies.csv?{query}").text)))
    assert [row["address"] for row in table] == (shown if "page" not in query else [GOOD, FLAGGED, SHOWN[BURNT]])
    if not expected:
        assert "No proxies match" in page.text


@pytest.mark.parametrize(
    "query", ["sort=reason", "sort=failures", "status=nope", "page=0", "per_page=900", "cols=nope", "sort=--uses"]
)
def test_a_wrong_query_is_refused(cast: Cast, exits: dict[str, str], query: str) -> None:
    browser = cast.browser("rita")
    assert browser.get(f"/proxies/?{query}").status_code == 400
    assert browser.get(f"/proxies.csv?{query}").status_code == 400


def test_every_column_that_sorts_can_be_sorted_by(cast: Cast, exits: dict[str, str]) -> None:
    browser = cast.browser("rita")
    links = set(re.findall(r'<th [^>]*><a href="(/proxies/\?[^"]+)"', browser.get("/proxies/").text))
    assert len(links) == 7
    for link in links:
        assert browser.get(html.unescape(link)).status_code == 200, link


def test_chips_carry_counts_and_the_rest_of_the_query(cast: Cast, exits: dict[str, str]) -> None:
    page = cast.browser("rita").get("/proxies/?country=DE&status=flagged&sort=-uses").text
    chips = page.split('class="bn-chips"', 1)[1].split("</ul>", 1)[0]
    found = {label: int(n) for label, n in re.findall(r">([A-Z][a-z ]+) <span data-count=\"[a-z]+\">(\d+)<", chips)}
    assert found == {"All": 2, "Not healthy": 2, "Blacklisted": 1, "Flagged": 1, "Healthy": 0, "Resting": 1, "Disabled": 0}
    assert 'href="/proxies/?country=DE&amp;sort=-uses&amp;status=resting"' in chips
    assert 'href="/proxies/?country=DE&amp;sort=-uses"' in chips
    assert re.search(r'status=flagged"[^>]* aria-current="true"', chips)
    assert '<input type="hidden" name="status" value="flagged" form="filter">' in page


def test_the_navigation_counts_the_blacklisted_whatever_is_filtered(cast: Cast, exits: dict[str, str]) -> None:
    for path in ("/proxies/?country=US", "/fleet/"):
        page = cast.browser("rita").get(path).text
        assert re.search(r'href="/proxies/"[^>]* data-hotkey="g p".*?data-count="burning">1<', page, re.DOTALL), path
    with cast.app.app_context():
        counts = PROXIES.counts("country=US", frozenset({cast.acme}))
    assert (counts["total"], counts["blacklisted"], counts["burning"]) == (1, 0, 1)


def test_the_palette_finds_a_proxy_by_its_address(cast: Cast, exits: dict[str, str]) -> None:
    found = cast.browser("rita").get("/search?q=3.3.3.3").text
    assert f'href="/proxies/{exits[BURNT]}/"' in found
    assert "http://***@3.3.3.3:80" in found
    assert 'href="/proxies/"' in cast.browser("rita").get("/search?q=prox").text


def test_the_csv_says_what_the_page_says(cast: Cast, exits: dict[str, str]) -> None:
    answer = cast.browser("rita").get("/proxies.csv?sort=address")
    assert answer.mimetype == "text/csv"
    assert "proxies_" in answer.headers["Content-Disposition"]
    good, _, burnt = csv.DictReader(io.StringIO(answer.text))
    assert (good["id"], good["status"], good["success_rate"], good["uses"]) == (exits[GOOD], "healthy", "1.0", "5")
    assert (burnt["reason"][:5], burnt["dead_targets"], burnt["last_hour_failures"], burnt["tenant"]) == (
        "Rests",
        "shop.example",
        "3",
        "Acme",
    )
    assert burnt["cooldown_until"].endswith("Z")


def test_check_now_asks_once_and_its_result_appears_by_itself(cast: Cast, exits: dict[str, str]) -> None:
    bob, path = cast.browser("bob"), f"/proxies/{exits[GOOD]}/"
    asked = bob.post(f"{path}check")
    assert (asked.status_code, asked.headers["Location"]) == (303, path)
    page = bob.get(path).text
    assert toasts(page) == ["Check asked for; its result shows up here"]
    assert "Under way" in page
    bob.post(f"{path}check")
    assert toasts(bob.get(path).text) == ["A check of this proxy is under way already"]
    shown = snapshot(cast, PROXY, f"id={exits[GOOD]}")
    with cast.app.app_context():
        with unit_of_work():
            (check,) = queries.checks_of(queries.get_proxy(exits[GOOD], operations.SYSTEM))
            operations.store_result(check.id, CheckResult(True, 123.4, 200, "9.8.7.6"))
            operations.store_result(check.id, CheckResult(False, error="twice"))
    after = snapshot(cast, PROXY, f"id={exits[GOOD]}")
    assert after.rev > shown.rev
    assert after.keys[0][2] > shown.keys[0][2]
    head = bob.get(path, headers={"HX-Request": "true"}).text
    assert "exits at 9.8.7.6" in head
    assert "123 ms" in head
    assert "by the last good check" in head
    assert "Under way" not in head
    assert "twice" not in head
    bob.post(f"{path}check")
    with cast.app.app_context(), unit_of_work():
        check = queries.checks_of(queries.get_proxy(exits[GOOD], operations.SYSTEM))[0]
        operations.store_result(check.id, CheckResult(False, error="timed out after 15 s"))
    assert "the last check failed: timed out after 15 s" in bob.get(path).text


def test_only_the_newest_checks_are_kept(cast: Cast, exits: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "KEPT_CHECKS", 3)
    with cast.app.app_context():
        for number in range(6):
            with unit_of_work():
                proxy = queries.get_proxy(exits[GOOD], operations.SYSTEM)
                check = operations.request_check(proxy, f"http://t/{number}", actor=operations.SYSTEM)
                operations.store_result(check.id, CheckResult(True, 10.0 + number, 200, None))
        kept = queries.checks_of(queries.get_proxy(exits[GOOD], operations.SYSTEM))
        assert [check.target for check in kept] == ["http://t/5", "http://t/4", "http://t/3"]
        assert queries.get_proxy(exits[BURNT], operations.SYSTEM).check_latency_ms is None


def test_a_proxy_is_disabled_undone_and_enabled_from_its_page(cast: Cast, exits: dict[str, str]) -> None:
    bob, path = cast.browser("bob"), f"/proxies/{exits[BURNT]}/"
    until = proxies(cast.client("eve"))[SHOWN[BURNT]]["cooldown_until"]
    assert until
    assert bob.post(f"{path}disable").status_code == 303
    page = bob.get(path).text
    assert toasts(page) == ["Disabled: bots are told not to use it"]
    assert "Disabled by bob" in page
    assert re.search(r'class="bn-now" id="r-[^"]+" data-off>', page)
    undo = page.split('class="bn-toasts"', 1)[1].split("</ul>", 1)[0]
    assert f'action="{path}enable"' in undo
    assert bob.post(f"{path}enable", keep_rest="1").status_code == 303
    assert proxies(cast.client("eve"))[SHOWN[BURNT]]["cooldown_until"] == until, "undoing gives the rest back"
    bob.get(path)
    bob.post(f"{path}enable")
    page = bob.get(path).text
    assert toasts(page) == ["Enabled; it stays blacklisted: 25 % of 4 sessions succeeded, below 50 %"]
    assert not re.search(r'id="r-[^"]+" data-(off|rests)', page)


def test_no_button_works_without_the_token_of_the_form(cast: Cast, exits: dict[str, str]) -> None:
    bob = cast.browser("bob")
    for action in ("check", "disable", "enable"):
        for path in (f"/proxies/{exits[GOOD]}/{action}", f"/proxies/bulk/{action}"):
            assert bob.post(path, csrf=False, ids=exits[GOOD]).status_code in (400, 403), path
            assert bob.get(path).status_code in (404, 405), path
    assert proxies(cast.client("eve"))[GOOD]["enabled"]


def undo_fields(page: str) -> dict[str, str]:
    form = page.split('class="bn-toasts"', 1)[1].split("<form", 1)[1].split("</form>", 1)[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    return {"path": re.findall(r'action="([^"]+)"', form)[0]} | {
        k: html.unescape(v) for k, v in fields.items() if k != "csrf_token"
    }


def test_a_selection_is_disabled_and_the_undo_is_exact(cast: Cast, exits: dict[str, str]) -> None:
    bob, eve = cast.browser("bob"), cast.client("eve")
    bob.post(f"/proxies/{exits[FLAGGED]}/disable")
    bob.get("/proxies/")
    before = proxies(eve)
    done = bob.client.post(
        "/proxies/bulk/disable", data={"csrf_token": bob.token, "ids": list(exits.values()), "back": "sort=-uses"}
    )
    assert (done.status_code, done.headers["Location"]) == (303, "/proxies/?sort=-uses")
    page = bob.get("/proxies/?sort=-uses").text
    assert toasts(page) == ["2 proxies disabled"]
    assert not any(row["enabled"] for row in proxies(eve).values())
    assert bob.post(**undo_fields(page)).status_code == 303
    assert proxies(eve) == before, "the one that was disabled before stays so, and the rest goes on"
    assert toasts(bob.get("/proxies/").text) == ["2 proxies enabled"]


def test_all_that_match_are_enabled_and_refused_when_their_number_has_drifted(cast: Cast, exits: dict[str, str]) -> None:
    bob, eve = cast.browser("bob"), cast.client("eve")
    assert bob.post("/proxies/bulk/enable", all="1", query="country=DE", count="3").status_code == 409
    assert (
        bob.post("/proxies/bulk/enable", all="1", query="country=DE", count="2", back="country=DE").headers["Location"]
        == "/proxies/?country=DE"
    )
    assert toasts(bob.get("/proxies/").text) == ["1 proxy enabled"], "the one that rested"
    assert not proxies(eve)[SHOWN[BURNT]]["is_in_cooldown"]
    bob.post("/proxies/bulk/enable", all="1", query="", count="3")
    assert toasts(bob.get("/proxies/").text) == ["Nothing to enable"]
    assert bob.post("/proxies/bulk/enable", ids="").status_code == 400
    assert bob.post("/proxies/bulk/enable", all="1", query="sort=nope", count="3").status_code == 400


def test_a_selection_is_checked_and_what_is_under_way_left_alone(cast: Cast, exits: dict[str, str]) -> None:
    bob = cast.browser("bob")
    bob.post(f"/proxies/{exits[GOOD]}/check")
    bob.get("/proxies/")
    bob.post("/proxies/bulk/check", all="1", query="", count="3")
    assert toasts(bob.get("/proxies/").text) == ["Check of 2 proxies asked for; 1 proxy had one under way"]
    bob.post("/proxies/bulk/check", all="1", query="", count="3")
    assert toasts(bob.get("/proxies/").text) == ["A check of each is under way already"]
    with cast.app.app_context():
        for uuid in exits.values():
            assert len(queries.checks_of(queries.get_proxy(uuid, operations.SYSTEM))) == 1


def snapshot(cast: Cast, live_list: live.LiveList, query: str) -> live.Snapshot:
    """What a viewer of Acme has."""
    with cast.app.app_context():
        found = hub_of(cast.app).snapshot(live_list, query, frozenset({cast.acme}))
        db.session.remove()
        return found


def test_a_session_that_ends_over_the_api_is_a_patch_for_the_list_and_the_page(cast: Cast, exits: dict[str, str]) -> None:
    uuid, bot = exits[GOOD], cast.client("eve")
    used(bot, "open", GOOD)
    before, head = snapshot(cast, PROXIES, ""), snapshot(cast, PROXY, f"id={uuid}")
    bot.post("/api/sessions/end", json={"session_id": "open", "success": False, "error": "E-NEW", "duration": 1})
    after, head_after = snapshot(cast, PROXIES, ""), snapshot(cast, PROXY, f"id={uuid}")
    assert after.rev > before.rev
    assert head_after.rev > head.rev
    changed = [now for now in after.keys if now not in before.keys]
    assert [key[1] for key in changed] == [uuid], "this row alone"
    with cast.app.app_context():
        row, page = (live.rows(which, keys)[keys[0][0]] for which, keys in ((PROXIES, changed), (PROXY, head_after.keys)))
    assert "83\N{NO-BREAK SPACE}% of 6 sessions succeeded" in row
    assert "E-NEW" in page
    assert "csrf" not in row + page


def test_what_reads_differently_because_time_has_passed_is_shown_anew(
    cast: Cast, exits: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def age(since: Any) -> int:
        with cast.app.app_context(), unit_of_work():
            return operations.age(since)

    start = operations.now()
    assert age(None) == 3, "all that was measured, when a worker starts"
    assert age(operations.now()) == 0
    browser = cast.browser("rita")
    assert "last hour 75% of 4" in row_of(browser.get("/proxies/").text, exits[FLAGGED])
    turn_clock(monkeypatch, timedelta(minutes=66))
    assert age(start) == 3
    assert "last hour" not in row_of(browser.get("/proxies/").text, exits[FLAGGED])
    later = operations.now()
    turn_clock(monkeypatch, timedelta(hours=24))
    assert age(later) == 3
    assert "Nothing was measured in the last 24 hours" in browser.get(f"/proxies/{exits[GOOD]}/").text
    later = operations.now()
    turn_clock(monkeypatch, timedelta(hours=24))
    assert age(later) == 0


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """The SQL statements that run meanwhile."""
    with app.app_context():
        engine = db.engine
    statements: list[str] = []

    def note(_c: object, _cur: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_page_asks_the_database_at_most_eight_times_however_many_there_are(cast: Cast, exits: dict[str, str]) -> None:
    bot = cast.client("eve")
    for number in range(60):
        outcomes(bot, f"10.0.0.{number}:80", "+" if number % 3 else "-", target_url=f"https://t{number % 5}.example/")
    browser = cast.browser("alice")
    for path in ("/proxies/", f"/proxies/{exits[BURNT]}/"):
        browser.get(path)
        with counted(cast.app) as statements:
            answer = browser.get(path)
        assert answer.status_code == 200
        assert len(statements) <= 8, statements
    assert browser.get("/proxies/").text.count('<tr id="r-') == 50
    browser.get("/")
    with counted(cast.app) as statements:
        browser.get("/")
    assert len(statements) <= 20, statements


BAD = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "=1+1",
    "' OR 1=1 --",
    "\u202egnp.exe",
    "x" * 400,
]


@pytest.mark.parametrize("bad", BAD)
def test_what_bots_report_is_inert_text(cast: Cast, bad: str) -> None:
    bot, browser = cast.client("eve"), cast.browser("alice")
    plain = "".join(c for c in bad if c.isprintable())
    outcomes(bot, plain[:200], "+---", country=plain[:50], target_url="https://" + plain[:150] + "/a")
    for letter in "---":
        name = f"x-{letter}-{len(plain)}"
        used(bot, name, f"{plain[:100]}-two", target_url=plain[:200])
        bot.post("/api/sessions/end", json={"session_id": name, "success": False, "error": bad * 3})
    rows = bot.get("/api/ip/status").json["proxies"]
    for path in ("/proxies/", "/proxies/?cols=address,dead,exit,tenant", "/", *(f"/proxies/{row['id']}/" for row in rows)):
        page = browser.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "{{ 49 }}" not in page.text
        assert not re.search(r'\son\w+="', page.text)
    for row in csv.reader(io.StringIO(browser.get("/proxies.csv").text)):
        assert not [cell for cell in row if cell.startswith(("=", "+", "@", "\t"))], row


def test_addresses_of_any_length_are_cut_in_the_list_and_whole_on_the_page(cast: Cast) -> None:
    long = ".".join(["a" * 60] * 3) + ".example:8080"
    bot, browser = cast.client("eve"), cast.browser("rita")
    outcomes(bot, long, "+")
    page = browser.get("/proxies/").text
    assert listed(page) == [long[:117] + "..."]
    assert long in browser.get(f"/proxies/{bot.get('/api/ip/status').json['proxies'][0]['id']}/").text


def test_first_use_and_no_match_are_different(cast: Cast) -> None:
    browser = cast.browser("bob")
    assert "No proxy yet" in browser.get("/proxies/").text
    assert "No proxies match" in browser.get("/proxies/?q=zzz").text
    assert "Sessions and proxies" not in browser.get("/").text


def test_the_overview_says_which_exits_burn_and_how_sessions_went(cast: Cast, exits: dict[str, str]) -> None:
    used(cast.client("eve"), "open", GOOD)
    page = cast.browser("rita").get("/").text
    assert re.search(r"Active sessions</span><b[^>]*>1<", page)
    assert re.search(r"Success, last 24 h</span><b[^>]*>69.2%</b><span[^>]*>of 13 ended<", page)
    assert re.search(r"Proxies not healthy</span><b[^>]*>2</b><span[^>]*>of 3<", page)
    part = page.split("bn-verdicts", 1)[1].split("</ul>", 1)[0]
    assert re.findall(r'href="/proxies/([^/]+)/"', part) == [exits[BURNT], exits[FLAGGED]]
    assert "Rests after 3 failures in a row" in part
    assert "Sessions and proxies" not in cast.browser("charlie").get("/").text


def test_latencies_and_bars_read_well() -> None:
    assert [latency_text(ms) for ms in (0, 0.2, 12.4, 999.4, 999.6, 1500, 9949, 12_345, 90_000, 150_000)] == [
        "–", "1 ms", "12 ms", "999 ms", "1.0 s", "1.5 s", "9.9 s", "12 s", "90 s", "2 min",
    ]  # fmt: skip
    assert bars([None] * 24) == ""
    assert bars([None, 50.0, 100.0, None] * 6)[:22] == "M6 24v-12M10 24v-23M22"


def test_rows_render_fast_enough_for_the_live_hub(cast: Cast, exits: dict[str, str]) -> None:
    import time

    with cast.app.app_context():
        ids = queries.ids_of(queries.ProxyFilter()) * 20
        with unit_of_work():
            proxy = session().get(Proxy, ids[0])
            proxy.latencies = orjson.dumps([[h, 1, 100.0] for h in range(491_000, 491_024)]).decode()
        rendered = 0
        live.rows(PROXIES, [(ids[0], "", -1)])
        began = time.process_time()
        for _ in range(50):
            rendered += len(PROXIES.render(ids))
        assert rendered / (time.process_time() - began) > 400
    assert health.STREAK == 3
