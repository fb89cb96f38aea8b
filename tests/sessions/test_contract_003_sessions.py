"""Contract 003, "Sessions" and "Events", paragraph by paragraph, with the notes of contracts/README.md."""

from typing import Any

import pytest
from conftest import Cast
from flask.testing import FlaskClient

DOCUMENTED = {
    "session_id": "abc123", "profile_id": "profile_1", "device": "desktop", "target_url": "https://example.com/login?x=1",
    "proxy": "1.2.3.4:12321", "country": "US",
}  # fmt: skip
SESSION_FIELDS = {"id", "profile_id", "device", "target_url", "proxy", "country", "start_time", "end_time", "duration", "success",
                  "error", "status"}  # fmt: skip


@pytest.fixture
def bot(cast: Cast) -> FlaskClient:
    """An executor's program: it writes and reads."""
    return cast.client("eve")


def register(client: FlaskClient, session_id: str = "abc123", **fields: Any) -> Any:
    answer = client.post("/api/sessions/register", json=DOCUMENTED | {"session_id": session_id} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json


def end(client: FlaskClient, session_id: str = "abc123", **fields: Any) -> Any:
    body = {"session_id": session_id, "success": True, "duration": 15.0, "error": None} | fields
    answer = client.post("/api/sessions/end", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json


def log(client: FlaskClient, session_id: str = "abc123", **fields: Any) -> Any:
    return client.post("/api/events", json={"session_id": session_id, "event_type": "navigation", "details": {}} | fields)


def test_a_session_is_registered_shown_and_ended_as_documented(bot: FlaskClient) -> None:
    assert register(bot) == {"status": "registered", "session_id": "abc123", "active_count": 1}
    listed = bot.get("/api/sessions").json
    assert listed.keys() == {"sessions", "total", "page", "per_page", "total_pages"}
    assert (listed["total"], listed["page"], listed["per_page"], listed["total_pages"]) == (1, 1, 20, 1)
    shown = listed["sessions"][0]
    assert shown.keys() >= SESSION_FIELDS | {"session_id", "metadata"}
    assert {k: shown[k] for k in ("profile_id", "device", "target_url", "proxy", "country")} == {
        k: DOCUMENTED[k] for k in ("profile_id", "device", "target_url", "proxy", "country")
    }
    assert (shown["id"], shown["status"], shown["success"], shown["end_time"]) == ("abc123", "active", None, None)
    assert shown["start_time"].endswith("+00:00")
    assert end(bot) == {"status": "ended", "active_count": 0}
    ended = bot.get("/api/sessions/abc123").json["session"]
    assert (ended["status"], ended["success"], ended["duration"], ended["error"]) == ("completed", True, 15.0, None)
    assert ended["end_time"].endswith("+00:00")


def test_json_that_curl_calls_a_form_is_read_all_the_same(bot: FlaskClient) -> None:
    register(bot)
    as_form = "application/x-www-form-urlencoded"
    body = '{"session_id":"abc123","event_type":"click","details":{"a":"b=c&d"}}'
    for raw in (body, body.replace("click", "no-such-type"), body):  # what is wrong goes through Flask, what is right past it
        answer = bot.post("/api/events", data=raw, content_type=as_form)
        if "no-such-type" in raw:
            assert (answer.status_code, answer.json["detail"].split(":")[0]) == (400, "event_type")
        else:
            assert answer.status_code == 200, answer.text
    ended = bot.post("/api/sessions/end", data='{"session_id":"abc123","success":true}', content_type=as_form)
    assert ended.json == {"status": "ended", "active_count": 0}


def test_what_is_wrong_with_a_body_is_said(bot: FlaskClient) -> None:
    answer = bot.post("/api/events", data="{", content_type="application/json")
    assert answer.status_code == 400
    assert answer.json["detail"].startswith("Invalid request: The body is not valid JSON")


def test_a_session_shows_its_events_oldest_first(bot: FlaskClient) -> None:
    register(bot)
    first = log(bot, details={"url": "https://example.com", "load_time_ms": 1500}).json
    second = log(bot, event_type="click").json
    assert first["status"] == "logged"
    assert second["event_id"] > first["event_id"]
    shown = bot.get("/api/sessions/abc123").json
    assert shown.keys() == {"session", "events", "event_count"}
    assert shown["event_count"] == 2
    assert [event["id"] for event in shown["events"]] == [first["event_id"], second["event_id"]]
    event = shown["events"][0]
    assert event.keys() >= {"id", "session_id", "event_type", "timestamp", "details"}
    assert event["details"] == event["data"] == {"url": "https://example.com", "load_time_ms": 1500}


def test_registering_again_updates_and_ending_again_changes_nothing(bot: FlaskClient) -> None:
    register(bot)
    assert register(bot, country="DE")["active_count"] == 1
    assert bot.get("/api/sessions").json["total"] == 1
    assert bot.get("/api/sessions/abc123").json["session"]["country"] == "DE"
    end(bot, success=False, error="boom")
    end(bot, success=True, duration=99.0)
    shown = bot.get("/api/sessions/abc123").json["session"]
    assert (shown["status"], shown["error"], shown["duration"]) == ("failed", "boom", 15.0)
    register(bot, device="mobile")  # a registration that comes late does not open it again
    assert bot.get("/api/sessions/abc123").json["session"]["status"] == "failed"


def test_ending_an_unknown_session_records_it_as_ended(bot: FlaskClient) -> None:
    assert end(bot, "never-seen", duration=2.5) == {"status": "ended", "active_count": 0}
    shown = bot.get("/api/sessions/never-seen").json["session"]
    assert (shown["status"], shown["duration"], shown["profile_id"]) == ("completed", 2.5, None)
    assert bot.get("/api/stats").json["total_sessions"] == 1


def test_an_event_of_an_unknown_session_is_404_and_stores_nothing(bot: FlaskClient) -> None:
    register(bot)
    answer = bot.post(
        "/api/events", json=[{"session_id": "abc123", "event_type": "click"}, {"session_id": "nope", "event_type": "click"}]
    )
    assert answer.status_code == 404
    assert "nope" in answer.json["detail"]
    assert bot.get("/api/events").json["total"] == 0


def test_a_list_of_events_is_stored_whole_and_answers_the_ids_in_order(bot: FlaskClient) -> None:
    register(bot)
    body = [{"session_id": "abc123", "event_type": "click", "details": {"n": n}} for n in range(1000)]
    answer = bot.post("/api/events", json=body)
    assert answer.status_code == 200, answer.text
    ids = answer.json["event_ids"]
    assert len(ids) == 1000
    assert ids == sorted(ids)
    assert bot.get("/api/events").json["total"] == 1000
    newest = bot.get("/api/events?per_page=1").json["events"][0]
    assert (newest["id"], newest["details"]) == (ids[-1], {"n": 999})
    assert bot.post("/api/events", json=body + body[:1]).status_code == 400
    assert bot.post("/api/events", json=[]).status_code == 400


def test_an_event_with_the_clients_own_id_is_stored_once(bot: FlaskClient) -> None:
    register(bot)
    first = log(bot, event_id="mine-1").json
    again = log(bot, event_id="mine-1", event_type="click").json
    both = bot.post(
        "/api/events",
        json=[{"session_id": "abc123", "event_type": "click", "event_id": i} for i in ("mine-2", "mine-1", "mine-2")],
    ).json
    assert first == again
    assert both["event_ids"][1] == first["event_id"]
    assert both["event_ids"][0] == both["event_ids"][2]
    assert bot.get("/api/events").json["total"] == 2
    assert bot.get("/api/sessions/abc123").json["event_count"] == 2


def test_sessions_can_be_registered_in_a_list(bot: FlaskClient) -> None:
    answer = bot.post("/api/sessions/register", json=[DOCUMENTED | {"session_id": f"s-{n}"} for n in range(30)])
    assert answer.json == {"status": "registered", "session_ids": [f"s-{n}" for n in range(30)], "active_count": 30}
    bad = bot.post("/api/sessions/register", json=[DOCUMENTED | {"session_id": "t-1"}, {"session_id": "t-2"}])
    assert bad.status_code == 400
    assert bot.get("/api/sessions").json["total"] == 30


def test_lists_page_filter_and_search(bot: FlaskClient) -> None:
    for n in range(25):
        register(bot, f"s-{n:02}", country="DE" if n % 5 == 0 else "US", profile_id=f"p{n}", proxy=f"10.0.0.{n}:80")
    for n in range(10):
        end(bot, f"s-{n:02}", success=n % 2 == 0, error=None if n % 2 == 0 else "Timeout")
    page = bot.get("/api/sessions?page=2&per_page=10").json
    assert (page["total"], page["total_pages"], len(page["sessions"])) == (25, 3, 10)
    assert [row["id"] for row in page["sessions"]] == [f"s-{n:02}" for n in range(14, 4, -1)]
    assert bot.get("/api/sessions?page=9").json["sessions"] == []
    assert bot.get("/api/sessions?status=failed").json["total"] == 5
    assert bot.get("/api/sessions?status=active&per_page=100").json["total"] == 15
    assert bot.get("/api/sessions?country=DE").json["total"] == 5
    assert bot.get("/api/sessions?search=p24").json["total"] == 1
    assert bot.get("/api/sessions?search=10.0.0.7:").json["total"] == 1
    assert bot.get("/api/sessions?search=s-1").json["total"] == 10


def test_events_filter_by_type_and_session(bot: FlaskClient) -> None:
    register(bot, "a")
    register(bot, "b")
    for n in range(60):
        log(bot, "a" if n % 3 else "b", event_type="click" if n % 2 else "scroll")
    everything = bot.get("/api/events").json
    assert (everything["total"], everything["per_page"], everything["total_pages"], len(everything["events"])) == (60, 50, 2, 50)
    assert [row["id"] for row in everything["events"]] == sorted((row["id"] for row in everything["events"]), reverse=True)
    assert bot.get("/api/events?event_type=click").json["total"] == 30
    assert bot.get("/api/events?session_id=b").json["total"] == 20
    assert bot.get("/api/events?session_id=b&event_type=scroll").json["total"] == 10
    second = bot.get("/api/events?page=2").json["events"]
    assert len(second) == 10
    assert second[0]["id"] < everything["events"][-1]["id"]


BAD = [
    ("GET", "/api/sessions?per_page=101", None, 400), ("GET", "/api/sessions?page=0", None, 400),
    ("GET", "/api/sessions?status=nope", None, 400), ("GET", "/api/events?per_page=201", None, 400),
    ("GET", "/api/events?event_type=nope", None, 400), ("GET", "/api/events?session_id=nope", None, 404),
    ("GET", "/api/sessions/nope", None, 404), ("GET", "/api/events/export?session_id=nope", None, 404),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "nope"}, 400),
    ("POST", "/api/events", {"session_id": "abc123"}, 400), ("POST", "/api/events", "text", 400),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "click", "details": []}, 400),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "click", "details": {"x": "y" * 70_000}}, 400),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "click", "timestamp": "2001-01-01T00:00:00Z"}, 400),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "click", "timestamp": "2099-01-01T00:00:00Z"}, 400),
    ("POST", "/api/events", {"session_id": "abc123", "event_type": "click", "timestamp": 5e300}, 400),
    ("POST", "/api/sessions/register", {"profile_id": "p"}, 400),
    ("POST", "/api/sessions/register", {"session_id": "", "profile_id": "p"}, 400),
    ("POST", "/api/sessions/register", {"session_id": 5, "profile_id": "p"}, 400),
    ("POST", "/api/sessions/register", {"session_id": "a\nb", "profile_id": "p"}, 400),
    ("POST", "/api/sessions/register", DOCUMENTED | {"tenant_id": "00000000-0000-0000-0000-000000000000"}, 404),
    ("POST", "/api/sessions/end", {"session_id": "abc123"}, 400),
    ("POST", "/api/sessions/end", {"session_id": "abc123", "success": "yes"}, 400),
    ("POST", "/api/sessions/end", {"session_id": "abc123", "success": True, "duration": -1}, 400),
    ("POST", "/api/sessions/end", [{"session_id": "abc123", "success": True}], 400),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD, ids=[f"{i}-{b[1][:40]}" for i, b in enumerate(BAD)])
def test_bad_input_gets_the_contracts_error_and_stores_nothing(
    bot: FlaskClient, method: str, path: str, body: Any, status: int
) -> None:
    register(bot)
    before = bot.get("/api/stats").json
    answer = bot.open(path, method=method, json=body) if body is not None else bot.open(path, method=method)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json["detail"], str)
    assert bot.get("/api/stats").json == before


def test_who_may_do_what(cast: Cast, bot: FlaskClient) -> None:
    register(bot)
    body = {"session_id": "abc123", "event_type": "click"}
    stranger = cast.client()
    missing = stranger.post("/api/events", json=body)
    assert (missing.status_code, missing.json) == (401, {"detail": "Missing API key. Provide X-API-Key header."})
    bad = stranger.get("/api/sessions", headers={"X-API-Key": "wrong"})
    assert (bad.status_code, bad.json) == (403, {"detail": "Invalid API key"})
    for name in ("rita", "bob"):
        assert cast.client(name).get("/api/sessions").status_code == 200
        assert cast.client(name).post("/api/events", json=body).status_code == 403
    assert cast.client("alice").post("/api/events", json=body).status_code == 200


def test_another_tenants_sessions_do_not_exist(cast: Cast, bot: FlaskClient) -> None:
    register(bot)
    log(bot)
    other = cast.client("charlie")
    assert other.get("/api/sessions").json["total"] == 0
    assert other.get("/api/sessions/abc123").status_code == 404
    assert other.get("/api/events").json["total"] == 0
    assert other.get("/api/events?session_id=abc123").status_code == 404
    assert other.get("/api/stats").json["total_sessions"] == 0
    assert other.get("/api/ip/status").json["proxies"] == []
    assert cast.client("alice").get("/api/sessions").json["total"] == 1


def test_credentials_in_what_a_bot_says_are_masked(bot: FlaskClient) -> None:
    register(bot, target_url="https://user:canary@shop.example/x", metadata={"proxy": "http://user:canary@1.2.3.4:80"})
    log(bot, event_type="error", details={"message": "via socks5://user:canary@1.2.3.4:1080 failed", "mail": "a@b.example"})
    end(bot, success=False, error="net::ERR at http://user:canary@1.2.3.4:80/")
    shown = bot.get("/api/sessions/abc123")
    assert "canary" not in shown.text
    assert shown.json["session"]["error"] == "net::ERR at http://***@1.2.3.4:80/"
    assert shown.json["events"][0]["details"] == {"message": "via socks5://***@1.2.3.4:1080 failed", "mail": "a@b.example"}


def test_a_target_whose_host_cannot_be_one_is_kept_as_text(bot: FlaskClient) -> None:
    register(bot, target_url=f"https://{'a' * 300}.example/")
    assert bot.get("/api/sessions/abc123").json["session"]["target_url"].startswith("https://aaa")
