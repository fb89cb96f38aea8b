"""The pages of the sessions: who sees what, filters, CSV, fragments, the timeline, what bots may write without harm."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Cast
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app.extensions import db
from app.sessions import queries, statistics

PAGES = ["/sessions/", "/sessions/charts", "/events/", "/sessions/errors", "/sessions/views/new?status=failed"]
HX = {"HX-Request": "true"}
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(autouse=True)
def forget() -> None:
    queries.forget_counts()
    statistics.forget_choices()


@pytest.fixture
def bot(cast: Cast) -> FlaskClient:
    """An executor's program of Acme."""
    return cast.client("eve")


def register(bot: FlaskClient, name: str, **fields: Any) -> None:
    body = {
        "session_id": name,
        "profile_id": "p1",
        "device": "desktop",
        "target_url": "https://shop.example/cart",
        "country": "US",
    }
    answer = bot.post("/api/sessions/register", json=body | fields)
    assert answer.status_code == 200, answer.text


def end(bot: FlaskClient, name: str, error: str | None = None, duration: float = 2.0) -> None:
    body = {"session_id": name, "success": error is None, "duration": duration, "error": error}
    assert bot.post("/api/sessions/end", json=body).status_code == 200


def log(bot: FlaskClient, name: str, kind: str = "click", **details: Any) -> int:
    answer = bot.post("/api/events", json={"session_id": name, "event_type": kind, "details": details})
    assert answer.status_code == 200, answer.text
    return int(answer.json["event_id"])


def row_of(cast: Cast, name: str) -> int:
    with cast.app.app_context():
        from app.actors import SYSTEM

        found = queries.get_session(name, SYSTEM).id
        db.session.remove()
    return found


def names(html: str) -> list[str]:
    return re.findall(r'class="bn-name" href="/sessions/\d+/"><bdi>([^<]+)<', html)


def steps(html: str) -> list[str]:
    return re.findall(r'<li id="r-\d+"[^>]* class="bn-step bn-step-(\w+)"', html)


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


@pytest.fixture
def some(cast: Cast, bot: FlaskClient) -> None:
    """Six sessions of Acme, in this order, and one of Globex."""
    register(bot, "s-1", country="DE", device="mobile", profile_id="p9", proxy="http://u:secret@10.0.0.1:80")
    register(bot, "s-2", target_url="https://news.example/")
    register(bot, "s-3")
    register(bot, "s-4")
    register(bot, "s-5")
    register(bot, "s-6", country="DE")
    end(bot, "s-2")
    end(bot, "s-3", "Timeout 3000 ms")
    end(bot, "s-4", "Timeout 99 ms")
    end(bot, "s-5", "Captcha")
    other = cast.client("alice").post(
        "/api/sessions/register", json={"session_id": "theirs", "profile_id": "g", "tenant_id": cast.globex}
    )
    assert other.status_code == 200


CASES = [
    ("", ["s-6", "s-5", "s-4", "s-3", "s-2", "s-1"]), ("sort=started", ["s-1", "s-2", "s-3", "s-4", "s-5", "s-6"]),
    ("status=failed", ["s-5", "s-4", "s-3"]), ("status=active", ["s-6", "s-1"]), ("status=completed", ["s-2"]),
    ("country=DE", ["s-6", "s-1"]), ("country=DE&device=mobile", ["s-1"]), ("profile=p9", ["s-1"]), ("target=news.example", ["s-2"]),
    ("q=10.0.0", ["s-1"]), ("q=S-4", ["s-4"]), ("text=captcha", ["s-5"]), ("text=news", ["s-2"]),
    ("range=1h", ["s-6", "s-5", "s-4", "s-3", "s-2", "s-1"]), ("start=2099-01-01T00:00", []), ("end=2001-01-01T00:00", []),
    ("range=24h&end=2099-01-01T00:00&status=active", ["s-6", "s-1"]), ("start=&end=&q=", ["s-6", "s-5", "s-4", "s-3", "s-2", "s-1"]),
    ("per_page=2&page=2", ["s-4", "s-3"]), ("status=failed&per_page=2&page=2", ["s-3"]), ("q=nothing", []),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), CASES, ids=[case[0] or "all" for case in CASES])
def test_page_fragment_and_csv_show_the_same_sessions(cast: Cast, some: None, query: str, expected: list[str]) -> None:
    browser = cast.browser("rita")
    page, fragment = browser.get(f"/sessions/?{query}"), browser.get(f"/sessions/?{query}", headers=HX)
    assert (page.status_code, fragment.status_code) == (200, 200)
    assert names(page.text) == names(fragment.text) == expected
    assert "<html" in page.text
    assert "<html" not in fragment.text
    assert fragment.headers["X-Rev"]
    if "page=" not in query and "sort=" not in query:
        table = csv.DictReader(io.StringIO(browser.get(f"/sessions.csv?{query}").text))
        assert [row["session_id"] for row in table] == expected


@pytest.mark.parametrize(
    "query", ["status=nope", "sort=-error", "range=1y", "page=0", "start=nonsense", "cols=evil", "start=0001-01-01T00:00%2B05:00"]
)
def test_an_address_that_does_not_fit_is_400(cast: Cast, query: str) -> None:
    assert cast.browser("rita").get(f"/sessions/?{query}").status_code == 400


def test_sessions_through_a_proxy_are_found_by_the_proxys_id(cast: Cast, some: None) -> None:
    browser = cast.browser("rita")
    link = re.search(r'href="/proxies/([0-9a-f-]{36})/"', browser.get("/sessions/").text)
    assert link
    page = browser.get(f"/sessions/?proxy={link[1]}").text
    assert names(page) == ["s-1"]
    assert "secret" not in page
    assert "Proxy:" in page
    assert names(browser.get("/sessions/?proxy=00000000-0000-0000-0000-000000000000").text) == []


@pytest.mark.parametrize(("who", "sees"), [("alice", True), ("bob", True), ("rita", True), ("eve", True), ("charlie", False)])
def test_who_sees_the_sessions_of_a_tenant(cast: Cast, bot: FlaskClient, who: str, sees: bool) -> None:
    """RELIABILITY 9."""
    register(bot, "of-acme")
    number = log(bot, "of-acme", "error", message="boom-of-acme")
    end(bot, "of-acme", "broken-of-acme")
    row = row_of(cast, "of-acme")
    browser = cast.browser(who)
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert not re.search("of-acme", answer.text) or sees, path
    assert (names(browser.get("/sessions/").text) == ["of-acme"]) is sees
    assert ("boom-of-acme" in browser.get("/events/").text) is sees
    assert ("broken-of-acme" in browser.get("/sessions/errors").text) is sees
    for path in (f"/sessions/{row}/", f"/sessions/{row}/events/{number}", "/events.csv?session=of-acme"):
        assert browser.get(path).status_code == (200 if sees else 404), path
    for path in ("/sessions.csv", "/events.csv"):
        assert ("of-acme" in browser.get(path).text) is sees
    assert ("of-acme" in browser.get("/search?q=of-acme").text) is sees


def test_a_stranger_is_sent_to_the_login(cast: Cast) -> None:
    for path in (*PAGES, "/sessions/1/", "/sessions/1/events/1", "/sessions.csv", "/events.csv"):
        answer = cast.app.test_client().get(path)
        assert (answer.status_code, answer.headers["Location"][:6]) == (303, "/login"), path


def test_the_tenant_switch_narrows_every_page(cast: Cast, some: None) -> None:
    browser = cast.browser("alice")
    assert "theirs" in names(browser.get("/sessions/").text)
    assert browser.post("/tenant", tenant_id=cast.globex, next="/sessions/").status_code == 303
    assert names(browser.get("/sessions/").text) == ["theirs"]
    assert "Captcha" not in browser.get("/sessions/errors").text
    assert 'data-count="total">1<' in browser.get("/sessions/").text


def test_the_figures_are_of_all_sessions_and_the_pages_count_of_those_that_match(cast: Cast, some: None) -> None:
    page = cast.browser("rita").get("/sessions/?country=DE&status=active").text
    for key, value in (
        ("total", "6"),
        ("active", "2"),
        ("failed", "3"),
        ("completed", "1"),
        ("success_rate", "25.0%"),
        ("average", "2.0 s"),
    ):
        assert f'data-count="{key}">{value}<' in page, key
    assert "1–2 of 2 sessions" in page
    assert 'data-count="sessions_active">2<' in page


def test_there_are_three_empty_lists(cast: Cast, bot: FlaskClient) -> None:
    browser = cast.browser("rita")
    assert "No session yet" in browser.get("/sessions/").text
    assert "No event yet" in browser.get("/events/").text
    assert "No session has failed" in browser.get("/sessions/errors").text
    register(bot, "s-1")
    assert "No sessions match" in browser.get("/sessions/?q=zzz").text
    assert "No events match" in browser.get("/events/?type=click").text
    assert "No event yet" in browser.get(f"/sessions/{row_of(cast, 's-1')}/").text


def test_the_list_asks_the_database_at_most_eight_times(cast: Cast, bot: FlaskClient) -> None:
    for n in range(60):
        register(bot, f"s-{n:02}", proxy=f"10.0.0.{n}:80")
    browser = cast.browser("alice")
    for path, most in (
        ("/sessions/", 8),
        ("/sessions/?status=active", 8),
        ("/events/", 8),
        ("/sessions/errors", 8),
        ("/sessions/charts", 8),
    ):
        browser.get(path)
        with counted(cast.app) as statements:
            assert browser.get(path).status_code == 200
        assert len(statements) <= most, (path, statements)


def test_the_charts_are_a_fragment_with_a_table_for_those_who_cannot_see_them(cast: Cast, some: None) -> None:
    browser = cast.browser("rita")
    fragment = browser.get("/sessions/charts", headers=HX).text
    assert "<html" not in fragment
    assert re.search(r'<svg[^>]*role="img" aria-labelledby="hours-title hours-desc"><title id="hours-title">', fragment)
    assert len(re.findall(r'<tr><th scope="row">\d\d:00</th>', fragment)) == 24
    assert re.search(r'<th scope="row">\d\d:00</th><td>1</td><td>3</td><td>2</td>', fragment)
    assert "/sessions/?country=US&amp;range=24h" in fragment
    assert "<html" in browser.get("/sessions/charts").text


def test_errors_that_differ_in_numbers_are_one_group_and_lead_to_their_sessions(cast: Cast, some: None) -> None:
    browser = cast.browser("rita")
    page = browser.get("/sessions/errors").text
    assert "2 groups" in re.sub(r"<[^>]*>", "", page)
    link = re.search(r'href="(/sessions/\?error=[0-9a-f]{32})"><bdi>Timeout &lt;n&gt; ms', page)
    assert link
    narrowed = browser.get(link[1]).text
    assert names(narrowed) == ["s-4", "s-3"]
    assert "Timeout &lt;n&gt; ms" in narrowed


# -- one session ---------------------------------------------------------------------------------------------------------


def test_a_session_shows_its_timeline_oldest_first_with_offsets(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "one", metadata={"campaign": "autumn"}, proxy="http://u:secret@10.0.0.1:80")
    log(bot, "one", "navigation", url="https://shop.example/", load_time_ms=1500)
    first = log(bot, "one", "error", message="Element is gone")
    log(bot, "one", "custom", state={"deep": [1, 2]})
    end(bot, "one", "Timeout", 15.0)
    browser, row = cast.browser("rita"), row_of(cast, "one")
    page = browser.get(f"/sessions/{row}/").text
    assert steps(page) == ["navigation", "error", "custom"]
    assert re.search(r'<time datetime="[^"]+Z" title="[^"]+ UTC">[+−]\d+\.\d s</time>', page)
    for text in (
        "https://shop.example/",
        "loaded in",
        "1.5 s",
        "Element is gone",
        "autumn",
        "It failed.",
        "15 s",
        "http://***@10.0.0.1:80",
        "Sessions with this error",
    ):
        assert text in page, text
    assert f'href="/sessions/{row}/#r-{first}">1 error<' in page
    assert "secret" not in page
    assert '<details class="bn-json"><summary>JSON</summary>' in page
    assert steps(browser.get(f"/sessions/{row}/?type=error").text) == ["error"]
    fragment = browser.get(f"/sessions/{row}/", headers=HX).text
    assert "<html" not in fragment
    assert 'id="live-head"' in fragment
    assert 'id="rows"' in fragment


def test_a_screenshot_is_a_link_only_when_its_address_is_of_the_web(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "shots")
    for url in ("https://shots.example/1.png", "javascript:alert(1)", "data:text/html,x", "//evil.example/x", "https://", 5):
        log(bot, "shots", "screenshot", url=url)
    log(bot, "shots", "screenshot", path="data/screenshots/2.png")
    page = cast.browser("rita").get(f"/sessions/{row_of(cast, 'shots')}/").text
    assert re.findall(r'href="([^"/#][^"]*)"[^>]*target="_blank"', page) == ["https://shots.example/1.png"]
    assert "noopener noreferrer" in page
    assert "<code" in page
    assert "data/screenshots/2.png" in page
    assert "7 screenshots" in page
    assert "<img" not in page
    assert 'href="javascript' not in page


def test_over_500_events_the_timeline_has_pages_and_an_event_leads_to_its_own(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "long")
    body = [{"session_id": "long", "event_type": "error" if n == 550 else "click", "details": {"n": n}} for n in range(620)]
    ids = bot.post("/api/events", json=body).json["event_ids"]
    browser, row = cast.browser("rita"), row_of(cast, "long")
    first, second = browser.get(f"/sessions/{row}/").text, browser.get(f"/sessions/{row}/?page=2").text
    assert (len(steps(first)), len(steps(second))) == (500, 120)
    assert "1–500 of 620 events" in first
    assert f'id="r-{ids[550]}"' in browser.get(f"/sessions/{row}/?at={ids[550]}").text
    assert f"/sessions/{row}/?type=error#rows" in first, "it is not on the first page"
    assert steps(browser.get(f"/sessions/{row}/?type=error").text) == ["error"]
    with counted(cast.app) as statements:
        browser.get(f"/sessions/{row}/")
    assert len(statements) <= 14, statements


def test_an_event_has_a_page_with_everything_the_bot_said(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "one")
    register(bot, "two")
    number = log(bot, "one", "custom", items=[{"n": n, "text": "x" * 60} for n in range(200)])
    browser, row, other = cast.browser("rita"), row_of(cast, "one"), row_of(cast, "two")
    assert "All of it" in browser.get(f"/sessions/{row}/").text, "a row shows the beginning only"
    page = browser.get(f"/sessions/{row}/events/{number}")
    assert page.text.count("x" * 60) == 200
    assert browser.get(f"/sessions/{other}/events/{number}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/sessions/0/",
        "/sessions/999999/",
        f"/sessions/{10**30}/",
        "/sessions/x/",
        "/sessions/1/events/1",
        f"/sessions/1/events/{10**30}",
    ],
)
def test_what_is_not_there_is_404(cast: Cast, path: str) -> None:
    assert cast.browser("alice").get(path).status_code == 404


# -- the feed ------------------------------------------------------------------------------------------------------------


def test_the_feed_is_newest_first_and_filters(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "a")
    register(bot, "b")
    numbers = [log(bot, "ab"[n % 2], ("click", "scroll", "error")[n % 3], n=n) for n in range(60)]
    browser = cast.browser("rita")

    def ids(query: str) -> list[int]:
        return [int(i) for i in re.findall(r'<tr id="r-(\d+)"', browser.get(f"/events/?{query}").text)]

    assert ids("") == numbers[:-51:-1]
    assert ids("page=2") == numbers[9::-1]
    assert ids("type=error") == numbers[2::3][::-1]
    assert ids("session=b") == numbers[1::2][::-1]
    assert ids("session=b&type=scroll") == [n for i, n in enumerate(numbers) if i % 2 and i % 3 == 1][::-1]
    assert ids("session=nobody") == []
    assert browser.get("/events/?type=nope").status_code == 400
    table = csv.DictReader(io.StringIO(browser.get("/events.csv?session=b&type=error").text))
    assert [int(row["id"]) for row in table] == ids("session=b&type=error")


def test_a_paused_feed_is_not_live(cast: Cast, bot: FlaskClient) -> None:
    register(bot, "a")
    log(bot, "a")
    browser = cast.browser("rita")
    following, paused = (
        browser.get("/events/?type=click").text,
        browser.get("/events/?type=click&follow=off").text,
    )
    assert 'data-live="events?type=click"' in following
    assert "follow=off" in following
    assert 'data-live="events' not in paused
    assert 'href="/events/?type=click"' in paused


# -- saved views, search -------------------------------------------------------------------------------------------------


def test_filters_are_saved_as_a_view_of_this_list_alone(cast: Cast, some: None) -> None:
    browser = cast.browser("rita")
    assert "status=failed" in browser.get("/sessions/views/new?status=failed&sort=started").text
    saved = browser.post("/sessions/views/new?status=failed&sort=started", name="Broken")
    assert (saved.status_code, saved.headers["Location"]) == (303, "/sessions/?sort=started&status=failed")
    assert '<a href="/sessions/?sort=started&amp;status=failed">Broken</a>' in browser.get("/sessions/").text
    assert "Broken" not in browser.get("/fleet/views/new").text
    assert browser.post("/sessions/views/new", name="").status_code == 422
    action = re.search(r'action="(/sessions/views/[^"]+/delete)"', browser.get("/sessions/views/new").text)
    assert action
    assert browser.post(action[1]).status_code == 303
    assert "Broken</a>" not in browser.get("/sessions/").text


def test_the_palette_finds_a_session_by_its_whole_id(cast: Cast, some: None) -> None:
    browser = cast.browser("rita")
    assert f'href="/sessions/{row_of(cast, "s-4")}/"' in browser.get("/search?q=s-4").text
    assert "/sessions/" not in browser.get("/search?q=theirs").text


def test_the_audit_leads_to_the_session(cast: Cast, some: None) -> None:
    audit = cast.browser("alice").get("/settings/audit?type=automation_session.*").text
    assert f'<a href="/sessions/{row_of(cast, "s-4")}/">s-4</a>' in audit
    assert "Session started" in audit
    assert "Session ended" in audit


# -- what bots report ----------------------------------------------------------------------------------------------------


def test_what_a_bot_reports_is_inert_on_every_page(cast: Cast, bot: FlaskClient) -> None:
    """RELIABILITY 13."""
    long = "w" * 9_000
    register(bot, HOSTILE, profile_id="\u05e9\u05dc\u05d5\u05dd" + HOSTILE, device=HOSTILE, country=HOSTILE, target_url="https://x.example/" + HOSTILE,
             metadata={HOSTILE: HOSTILE, "deep": [HOSTILE, "\x1b[31m"]})  # fmt: skip
    number = log(
        bot,
        HOSTILE,
        "error",
        message=f"\x1b[31m{HOSTILE}\x1b[0m \u202egnp.exe",
        url=HOSTILE,
        **{HOSTILE: [HOSTILE], "long": long},
    )
    log(bot, HOSTILE, "screenshot", path=HOSTILE, url=f"https://x.example/{HOSTILE}")
    end(bot, HOSTILE, f"\x1b[31m{HOSTILE}\x1b[0m\r\n{long}")
    browser, row = cast.browser("rita"), row_of(cast, HOSTILE)
    paths = [*PAGES, f"/sessions/{row}/", f"/sessions/{row}/?type=error", f"/sessions/{row}/events/{number}", "/sessions/?status=failed",
             "/search?q=%3Cscript%3Ealert(1)%3C/script%3E%22'%26"]  # fmt: skip
    for path in paths:
        text = browser.get(path).text
        assert "<script>alert" not in text, path
        assert "\x1b" not in text, path
        assert "\u202e" not in text, path
        assert "&lt;script&gt;" in text or path in PAGES, path
        assert len(text) < 120_000, path
    assert long not in browser.get("/sessions/").text
    assert "…" in browser.get("/sessions/").text
    assert long in browser.get(f"/sessions/{row}/events/{number}").text, "its own page shows all of it"
