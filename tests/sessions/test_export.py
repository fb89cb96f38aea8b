"""Contract 003, "GET /api/sessions/export" and "GET /api/events/export": the columns, the filters, who sees what."""

import csv
import io
from typing import Any

import pytest
from conftest import Cast
from flask.testing import FlaskClient

SESSIONS, EVENTS = "/api/sessions/export", "/api/events/export"


@pytest.fixture
def filled(cast: Cast) -> Cast:
    """Three sessions of Acme with events, one of Globex."""
    eve, alice = cast.client("eve"), cast.client("alice")
    for number, country in enumerate(("US", "DE", "US"), 1):
        body = {"session_id": f"s{number}", "profile_id": f"profile_{number}", "device": "desktop", "country": country,
                "proxy": f"1.2.3.{number}:12321", "target_url": "https://example.com/"}  # fmt: skip
        assert eve.post("/api/sessions/register", json=body).status_code == 200
        for kind in ("navigation", "click"):
            details = {"url": 'https://example.com/?a=1&b="2"', "note": "línea\n2", "number": number}
            answer = eve.post("/api/events", json={"session_id": f"s{number}", "event_type": kind, "details": details})
            assert answer.status_code == 200
    eve.post("/api/sessions/end", json={"session_id": "s1", "success": True, "duration": 15.0, "error": None})
    eve.post("/api/sessions/end", json={"session_id": "s2", "success": False, "duration": 0.25, "error": "=cmd\nline 2"})
    alice.post("/api/sessions/register", json={"session_id": "theirs", "profile_id": "p", "tenant_id": cast.globex})
    alice.post("/api/events", json={"session_id": "theirs", "event_type": "scroll", "details": {}})
    return cast


def rows(client: FlaskClient, path: str) -> list[dict[str, str]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.get_data().decode(), newline=""), strict=True))


def test_a_file_of_sessions_has_the_documented_columns(filled: Cast) -> None:
    answer = filled.client("rita").get(SESSIONS)
    assert answer.content_type == "text/csv; charset=utf-8"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="sessions_2') and disposition.endswith('.csv"')
    header = answer.text.split("\r\n")[0]
    assert header == "session_id,profile_id,device,start_time,proxy,country,status,duration,success"


def test_sessions_say_the_same_as_the_api(filled: Cast) -> None:
    rita = filled.client("rita")
    listed = rita.get("/api/sessions").json["sessions"]
    assert [row["session_id"] for row in listed] == ["s3", "s2", "s1"]
    said = {None: "", True: "true", False: "false"}
    for row, api in zip(rows(rita, SESSIONS), listed, strict=True):
        duration = row.pop("duration")
        assert (float(duration) if duration else None) == api["duration"]
        assert row.pop("success") == said[api["success"]]
        assert row == {name: api[name] for name in row}


def test_events_say_the_same_as_the_api(filled: Cast) -> None:
    rita = filled.client("rita")
    listed: list[dict[str, Any]] = rita.get("/api/events").json["events"]
    assert len(listed) == 6
    found = rows(rita, EVENTS)
    for row, api in zip(found, listed, strict=True):
        assert list(row) == ["id", "session_id", "event_type", "timestamp", "data"]
        assert int(row["id"]) == api["id"]
        assert (row["session_id"], row["event_type"], row["timestamp"]) == (
            api["session_id"],
            api["event_type"],
            api["timestamp"],
        )
        assert rita.application.json.loads(row["data"]) == api["details"]


@pytest.mark.parametrize(("query", "expected"), [
    ("status=active", ["s3"]), ("status=failed", ["s2"]), ("country=US", ["s3", "s1"]), ("country=US&status=completed", ["s1"]),
    ("country=FR", []),
])  # fmt: skip
def test_sessions_are_filtered(filled: Cast, query: str, expected: list[str]) -> None:
    assert [row["session_id"] for row in rows(filled.client("rita"), f"{SESSIONS}?{query}")] == expected


@pytest.mark.parametrize(("query", "expected"), [
    ("event_type=click", ["s3", "s2", "s1"]), ("session_id=s2", ["s2", "s2"]), ("session_id=s2&event_type=navigation", ["s2"]),
    ("event_type=scroll", []),
])  # fmt: skip
def test_events_are_filtered(filled: Cast, query: str, expected: list[str]) -> None:
    assert [row["session_id"] for row in rows(filled.client("rita"), f"{EVENTS}?{query}")] == expected


def test_a_stranger_exports_only_what_is_theirs(filled: Cast) -> None:
    charlie = filled.client("charlie")
    assert [row["session_id"] for row in rows(charlie, SESSIONS)] == ["theirs"]
    assert [row["session_id"] for row in rows(charlie, EVENTS)] == ["theirs"]
    assert charlie.get(f"{EVENTS}?session_id=s1").status_code == 404
    assert len(rows(filled.client("alice"), EVENTS)) == 7


def test_a_wrong_filter_is_an_error_and_no_file(filled: Cast) -> None:
    assert filled.client("rita").get(f"{SESSIONS}?status=lost").status_code == 400
