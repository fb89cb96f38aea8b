"""How often rules on states would have fired: what the preview finds is what the evaluation itself did, over the same days."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from alerts_kit import Desk, ScopeKind
from conftest import Cast
from factories import make_computer, make_containers, make_output, make_run, make_tenant

from app.actors import SYSTEM, Actor
from app.alerts.deadlines import Reconciler, settle_due
from app.alerts.operations import create_threshold
from app.alerts.preview import Preview, would_have_fired
from app.alerts.sources import follow
from app.clock import from_ms, to_ms
from app.containers.models import ContainerState, EngineState
from app.database import session, unit_of_work
from app.journal.models import JournalEntry
from app.journal.operations import record
from app.journal.queries import first_since
from app.proxies.models import Proxy, ProxyStatus
from app.proxies.operations import change_enabled, subject_of
from app.sessions.models import BotSession, SessionStatus
from app.sessions.operations import count_changes
from app.tenants.queries import list_tenants


def ask(metric: str, days: int = 7, *, actor: Actor = SYSTEM, **values: Any) -> Preview:
    with unit_of_work():
        return would_have_fired({"metric": metric} | values, days, actor=actor)


def fired(desk: Desk, name: str) -> dict[str, int]:
    """What the evaluation did: subject → times."""
    found: dict[str, int] = {}
    for entry in desk.entries():
        if entry.type == "alert.fired" and entry.data["threshold_name"] == name:
            subject = entry.data["subject"]["name"].removeprefix("Sessions of ")
            found[subject] = found.get(subject, 0) + 1
    return found


def agree(desk: Desk, metric: str, rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        found, expected = ask(metric, **rule), fired(desk, rule["name"])
        assert {name: times for _, name, times in found.affected} == expected, rule
        assert found.fired == sum(expected.values()) > 0
        assert found.first is not None and found.last is not None and found.first <= found.last <= desk.at


def proxy(address: str, tenant_id: str | None = None) -> tuple[int, str]:
    with unit_of_work():
        row = Proxy(tenant_id=tenant_id or list_tenants(None)[0].id, fingerprint=address, address=address)
        session().add(row)
        session().flush()
        return row.id, row.uuid


def turn(proxy_id: int, status: ProxyStatus) -> None:
    with unit_of_work():
        row = session().get(Proxy, proxy_id)
        before, row.status = row.status, status
        record("proxy.status_changed", SYSTEM, subject_of(row), before=before.value, after=status.value)


def test_of_proxies_the_journal_tells_what_they_were(desk: Desk) -> None:
    rules: list[dict[str, Any]] = [
        {"name": "at once", "warning_value": 0.0, "critical_value": 1.0},
        {"name": "held", "critical_value": 1.0, "for_seconds": 600, "recovery_for_seconds": 300},
    ]
    for rule in rules:
        with unit_of_work():
            create_threshold({"metric": "proxy_health"} | rule, actor=SYSTEM)
    chance, exits = random.Random(5), [proxy(f"http://exit-{n}:1") for n in range(4)]
    desk.later(3600)
    for _ in range(20):
        one = chance.choice(exits[:3])[0]
        if chance.random() < 0.2:
            with unit_of_work():
                change_enabled([one], chance.random() < 0.6, actor=SYSTEM, keep_rest=True)
        else:
            turn(one, chance.choice(list(ProxyStatus)))
        follow()
        desk.later(chance.choice((60, 400, 900, 2000)), work=False)
        settle_due()
    agree(desk, "proxy_health", rules)
    assert ask("proxy_health", critical_value=0.0).total == 4
    assert ask("proxy_health", critical_value=0.0, scope=ScopeKind.COMPUTER, scope_id=make_computer()[1]).total == 0


def test_one_that_was_sick_all_the_time_counts_once_and_strangers_do_not_count(desk: Desk) -> None:
    acme, globex = make_tenant("Acme"), make_tenant("Globex")
    ours, theirs = proxy("http://ours:1", acme), proxy("http://theirs:1", globex)
    for one in (ours, theirs):
        turn(one[0], ProxyStatus.BLACKLISTED)
    desk.later(8 * 86_400, work=False)
    assert ask("proxy_health", warning_value=1.0).fired == 2
    bob = replace(SYSTEM, tenant_ids=frozenset({acme}))
    assert ask("proxy_health", warning_value=1.0, actor=bob).affected == [(ours[1], "http://ours:1", 1)]
    assert ask("proxy_health", warning_value=1.0, scope=ScopeKind.TENANT, scope_id=globex).affected[0][1] == "http://theirs:1"


def test_of_containers_the_journal_tells_also_those_that_were_removed(desk: Desk) -> None:
    rules: list[dict[str, Any]] = [
        {"name": "at once", "warning_value": 0.0},
        {"name": "held", "warning_value": 0.0, "for_seconds": 300},
    ]
    for rule in rules:
        with unit_of_work():
            create_threshold({"metric": "container_down"} | rule, actor=SYSTEM)
    computer, other = make_computer("dock-1"), make_computer("dock-2", tags=["web"])
    stopped = {"state": ContainerState.EXITED, "exit_code": 1}
    steps: list[tuple[tuple[str, ...], dict[str, Any], int]] = [
        (("web", "db"), {}, 600), (("web", "db"), stopped, 60), (("web", "db"), {}, 1200), (("web", "db"), stopped, 1200),
        (("web",), stopped, 1200), (("web",), {"engine": EngineState.SILENT}, 600), (("web",), {}, 3000), (("web",), stopped, 3000),
    ]  # fmt: skip
    for names, fields, seconds in steps:
        make_containers(computer, *names, **fields)
        follow()
        desk.later(seconds, work=False)
        desk.work()
    make_containers(other, "never-ran", state=ContainerState.EXITED, started_at=None)
    desk.later(61)
    agree(desk, "container_down", rules)
    found = ask("container_down", warning_value=0.0)
    assert (found.subject, found.total, found.checked) == ("container", 3, 3)
    assert {(id_ is None, name) for id_, name, _ in found.affected} == {(True, "db on dock-1"), (False, "web on dock-1")}
    assert ask("container_down", warning_value=0.0, scope=ScopeKind.TAG, scope_id="web").fired == 0
    desk.later(8 * 86_400, work=False)
    assert ask("container_down", warning_value=0.0).affected[0][1:] == ("web on dock-1", 1), "it is still down"


def ended(desk: Desk, tenant: str, good: int, bad: int, number: list[int]) -> None:
    """Sessions that began five minutes ago and end now."""
    at, rows = to_ms(desk.at), []
    for is_good in [True] * good + [False] * bad:
        number[0] += 1
        rows.append({"id": number[0], "tenant_id": tenant, "session_id": f"s{number[0]}", "started_at": at - 300_000, "ended_at": at,
                     "status": SessionStatus.COMPLETED if is_good else SessionStatus.FAILED, "success": is_good, "country": None,
                     "target_host": None, "duration_us": None, "error_key": None, "error": None, "version": number[0]})  # fmt: skip
    with unit_of_work():
        session().add_all([BotSession(**row) for row in rows])
        session().flush()
        count_changes([(None, row) for row in rows], at)


def test_of_sessions_each_minute_is_counted_anew(desk: Desk) -> None:
    desk.at = from_ms(to_ms(desk.at) // 3_600_000 * 3_600_000)
    rules: list[dict[str, Any]] = [
        {"name": "half", "warning_value": 50.0},
        {"name": "held", "warning_value": 20.0, "for_seconds": 1800},
    ]
    for rule in rules:
        with unit_of_work():
            create_threshold({"metric": "session_failures"} | rule, actor=SYSTEM)
    chance, number = random.Random(2), [0]
    acme, globex = make_tenant("Acme"), make_tenant("Globex")
    for step in range(24):  # the rate changes when sessions have ended, and with the hour
        for seconds in (180, 60, 360):
            desk.later(seconds, work=False)
            settle_due()
            desk.reconciler = Reconciler()
            desk.reconciler.run()
            if seconds == 180:
                ended(desk, acme, chance.randrange(3), chance.randrange(3) * 2 * ((step // 7) % 2), number)
                ended(desk, globex, 1, int(step < 3), number)
    agree(desk, "session_failures", rules)
    found = ask("session_failures", warning_value=50.0)
    assert (found.subject, found.total) == ("sessions", 3)
    with unit_of_work():
        record("sessions.purged", SYSTEM, None, sessions=1, sessions_days=8, events_days=8)
    assert ask("session_failures", warning_value=50.0).fired
    kept = ask("session_failures", 30, warning_value=50.0)
    assert kept.fired is None and kept.reason == "There is not enough history: They are kept for 8 days only"


def test_of_runs_each_that_failed_counts(desk: Desk) -> None:
    desk.rule("run_failed", 0.0, name="failed")
    first, second = make_computer("a"), make_computer("b", tags=["web"])
    for number, (targets, code) in enumerate((((first,), 0), ((first,), 1), ((second,), 1), ((first, second), 1))):
        run = make_run(*targets, command=f"job-{number}")
        for position in range(len(targets)):
            make_output(run, position=position, exit_code=code)
        desk.later(60)
    agree(desk, "run_failed", [{"name": "failed", "warning_value": 0.0}])
    found = ask("run_failed", warning_value=0.0)
    assert (found.subject, found.total, found.fired) == ("run", 4, 3)
    assert [n for _, n, _ in ask("run_failed", warning_value=0.0, scope=ScopeKind.TAG, scope_id="web").affected] == ["job-2"]
    assert ask("run_failed", warning_value=0.0, scope=ScopeKind.COMPUTER, scope_id=first[1]).fired == 1
    with unit_of_work():
        record("runs.purged", SYSTEM, None, runs=1, runs_days=1)
    assert ask("run_failed", warning_value=0.0).reason == "There is not enough history: They are kept for 1 day only"


def test_where_a_time_begins_in_the_journal_is_found(desk: Desk) -> None:
    start = desk.at - timedelta(days=1)
    for _ in range(9):
        desk.later(10, work=False)
        with unit_of_work():
            record("tests.nothing", SYSTEM)
    with desk.reading():
        entries = list(session().query(JournalEntry).order_by(JournalEntry.seq))
        for moment in (start, desk.at + timedelta(seconds=1), *(entry.at for entry in entries[-9:])):
            found = first_since(moment)
            assert [e.seq for e in entries if e.seq >= found] == [e.seq for e in entries if e.at >= moment]


def test_the_api_and_the_page_say_about_what(cast: Cast) -> None:
    with cast.app.app_context():
        mine = proxy("http://exit:1", cast.acme)
        turn(mine[0], ProxyStatus.BLACKLISTED)
        session().remove()
    path = "/api/v1/alerts/thresholds/preview"
    found = cast.client("rita").post(path, json={"metric_type": "proxy_health"}).json
    assert (found["would_have_fired"], found["subject"], found["subjects"], found["subjects_affected"], found["servers"]) == (
        1,
        "proxy",
        1,
        1,
        0,
    )
    assert found["worst"] == [{"server_id": None, "subject_id": mine[1], "name": "http://exit:1", "count": 1}]
    page = (
        cast.browser("alice")
        .get("/alerts/thresholds/try", query_string={"metric": "proxy_health", "warning_level": "1", "scope": "all"})
        .text
    )
    assert "on 1 of 1 proxy." in page and f'href="/proxies/{mine[1]}/"' in page
    for metric, words in (("container_down", "no container"), ("run_failed", "no run")):
        query = {"metric": metric, "warning_level": "0", "scope": "all"}
        assert f"It is about {words}." in cast.browser("alice").get("/alerts/thresholds/try", query_string=query).text
