"""Contract 003, "IP Status" and its notes in contracts/README.md: health, rests, and credentials that nobody sees again."""

import base64
import logging
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bot_traffic import ended, outcomes, proxies, proxy_id, turn_clock, used
from conftest import Cast
from flask import Flask
from flask.testing import FlaskClient

from app.database import session, unit_of_work
from app.extensions import db
from app.journal.models import JournalEntry
from app.journal.queries import EntryFilter, page_of_entries
from app.proxies import operations, queries
from app.proxies.models import Proxy

FIELDS = {"url", "uses", "successes", "failures", "success_rate", "status", "enabled", "last_used", "avg_latency_ms", "country"}
EXIT = "1.2.3.4:12321"


@pytest.fixture
def bot(cast: Cast) -> FlaskClient:
    """An executor's program."""
    return cast.client("eve")


def changes(app: Flask) -> list[tuple[str, str, str]]:
    """(before, after, actor) of every change of status in the journal, oldest first."""
    with app.app_context():
        entries = page_of_entries(EntryFilter(type="proxy.status_changed"), 1, 100, oldest_first=True)
        return [(e.data["before"], e.data["after"], e.actor_name) for e in entries]


def end_rests(app: Flask) -> int:
    with app.app_context(), unit_of_work():
        return operations.end_rests()


def test_the_answer_has_the_documented_fields(bot: FlaskClient) -> None:
    outcomes(bot, EXIT, "+" * 18 + "--", country="US")
    answer = bot.get("/api/ip/status").json
    assert answer.keys() == {"proxies", "health"}
    assert answer["health"] == {"healthy": 1, "flagged": 0, "blacklisted": 0}
    (row,) = answer["proxies"]
    assert row.keys() >= FIELDS | {"is_in_cooldown", "cooldown_until"}
    documented = {"url": EXIT, "uses": 20, "successes": 18, "failures": 2, "success_rate": 0.9, "status": "healthy",
                  "enabled": True, "avg_latency_ms": 1500.0, "country": "US"}  # fmt: skip
    assert {name: row[name] for name in documented} == documented
    assert row["last_used"].endswith("+00:00")
    assert bot.get("/api/stats").json["proxy_stats"] == answer["proxies"]
    assert bot.get("/api/stats").json["ip_health"] == answer["health"]


def test_health_counts_each_proxy_once_by_its_success_rate(bot: FlaskClient) -> None:
    for number, luck in enumerate(("++++-", "++-+", "+-", "+--+-", "", "--")):
        used(bot, f"open-{number}", f"10.0.0.{number}:80")
        outcomes(bot, f"10.0.0.{number}:80", luck)
    shown = {url: (row["success_rate"], row["status"]) for url, row in proxies(bot).items()}
    assert shown == {
        "10.0.0.0:80": (0.8, "healthy"), "10.0.0.1:80": (0.75, "flagged"), "10.0.0.2:80": (0.5, "flagged"),
        "10.0.0.3:80": (0.4, "blacklisted"), "10.0.0.4:80": (1.0, "healthy"), "10.0.0.5:80": (0.0, "blacklisted"),
    }  # fmt: skip
    assert bot.get("/api/ip/status").json["health"] == {"healthy": 2, "flagged": 2, "blacklisted": 2}


def test_uses_count_when_sessions_begin_and_outcomes_when_they_end_once(bot: FlaskClient) -> None:
    used(bot, "a", EXIT)
    assert (proxies(bot)[EXIT]["uses"], proxies(bot)[EXIT]["successes"]) == (1, 0)
    ended(bot, "a")
    ended(bot, "a", success=False)
    used(bot, "b", EXIT)
    used(bot, "b", "5.6.7.8:80")
    rows = proxies(bot)
    assert (rows[EXIT]["uses"], rows[EXIT]["successes"], rows[EXIT]["failures"]) == (1, 1, 0)
    assert rows["5.6.7.8:80"]["uses"] == 1


def test_three_failures_in_a_row_rest_it_for_30_minutes_and_the_next_three_for_60(
    cast: Cast, bot: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes(bot, EXIT, "+" * 30 + "--+--")
    assert not proxies(bot)[EXIT]["is_in_cooldown"]
    before = datetime.now(UTC)
    outcomes(bot, EXIT, "-")
    row = proxies(bot)[EXIT]
    until = datetime.fromisoformat(row["cooldown_until"])
    assert timedelta(minutes=30) <= until - before < timedelta(minutes=30, seconds=20)
    assert (row["is_in_cooldown"], row["enabled"], row["status"], row["success_rate"]) == (True, False, "blacklisted", 0.8611)
    assert row["reason"].startswith("Rests after 3 failures in a row; 86 % of 36 sessions succeeded")
    assert changes(cast.app) == [("healthy", "blacklisted", "system")]
    assert end_rests(cast.app) == 0

    turn_clock(monkeypatch, timedelta(minutes=30, seconds=30))
    assert end_rests(cast.app) == 1
    row = proxies(bot)[EXIT]
    assert (row["is_in_cooldown"], row["cooldown_until"], row["enabled"], row["status"]) == (False, None, True, "healthy")
    assert changes(cast.app)[1:] == [("blacklisted", "healthy", "system")]
    assert end_rests(cast.app) == 0

    outcomes(bot, EXIT, "--")
    assert not proxies(bot)[EXIT]["is_in_cooldown"]
    outcomes(bot, EXIT, "-")
    row = proxies(bot)[EXIT]
    rest = datetime.fromisoformat(row["cooldown_until"]) - operations.now()
    assert rest == timedelta(minutes=60)
    assert "for the second time" in row["reason"]


def test_a_rest_that_ends_gives_the_status_that_the_rate_deserves(
    cast: Cast, bot: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes(bot, "9.9.9.9:1", "+++++---")
    outcomes(bot, "9.9.9.9:2", "---")
    assert {row["status"] for row in proxies(bot).values()} == {"blacklisted"}
    turn_clock(monkeypatch, timedelta(minutes=31))
    assert end_rests(cast.app) == 2
    assert {url: row["status"] for url, row in proxies(bot).items()} == {"9.9.9.9:1": "flagged", "9.9.9.9:2": "blacklisted"}
    assert changes(cast.app)[-1] == ("blacklisted", "flagged", "system")


def test_a_person_disables_and_enables_it_which_ends_its_rest(cast: Cast, bot: FlaskClient) -> None:
    outcomes(bot, EXIT, "+" * 20 + "---")
    path = f"/api/v1/proxies/{proxy_id(bot, EXIT)}"
    bob = cast.client("bob")
    enabled = bob.put(path, json={"enabled": True})
    assert enabled.status_code == 200, enabled.text
    assert (enabled.json["status"], enabled.json["is_in_cooldown"], enabled.json["offences"]) == ("healthy", False, 0)
    disabled = bob.put(path, json={"enabled": False}).json
    assert (disabled["status"], disabled["enabled"], disabled["reason"]) == ("blacklisted", False, "Disabled by bob's key")
    assert bob.put(path, json={"enabled": False}).json["enabled"] is False
    assert bot.get("/api/ip/status").json["health"] == {"healthy": 0, "flagged": 0, "blacklisted": 1}
    assert bob.put(path, json={"enabled": True}).json["status"] == "healthy"
    with cast.app.app_context():
        types = [
            e.type for e in page_of_entries(EntryFilter(subject_kind="proxy", subject_id=path[-36:]), 1, 50, oldest_first=True)
        ]
    assert types == ["proxy.status_changed", "proxy.enabled", "proxy.status_changed", "proxy.disabled", "proxy.status_changed",
                     "proxy.enabled", "proxy.status_changed"]  # fmt: skip
    for name, status in (("rita", 403), ("eve", 403), ("charlie", 404), (None, 401)):
        assert cast.client(name).put(path, json={"enabled": False}).status_code == status, name
    for body in ({}, {"enabled": "no"}, {"enabled": None}, [], {"enabled": 1}):
        assert bob.put(path, json=body).status_code == 400, body


def test_disabling_can_be_taken_back_exactly(cast: Cast, bot: FlaskClient) -> None:
    outcomes(bot, EXIT, "+" * 20 + "---")
    before = proxies(bot)[EXIT]
    with cast.app.app_context():
        for enabled in (False, True):
            with unit_of_work():
                ids = queries.ids_of(queries.ProxyFilter())
                assert len(operations.change_enabled(ids, enabled, actor=operations.SYSTEM, keep_rest=True)) == 1
                assert operations.change_enabled(ids, enabled, actor=operations.SYSTEM, keep_rest=True) == [], "no change"
    assert proxies(bot)[EXIT] == before


def test_an_exit_can_be_dead_for_one_target_alone(cast: Cast, bot: FlaskClient) -> None:
    outcomes(bot, EXIT, "+" * 30, target_url="https://news.example/")
    outcomes(bot, EXIT, "-", target_url="https://shop.example/")
    for _ in range(3):
        outcomes(bot, EXIT, "+", target_url="https://news.example/")
        outcomes(bot, EXIT, "-", target_url="https://shop.example/")
    shown = cast.client("rita").get(f"/api/v1/proxies/{proxy_id(bot, EXIT)}").json
    targets = {t["host"]: (t["successes"], t["failures"], t["failures_in_row"], t["status"]) for t in shown["targets"]}
    assert shown["status"] == "healthy"
    assert targets == {"news.example": (33, 0, 0, "healthy"), "shop.example": (0, 4, 4, "blacklisted")}


def test_a_session_that_changes_its_proxy_and_target_counts_for_what_it_last_named(cast: Cast, bot: FlaskClient) -> None:
    outcomes(bot, "2.2.2.2:2", "+", target_url="https://b.example/")
    used(bot, "moves", EXIT, target_url="https://a.example/")
    used(bot, "moves", "2.2.2.2:2", target_url="https://b.example/")
    ended(bot, "moves", success=False)
    shown = bot.get(f"/api/v1/proxies/{proxy_id(bot, '2.2.2.2:2')}").json
    assert [(t["host"], t["successes"], t["failures"]) for t in shown["targets"]] == [("b.example", 1, 1)]


def test_what_a_batch_names_late_is_found_all_the_same(cast: Cast) -> None:
    """A registration that changes the target and the end of the same session in one transaction."""
    from app.factory import vault_of
    from app.sessions.operations import store
    from app.sessions.pieces import NewSession, Outcome, Piece

    with cast.app.app_context():
        vault = vault_of(cast.app)

        def send(*pieces: Piece) -> None:
            with unit_of_work():
                assert not [one for one in store(pieces, vault) if isinstance(one, Exception)]

        who = operations.SYSTEM
        for name, host in (("a", "x.example"), ("b", "y.example")):
            send(Piece(who, registers=[NewSession(name, "p", target_url=f"https://{host}/", proxy=EXIT)]))
        send(Piece(who, ends=[Outcome("b", True)]))
        send(Piece(who, registers=[NewSession("a", target_url="https://y.example/")]), Piece(who, ends=[Outcome("a", False)]))
        (proxy,) = queries.all_proxies(None)
        assert [(t.host, t.successes, t.failures) for t in queries.targets_of(proxy)] == [("y.example", 1, 1)]


def test_two_logins_at_one_gateway_are_two_proxies(bot: FlaskClient) -> None:
    for user in ("one", "two", "one"):
        outcomes(bot, f"http://{user}:pw@gate.example:8000", "+")
    rows = bot.get("/api/ip/status").json["proxies"]
    assert sorted((row["url"], row["uses"]) for row in rows) == [
        ("http://***@gate.example:8000", 1),
        ("http://***@gate.example:8000", 2),
    ]


CANARY, USER = "cAnArY-7f3a9", "uSeR-canary-51c"
FORMS = [f"http://{USER}:{CANARY}@host-a.example:1", f"host-b.example:1:{USER}:{CANARY}", f"{USER}:{CANARY}@host-c.example:1",
         f"socks5://{USER}:{CANARY}@host-d.example:1080", f"nonsense {USER}:{CANARY}"]  # fmt: skip


def leaks(text: str) -> list[str]:
    """Which of the secrets a text holds, in clear or in base64."""
    encoded = base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
    return [word for word in (CANARY, USER, encoded) if word.lower() in text.lower()]


def test_the_credentials_of_a_proxy_are_nowhere_to_be_seen(
    cast: Cast, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    bot, admin, browser = cast.client("eve"), cast.client("alice"), cast.browser("alice")
    for number, address in enumerate(FORMS):
        for outcome in ("+", "-", "-", "-"):
            outcomes(bot, address, outcome)
        used(bot, f"stays-{number}", address)
    rows = admin.get("/api/v1/proxies").json["proxies"]
    assert len(rows) == len(FORMS)
    for row in rows:
        uuid = row["id"]
        assert admin.post(f"/api/v1/proxies/{uuid}/check").status_code == 202
        browser.get(f"/proxies/{uuid}/")
        for action in ("check", "disable", "enable", "disable"):
            assert browser.post(f"/proxies/{uuid}/{action}").status_code == 303
    paths = ["/api/ip/status", "/api/stats", "/api/v1/proxies", f"/api/v1/proxies?q={CANARY}", "/api/sessions?per_page=100", "/api/sessions/stays-0",
             "/api/sessions/export", "/api/events", "/proxies/", "/proxies.csv", "/", "/sessions/", "/settings/audit", "/search?q=host",
             *(f"/api/v1/proxies/{row['id']}" for row in rows), *(f"/proxies/{row['id']}/" for row in rows)]  # fmt: skip
    for path in paths:
        for client in (admin, browser.client):
            answer = client.get(path)
            assert not leaks(answer.text.replace(f"q={CANARY}", "")), path
    assert admin.get(f"/api/v1/proxies?q={CANARY}").json["total"] == 0, "a secret cannot be searched for"
    with cast.app.app_context():
        assert not [e for e in session().query(JournalEntry) if leaks(f"{e.subject_name} {e.data} {e.actor_name}")]
        assert not [p for p in session().query(Proxy) if leaks(f"{p.address} {p.sealed} {p.fingerprint} {p.last_error}")]
        url = db.engine.url
        db.session.remove()
    said = capfd.readouterr()
    assert not leaks(caplog.text + said.out + said.err)
    if url.get_backend_name() == "sqlite":
        files = sorted(Path(str(url.database)).parent.glob(Path(str(url.database)).name + "*"))
        assert any(file.stat().st_size for file in files)
        for file in files:  # by another process: POSIX takes this one's locks on a file that it closes, and SQLite's with them
            written = subprocess.run(["cat", str(file)], capture_output=True, check=True).stdout
            assert not leaks(written.decode("latin-1")), file.name
