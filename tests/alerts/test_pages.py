"""The pages of alerts, rules and silences: who sees what, every action in every state, what is typed wrong, hostile texts."""

import csv
import html
import io
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from alerts_kit import Desk
from conftest import Browser, Cast
from factories import make_computer, make_output, make_run
from flask import Flask
from sqlalchemy import select

from app.actors import SYSTEM
from app.alerts import queries
from app.alerts.models import Alert, ScopeKind, Silence, Threshold
from app.alerts.operations import create_silence
from app.alerts.words import condition
from app.database import session, unit_of_work
from app.fleet.models import Computer
from app.fleet.operations import update_computer
from app.web import timeline
from app.web.timeline import Moment

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"


@pytest.fixture(autouse=True)
def _fresh_counts() -> None:
    queries.forget_counts()


class Inside:
    """A desk that enters the application for each thing it does: requests between them have a context of their own."""

    def __init__(self, app: Flask, desk: Desk) -> None:
        self._app, self._desk = app, desk

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._desk, name)
        if not callable(found):
            return found

        def run(*args: Any, **kwargs: Any) -> Any:
            with self._app.app_context():
                return found(*args, **kwargs)

        return run


class World:
    """Two computers of Acme, one of Globex; a rule on CPU over 80 %, critical over 95 %, that fires at once."""

    def __init__(self, cast: Cast, desk: Inside) -> None:
        self.cast, self.desk = cast, desk
        with cast.app.app_context():
            self.web, self.db = (make_computer(name, tenant_id=cast.acme, tags=["prod"]) for name in ("web-1", "db-1"))
            self.other = make_computer("theirs", tenant_id=cast.globex)
        self.rule = desk.rule(name="CPU busy", critical_value=95.0, recovery_value=70.0)

    def rows(self, query: Any) -> list[Any]:
        """What is stored, as of now."""
        with self.cast.app.app_context():
            found = list(session().scalars(query))
            session().expunge_all()
            return found

    def fire(self, computer: tuple[int, str], cpu: float = 85.0) -> str:
        """An alert about it; returns its id."""
        self.desk.later(10)
        self.desk.sample(computer[0], cpu)
        queries.forget_counts()
        return self.desk.alerts(computer_uuid=computer[1])[-1].id

    def alert(self, alert_id: str) -> Alert:
        """As it is now."""
        return self.desk.alerts(id=alert_id)[0]


@pytest.fixture
def world(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> World:
    with cast.app.app_context():
        desk = Desk(cast.app, monkeypatch)
    return World(cast, Inside(cast.app, desk))


def listed(page: str) -> list[str]:
    """The subjects of the rows, in order."""
    return [html.unescape(n) for n in re.findall(r'class="bn-name" href="/alerts/[^"]+" title="[^"]*"><bdi>([^<]+)<', page)]


def toasts(page: str) -> list[str]:
    """What the notices say."""
    return [html.unescape(text) for text in re.findall(r"<span data-text>([^<]+)</span>", page)]


def undo_of(page: str) -> tuple[str, dict[str, str]]:
    """Where the notice's undo leads, and its fields."""
    form = page.split('<li class="bn-toast"', 1)[1].split("</li>", 1)[0]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form))
    fields.pop("csrf_token")
    return re.findall(r'action="([^"]+)"', form)[0], {name: html.unescape(value) for name, value in fields.items()}


def errors(page: str) -> dict[str, str]:
    """Field → what is wrong with it."""
    return {name: html.unescape(text) for name, text in re.findall(r'class="bn-error" id="([^"]+)-error">([^<]+)<', page)}


def act(browser: Browser, path: str, **fields: Any) -> str:
    """Post a form that leads somewhere; the page there."""
    answer = browser.post(path, **fields)
    assert answer.status_code == 303, answer.text[:2000]
    queries.forget_counts()
    return str(browser.get(answer.headers["Location"]).text)


# -- who sees what ---------------------------------------------------------------------------------------------------


def test_readers_see_alerts_and_only_those_who_may_get_forms(world: World) -> None:
    warning, critical = world.fire(world.web), world.fire(world.db, 99.0)
    world.fire(world.other)
    for who, may in (("alice", True), ("bob", True), ("rita", False), ("eve", False)):
        browser = world.cast.browser(who)
        page = browser.get("/alerts/").text
        assert listed(page) == (["db-1", "web-1"] if who != "alice" else ["db-1", "theirs", "web-1"]), "the worst first"
        assert "85 %" in page and "over 80 %" in page and f'href="/alerts/thresholds/{world.rule}/"' in page
        assert (all(text in page for text in ('id="hand"', "data-bulk"))) is may
        one = browser.get(f"/alerts/{critical}/")
        assert one.status_code == 200 and "<h1>db-1: CPU busy</h1>" in one.text
        assert ("Edit the rule" in one.text) is may
        browser.get("/settings/account")  # a token of one's own: what follows is refused for the role
        for path in (
            f"/alerts/{warning}/silence",
            "/alerts/thresholds/new",
            "/alerts/silences/new",
            "/alerts/thresholds/try?metric=cpu",
        ):
            assert browser.get(path).status_code == (200 if may else 403), (who, path)
        for path in ("/alerts/thresholds/new", "/alerts/silences/new"):
            assert browser.post(path).status_code == (422 if may else 403), (who, path)
        one, many = (
            ("acknowledge", "unacknowledge", "resolve", "reopen"),
            ("acknowledge", "unacknowledge", "resolve", "reopen", "silence", "unsilence"),
        )
        for path in (*(f"/alerts/{warning}/{verb}" for verb in one), *(f"/alerts/bulk/{verb}" for verb in many),
                     *(f"/alerts/thresholds/{world.rule}/{verb}" for verb in ("edit", "switch", "delete"))):  # fmt: skip
            assert may or browser.post(path, ids=warning, confirmed="1").status_code == 403, (who, path)


def test_another_tenants_alerts_rules_and_silences_do_not_exist(world: World) -> None:
    ours = world.fire(world.web)
    own = world.desk.computer_rule(world.web[1], name="ours alone")
    silence = world.desk.silence(3600, scope=ScopeKind.COMPUTER, scope_id=world.web[1], reason="secret reason")
    charlie = world.cast.browser("charlie")
    for path in ("/alerts/", "/alerts/?status=all", "/alerts.csv?status=all", "/alerts/thresholds/", "/alerts/silences/", "/", "/search?q=web-1",
                 "/search?q=ours"):  # fmt: skip
        text = charlie.get(path).text
        assert not any(secret in text for secret in ("web-1", "ours alone", "secret reason")), path
    charlie.get("/settings/account")
    for path in (f"/alerts/{ours}/", f"/alerts/{ours}/story", f"/alerts/{ours}/silence", f"/alerts/thresholds/{own}/", f"/alerts/thresholds/{own}/edit",
                 f"/alerts/thresholds/{own}/trial", f"/alerts/thresholds/{own}/delete", f"/alerts/silences/{silence}/edit",
                 f"/fleet/{world.web[1]}/alerts", f"/alerts/thresholds/new?computer={world.web[1]}"):  # fmt: skip
        assert charlie.get(path).status_code == 404, path
    for path in (f"/alerts/{ours}/acknowledge", f"/alerts/{ours}/resolve", f"/alerts/{ours}/unacknowledge", f"/alerts/{ours}/reopen",
                 f"/alerts/thresholds/{own}/switch", f"/alerts/thresholds/{own}/edit", f"/alerts/thresholds/{own}/delete",
                 f"/alerts/silences/{silence}/edit", f"/alerts/silences/{silence}/end"):  # fmt: skip
        assert charlie.post(path, confirmed="1").status_code == 404, path
    for action in ("acknowledge", "resolve", "silence"):
        assert charlie.post(f"/alerts/bulk/{action}", ids=ours, confirmed="1").status_code == 400
    assert charlie.post("/alerts/bulk/unsilence", ids=silence).status_code == 303
    assert charlie.get("/alerts/scope/computers?computer=web").text.strip() == ""
    refused = charlie.post("/alerts/silences/new", scope="computer", computer=world.web[1], ends_at="2030-01-01T00:00")
    assert errors(refused.text) == {"computer": "No computer has this name or id"}
    assert (
        world.alert(ours).status.value == "active"
        and world.cast.browser("bob").get(f"/alerts/silences/{silence}/edit").status_code == 200
    )
    # A rule for every tenant is seen by all of them, and changed by nobody who does not see them all.
    assert charlie.get(f"/alerts/thresholds/{world.rule}/").status_code == 200
    assert charlie.post(f"/alerts/thresholds/{world.rule}/switch", on="0").status_code == 403
    assert charlie.post(f"/alerts/thresholds/{world.rule}/delete", confirmed="1").status_code == 403


def test_a_stranger_gets_nothing_and_what_is_gone_is_404(world: World) -> None:
    alert = world.fire(world.web)
    stranger = Browser(world.cast.app)
    for path in ("/alerts/", "/alerts.csv", "/alerts/count", f"/alerts/{alert}/", "/alerts/thresholds/", "/alerts/silences/"):
        assert stranger.get(path).headers["Location"].startswith("/login")
    bob = world.cast.browser("bob")
    for path in (
        "/alerts/nothing/",
        "/alerts/00000000-0000-0000-0000-000000000000/",
        "/alerts/thresholds/nothing/",
        "/alerts/silences/x/edit",
    ):
        assert bob.get(path).status_code == 404


# -- the list --------------------------------------------------------------------------------------------------------


def test_page_fragment_and_csv_filter_and_sort_alike(world: World) -> None:
    first, second = world.fire(world.web), world.fire(world.db, 99.0)
    bob = world.cast.browser("bob")
    act(bob, f"/alerts/{first}/acknowledge", note="looking")
    world.desk.silence(3600, scope=ScopeKind.COMPUTER, scope_id=world.db[1])
    queries.forget_counts()
    both, web, db = ["db-1", "web-1"], ["web-1"], ["db-1"]
    for query, expected in (
        ("", both), ("status=active", both), ("status=unacknowledged", db), ("status=acknowledged", web), ("status=muted", db),
        ("status=pending", []), ("status=resolved", []), ("status=all", both), ("severity=critical", db), ("severity=warning", web),
        ("metric=cpu", both), ("metric=disk", []), ("q=WEB", web), ("q=cpu+db", db), ("q=nope", []), ("range=1h", both),
        (f"computer={world.web[1]}", web), (f"threshold={world.rule}", both), (f"tenant={world.cast.acme}", both),
        (f"tenant={world.cast.globex}", []), ("sort=subject", both), ("sort=-subject", [*reversed(both)]), ("sort=fired", [*reversed(both)]),
        ("sort=-fired", both), ("sort=threshold", both), ("sort=metric", both), ("sort=subject&per_page=1&page=2", web),
    ):  # fmt: skip
        page, part = bob.get(f"/alerts/?{query}"), bob.get(f"/alerts/?{query}", headers={"HX-Request": "true"})
        assert listed(page.text) == listed(part.text) == expected, query
        assert "<html" not in part.text and part.headers["X-Rev"] == page.headers["X-Rev"] and part.vary
        if "page" not in query:
            rows = list(csv.DictReader(io.StringIO(bob.get(f"/alerts.csv?{query}").text)))
            assert sorted(row["subject_name"] for row in rows) == sorted(expected), query
        assert expected or "No alerts match" in page.text
    for query in ("status=nope", "severity=low", "sort=value", "sort=--fired", "range=2h", "cols=nope", "page=0"):
        assert bob.get(f"/alerts/?{query}").status_code == bob.get(f"/alerts.csv?{query}").status_code == 400, query
    page = bob.get("/alerts/").text
    assert [int(n) for n in re.findall(r'data-count="a-\w+">(\d+)<', page.split("bn-chips", 1)[1])] == [2, 1, 1, 1, 0, 0, 2]
    assert "Warning" in page and "Critical, muted" in page and "looking" in page and "bob" in page
    row = page.split(f'<tr id="r-{second}"', 1)[1].split("</tr>", 1)[0]
    assert f'href="/fleet/{world.db[1]}/"' in row and 'form="hand"' in row and "csrf" not in row


def test_calm_is_said_in_words(world: World) -> None:
    rita = world.cast.browser("rita")
    assert "Nothing is wrong" in rita.get("/alerts/").text and "See the thresholds" in rita.get("/alerts/").text
    alert = world.fire(world.web)
    assert "No rule is crossed on this computer now" in rita.get(f"/fleet/{world.db[1]}/alerts").text
    world.desk.later(10)
    world.desk.sample(world.web[0], 10.0)
    queries.forget_counts()
    assert world.alert(alert).resolve_reason == "recovered"
    assert "See resolved alerts" in rita.get("/alerts/").text
    assert listed(rita.get("/alerts/?status=resolved").text) == ["web-1"]


# -- one alert ---------------------------------------------------------------------------------------------------------


def test_each_action_in_each_state(world: World) -> None:
    alert, bob = world.fire(world.web), world.cast.browser("bob")
    place = f"/alerts/{alert}/"
    page = act(bob, f"{place}acknowledge")
    assert 'data-state="acknowledged"' in page and "bob</bdi> has it in hand" in page
    path, fields = undo_of(page)
    page = act(bob, path, **fields)
    assert 'data-state="active"' in page and "nobody has it in hand" in page
    assert toasts(act(bob, f"{place}unacknowledge")) == ["It is not acknowledged"]
    page = act(bob, f"{place}acknowledge", note="  I look  ")
    assert world.alert(alert).note == "I look" and 'value="I look"' in page
    assert (
        toasts(act(bob, f"{place}acknowledge", note="I found it")) == ["Note saved"] and world.alert(alert).note == "I found it"
    )
    page = act(bob, f"{place}resolve")
    assert 'data-state="resolved"' in page and "bob</bdi> resolved it" in page
    path, fields = undo_of(page)
    page = act(bob, path, **fields)
    assert 'data-state="acknowledged"' in page and world.alert(alert).note == "I found it", "as it was before"
    act(bob, f"{place}resolve")
    assert toasts(act(bob, f"{place}acknowledge")) == ["The alert is not active"]
    assert toasts(act(bob, f"{place}resolve")) == ["Resolved"], "once more changes nothing"
    world.desk.later(10)
    world.desk.sample(world.web[0], 10.0)  # well again: the person's word is no longer needed
    assert toasts(act(bob, f"{place}reopen")) == ["It has recovered since, or has come again"]
    story = [e.type for e in world.desk.entries() if e.subject_id == alert]
    assert story == ["alert.fired", "alert.acknowledged", "alert.unacknowledged", "alert.acknowledged", "alert.acknowledged",
                     "alert.resolved", "alert.reopened", "alert.resolved"]  # fmt: skip
    for words in ("Limit crossed", "Fired as a warning", "Nobody is on it any more", "I found it", "Opened again", "Resolved"):
        assert words in bob.get(place).text, words


def test_a_pending_alert_waits_for_its_time(world: World) -> None:
    world.desk.rule("memory", 50.0, name="Memory", for_seconds=300)
    world.desk.sample(world.web[0], 1.0, memory=60.0)
    alert = world.desk.alerts(metric="memory")[0].id
    bob = world.cast.browser("bob")
    page = bob.get(f"/alerts/{alert}/").text
    assert 'data-state="pending"' in page and "nobody has been told" in page
    assert listed(bob.get("/alerts/").text) == [] and listed(bob.get("/alerts/?status=pending").text) == ["web-1"]
    assert toasts(act(bob, f"/alerts/{alert}/acknowledge")) == ["The alert is not active"]
    assert toasts(act(bob, f"/alerts/{alert}/resolve")) == ["The alert has not fired yet"]
    world.desk.later(20)
    world.desk.sample(world.web[0], 1.0, memory=10.0)
    assert bob.get(f"/alerts/{alert}/").status_code == 404, "nothing came of it"


def test_the_page_tells_what_else_was_wrong_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.desk.rule("memory", 50.0, name="Memory", critical_value=90.0, recovery_value=40.0)
    alert = world.fire(world.web, 99.0)
    world.desk.later(10)
    world.desk.sample(world.web[0], 99.0, memory=80.0)
    with world.cast.app.app_context():
        run = make_run(world.web, command="backup --all")
        make_output(run, exit_code=1)
        make_output(make_run(world.web, world.other, command="for all tenants"), exit_code=1)
    bob = world.cast.browser("bob")
    page = bob.get(f"/alerts/{alert}/").text
    assert "Memory 80 %, above 50 %" in page and "Came online" in page
    assert f'href="/runs/{run}/"' in page and "backup --all" in page and "for all tenants" not in page
    assert "for all tenants" in world.cast.browser("alice").get(f"/alerts/{alert}/").text
    chart = html.unescape(re.findall(r'data-lines="([^"]+)"', page)[0])
    assert [float(v) for v in re.findall(r'"value": ?([\d.]+)', chart)] == [95.0, 80.0, 70.0]
    assert f"/fleet/{world.web[1]}/metrics.json?start=" in page and 'data-plot="cpu"' in page
    data = bob.get(html.unescape(re.findall(r'data-src="([^"]+)"', page)[0])).json
    assert 99.0 in data["cpu"] and len(data["load"]) == len(data["t"])
    # A later room hangs in what it did about an alert.
    monkeypatch.setitem(timeline._sources, "alert", [*timeline._sources["alert"]])
    timeline.add_moments(
        "alert", lambda row: [Moment(row.fired_at + timedelta(seconds=1), "send", "Told", f"mail about {row.metric}")]
    )
    story = bob.get(f"/alerts/{alert}/story").text
    assert story.index("Fired as critical") < story.index("mail about cpu") and "<html" not in story


# -- many at once --------------------------------------------------------------------------------------------------------


def test_a_selection_is_acknowledged_resolved_and_brought_back(world: World) -> None:
    ids, bob = [world.fire(world.web), world.fire(world.db)], world.cast.browser("bob")
    ask = bob.post("/alerts/bulk/acknowledge", ids=ids, back="q=cpu")
    assert ask.status_code == 200 and "Acknowledge 2 alerts" in ask.text and "web-1" in ask.text
    page = act(bob, "/alerts/bulk/acknowledge", ids=ids, back="q=cpu", confirmed="1", note="both")
    assert toasts(page) == ["2 alerts acknowledged"] and [world.alert(one).note for one in ids] == ["both", "both"]
    path, fields = undo_of(page)
    assert toasts(act(bob, path, **fields)) == ["2 alerts not acknowledged any more"]
    page = act(bob, "/alerts/bulk/acknowledge", ids=ids[:1], confirmed="1", next="/")
    assert "<h1>Overview</h1>" in page, "back to where the button was"
    page = act(bob, "/alerts/bulk/resolve", all="1", query="", count="2")
    assert toasts(page) == ["2 alerts resolved"] and "Nothing is wrong" in page
    path, fields = undo_of(page)
    assert toasts(act(bob, path, **fields)) == ["2 alerts open again"]
    assert [world.alert(one).status.value for one in ids] == ["acknowledged", "active"]
    assert bob.post("/alerts/bulk/resolve", all="1", query="", count="3").status_code == 409
    assert bob.post("/alerts/bulk/resolve").status_code == 400
    assert bob.post("/alerts/bulk/acknowledge", ids=ids, confirmed="1", note="n" * 2001).status_code == 422
    assert bob.post("/alerts/bulk/resolve", csrf=False, ids=ids).status_code == 403
    assert (
        bob.post("/alerts/bulk/acknowledge", ids=ids[1], confirmed="1", next="https://evil.example/").headers["Location"] == "/"
    )


def test_a_selection_is_silenced_and_the_undo_ends_exactly_that(world: World) -> None:
    ids, bob, now = [world.fire(world.web), world.fire(world.db)], world.cast.browser("bob"), world.desk.at
    assert "Silence 2 alerts" in bob.post("/alerts/bulk/silence", ids=ids).text
    typed = (now + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    tomorrow = (now + timedelta(days=1)).replace(hour=8, minute=0, second=0)
    for until, custom, by, ends in (("1h", "", "computer", now + timedelta(hours=1)), ("8h", "", "rule", now + timedelta(hours=8)),
                                    ("tomorrow", "", "computer", tomorrow), ("custom", typed, "rule", now + timedelta(hours=3))):  # fmt: skip
        page = act(bob, "/alerts/bulk/silence", ids=ids, confirmed="1", until=until, custom=custom, by=by, reason="maintenance")
        made = silences(world)
        assert {(s.scope.value, s.scope_id) for s in made} == (
            {("threshold", world.rule)} if by == "rule" else {("computer", world.web[1]), ("computer", world.db[1])})  # fmt: skip
        assert all(s.tenant_id == world.cast.acme and s.reason == "maintenance" for s in made), (
            "nobody else's alerts are silenced"
        )
        assert all(abs(s.ends_at - ends) < timedelta(minutes=1) for s in made)
        assert [world.alert(one).muted for one in ids] == [True, True] and listed(bob.get("/alerts/?status=muted").text)
        other = world.desk.silence(60, scope=ScopeKind.TAG, scope_id="prod", tenant_id=world.cast.acme)
        path, fields = undo_of(page)
        act(bob, path, **fields)
        assert [s.id for s in silences(world)] == [other]
        act(bob, f"/alerts/silences/{other}/end")
        assert [world.alert(one).muted for one in ids] == [False, False]


def test_each_entry_of_a_rows_menu_leads_somewhere(world: World) -> None:
    alert, bob = world.fire(world.web), world.cast.browser("bob")
    links = re.findall('data-href="([^"]+)"', bob.get("/alerts/").text)
    assert len(links) == 3
    for link in links:
        answer = bob.get(link.replace("{id}", alert))
        assert answer.status_code == 200 and "web-1" in answer.text, link
        assert world.cast.browser("charlie").get(link.replace("{id}", alert)).status_code == 404
    page = bob.get(f"/alerts/{alert}/acknowledge").text
    fields = dict(re.findall('<input type="hidden" name="([^"]+)" value="([^"]*)">', page))
    assert "It is not acknowledged" not in act(bob, "/alerts/bulk/acknowledge", **fields | {"note": "mine"})
    assert world.alert(alert).note == "mine"


def silences(world: World) -> list[Silence]:
    return world.rows(select(Silence))


def test_a_silence_wants_a_time(world: World) -> None:
    alert, bob = world.fire(world.web), world.cast.browser("bob")
    for custom, wrong in (("", "Say until when"), ("soon", "A day and a time"), ("2001-01-01T00:00", "")):
        answer = bob.post("/alerts/bulk/silence", ids=alert, confirmed="1", until="custom", custom=custom)
        assert answer.status_code == 422 and wrong in answer.text and 'value="1"' in answer.text, custom
    assert silences(world) == []


def test_a_computer_that_moved_to_another_tenant_is_not_named_to_those_who_made_rules_for_it(world: World) -> None:
    with world.cast.app.app_context(), unit_of_work():
        row = create_silence(
            {"ends_at": world.desk.at + timedelta(hours=1), "scope": ScopeKind.COMPUTER, "scope_id": world.web[1]}, actor=SYSTEM
        )
        silence = row.id
    rule = world.desk.computer_rule(world.web[1], name="of one computer")
    pages = ("/alerts/thresholds/", f"/alerts/thresholds/{rule}/", f"/alerts/thresholds/{rule}/edit", "/alerts/silences/",
             f"/alerts/silences/{silence}/edit")  # fmt: skip
    bob = world.cast.browser("bob")
    assert all("web-1" in bob.get(path).text for path in pages)
    with world.cast.app.app_context(), unit_of_work():
        changes = {"tenant_id": world.cast.globex, "name": "secret-of-globex"}
        update_computer(session().get(Computer, world.web[0]), changes, actor=SYSTEM)
    for path in pages:
        assert "secret-of-globex" not in bob.get(path).text, path
    assert "Computer one that is gone" in bob.get(pages[0]).text
    assert "secret-of-globex" in world.cast.browser("alice").get(pages[0]).text


# -- rules -----------------------------------------------------------------------------------------------------------------

TYPED = {"metric": "cpu", "comparison": "gt", "warning_value": "90", "critical_value": "", "recovery_value": "85", "for_n": "10", "for_unit": "min",
         "back_n": "", "back_unit": "min", "scope": "all", "name": "", "enabled": "y"}  # fmt: skip


def rule_of(world: World, name: str) -> Threshold:
    (found,) = world.rows(select(Threshold).where(Threshold.name == name))
    return found  # type: ignore[no-any-return]


def test_a_rule_is_made_edited_switched_and_deleted(world: World) -> None:
    alice = world.cast.browser("alice")
    page = act(alice, "/alerts/thresholds/new", **TYPED | {"name": "Busy"})
    assert "CPU over 90 % for 10 min, back at 85 %" in page and toasts(page) == ["Rule Busy made"]
    rule = rule_of(world, "Busy")
    place = f"/alerts/thresholds/{rule.id}/"
    form = alice.get(f"{place}edit").text
    assert 'value="Busy"' in form and 'value="90"' in form and 'value="85"' in form and 'value="10"' in form
    act(alice, f"{place}edit", **TYPED | {"name": "Busy", "metric": "network", "direction": "recv", "warning_value": "1.5", "recovery_value": "",
                                          "scope": "tag", "tag": "PROD", "for_n": "90", "for_unit": "s"})  # fmt: skip
    row = rule_of(world, "Busy")
    assert (row.metric, row.argument, row.warning_value, row.scope_id, row.for_seconds) == (
        "network",
        "recv",
        1_500_000.0,
        "prod",
        90,
    )
    assert condition(row) == "Network, received over 1.5 MB/s for 90 s"
    assert 'value="1.5"' in alice.get(f"{place}edit").text and "MB/s" in alice.get(f"{place}edit").text
    page = act(alice, f"{place}switch", on="0", next=place)
    assert not rule_of(world, "Busy").enabled and "<h1>Busy</h1>" in page
    path, fields = undo_of(page)
    act(alice, path, **fields)
    assert rule_of(world, "Busy").enabled
    assert "This cannot be undone" in alice.get(f"{place}delete").text
    assert toasts(act(alice, f"{place}delete", confirmed="1")) == ["Rule Busy deleted"] and alice.get(place).status_code == 404


WRONG: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"warning_value": "", "critical_value": ""}, {"warning_value": "Give a value"}), ({"warning_value": "nan"}, {"warning_value": "finite"}),
    ({"warning_value": "1e400"}, {"warning_value": "finite"}), ({"warning_value": "many"}, {"warning_value": "A number"}),
    ({"warning_value": "120"}, {"warning_value": "between 0 and 100"}), ({"critical_value": "50"}, {"critical_value": "above the warning"}),
    ({"recovery_value": "95"}, {"recovery_value": "wrong side"}), ({"for_n": "-1"}, {"for_n": "between"}), ({"for_n": "x"}, {"for_n": "integer"}),
    ({"for_n": "30", "for_unit": "d"}, {"for_n": "between 0"}), ({"scope": "computer", "computer": ""}, {"computer": "Name a computer"}),
    ({"scope": "computer", "computer": "nope"}, {"computer": "No computer has this name"}), ({"scope": "tag", "tag": "nope"}, {"tag": "no computer"}),
    ({"scope": "tag", "tag": ""}, {"tag": "ield"}), ({"scope": "tenant", "of_tenant": ""}, {"of_tenant": "ield"}),
    ({"metric": "proxy_health"}, {"warning_level": "Give a value"}), ({"metric": "nope"}, {"metric": "valid choice"}),
    ({"metric": "disk", "path": "/a\x01b"}, {"path": "printable"}), ({"comparison": "nope"}, {"comparison": "valid choice"}),
    ({"name": "n" * 201}, {"name": "longer"}), ({"scope": "galaxy"}, {"scope": "valid choice"}), ({"back_unit": "aeon"}, {}),
]  # fmt: skip


def test_what_is_wrong_with_a_rule_is_said_at_its_field_and_what_was_typed_stays(world: World) -> None:
    alice = world.cast.browser("alice")
    for changes, wrong in WRONG:
        typed = TYPED | {"name": "Kept"} | changes
        answer = alice.client.post("/alerts/thresholds/new", data=typed | {"csrf_token": alice.token})
        assert answer.status_code == 422, changes
        said = errors(answer.text)
        assert said.keys() == wrong.keys() and all(wrong[name].lower() in said[name].lower() for name in wrong), (changes, said)
        assert f'value="{typed["name"]}"' in answer.text
        for name in ("warning_value", "recovery_value"):
            assert not typed[name] or "metric" in changes or f'value="{typed[name]}"' in answer.text, changes
        tried = alice.get("/alerts/thresholds/try", query_string=typed)
        assert tried.status_code == 200 and "cannot be said" in tried.text, changes
    assert [row.name for row in world.rows(select(Threshold))] == ["CPU busy"]


def test_the_editor_tries_a_rule_on_real_history_also_without_a_script(world: World) -> None:
    world.desk.samples(world.web[0], *((600 - ago, 95.0 if 200 < ago < 400 else 20.0) for ago in range(0, 601, 10)))
    world.desk.sample(world.db[0], 50.0)
    alice = world.cast.browser("alice")
    typed = TYPED | {"for_n": "1", "warning_value": "90"}
    tried = alice.get("/alerts/thresholds/try", query_string=typed).text
    assert "Would have fired once" in tried and "web-1" in tried and "db-1" not in tried and "<html" not in tried
    assert "Would not have fired" in alice.get("/alerts/thresholds/try", query_string=typed | {"for_n": "10"}).text
    checked = alice.post("/alerts/thresholds/new", **typed | {"check": "1", "name": "Tried"})
    assert checked.status_code == 200 and "Would have fired once" in checked.text and 'value="Tried"' in checked.text
    assert not world.rows(select(Threshold).where(Threshold.name == "Tried")), "a trial makes nothing"
    fields = alice.get("/alerts/thresholds/new", query_string=typed | {"metric": "disk"}, headers={"HX-Request": "true"}).text
    assert "<html" not in fields and 'name="path"' in fields and 'value="90"' in fields
    levels = alice.get(
        "/alerts/thresholds/new", query_string=typed | {"metric": "proxy_health"}, headers={"HX-Request": "true"}
    ).text
    assert "Flagged or worse" in levels and 'name="warning_value"' not in levels
    assert (
        "No history is kept"
        in alice.get("/alerts/thresholds/try", query_string=typed | {"metric": "clock_skew", "recovery_value": ""}).text
    )
    page = alice.get(f"/alerts/thresholds/{world.rule}/?try=1").text
    assert "Would have fired" in page and "web-1" in alice.get(f"/alerts/thresholds/{world.rule}/trial").text
    charlie = world.cast.browser("charlie").get(f"/alerts/thresholds/{world.rule}/trial").text
    assert "web-1" not in charlie and "of 1 computer" in charlie


def test_the_list_of_rules_counts_and_filters(world: World) -> None:
    alert, bob = world.fire(world.web), world.cast.browser("bob")
    world.fire(world.other)
    world.desk.rule("offline", None, critical_value=0.0, for_seconds=300, name="Gone")
    page = bob.get("/alerts/thresholds/").text
    assert "CPU over 80 %, critical over 95 %, back at 70 %" in page and "Offline for 5 min" in page
    row = page.split(f'id="t-{world.rule}"', 1)[1].split("</tr>", 1)[0]
    assert f'href="/alerts/?threshold={world.rule}">1<' in row, "of his own tenant alone"
    assert "Switch off" not in row, "a rule for every tenant"
    assert listed(bob.get(f"/alerts/?threshold={world.rule}").text) == ["web-1"]
    assert (
        "Gone" not in bob.get("/alerts/thresholds/?q=busy").text and "Gone" in bob.get("/alerts/thresholds/?metric=offline").text
    )
    assert "No thresholds match" in bob.get("/alerts/thresholds/?q=zzz").text
    made = act(bob, "/alerts/thresholds/new", **TYPED | {"name": "Bob's own"})
    assert "Everything of Acme" in made, "whoever sees one tenant makes rules for it"
    mine = rule_of(world, "Bob's own").id
    assert toasts(act(bob, f"/alerts/thresholds/{mine}/switch", on="0")) == ["Bob's own is switched off; its alerts are over"]
    act(world.cast.browser("alice"), f"/alerts/thresholds/{world.rule}/delete", confirmed="1")
    page = bob.get(f"/alerts/{alert}/").text
    assert "Deleted since" in page and "its rule was changed" in page, "the alert outlives its rule"


# -- silences ----------------------------------------------------------------------------------------------------------------


def test_a_window_is_planned_edited_and_ended_early(world: World) -> None:
    alert, bob, at = world.fire(world.web), world.cast.browser("bob"), world.desk.at

    def typed(hours: float) -> str:
        return (at + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")

    form = bob.get(f"/alerts/silences/new?computer={world.web[1]}").text
    assert 'value="web-1"' in form and '<option selected value="computer">' in form
    fields = {"scope": "computer", "computer": "web-1", "starts_at": typed(1), "ends_at": typed(3), "reason": "moving house"}
    page = act(bob, "/alerts/silences/new", **fields)
    assert toasts(page) == ["Silence planned"] and "Planned" in page and "moving house" in page and not world.alert(alert).muted
    one = silences(world)[0]
    assert one.scope_id == world.web[1] and one.starts_at == datetime.fromisoformat(typed(1)).replace(tzinfo=at.tzinfo)
    page = act(bob, f"/alerts/silences/{one.id}/edit", **fields | {"starts_at": typed(-1), "repeat": "daily"})
    assert "On now" in page and "every day" in page and world.alert(alert).muted
    page = act(bob, f"/alerts/silences/{one.id}/end")
    assert silences(world) == [] and not world.alert(alert).muted, "one that repeats is over for good"
    path, back = undo_of(page)
    act(bob, path, **back)
    assert silences(world)[0].repeat is not None and world.alert(alert).muted, "the undo brings it back as it was"
    act(bob, f"/alerts/silences/{silences(world)[0].id}/end")
    act(bob, "/alerts/silences/new", scope="threshold", rule=world.rule, ends_at=typed(2))
    assert world.alert(alert).muted
    world.desk.later(5)
    act(bob, f"/alerts/silences/{silences(world)[0].id}/end")
    assert not world.alert(alert).muted
    world.desk.later(5)
    page = bob.get("/alerts/silences/").text
    assert "Over" in page and "End now" not in page and "On now <span>0" in page
    assert toasts(act(bob, f"/alerts/silences/{silences(world)[0].id}/end")) == ["It is over already"]
    assert "No silences match" in bob.get("/alerts/silences/?state=planned").text
    for changes, wrong in (
        ({"ends_at": ""}, {"ends_at": "Fill this in"}), ({"ends_at": typed(0.5)}, {"ends_at": "before it begins"}), ({"ends_at": "x"}, {"ends_at": "A day"}),
        ({"starts_at": typed(-9), "ends_at": typed(-8)}, {"ends_at": "over already"}), ({"repeat": "daily", "ends_at": typed(48)}, {"ends_at": "begins again"}),
        ({"ends_at": "9999-12-31T23:59"}, {"ends_at": "year"}), ({"computer": "nope"}, {"computer": "No computer"}), ({"scope": "threshold"}, {"rule": "Fill"}),
        ({"scope": "tag", "tag": "zzz"}, {"tag": "No computer has the tag"}), ({"reason": "r" * 501}, {"reason": "longer"}),
    ):  # fmt: skip
        answer = bob.post("/alerts/silences/new", **fields | changes)
        said = errors(answer.text)
        assert answer.status_code == 422 and said.keys() == wrong.keys(), (changes, said)
        assert all(wrong[name].lower() in said[name].lower() for name in wrong), said
    everyone = world.desk.silence(60)
    assert bob.post(f"/alerts/silences/{everyone}/end").status_code == 403, "a silence for every tenant"


# -- everywhere ----------------------------------------------------------------------------------------------------------------


def test_every_page_says_how_many_alerts_there_are(world: World) -> None:
    bob = world.cast.browser("bob")
    page = bob.get("/settings/account").text
    assert "<title>Account" in page and 'rel="icon" href="/static/' in page and 'favicon.svg" type' in page
    assert 'data-live="alert-counts"' in page and 'href="/alerts/" data-hotkey="g a"' in page
    world.fire(world.web)
    critical = world.fire(world.db, 99.0)
    world.fire(world.other, 99.0)
    world.cast.app.extensions["binnacle_hub"]._views.clear()
    page = bob.get("/settings/account").text
    assert "<title>(1) Account" in page and 'favicon-alarm.svg" type' in page
    assert re.search(r'data-count="alerts-active">2<', page) and re.search(r'data-count="alerts-critical">1<', page)
    assert re.search(r'data-counts="[^"]*alerts-critical&#34;:1', bob.get("/alerts/count").text)
    world.desk.silence(60, scope=ScopeKind.COMPUTER, scope_id=world.db[1])
    assert re.search(r"alerts-active&#34;:2,&#34;alerts-critical&#34;:0", bob.get("/alerts/count").text), "muted is no alarm"
    home = bob.get("/").text
    assert (
        listed(home) == ["db-1", "web-1"] and 'id="hand"' in home and home.index("Active alerts") < home.index("Needs attention")
    )
    assert 'id="hand"' not in world.cast.browser("rita").get("/").text
    found = bob.get("/search?q=web-1").text
    assert "web-1: CPU busy" in found and f"/alerts/thresholds/{world.rule}/" in bob.get("/search?q=cpu+bu").text
    fleet = bob.get("/fleet/?status=alerts&sort=-alerts").text
    assert re.findall(r'class="bn-name" href="/fleet/[^"]+">([^<]+)<', fleet) == ["db-1", "web-1"]
    assert f'href="/fleet/{world.db[1]}/alerts">1<' in fleet and ">Critical</span>" in fleet and "with alerts" in fleet
    tab = bob.get(f"/fleet/{world.db[1]}/alerts").text
    assert listed(tab) == ["db-1"] and "Critical" in tab.split('id="live-head"', 1)[1].split("bn-tabs", 1)[0]
    assert f"/alerts/silences/new?computer={world.db[1]}" in tab and "CPU over 80 %" in tab
    part = bob.get(f"/fleet/{world.db[1]}/alerts?status=resolved", headers={"HX-Request": "true"})
    assert listed(part.text) == [] and "<html" not in part.text
    assert f"/alerts/{critical}/" in tab and "/alerts/silences/" in bob.get("/settings/account").text


def test_hostile_texts_are_inert(world: World) -> None:
    with world.cast.app.app_context():
        with unit_of_work():
            session().get(Threshold, world.rule).name = HOSTILE
        bad = make_computer(HOSTILE, tenant_id=world.cast.acme)
    alert, bob = world.fire(bad, 99.0), world.cast.browser("bob")
    act(bob, f"/alerts/{alert}/acknowledge", note=HOSTILE)
    world.desk.silence(60, scope=ScopeKind.COMPUTER, scope_id=bad[1], reason=HOSTILE)
    for path in ("/", "/alerts/", "/alerts/?cols=subject,who,metric", f"/alerts/{alert}/", f"/alerts/{alert}/silence", "/alerts/thresholds/",
                 f"/alerts/thresholds/{world.rule}/?try=1", "/alerts/silences/", f"/alerts/silences/new?computer={bad[1]}", f"/fleet/{bad[1]}/alerts",
                 f"/alerts/?computer={bad[1]}&threshold={world.rule}", "/alerts/scope/computers?computer=script", "/search?q=script"):  # fmt: skip
        page = bob.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text and "<img src=x" not in page.text and ">49<" not in page.text, path
    cells = next(csv.DictReader(io.StringIO(bob.get("/alerts.csv").text)))
    assert cells["subject_name"] == HOSTILE
