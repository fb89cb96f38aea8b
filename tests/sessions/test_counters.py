"""The counters are equal to a recount at all times: whatever arrives, in whatever batches, from several writers at once."""

import json
import random
import threading
from datetime import timedelta
from typing import Any

import pytest
from conftest import Cast
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recount import differences
from sqlalchemy import text, update

from app.actors import SYSTEM, Actor, ActorKind
from app.clock import now, to_ms
from app.database import Base, reading, session, unit_of_work
from app.errors import NotFound
from app.journal.queries import first_broken_link
from app.proxies.models import Proxy
from app.proxies.operations import change_enabled, request_checks
from app.sessions import retention, statistics
from app.sessions.counters import error_key, normalised
from app.sessions.events import EventFilter, count_events, page_of_events
from app.sessions.models import BotSession, EventType
from app.sessions.operations import store
from app.sessions.pieces import NewEvent, NewSession, Outcome, Piece
from app.sessions.queries import SessionFilter, page_of_sessions
from app.sessions.writer import writer_of
from app.tenants.operations import create_tenant
from app.vault import Vault

VAULT = Vault(["a secret of thirty-two characters or more"])
NAMES = st.sampled_from([f"s{n}" for n in range(6)])
REGISTERS = st.builds(
    NewSession, NAMES, st.just("p"), st.just("desktop"), st.sampled_from([None, "https://a.example/x", "https://B.example", "nonsense"]),
    st.sampled_from([None, "1.2.3.4:80", "http://u:p@1.2.3.4:80", "5.6.7.8:1"]), st.sampled_from([None, "US", "DE"]),
)  # fmt: skip
ENDS = st.builds(
    Outcome,
    NAMES,
    st.booleans(),
    st.sampled_from([None, 0, 15_000_000, 1]),
    st.sampled_from([None, "Timeout 30 s", "Timeout 31 s", "no"]),
)
EVENTS = st.builds(
    NewEvent, NAMES, st.sampled_from(EventType), st.just(1_700_000_000_000), st.just("{}"), st.sampled_from([None, "k1", "k2"])
)
PIECES = st.one_of(
    st.builds(lambda r: Piece(SYSTEM, registers=r), st.lists(REGISTERS, min_size=1, max_size=3)),
    st.builds(lambda e: Piece(SYSTEM, ends=[e]), ENDS),
    st.builds(lambda e: Piece(SYSTEM, events=e), st.lists(EVENTS, min_size=1, max_size=4)),
)


def rows(statement: str) -> list[Any]:
    return [tuple(row) for row in session().execute(text(statement))]


def empty() -> None:
    with unit_of_work():
        for table in reversed(Base.metadata.sorted_tables):
            session().execute(table.delete())
        create_tenant("Acme", actor=SYSTEM)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(PIECES, min_size=1, max_size=4), min_size=1, max_size=5))
def test_counters_equal_a_recount_after_any_batches(app: Flask, batches: list[list[Piece]]) -> None:
    with app.app_context():
        empty()
        for batch in batches:
            with unit_of_work():
                results = store(batch, VAULT)
            for piece, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    assert isinstance(result, NotFound)
                    assert piece.events
            with reading():
                assert differences(rows) == []
        with reading():
            check_lists()


def check_lists() -> None:
    sessions, events = rows("SELECT id, status FROM sessions ORDER BY id DESC"), rows("SELECT id FROM events ORDER BY id DESC")
    found = statistics.totals(None)
    assert (found.total, found.active) == (len(sessions), sum(1 for row in sessions if row[1] == "active"))
    assert count_events(EventFilter()) == len(events)
    for offset in (0, 1, 3, len(events)):
        assert [e.id for e in page_of_events(EventFilter(), 2, offset)[0]] == [row[0] for row in events[offset : offset + 2]]
        assert [s.id for s in page_of_sessions(SessionFilter(), 2, offset)] == [row[0] for row in sessions[offset : offset + 2]]


def test_counters_equal_a_recount_under_concurrent_writers(cast: Cast) -> None:
    writer, failed = writer_of(cast.app), []
    actors = [Actor(ActorKind.KEY, "k", "bots", tenant_ids=frozenset({tenant})) for tenant in (cast.acme, cast.globex)]

    def one(seed: int) -> None:
        chance, who = random.Random(seed), actors[seed % 2]
        for number in range(30):
            name = f"s{chance.randrange(12)}"
            try:
                writer.submit(
                    Piece(
                        who,
                        registers=[
                            NewSession(name, "p", proxy=f"10.0.0.{chance.randrange(3)}:80", target_url="https://a.example")
                        ],
                    )
                )
                writer.submit(Piece(who, events=[NewEvent(name, EventType.CLICK, to_ms(now()), "{}", f"{seed}-{number // 2}")]))
                if chance.random() < 0.4:
                    writer.submit(Piece(who, ends=[Outcome(name, chance.random() < 0.5, chance.randrange(10**7), "no")]))
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with cast.app.app_context(), reading():
        assert differences(rows) == []
        assert len(rows("SELECT 1 FROM events")) == 12 * 15
        assert first_broken_link() is None


def test_far_pages_begin_where_counting_would(cast: Cast) -> None:
    """Blocks of ids with holes: every page by the counters is the page by an offset."""
    who = Actor(ActorKind.KEY, "k", "bots", tenant_ids=frozenset({cast.acme}))
    other = Actor(ActorKind.KEY, "k", "bots", tenant_ids=frozenset({cast.globex}))
    with cast.app.app_context():
        for turn in range(12):
            actor = other if turn % 3 == 2 else who
            with unit_of_work():
                store([Piece(actor, registers=[NewSession(f"s{turn}", "p")])], VAULT)
                kinds = [EventType.CLICK, EventType.SCROLL, EventType.ERROR]
                events = [NewEvent(f"s{turn}", kinds[(n + turn) % 3], 1, "{}") for n in range(2000)]
                store([Piece(actor, events=events)], VAULT)
        with reading():
            ids = [row[0] for row in rows(f"SELECT id FROM events WHERE tenant_id = '{cast.acme}' ORDER BY id DESC")]
            errors = [
                row[0]
                for row in rows(
                    f"SELECT id FROM events WHERE tenant_id = '{cast.acme}' AND event_type = 'error' ORDER BY id DESC"
                )
            ]
            scope = frozenset({cast.acme})
            assert count_events(EventFilter(scope=scope)) == len(ids) == 16_000
            for offset in (0, 50, 7_999, 8_000, 12_345, 15_990, 16_000, 99_999):
                assert [e.id for e in page_of_events(EventFilter(scope=scope), 20, offset)[0]] == ids[offset : offset + 20]
                found, total = page_of_events(EventFilter(scope=scope, event_type="error"), 20, offset)
                assert ([e.id for e in found], total) == (errors[offset : offset + 20], len(errors))


def test_retention_removes_what_is_old_and_keeps_the_counters_right(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    who = Actor(ActorKind.KEY, "k", "bots", tenant_ids=frozenset({cast.acme}))
    long_ago, today = to_ms(now()) - 100 * 86_400_000, to_ms(now())
    monkeypatch.setattr(retention, "BATCH", 3)
    with cast.app.app_context():
        with unit_of_work():
            for n in range(8):
                store([Piece(who, registers=[NewSession(f"s{n}", "p", country="US", proxy="1.2.3.4:80")])], VAULT)
                store(
                    [
                        Piece(
                            who,
                            events=[
                                NewEvent(f"s{n}", EventType.ERROR, long_ago if i % 2 else today, "{}", f"{n}-{i}")
                                for i in range(4)
                            ],
                        )
                    ],
                    VAULT,
                )
            store([Piece(who, ends=[Outcome(f"s{n}", n % 2 == 0, 5, "no")]) for n in range(6)], VAULT)
            for n in range(4):
                session().execute(text(f"UPDATE sessions SET ended_at = {long_ago} WHERE session_id = 's{n}'"))
        with unit_of_work():  # sessions that began long ago: their hour counters move with them
            age(long_ago)
        retention.retain(timedelta(days=90), timedelta(days=90))
        with reading():
            assert differences_but_proxies() == []
            assert sorted(row[0] for row in rows("SELECT session_id FROM sessions")) == ["s4", "s5", "s6", "s7"]
            assert len(rows("SELECT 1 FROM events")) == 4 * 2
            assert len(rows("SELECT 1 FROM event_keys")) == 4 * 2
            entry = session().execute(text("SELECT data FROM journal WHERE type = 'sessions.purged'")).scalar()
            assert entry is not None
            assert rows("SELECT uses, successes, failures FROM proxies") == [(8, 3, 3)]  # what a proxy has done stays done


def test_a_proxy_that_nobody_uses_any_more_is_removed_with_what_belongs_to_it(cast: Cast) -> None:
    who = Actor(ActorKind.KEY, "k", "bots", tenant_ids=frozenset({cast.acme}))
    names = {"unused": "1.1.1.1:80", "named": "2.2.2.2:80", "off": "3.3.3.3:80", "checked": "4.4.4.4:80", "fresh": "5.5.5.5:80"}
    with cast.app.app_context():
        with unit_of_work():
            store([Piece(who, registers=[NewSession(name, "p", target_url="https://a.example", proxy=address)
                                         for name, address in names.items()])], VAULT)  # fmt: skip
            store([Piece(who, ends=[Outcome(name, True, 5)]) for name in names], VAULT)
        with unit_of_work():
            by_address = dict(session().execute(text("SELECT address, id FROM proxies")).all())
            request_checks([by_address["4.4.4.4:80"]], "https://check.example", actor=who)
            change_enabled([by_address["3.3.3.3:80"]], False, actor=who)
            old = now() - timedelta(days=100)
            stale = [number for address, number in by_address.items() if address != "5.5.5.5:80"]
            session().execute(update(Proxy).where(Proxy.id.in_(stale)).values(last_used=old, created_at=old))
            session().execute(
                update(BotSession).where(BotSession.session_id != "named").values(started_at=to_ms(old), ended_at=to_ms(old))
            )
        retention.retain(timedelta(days=90), timedelta(days=90))
        with reading():
            kept = sorted(row[0] for row in rows("SELECT address FROM proxies"))
            assert kept == ["2.2.2.2:80", "3.3.3.3:80", "4.4.4.4:80", "5.5.5.5:80"]
            assert by_address["1.1.1.1:80"] not in {row[0] for row in rows("SELECT proxy_id FROM proxy_targets")}
            entry = session().execute(text("SELECT data FROM journal WHERE type = 'sessions.purged'")).scalar()
            assert (entry if isinstance(entry, dict) else json.loads(entry))["proxies"] == 1
        with unit_of_work():
            store([Piece(who, registers=[NewSession("again", "p", proxy="1.1.1.1:80")])], VAULT)
        with reading():
            assert rows("SELECT uses, successes FROM proxies WHERE address = '1.1.1.1:80'") == [(1, 0)]


def age(long_ago: int) -> None:
    """Let the first four sessions have begun long ago, with their hour counters."""
    from app.sessions.operations import count_changes

    fields = ("id", "tenant_id", "status", "started_at", "country", "target_host", "duration_us", "error_key", "error")
    changes = []
    for row in session().query(BotSession).filter(BotSession.session_id.in_([f"s{n}" for n in range(4)])):
        before = {name: getattr(row, name) for name in fields}
        row.started_at = long_ago
        changes.append((before, before | {"started_at": long_ago}))
    session().flush()
    count_changes(changes, to_ms(now()))


def differences_but_proxies() -> list[str]:
    return [line for line in differences(rows) if not line.startswith("prox")]


@pytest.mark.parametrize(("one", "other"), [
    ("Timeout 30000ms exceeded", "Timeout 5000ms exceeded"), ("net::ERR at https://a.example/x?1", "net::ERR at http://b.example/"),
    ("No element '#login-1'", "No element '#login-2'"), ("id 3f2b8c1e-0000-4a4a-8888-123456789abc gone", "id 99999999-1111-4a4a-8888-123456789abc gone"),
    ("1.2.3.4:80 refused", "10.20.30.40:8080 refused"), ("", "   "),
])  # fmt: skip
def test_messages_that_differ_only_in_details_are_one_group(one: str, other: str) -> None:
    assert error_key(one) == error_key(other)


def test_other_messages_are_other_groups() -> None:
    assert error_key("captcha") != error_key("timeout")
    assert normalised("Timeout 30s at https://x.example/a") == "Timeout <n>s at <url>"
    assert len(normalised("x" * 10_000)) <= 500


def test_a_hostile_message_is_normalised_in_no_time() -> None:
    for text_ in ("'" * 50_000, "a:" * 20_000, "http://" * 5_000, "0x" * 20_000, "-" * 50_000, "abcdef0-" * 5000):
        normalised(text_)


def test_two_tenants_may_use_the_same_session_id(cast: Cast) -> None:
    for name in ("eve", "alice"):
        assert (
            cast.client(name).post("/api/sessions/register", json={"session_id": "same", "profile_id": name}).status_code == 200
        )
    assert cast.client("eve").get("/api/sessions").json["total"] == 1  # alice sees every tenant, so she updated eve's
    assert cast.client("alice").get("/api/sessions").json["total"] == 1
    assert cast.client("bob").get("/api/sessions/same").json["session"]["profile_id"] == "alice"
    body = {"session_id": "same", "profile_id": "other", "tenant_id": cast.globex}
    assert cast.client("alice").post("/api/sessions/register", json=body).status_code == 200
    assert cast.client("alice").get("/api/sessions").json["total"] == 2
    assert cast.client("bob").get("/api/sessions/same").json["session"]["profile_id"] == "alice"
    assert cast.client("charlie").get("/api/sessions/same").json["session"]["profile_id"] == "other"


def test_details_come_back_as_they_were_sent(cast: Cast) -> None:
    bot, details = cast.client("eve"), {"text": "ü€😀 \"'<script>", "n": [1, 2.5, None, True, {"a": {}}], "=cmd": "=1+1"}
    bot.post("/api/sessions/register", json={"session_id": "s", "profile_id": "p", "metadata": details})
    bot.post("/api/events", json={"session_id": "s", "event_type": "custom", "details": details})
    shown = bot.get("/api/sessions/s").json
    assert shown["session"]["metadata"] == shown["events"][0]["details"] == details
