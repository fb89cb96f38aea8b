"""RELIABILITY 17, on both databases: followed exactly once, claimed once, tried again in time, and never after an acknowledgement."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from conftest import Cast
from factories import make_computer
from flask import Flask
from local_proxies import make_certificate, refused
from receivers import Reply, receiving
from serving import eventually
from sqlalchemy import func, select, update

from app.actors import SYSTEM
from app.clock import now
from app.database import reading, session, unit_of_work
from app.deliveries import operations, queries
from app.deliveries.courier import Courier
from app.deliveries.models import Delivery, DeliveryAttempt, DeliveryStatus, ReceiverState
from app.deliveries.operations import Claimed, NewDelivery, Outcome, carriers, pause_s
from app.factory import settings_of, vault_of
from app.fleet.operations import create_computer
from app.journal.models import JournalEntry
from app.retry_after import retry_after
from app.webhooks.models import Webhook
from app.webhooks.operations import create_webhook

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
def loopback(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application, allowed to reach receivers on this machine."""
    monkeypatch.setattr(settings_of(app), "outbound_allow", LOOPBACK)
    return app


def make_webhook(app: Flask, url: str, *events: str, **fields: Any) -> str:
    with unit_of_work():
        hook, _ = create_webhook(
            "hook", url, events or ("computer.added",), actor=SYSTEM, vault=vault_of(app), allow=LOOPBACK, **fields
        )
        return hook.id


@contextmanager
def courier(app: Flask) -> Iterator[Courier]:
    """A running courier, as the worker has it."""
    made = Courier(app)
    made.run()
    try:
        yield made
    finally:
        made.stop()


def deliveries(receiver_id: str) -> list[Delivery]:
    with reading():
        return list(session().scalars(select(Delivery).where(Delivery.receiver_id == receiver_id).order_by(Delivery.seq)))


def attempts(delivery_id: str) -> list[DeliveryAttempt]:
    with reading():
        return queries.attempts_of([delivery_id]).get(delivery_id, [])


def hurry(delivery_id: str) -> None:
    """Let the next try be due now."""
    with unit_of_work():
        session().execute(update(Delivery).where(Delivery.id == delivery_id).values(due_at=now()))
        session().execute(update(ReceiverState).values(rest_until=None))


def done(receiver_id: str, status: str = "delivered") -> bool:
    rows = deliveries(receiver_id)
    return bool(rows) and all(row.status.value == status for row in rows)


def test_an_entry_becomes_one_row_for_each_receiver_however_many_follow(loopback: Flask) -> None:
    """Four couriers follow the same journal while others write to it."""
    with loopback.app_context():
        hooks = [make_webhook(loopback, f"http://127.0.0.1:9/{i}") for i in range(2)]
    carrier, stop = carriers["webhook"], threading.Event()

    def follow() -> None:
        with loopback.app_context():
            while not stop.is_set():
                with unit_of_work(power_safe=False):
                    operations.follow(carrier)

    followers = [threading.Thread(target=follow) for _ in range(4)]
    for thread in followers:
        thread.start()
    with loopback.app_context():
        for i in range(25):
            make_computer(f"pc-{i}")
            with pytest.raises(ZeroDivisionError), unit_of_work():
                create_computer(f"rolled-back-{i}", actor=SYSTEM)
                raise ZeroDivisionError
        with reading():
            added = set(session().scalars(select(JournalEntry.seq).where(JournalEntry.type == "computer.added")))
        eventually(lambda: len(deliveries(hooks[0])) == 25)
        stop.set()
        for thread in followers:
            thread.join()
        for hook in hooks:
            rows = deliveries(hook)
            assert sorted(row.seq or 0 for row in rows) == sorted(added)
            assert not [row for row in rows if "rolled-back" in row.title]


def test_a_follower_that_dies_before_its_commit_makes_no_row_and_no_gap(loopback: Flask) -> None:
    with loopback.app_context():
        hook = make_webhook(loopback, "http://127.0.0.1:9/")
        make_computer("first")
        with pytest.raises(ZeroDivisionError), unit_of_work():
            operations.follow(carriers["webhook"])
            raise ZeroDivisionError
        assert deliveries(hook) == []
        with unit_of_work():
            operations.follow(carriers["webhook"])
        assert [row.title for row in deliveries(hook)] == ["first"]


def test_what_happened_before_a_receiver_was_made_or_while_it_was_off_is_not_told(loopback: Flask) -> None:
    with loopback.app_context():
        make_webhook(loopback, "http://127.0.0.1:9/early")  # the journal is followed from here on
        make_computer("before")
        late = make_webhook(loopback, "http://127.0.0.1:9/late")
        make_computer("after")
        with unit_of_work():
            operations.follow(carriers["webhook"])
        assert [row.title for row in deliveries(late)] == ["after"]


def test_two_who_claim_at_once_do_not_get_the_same(loopback: Flask) -> None:
    with loopback.app_context():
        hook = make_webhook(loopback, "http://127.0.0.1:9/")
        for i in range(8):
            make_computer(f"pc-{i}")
        with unit_of_work():
            operations.follow(carriers["webhook"])
        ids = [row.id for row in deliveries(hook)]
    taken: list[Claimed] = []
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        with loopback.app_context(), unit_of_work():
            taken.extend(operations.claim(ids))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.id for one in taken) == sorted(ids)


def test_a_lease_that_ended_is_taken_over_and_its_late_owner_changes_nothing(loopback: Flask) -> None:
    with loopback.app_context():
        hook = make_webhook(loopback, "http://127.0.0.1:9/")
        make_computer("pc")
        carrier = carriers["webhook"]
        with unit_of_work():
            operations.follow(carrier)
        (row,) = deliveries(hook)
        with unit_of_work():
            (first,) = operations.claim([row.id])
        with unit_of_work():
            assert operations.claim([row.id]) == [], "while the lease lasts nobody else gets it"
            session().execute(update(Delivery).values(due_at=now() - timedelta(seconds=1)))
        with unit_of_work():
            (second,) = operations.claim([row.id])
        with unit_of_work():
            operations.settle(carrier, [second], [Outcome(True, 200)])
        with unit_of_work():
            operations.settle(carrier, [first], [Outcome(False, 410, error="too late", gone=True)])
        with reading():
            assert session().get(Webhook, hook).enabled, "what it was told late does not switch the receiver off"
            assert queries.states("webhook")[hook].last_ok
        (row,) = deliveries(hook)
        assert (row.status, row.attempts, row.due_at) == (DeliveryStatus.DELIVERED, 2, None)
        assert [one.ok for one in attempts(row.id)] == [True]


def test_a_hanging_receiver_leaves_the_others_under_two_seconds(loopback: Flask) -> None:
    with loopback.app_context(), receiving({"/hangs": Reply(pause_s=30)}) as receiver:
        for _ in range(3):
            make_webhook(loopback, f"{receiver.url}/hangs")
        quick = make_webhook(loopback, f"{receiver.url}/quick")
        running = Courier(loopback)
        running.run()
        try:
            for i in range(10):
                make_computer(f"pc-{i}")
                began = time.monotonic()
                eventually(lambda wanted=i + 1: len(receiver.at("/quick")) == wanted, 10)
                assert time.monotonic() - began < 2.0
            assert receiver.at("/hangs")
            eventually(lambda: done(quick))
        finally:
            receiver.close()
            running.stop()


def test_it_is_tried_again_under_the_same_id_until_it_is_acknowledged(loopback: Flask) -> None:
    replies = {"/": lambda before: Reply(500, b"broken") if before < 2 else Reply(204, b"")}
    with loopback.app_context(), receiving(replies) as receiver, courier(loopback):
        hook = make_webhook(loopback, f"{receiver.url}/")
        make_computer("pc")
        for tries in (1, 2):
            (row,) = eventually(lambda n=tries: [row for row in deliveries(hook) if row.attempts == n and row.status == "queued"])
            wait = (row.due_at - now()).total_seconds()
            assert 0.4 * 5 * 2 ** (tries - 1) < wait <= 5 * 2 ** (tries - 1)
            hurry(row.id)
        eventually(lambda: done(hook))
        got = receiver.at("/")
        assert len(got) == 3
        assert len({one.headers["webhook-id"] for one in got}) == 1
        log = attempts(row.id)
        assert [(one.ok, one.http_status, one.error) for one in log] == [
            (False, 500, "answered 500"), (False, 500, "answered 500"), (True, 204, None)]  # fmt: skip
        assert log[0].excerpt == "broken"
        assert log[0].latency_ms is not None


def test_retry_after_is_obeyed_by_everything_that_waits_for_the_receiver(loopback: Flask) -> None:
    replies = {"/": lambda before: Reply(429, headers={"Retry-After": "120"}) if before == 0 else Reply()}
    with loopback.app_context(), receiving(replies) as receiver, courier(loopback):
        hook = make_webhook(loopback, f"{receiver.url}/")
        make_computer("first")
        (row,) = eventually(lambda: [row for row in deliveries(hook) if row.status == "queued" and row.attempts == 1])
        assert 115 < (row.due_at - now()).total_seconds() <= 120
        make_computer("second")
        eventually(lambda: len(deliveries(hook)) == 2)
        with reading():
            assert queries.receivers_due("webhook", now()) == [], "the second is due, but its receiver rests"
        assert [one.status.value for one in deliveries(hook)] == ["queued", "queued"]
        assert len(receiver.at("/")) == 1


def test_410_disables_the_webhook_and_ends_what_waits(loopback: Flask) -> None:
    with loopback.app_context(), receiving({"/": Reply(410)}) as receiver:
        hook = make_webhook(loopback, f"{receiver.url}/")
        for i in range(12):
            make_computer(f"pc-{i}")
        with courier(loopback):
            eventually(lambda: deliveries(hook) and not [row for row in deliveries(hook) if row.is_open])
        with reading():
            found = session().get(Webhook, hook)
            assert (found.enabled, found.disabled_reason) == (False, "The receiver answered 410 Gone")
            said = session().scalars(select(JournalEntry.type).where(JournalEntry.subject_id == hook)).all()
        assert said.count("webhook.disabled") == 1
        assert len(receiver.at("/")) < 12
        assert {row.status.value for row in deliveries(hook)} == {"failed", "cancelled"}


def test_what_was_under_way_when_it_was_switched_off_is_not_tried_again(loopback: Flask) -> None:
    with loopback.app_context(), receiving({"/": Reply(500)}) as receiver, courier(loopback):
        hook = make_webhook(loopback, f"{receiver.url}/")
        make_computer("pc")
        (row,) = eventually(lambda: [row for row in deliveries(hook) if row.attempts == 1 and row.status == "queued"])
        with unit_of_work():
            session().get(Webhook, hook).enabled = False
        hurry(row.id)
        eventually(lambda: done(hook, "failed"))
        assert deliveries(hook)[0].error == "the webhook was switched off"
        assert len(receiver.received) == 1


def test_it_is_given_up_after_three_days_and_the_journal_says_so(loopback: Flask) -> None:
    with loopback.app_context(), receiving({"/": Reply(503)}) as receiver, courier(loopback):
        hook = make_webhook(loopback, f"{receiver.url}/")
        make_computer("pc")
        (row,) = eventually(lambda: [row for row in deliveries(hook) if row.attempts == 1 and row.status == "queued"])
        assert timedelta(days=2.99) < row.give_up_at - row.created_at <= timedelta(days=3)
        with unit_of_work():
            session().execute(update(Delivery).values(give_up_at=now() - timedelta(seconds=1)))
        hurry(row.id)
        eventually(lambda: done(hook, "failed"))
        with reading():
            entry = session().scalar(select(JournalEntry).where(JournalEntry.type == "webhook.delivery_failed"))
            assert (entry.subject_id, entry.data["attempts"], entry.data["error"]) == (hook, 2, "answered 503")


def test_of_too_many_that_wait_the_oldest_are_given_up_and_log_and_journal_say_so(
    loopback: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_of(loopback), "deliveries_waiting", 20)
    with loopback.app_context():
        hook, calm = (make_webhook(loopback, "http://127.0.0.1:9/", "alert.fired") for _ in range(2))
        with unit_of_work():
            new = [NewDelivery(hook, f"journal:{i}", "alert.fired", f"no {i}", "{}", i, hold_s=60) for i in range(25)]
            operations.add("webhook", [*new, NewDelivery(calm, "journal:1", "alert.fired", "calm", "{}", 1, hold_s=60)])
            operations.add_test("webhook", hook, "webhook.test", "Test", "{}")
        Courier(loopback).take(carriers["webhook"])
        rows = [row for row in deliveries(hook) if row.seq is not None]
        assert [row.status.value for row in rows] == ["failed"] * 7 + ["queued"] * 18, "the newest 18 of 20 are kept"
        with reading():
            entries = session().scalars(select(JournalEntry).where(JournalEntry.type == "webhook.backlog_cut")).all()
            assert [(entry.subject_id, entry.data["given_up"], entry.data["most"]) for entry in entries] == [(hook, 7, 20)]
            assert {row.status.value for row in deliveries(calm)} == {"queued"}
    words = "Given up: more than 20 deliveries were waiting for this receiver"
    failed = cast.client("alice").get(f"/api/v1/webhooks/{hook}/deliveries?status=failed").json
    assert {row["error"] for row in failed["deliveries"]} == {words}
    assert words in cast.browser("alice").get(f"/settings/webhooks/{hook}/deliveries/{rows[0].id}").text
    assert "Too many waited, the oldest were given up" in cast.browser("alice").get("/settings/audit").text


def test_by_hand_it_is_sent_again_also_to_a_receiver_that_rests(loopback: Flask, cast: Cast) -> None:
    client = cast.client("alice")
    replies = {"/": lambda before: Reply() if before else Reply(503, headers={"Retry-After": "3600"})}
    with loopback.app_context(), receiving(replies) as receiver, courier(loopback):
        made = client.post("/api/v1/webhooks", json={"name": "h", "url": f"{receiver.url}/", "events": ["*"]}).json
        tested = client.post(f"/api/v1/webhooks/{made['id']}/test")
        assert (tested.status_code, tested.json["status"], tested.json["event"]) == (202, "queued", "webhook.test")
        one = f"/api/v1/webhooks/{made['id']}/deliveries/{tested.json['id']}"
        failed = eventually(lambda: (row := client.get(one).json)["status"] == "failed" and row)
        assert (failed["attempts"], failed["status_code"], failed["log"][0]["response"]) == (1, 503, "thanks")
        again = client.post(f"{one}/redeliver")
        assert (again.status_code, again.json["status"]) == (202, "queued")
        good = eventually(lambda: (row := client.get(one).json)["status"] == "delivered" and row)
        assert [entry["success"] for entry in good["log"]] == [False, True]
        assert len({got.headers["webhook-id"] for got in receiver.at("/")}) == 1
        listed = client.get(f"/api/v1/webhooks/{made['id']}/deliveries").json
        assert (listed["total"], listed["deliveries"][0]["id"]) == (1, tested.json["id"])
        assert client.get("/api/v1/webhooks").json["webhooks"][0]["health"]["last_success"] is True


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(302, headers={"Location": "http://10.0.0.1/"}), "answered 302, a redirect, which is not followed"),
        (Reply(404), "answered 404"),
    ],
)
def test_whatever_is_no_2xx_has_failed(loopback: Flask, reply: Reply, error: str) -> None:
    with loopback.app_context(), receiving({"/": reply}) as receiver, courier(loopback):
        hook = make_webhook(loopback, f"{receiver.url}/")
        make_computer("pc")
        (row,) = eventually(lambda: [row for row in deliveries(hook) if row.attempts == 1 and row.status == "queued"])
        assert row.error == error
        assert len(receiver.received) == 1


def test_a_wrong_certificate_a_closed_port_and_an_unknown_name_are_said_in_words(loopback: Flask, tmp_path: Any) -> None:
    tls, _ = make_certificate(tmp_path)
    with loopback.app_context(), receiving(tls=tls) as receiver, refused() as port, courier(loopback):
        urls = {
            f"{receiver.url}/": "certificate",
            f"http://127.0.0.1:{port}/": "refused",
            "http://no-such-host.invalid/": "resolve",
        }
        hooks = {make_webhook(loopback, url): word for url, word in urls.items()}
        make_computer("pc")
        for hook, word in hooks.items():
            (row,) = eventually(lambda h=hook: [row for row in deliveries(h) if row.error], 40)
            assert word in (row.error or ""), row.error
            assert row.http_status is None
        assert receiver.received == []


def test_private_addresses_are_not_reached_unless_allowed(app: Flask) -> None:
    """RELIABILITY 16: with the empty allow-list, and a name that means loopback."""
    with app.app_context(), receiving() as receiver, courier(app):
        hook = make_webhook(app, f"http://localhost.:{receiver.port}/")
        make_computer("pc")
        (row,) = eventually(lambda: [row for row in deliveries(hook) if row.error])
        assert "loopback" in (row.error or "") or "resolve" in (row.error or "")
        assert receiver.received == []


def test_old_deliveries_go_but_never_those_that_wait(loopback: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "KEPT", 3)
    with loopback.app_context():
        hook = make_webhook(loopback, "http://127.0.0.1:9/")
        for i in range(6):
            make_computer(f"pc-{i}")
        with unit_of_work():
            operations.follow(carriers["webhook"])
        rows = deliveries(hook)
        with unit_of_work():
            for age, row in enumerate(rows):
                ended = {"status": DeliveryStatus.DELIVERED, "due_at": None} if age else {}
                made = now() - timedelta(minutes=len(rows) - age)
                session().execute(update(Delivery).where(Delivery.id == row.id).values(created_at=made, **ended))
        with unit_of_work():
            assert operations.retain() == 2
        assert [row.title for row in deliveries(hook)] == ["pc-0", "pc-3", "pc-4", "pc-5"]


def test_deleting_a_receiver_takes_its_deliveries_along(loopback: Flask, cast: Cast) -> None:
    with loopback.app_context():
        hook = make_webhook(loopback, "http://127.0.0.1:9/")
        make_computer("pc")
        with unit_of_work():
            operations.follow(carriers["webhook"])
        assert cast.client("alice").delete(f"/api/v1/webhooks/{hook}").status_code == 204
        with reading():
            assert session().scalar(select(func.count()).select_from(Delivery)) == 0


def test_pauses_double_with_jitter_up_to_four_hours() -> None:
    for tries, whole in ((1, 5), (2, 10), (5, 80), (13, 14_400), (40, 14_400), (5000, 14_400)):
        seen = [pause_s(tries) for _ in range(200)]
        assert min(seen) >= whole / 2
        assert max(seen) <= whole
        assert max(seen) - min(seen) > whole * 0.2, "all receivers of an outage must not come back at once"


def test_retry_after_in_both_forms() -> None:
    moment = now()
    assert retry_after("120", moment) == 120
    assert retry_after(" 0 ", moment) == 0
    later = (moment + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 88 < (retry_after(later, moment) or 0) < 91
    assert retry_after("9" * 400, moment) == 30 * 86_400
    for nonsense in (None, "", "soon", "-5", "Mon, 99 Foo 2020", "١٢"):
        assert retry_after(nonsense, moment) is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", moment) == 0
