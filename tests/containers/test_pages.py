"""The pages of containers: who may see and do what, that names stay text, and that each state says what it means."""

import csv
import io
import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_containers
from flask import Flask
from sqlalchemy import select, update

from app.actors import SYSTEM
from app.clock import now
from app.containers import queries, readings, reports, shown
from app.containers.desk import Desk
from app.containers.models import Container, ContainerState, EngineState, LogReading
from app.containers.queries import ContainerFilter
from app.containers.readings import Stored
from app.containers.reports import ContainerFound, EngineFound
from app.containers.schemas import of_agent
from app.database import session, unit_of_work
from app.fleet.models import Computer, ComputerStatus
from app.fleet.operations import contact, sweep_offline
from app.journal.models import JournalEntry
from app.runs.models import Run

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def names(html: str) -> list[str]:
    return re.findall(r'class="bn-name bn-ltr" href="/containers/[^"]+" title="([^"]+)"', html)


def ids(cast: Cast) -> dict[str, str]:
    with cast.app.app_context():
        found = {one.name: one.uuid for one in session().scalars(select(Container))}
        session().remove()
    return found


def found(name: str, state: ContainerState = ContainerState.RUNNING, **fields: Any) -> ContainerFound:
    return ContainerFound(**({"engine_id": (name.encode().hex() * 64)[:64], "name": name, "image": "i", "state": state} | fields))


@pytest.fixture
def fleet(cast: Cast) -> dict[str, tuple[int, str]]:
    """Acme has two computers with containers, Globex one."""
    with cast.app.app_context():
        made = {name: make_computer(name, tenant_id=tenant) for name, tenant in
                (("web-1", cast.acme), ("db-1", cast.acme), ("other", cast.globex))}  # fmt: skip
        with unit_of_work():
            for computer_id, _ in made.values():
                contact(computer_id)
            rows = [found("nginx", project="shop"), found("cron", ContainerState.EXITED, exit_code=1, finished_at=now())]
            reports.store_report(made["web-1"][0], EngineFound(EngineState.OK, total=2), rows)
        make_containers(made["db-1"], "postgres", image="postgres:17", health="unhealthy")
        make_containers(made["other"], "secret")
    return made


@pytest.mark.parametrize("who", ["alice", "bob", "rita", "charlie"])
def test_page_fragment_and_csv_say_the_same(cast: Cast, fleet: dict[str, Any], who: str) -> None:
    browser = cast.browser(who)
    for query in ("", "?state=running", "?state=stopped", "?state=attention", "?q=shop", "?q=db-1", "?image=postgres:17&sort=-cpu",
                  f"?computer={fleet['web-1'][1]}&sort=-uptime"):  # fmt: skip
        page, fragment = browser.get(f"/containers/{query}"), browser.get(f"/containers/{query}", headers={"HX-Request": "true"})
        table = list(csv.DictReader(io.StringIO(browser.get(f"/containers.csv{query}").text)))
        assert "<html" in page.text
        assert "<html" not in fragment.text
        assert names(page.text) == names(fragment.text) == [row["name"] for row in table]
        assert ("secret" in names(page.text)) <= (who in ("alice", "charlie"))
    assert set(names(browser.get("/containers/").text)) == {
        "alice": {"nginx", "cron", "postgres", "secret"}, "charlie": {"secret"},
    }.get(who, {"nginx", "cron", "postgres"})  # fmt: skip


def test_filters_find_what_they_say(cast: Cast, fleet: dict[str, Any]) -> None:
    browser = cast.browser("bob")
    for query, expected in (
        ("state=running", ["nginx", "postgres"]), ("state=stopped", ["cron"]), ("state=exited", ["cron"]),
        ("state=attention", ["cron", "postgres"]), ("q=shop", ["nginx"]), ("q=WEB-1+cron", ["cron"]), ("state=dead", []),
        (f"q={(b'nginx'.hex() * 64)[:9]}", ["nginx"]), ("sort=-name", ["postgres", "nginx", "cron"]),
        ("q=%25", []), (f"tenant={cast.globex}", []),
    ):  # fmt: skip
        assert names(browser.get(f"/containers/?{query}").text) == expected, query
    for bad in ("state=on-fire", "sort=magic", "cols=x", "page=0"):
        assert browser.get(f"/containers/?{bad}").status_code == 400, bad


def test_a_container_of_another_tenant_does_not_exist(cast: Cast, fleet: dict[str, Any]) -> None:
    secret = ids(cast)["secret"]
    bob, key = cast.browser("bob"), cast.client("bob")
    for path in ("", "logs", "logs/new", "logs/all"):
        assert bob.get(f"/containers/{secret}/{path}").status_code == 404
    for action in ("start", "stop", "restart"):
        assert bob.post(f"/containers/{secret}/{action}").status_code == 404
        assert key.post(f"/api/v1/docker/{fleet['other'][1]}/containers/secret/{action}").status_code == 404
        answer = bob.post(f"/containers/bulk/{action}", ids=secret, confirmed="1")
        assert answer.status_code == 400
    assert key.get(f"/api/v1/docker/{fleet['other'][1]}/containers").status_code == 404
    assert key.get(f"/api/v1/docker/{fleet['other'][1]}/containers/secret/logs").status_code == 404
    assert bob.get(f"/fleet/{fleet['other'][1]}/containers").status_code == 404
    with cast.app.app_context():
        assert session().scalars(select(Run)).first() is None
        session().remove()


def test_a_readonly_person_reads_and_does_nothing(cast: Cast, fleet: dict[str, Any]) -> None:
    one = ids(cast)["nginx"]
    rita, key = cast.browser("rita"), cast.client("rita")
    page = rita.get(f"/containers/{one}/").text
    assert "nginx" in page
    assert "formaction" not in page
    assert 'id="bulk"' not in rita.get("/containers/").text
    for action in ("start", "stop", "restart"):
        assert rita.post(f"/containers/{one}/{action}").status_code == 403
        assert rita.post(f"/containers/bulk/{action}", ids=one).status_code == 403
        answer = key.post(f"/api/v1/docker/{fleet['web-1'][1]}/containers/nginx/{action}")
        assert (answer.status_code, answer.json) == (403, {"detail": "Not enough permissions"})


def test_nobody_signed_in_gets_nothing(cast: Cast, fleet: dict[str, Any]) -> None:
    stranger, server = cast.client(), fleet["web-1"][1]
    for method, path in (
        ("GET", ""),
        ("GET", "/nginx/logs"),
        ("POST", "/nginx/start"),
        ("POST", "/nginx/stop"),
        ("POST", "/nginx/restart"),
    ):
        answer = stranger.open(f"/api/v1/docker/{server}/containers{path}", method=method)
        assert (answer.status_code, answer.json) == (401, {"detail": "Could not validate credentials"})


def test_a_selection_is_confirmed_and_becomes_one_run(cast: Cast, fleet: dict[str, Any]) -> None:
    bob, known = cast.browser("bob"), ids(cast)
    ask = bob.post("/containers/bulk/stop", all="1", query="state=running", count="2", back="state=running")
    assert ask.status_code == 200
    assert "Stop 2 containers?" in ask.text
    assert 'name="timeout"' in ask.text
    drifted = bob.post("/containers/bulk/stop", all="1", query="state=running", count="5", confirmed="1")
    assert drifted.status_code == 409
    bad = bob.post("/containers/bulk/stop", all="1", query="state=running", count="2", confirmed="1", timeout="-1")
    assert bad.status_code == 422
    done = bob.post("/containers/bulk/stop", all="1", query="state=running", count="2", confirmed="1", timeout="3")
    assert done.status_code == 303
    run = bob.client.get(done.location.rstrip("/").replace("/runs/", "/api/v1/runs/")).json
    assert (run["kind"], run["title"], run["total"], run["spec"]["timeout"]) == ("container", "Stop 2 containers", 2, 3)
    page = bob.get(done.location).text
    assert "each gets 3 s to end by itself" in page
    one = bob.post("/containers/bulk/restart", ids=known["cron"], confirmed="1")
    assert bob.get(one.location).status_code == 200


def test_over_25_containers_the_count_is_typed(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("many", tenant_id=cast.acme)
        make_containers(computer, *(f"c{number:02}" for number in range(30)))
    bob = cast.browser("bob")
    fields = {"all": "1", "query": "", "count": "30", "confirmed": "1"}
    assert bob.post("/containers/bulk/restart", **fields).status_code == 422
    assert bob.post("/containers/bulk/restart", **fields, typed="30").status_code == 303


def test_an_action_on_an_offline_computer_is_not_sent(cast: Cast, fleet: dict[str, Any]) -> None:
    bob, one = cast.browser("bob"), ids(cast)["nginx"]
    answer = bob.post(f"/containers/{one}/restart", timeout="5")
    assert answer.location == f"/containers/{one}/"
    assert "offline. Nothing was sent" in bob.get(answer.location).text
    assert "timeout" not in bob.post(f"/containers/{one}/restart", timeout="-5").location


def test_hostile_names_stay_text_everywhere(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("evil", tenant_id=cast.acme)
        with unit_of_work():
            row = found(EVIL, image=EVIL, project=EVIL, command=EVIL, labels={EVIL: EVIL}, engine_id="abc", health=EVIL[:16],
                        ports=[{"ip": EVIL[:20], "private_port": 80, "public_port": 80, "type": EVIL[:8]}])  # fmt: skip
            reports.store_report(computer[0], EngineFound(EngineState.SILENT, message=EVIL), [row])
            reports.store_report(computer[0], EngineFound(EngineState.OK, EVIL[:40], EVIL[:40]), [row])
    bob, (one,) = cast.browser("bob"), ids(cast).values()
    pages = [f"/containers/{one}/", "/containers/?cols=name,image,project,ports", f"/fleet/{computer[1]}/containers"]
    for path in [*pages, "/search?q=script"]:
        html = bob.get(path).text
        assert "<script>alert" not in html
        assert "<img" not in html
    bob.post("/containers/bulk/stop", ids=one)
    assert "<script>alert" not in bob.post("/containers/bulk/stop", ids=one).text
    assert bob.get("/containers.csv").text.count("\n") == 2


REASONS = {
    None: "No containers are known here", EngineState.NONE: "No Docker and no Podman", EngineState.SILENT: "does not answer",
    EngineState.DENIED: "may not use", EngineState.OFF: "switched off", EngineState.UNSUPPORTED: "cannot speak",
    EngineState.OK: "No containers here",
}  # fmt: skip


def test_a_computer_says_why_it_shows_no_containers(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("bare", tenant_id=cast.acme)
    rita = cast.browser("rita")
    for state, words in REASONS.items():
        if state is not None:
            with cast.app.app_context():
                make_containers(computer, engine=state)
        assert words in rita.get(f"/fleet/{computer[1]}/containers").text, state


def test_the_empty_list_says_what_to_do_next(cast: Cast) -> None:
    bob = cast.browser("bob")
    assert "No container yet" in bob.get("/containers/").text
    assert "No containers match" in bob.get("/containers/?q=nobody").text


def test_the_palette_finds_containers(cast: Cast, fleet: dict[str, Any]) -> None:
    assert "nginx" in cast.browser("bob").get("/search?q=nginx").text
    assert "secret" not in cast.browser("bob").get("/search?q=secre").text


# What reports change


def kinds(limit: int = 20) -> list[tuple[str, dict[str, Any]]]:
    rows = session().scalars(
        select(JournalEntry).where(JournalEntry.type == "container.state_changed").order_by(JournalEntry.seq)
    )
    return [(row.subject_name, {k: row.data[k] for k in ("before", "after")}) for row in rows][:limit]


def test_changed_states_go_to_the_journal_and_figures_do_not(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("web-1", tenant_id=cast.acme)
        up = EngineFound(EngineState.OK)
        steps = (
            [found("a"), found("b", ContainerState.EXITED)],
            [found("a", ContainerState.EXITED, exit_code=1), found("b", ContainerState.EXITED)],
            [found("a"), found("b", ContainerState.EXITED, status="Exited 5 minutes ago")],
            [found("b", ContainerState.EXITED)],
        )
        for rows in steps:
            with unit_of_work():
                reports.store_report(computer[0], up, rows)
        with unit_of_work():
            reports.store_figures(computer[0], [(found("b").engine_id, 1.0, 2, 3)])
        assert kinds() == [
            ("a", {"before": "running", "after": "exited"}), ("a", {"before": "exited", "after": "running"}),
            ("a", {"before": "running", "after": "removed"}),
        ]  # fmt: skip
        session().remove()


def test_containers_that_stopped_running_are_known_for_alerts(cast: Cast) -> None:
    with cast.app.app_context():
        computer, up = make_computer("web-1", tenant_id=cast.acme), EngineFound(EngineState.OK)
        never, ran = found("never", ContainerState.CREATED), found("ran")
        before = now()
        for rows in (
            [never, ran],
            [never, found("ran", ContainerState.EXITED)],
            [never, found("ran", ContainerState.EXITED, status="x")],
        ):
            with unit_of_work():
                reports.store_report(computer[0], up, rows)
        scopes = (None, frozenset({cast.acme}), frozenset({cast.globex}))
        assert [[one.name for one in queries.down(scope)] for scope in scopes] == [["ran"], ["ran"], []]
        assert [one.name for one in queries.down(None, since=before)] == ["ran"]
        assert queries.down(None, since=now()) == []
        with unit_of_work():
            reports.store_report(computer[0], EngineFound(EngineState.SILENT), [])
        assert [one.state for one in queries.down()] == [ContainerState.UNKNOWN]
        with unit_of_work():
            reports.store_report(computer[0], up, [never, ran])
        assert queries.down() == []
        session().remove()


def test_a_row_is_new_when_its_computer_comes_or_goes(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("web-1", tenant_id=cast.acme)
        make_containers(computer, "a")
        seen = []
        for status in (ComputerStatus.ONLINE, ComputerStatus.OFFLINE):
            with unit_of_work():
                if status is ComputerStatus.ONLINE:
                    contact(computer[0])
                else:
                    session().execute(update(Computer).values(due_at=now() - timedelta(seconds=1)))
                    sweep_offline()
            seen.append(queries.versions(ContainerFilter(), "name", 1, 0)[0][2])
            session().remove()
    assert seen[0] < seen[1]


def test_deleting_a_computer_deletes_its_containers(cast: Cast, fleet: dict[str, Any]) -> None:
    assert cast.client("alice").delete(f"/api/v1/servers/{fleet['web-1'][1]}").status_code == 204
    assert set(ids(cast)) == {"postgres", "secret"}


def test_a_reading_that_nobody_asks_for_is_forgotten(cast: Cast, fleet: dict[str, Any]) -> None:
    with cast.app.app_context():
        with unit_of_work():
            one = session().scalar(select(Container).where(Container.name == "nginx"))
            reading_id = readings.begin(one, actor=SYSTEM, tail=10, follow=True).id
            readings.claim(reading_id)
            readings.store(reading_id, one.computer_id, 1, [("stdout", None, "x")])
        with unit_of_work():
            assert readings.forget_unwanted() == 0
            session().execute(update(LogReading).values(wanted_until=now() - timedelta(seconds=1)))
            assert readings.forget_unwanted() == 1
        assert readings.take(reading_id, 0, "nobody", 0) is None
        session().remove()


def test_who_reads_too_many_logs_locks_out_nobody_else(
    cast: Cast, fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_OWN", 2)
    bob, rita, place = cast.browser("bob"), cast.browser("rita"), f"/containers/{ids(cast)['nginx']}/logs"
    first, _ = bob.get(f"{place}/new"), bob.get(f"{place}/new")
    refused = bob.get(f"{place}/new")
    assert (refused.headers["X-Open"], refused.headers["X-Words"]) == ("0", "You are reading 2 logs already; close some of them")
    page = bob.get(place)
    assert page.status_code == 409 and "You are reading 2 logs already" in page.text
    assert bob.get(f"{place}/all").status_code == 409
    assert rita.get(f"{place}/new").headers["X-Open"] == "1"
    with cast.app.app_context(), unit_of_work():
        readings.end(first.headers["X-After"].partition(".")[0])
    assert bob.get(f"{place}/new").headers["X-Open"] == "1"


def test_all_together_read_no_more_logs_than_there_is_room_for(
    cast: Cast, fleet: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "MAX_OPEN", 1)
    place = f"/containers/{ids(cast)['nginx']}/logs/new"
    cast.browser("bob").get(place)
    assert "by everybody together" in cast.browser("rita").get(place).headers["X-Words"]


def test_as_many_small_pieces_may_wait_as_a_connector_can_send_unacknowledged(built: Flask) -> None:
    """The protocol lets 256 KiB be on their way when the acknowledgements stop, in pieces as small as one line."""
    desk, connection = Desk(built), SimpleNamespace()
    one: list[readings.Line] = [("stdout", None, "x")]
    big: list[readings.Line] = [("stdout", "2026-01-01T00:00:00.123456789Z", "\U0001f40b" * 16_384)]
    weights = [readings.weight(big)] * readings.WINDOW + [readings.weight(one)] * (256 * 1024 // 25)
    landed = [desk.landed(connection, "r", Stored(True, seq, 0), size) for seq, size in enumerate(weights, 1)]  # type: ignore[arg-type]
    assert all(landed)
    more = [desk.landed(connection, "r", Stored(True, len(weights) + seq, 0), weights[0]) for seq in range(1, 12)]  # type: ignore[arg-type]
    assert not more[-1]
    assert desk.landed(connection, "r", Stored(True, len(weights) + 12, len(weights)), weights[0]), (
        "what was taken weighs nothing"
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Exited (137) 2 days ago", 137), ("Exited (3221225786) 1 hour ago", -1073741510), ("Exited (-1) now", -1),
        ("Exited (99999999999999999999) now", None), ("Exited (4294967296) now", None), ("Exited (-2147483649) now", None),
        ("Exited (\u0663) now", 3), ("Exited () now", None),
    ],
)  # fmt: skip
def test_odd_exit_codes_of_an_agents_containers(status: str, code: int | None) -> None:
    (one,) = of_agent([{"id": "a", "status": status}])
    assert one.exit_code == code


def test_odd_ports_of_an_agents_containers() -> None:
    odd = [0, -1, 65_536, 10**30, "9" * 5000, True, None, 80.5, "eighty", [80], {"80": 1}, 443]
    ports = [{"PrivatePort": value, "PublicPort": value, "IP": value, "Type": value} for value in odd]
    (one,) = of_agent([{"id": "a", "Ports": ports}])
    assert [(port["private_port"], port["public_port"]) for port in one.ports] == [(443, 443)]
    mapped = {"80/tcp": [{"HostPort": "9" * 5000}], "9" * 400: None, "x/tcp": [], "53/udp": [{"HostPort": "53", "HostIp": "::1"}]}
    (one,) = of_agent([{"id": "a", "ports": mapped}])
    assert [(port["private_port"], port["public_port"]) for port in one.ports] == [(80, None), (53, 53)]


def test_what_a_connector_says_of_the_end_of_a_log_stays_one_header(cast: Cast, fleet: dict[str, Any]) -> None:
    place, bob = f"/containers/{ids(cast)['nginx']}/logs/new", cast.browser("bob")
    after = bob.get(place).headers["X-After"]
    reading = after.partition(".")[0]
    with cast.app.app_context(), unit_of_work():
        readings.claim(reading)
        readings.finish(reading, fleet["web-1"][0], "failed", "broken\r\nSet-Cookie: a=b\n\u2028\x85caf\xe9")
    answer = bob.get(f"{place}?after={after}")
    assert answer.headers["X-Words"] == "broken Set-Cookie: a=b caf?"
    assert answer.headers["X-Open"] == "0" and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web-1.x", "web-1.x"),
        ('a"; filename="b.exe', "a___filename__b.exe"),
        ("\u540d\u524d\r\n..", "____.."),
        ("../" * 60, "../" * 60),
    ],
)
def test_a_log_is_downloaded_under_a_name_that_every_browser_takes(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    monkeypatch.setattr(shown, "pieces", lambda *_: iter([[("stdout", None, "a line")]]))
    container = SimpleNamespace(name=name, short_id="abc")
    with cast.app.test_request_context():
        answer = shown.as_download(container, SYSTEM)  # type: ignore[arg-type]
    head = answer.headers["Content-Disposition"]
    assert head == f'attachment; filename="{file.replace("/", "_")[:80]}.log"'
    assert head.isascii() and answer.mimetype == "text/plain"
