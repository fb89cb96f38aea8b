"""`/api/v1/notification-channels` and real sends: Apprise in a process of its own, against receivers with bad manners."""

import json
import os
import subprocess
import sys
import time
from functools import lru_cache, partial
from ipaddress import ip_network
from typing import Any

import psutil
import pytest
from conftest import Cast
from factories import make_channel, make_key
from local_proxies import hangs, listening
from receivers import Reply, receiving
from serving import eventually
from sqlalchemy import select

from app.actors import SYSTEM, Role
from app.apprise_call import Message, describe, tell
from app.database import reading, session, unit_of_work
from app.deliveries.courier import Courier
from app.deliveries.models import Delivery, DeliveryAttempt, ReceiverState
from app.factory import settings_of, vault_of
from app.journal.models import JournalEntry
from app.journal.operations import Happening, Subject, record_all
from app.masking import mask_secrets, shown_text
from app.notifications import operations, sender
from app.notifications.models import Channel
from app.notifications.sender import secrets_of

LOOPBACK = (ip_network("127.0.0.0/8"),)
HELLO = Message("Critical: web-1", "CPU 99 %", "failure")
_describe = lru_cache(describe)  # real answers, each asked for once
CHANNELS = "/api/v1/notification-channels"


@pytest.fixture(autouse=True)
def _ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "describe", _describe)


def create(cast: Cast, who: str = "alice", **fields: Any) -> Any:
    return cast.client(who).post(
        CHANNELS, json={"name": "On call", "url": "json://user:canary-pass@hooks.example.com/canary-path"} | fields
    )


def fire(title: str = "web-1: CPU 99 %") -> None:
    """An entry as the room `alerts` writes it (docs/alerts.md)."""
    said = {"severity": "critical", "status": "active", "metric": "cpu", "value": 99.0, "limit": 90.0, "muted": False, "message": "CPU 99 %",
            "threshold": "t", "subject": {"kind": "computer", "id": "c1", "name": title}, "computer": None}  # fmt: skip
    with unit_of_work():
        record_all([Happening("alert.fired", SYSTEM, Subject("alert", "a1", title), said)])


def test_create_list_get_change_delete(cast: Cast) -> None:
    made = create(cast, severities=["critical"], tag="PROD", repeat_minutes=30)
    assert made.status_code == 201, made.text
    assert (made.json["url"], made.json["service"]) == ("json://hooks.example.com", "JSON")
    assert (made.json["severities"], made.json["tag"], made.json["repeat_minutes"]) == (["critical"], "prod", 30)
    client, one = cast.client("alice"), f"{CHANNELS}/{made.json['id']}"
    assert client.get(CHANNELS).json.keys() == {"total", "channels"}
    with cast.app.app_context(), reading():
        before = session().get(Channel, made.json["id"]).url
    changed = client.put(one, json={"name": "Night", "url": made.json["url"], "severities": ["warning", "critical"], "tag": None})
    assert (changed.json["name"], changed.json["severities"], changed.json["tag"]) == ("Night", ["warning", "critical"], None)
    with cast.app.app_context(), reading():
        assert session().get(Channel, made.json["id"]).url == before, "the address as it is shown means: leave it"
    moved = client.put(one, json={"url": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"}).json
    assert (moved["url"], moved["service"]) == ("slack://***", "Slack")
    assert client.delete(one).status_code == 204
    assert client.get(one).json["error"]["code"] == "not_found"
    with cast.app.app_context(), reading():
        rows = session().query(JournalEntry).filter(JournalEntry.subject_id == made.json["id"]).order_by(JournalEntry.seq).all()
    assert [row.type for row in rows] == ["channel.added", "channel.updated", "channel.updated", "channel.deleted"]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "nonsense"}, {"url": "nonsense://x"}, {"url": "syslog://"}, {"url": "json://127.0.0.1/"}, {"url": "json://[::1]:9/"}, {"url": "json://x:99999/"},
        {"url": "json://localhost/x"}, {"url": 5}, {"url": ""}, {"severities": []}, {"severities": ["bad"]}, {"severities": "critical"}, {"repeat_minutes": -1},
        {"repeat_minutes": 99999}, {"repeat_minutes": 1.5}, {"tag": "a b"}, {"tag": "x" * 51}, {"tenant_ids": ["none"]}, {"tenant_ids": []}, {"name": ""}, {"enabled": 1},
    ],
)  # fmt: skip
def test_bad_input_gets_the_contracts_own_error(cast: Cast, change: dict[str, Any]) -> None:
    answer = create(cast, **change)
    assert answer.status_code == 400, answer.text
    assert answer.json["error"]["code"] == "invalid_parameter"
    assert cast.client("alice").get(CHANNELS).json["total"] == 0


def test_only_admins_and_a_limited_admin_sees_only_own_channels(cast: Cast) -> None:
    with cast.app.app_context():
        everything, acme = make_channel(), make_channel(tenant_ids=[cast.acme])
        cast.keys["ada"] = make_key("ada", Role.ADMIN, [cast.acme])
    for name in ("bob", "rita", "eve"):
        for path in ("", f"/{acme}", f"/{acme}/deliveries"):
            assert cast.client(name).get(CHANNELS + path).status_code == 403
    ada = cast.client("ada")
    assert [row["id"] for row in ada.get(CHANNELS).json["channels"]] == [acme]
    assert ada.get(f"{CHANNELS}/{everything}").status_code == 404
    assert ada.post(f"{CHANNELS}/{everything}/test").status_code == 404
    assert ada.put(f"{CHANNELS}/{acme}", json={"tenant_ids": [cast.globex]}).status_code == 400


def failed(cast: Cast, channel: str) -> Any:
    """The channel's only delivery, once an attempt has failed."""
    (row,) = cast.client("alice").get(f"{CHANNELS}/{channel}/deliveries").json["deliveries"]
    return row["error"] and row


def test_one_that_hangs_answers_500_or_does_not_resolve_harms_no_other(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_of(cast.app), "outbound_allow", LOOPBACK)
    monkeypatch.setattr(sender, "tell", partial(tell, timeout_s=12))
    with receiving({"/bad": Reply(500, b"oops canary-user")}) as receiver, listening(hangs) as hanging:
        urls = {"hangs": f"json://127.0.0.1:{hanging}/x?rto=60", "bad": f"json://canary-user:pw@127.0.0.1:{receiver.port}/bad",
                "lost": "json://no-such-host.invalid/x", "good": f"json://127.0.0.1:{receiver.port}/good"}  # fmt: skip
        with cast.app.app_context():
            made = {name: make_channel(url, name=name) for name, url in urls.items()}
            fire()
        courier = Courier(cast.app)
        courier.run()
        eventually(lambda: receiver.at("/good"), 30)
        told = receiver.at("/good")[0].body
        assert (told["title"], told["type"]) == ("Critical: web-1: CPU 99 %", "failure")
        eventually(lambda: cast.client("alice").get(f"{CHANNELS}/{made['good']}").json["health"]["last_success"])
        bad = eventually(lambda: failed(cast, made["bad"]), 30)
        assert (bad["status"], bad["status_code"], bad["log"][0]["response"]) == ("queued", 500, "oops ***")
        assert eventually(lambda: failed(cast, made["lost"]), 30)["status_code"] is None
        assert "no end within" in eventually(lambda: failed(cast, made["hangs"]), 40)["error"]
        courier.stop()
    assert not [child for child in psutil.Process(os.getpid()).children(recursive=True) if "apprise" in " ".join(child.cmdline())]


def test_a_test_message_really_goes_out_and_says_what_came_back(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_of(cast.app), "outbound_allow", LOOPBACK)
    with receiving({"/in": Reply(202, b"got it")}) as receiver:
        with cast.app.app_context():
            channel = make_channel(f"json://127.0.0.1:{receiver.port}/in", enabled=False)
        browser = cast.browser("alice")
        browser.get(f"/settings/channels/{channel}")
        place = browser.post(f"/settings/channels/{channel}/test").headers["Location"]
        waiting = browser.get(place)
        assert "Under way" in waiting.text
        assert 'hx-trigger="every 1s"' in waiting.text
        courier = Courier(cast.app)
        courier.run()
        asked = {"HX-Request": "true"}
        done = eventually(lambda: "Delivered" in (page := browser.get(place, headers=asked).text) and page, 30)
        courier.stop()
        assert "<html" not in done
        assert "hx-trigger" not in done, "it stops asking when it is done"
        assert "got it" in done
        assert receiver.at("/in")[0].body["title"] == "Binnacle: test"


# -- the process that sends ------------------------------------------------------------------------------------------------


def test_what_is_sent_reaches_only_what_is_allowed() -> None:
    with receiving({"/302": Reply(302, headers={"Location": "/elsewhere"})}) as receiver:
        here = f"json://127.0.0.1:{receiver.port}"
        for url in (f"json://localhost:{receiver.port}/x", f"ntfy://127.0.0.1:{receiver.port}/topic"):
            told = tell(url, HELLO, ())
            assert not told.ok
            assert "loopback" in (told.error or ""), told
        assert receiver.received == []
        assert tell(f"{here}/x", HELLO, LOOPBACK).ok
        redirected = tell(f"{here}/302", HELLO, LOOPBACK)
        assert (redirected.ok, redirected.status) == (False, 302)
        assert [one.path for one in receiver.received] == ["/x", "/302"]


def test_a_channel_reads_no_file_of_this_machine(tmp_path: Any) -> None:
    secret = tmp_path / "key.json"
    secret.write_text(json.dumps({"private_key": "canary"}))
    told = tell(f"fcm://project/token?keyfile={secret}", HELLO, ())
    assert (told.ok, told.error) == (False, "a channel may not read or write files of this machine")


def test_what_hangs_is_killed_in_time_and_its_process_is_gone() -> None:
    with listening(hangs) as port:
        began = time.monotonic()
        told = tell(f"json://127.0.0.1:{port}/x?rto=30", HELLO, LOOPBACK, timeout_s=4)
        assert (told.ok, told.error) == (False, "no end within 4 s")
        assert time.monotonic() - began < 8
    assert not [child for child in psutil.Process(os.getpid()).children() if "apprise" in " ".join(child.cmdline())]


def test_apprise_says_what_it_calls_a_service_and_what_it_does_not_know() -> None:
    assert (describe("mailto://user:pw@example.com").ok, describe("mailto://user:pw@example.com").service) == (True, "E-Mail")
    assert describe("nonsense://x").error == "Apprise does not understand this address"


def test_the_worker_does_not_import_apprise(tmp_path: Any) -> None:
    code = "import sys; from app import create_app; from app.config import load_settings; create_app(load_settings()); import app.worker; print('apprise' in sys.modules, 'requests' in sys.modules)"
    env = {"PATH": os.environ["PATH"], "BINNACLE_DATA_DIR": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "False False", said.stderr


# -- nothing secret is shown ---------------------------------------------------------------------------------------------------


def test_no_part_of_an_address_is_stored_or_shown(cast: Cast) -> None:
    made = create(cast, url="json://canary-user:canary-pass@hooks.example.com/canary-path?+X-Key=canary-head&x=canary-query").json
    client, browser = cast.client("alice"), cast.browser("alice")
    with cast.app.app_context(), reading():
        stored = json.dumps([str(value) for row in session().scalars(select(Channel)) for value in vars(row).values()])
        stored += json.dumps([[row.type, row.subject_name, row.data] for row in session().scalars(select(JournalEntry))])
    pages = [client.get(f"{CHANNELS}/{made['id']}").text, browser.get(f"/settings/channels/{made['id']}").text,
             browser.get(f"/settings/channels/{made['id']}/edit").text, browser.get("/settings/channels").text, json.dumps(made)]  # fmt: skip
    assert "canary" not in stored + "".join(pages)
    with cast.app.app_context(), reading():
        assert "canary-head" in vault_of(cast.app).decrypt(session().get(Channel, made["id"]).url)


def test_an_answer_that_repeats_a_secret_is_masked_in_every_spelling() -> None:
    secrets = secrets_of("json://ann:p%40ss-word@example.com:8080/tok%2Fen?key=q-value", "json://example.com:8080")
    for echo in ("p@ss-word", "p%40ss-word", "cEBzcy13b3Jk", "tok/en", "tok%2Fen", "q-value"):
        assert echo not in mask_secrets(f"bad: {echo}!", secrets), echo
    assert mask_secrets("example.com said no", secrets) == "example.com said no"
    assert shown_text(b"a\x00b\x1b[31m\xff p@ss-word\nx", secrets, 100) == "a�b�[31m� ***\nx"
    hidden = secrets_of("slack://TOKENA123/TOKENB456/TOKENC789", "slack://***")
    assert "TOKENA123" not in mask_secrets("invalid TOKENA123", hidden)


def test_deliveries_hold_no_address(cast: Cast) -> None:
    with cast.app.app_context():
        channel = make_channel("json://canary@example.com/canary")
    assert cast.client("alice").post(f"{CHANNELS}/{channel}/test").status_code == 202
    with cast.app.app_context():
        with reading():
            stored = [
                str(value)
                for kind in (Delivery, DeliveryAttempt, ReceiverState)
                for row in session().scalars(select(kind))
                for value in vars(row).values()
            ]
        assert "canary" not in json.dumps(stored)
