"""CSV that the database writes: what cells look like, and how a table of any size goes out in chunks."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import Cast
from flask import Flask
from sqlalchemy import Connection, insert, update

from app.database import session, unit_of_work
from app.extensions import db
from app.sessions.export import EVENT_EXPORT, SESSION_PAGE_EXPORT
from app.sessions.models import BotSession, Event
from app.web import export

AT = 1_769_688_000_000  # 2026-01-29T12:00:00Z


def add_events(app: Flask, cast: Cast, ids: range | list[int], event_type: str = "click", **fields: Any) -> None:
    rows = [{"id": i, "tenant_id": cast.acme, "session_row": 1, "session_id": "s1", "event_type": event_type, "at": AT + i,
             "details": "{}"} | fields for i in ids]  # fmt: skip
    with app.app_context(), unit_of_work():
        if rows:
            session().execute(insert(Event), rows)


def add_sessions(app: Flask, cast: Cast, *rows: dict[str, Any]) -> None:
    plain = {"tenant_id": cast.acme, "status": "active", "started_at": AT, "events": 0, "errors": 0, "version": 1}
    with app.app_context(), unit_of_work():
        for number, row in enumerate(rows, 1):
            session().add(BotSession(**(plain | {"id": number, "session_id": f"s{number}"} | row)))


def chunks_of(app: Flask, what: export.Export = EVENT_EXPORT, narrow: export.Narrow = lambda rows: rows) -> Any:
    """The chunks of an export as the server gets them, after its request is over."""
    with app.test_request_context():
        response = export.stream(what, narrow)
    return iter(response.response)


def exported(app: Flask, what: export.Export = EVENT_EXPORT, narrow: export.Narrow = lambda rows: rows) -> bytes:
    return b"".join(chunks_of(app, what, narrow))


def ids_of(data: bytes) -> list[int]:
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert header == ["id", "session_id", "event_type", "timestamp", "data"]
    return [int(row[0]) for row in rows]


def test_both_databases_write_the_same_bytes(app: Flask, cast: Cast) -> None:
    add_sessions(
        app, cast,
        {"profile_id": "=1+1", "device": '6" phone, blue', "country": "Österreich 🇦🇹", "target_url": "", "proxy": "-a:1"},
        {"status": "completed", "duration_us": 15_000_000, "success": True, "ended_at": AT + 123, "started_at": AT - 1},
        {"status": "failed", "duration_us": 250_001, "success": False, "error": 'first\nsecond\r\n"third",\rlast\\.'},
        {"error": "\tx", "duration_us": 0},
        {"error": "\ry", "duration_us": 7, "country": "@", "device": "+49", "profile_id": "'quoted'"},
    )  # fmt: skip
    assert exported(app, SESSION_PAGE_EXPORT).decode().splitlines(keepends=True) == (
        "session_id,profile_id,device,start_time,proxy,country,status,duration,success,target_url,end_time,error\r\n"
        '"s5","\'quoted\'","\'+49",2026-01-29T12:00:00+00:00,,"\'@",active,0.000007,,,,"\'\ry"\r\n'
        '"s4",,,2026-01-29T12:00:00+00:00,,,active,0.0,,,,"\'\tx"\r\n'
        '"s3",,,2026-01-29T12:00:00+00:00,,,failed,0.250001,false,,,"first\nsecond\r\n""third"",\rlast\\."\r\n'
        '"s2",,,2026-01-29T11:59:59.999000+00:00,,,completed,15.0,true,,2026-01-29T12:00:00.123000+00:00,\r\n'
        '"s1","\'=1+1","6"" phone, blue",2026-01-29T12:00:00+00:00,"\'-a:1","Österreich 🇦🇹",active,,,"",,\r\n'
    ).splitlines(keepends=True)


def test_a_csv_reader_gets_back_what_was_stored(app: Flask, cast: Cast) -> None:
    errors = ['"', '""', "\n", "a\r\nb", ",", " padded ", "", "\\", "é\u2028ü", "\x01\x1f", "x" * 20_000]
    add_sessions(app, cast, *({"error": error} for error in errors))
    read = list(csv.DictReader(io.StringIO(exported(app, SESSION_PAGE_EXPORT).decode(), newline=""), strict=True))
    assert [row["error"] for row in reversed(read)] == errors


@pytest.mark.parametrize("ms", [0, 1, 10, 100, 999, 60_000, AT, AT + 7, 1_709_251_199_999, 4_102_444_800_000])
def test_a_time_is_written_as_the_api_writes_it(app: Flask, cast: Cast, ms: int) -> None:
    add_events(app, cast, [1], at=ms)
    assert f",{datetime.fromtimestamp(ms / 1000, UTC).isoformat()},".encode() in exported(app)


@pytest.mark.parametrize("us", [0, 1, 10, 100_000, 999_999, 1_000_000, 1_234_567, 15_000_000, 31_536_000_000_000, 86_400_000_001])
def test_a_duration_parses_to_the_float_that_the_api_gives(app: Flask, cast: Cast, us: int) -> None:
    add_sessions(app, cast, {"duration_us": us})
    (row,) = csv.DictReader(io.StringIO(exported(app, SESSION_PAGE_EXPORT).decode(), newline=""))
    assert float(row["duration"]) == us / 1e6
    assert "." in row["duration"]


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 7, 8, 9, 33])
def test_rows_of_any_number_go_out_newest_first_each_once(
    app: Flask, cast: Cast, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FIRST_ROWS", 4)
    monkeypatch.setattr(export, "MOST_ROWS", 4)
    monkeypatch.setattr(export, "COPY_BUFFER_BYTES", 100)
    add_events(app, cast, range(1, rows + 1))
    assert ids_of(exported(app)) == list(range(rows, 0, -1))


def test_thousands_of_rows_stay_in_order_and_take_few_chunks(app: Flask, cast: Cast) -> None:
    add_events(app, cast, range(1, 6_001))
    chunks = list(chunks_of(app))
    assert ids_of(b"".join(chunks)) == list(range(6_000, 0, -1))
    assert all(len(chunk) < export.MAX_CHUNK_BYTES for chunk in chunks)


def test_gaps_between_keys_are_stepped_over(app: Flask, cast: Cast) -> None:
    ids = [1, 2, 50_000, 50_001, 9_000_000_000, 9_000_000_001]
    add_events(app, cast, ids)
    assert ids_of(exported(app)) == ids[::-1]


def test_a_filter_that_matches_hardly_a_row_finds_it(app: Flask, cast: Cast) -> None:
    add_events(app, cast, range(1, 20_001))
    add_events(app, cast, [30_000, 40_000], "error")
    with app.app_context(), unit_of_work():
        session().execute(update(Event).where(Event.id == 17).values(event_type="error"))
    assert ids_of(exported(app, EVENT_EXPORT, lambda rows: rows.where(Event.event_type == "error"))) == [40_000, 30_000, 17]


def test_large_cells_make_smaller_chunks(app: Flask, cast: Cast) -> None:
    add_events(app, cast, range(1, 301), details='{"html":"' + "x" * 60_000 + '"}')
    sizes = [len(chunk) for chunk in chunks_of(app)]
    assert sum(sizes) > 300 * 60_000
    assert max(sizes[3:]) < 2 * export.MAX_CHUNK_BYTES


def test_rows_that_come_later_are_not_in_it(app: Flask, cast: Cast) -> None:
    add_events(app, cast, range(1, 501))
    chunks = chunks_of(app)
    data = next(chunks)
    add_events(app, cast, range(501, 601))
    assert ids_of(data + b"".join(chunks)) == list(range(500, 0, -1))


def test_an_export_of_nothing_is_a_header_and_takes_no_later_rows(app: Flask, cast: Cast) -> None:
    chunks = chunks_of(app)
    add_events(app, cast, range(1, 3))
    assert ids_of(b"".join(chunks)) == []


def test_a_client_that_waits_or_goes_away_holds_no_connection_of_the_pool(app: Flask, cast: Cast) -> None:
    add_events(app, cast, range(1, 2_001))
    chunks = chunks_of(app)
    with app.app_context():
        for _ in range(3):
            next(chunks)
            assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        chunks.close()
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_postgresql_makes_few_exports_at_a_time_and_clients_that_go_away_make_room(app: Flask, cast: Cast) -> None:
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("SQLite holds nothing between two chunks")
    add_events(app, cast, range(1, 20_001))
    rita = cast.client("rita")
    answers = [rita.get("/api/events/export") for _ in range(export.MOST_COPIES)]
    for answer in answers:
        next(answer.iter_encoded())
    refused = rita.get("/api/events/export")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    answers[0].close()  # in the middle
    assert len(ids_of(rita.get("/api/events/export").data)) == 20_000
    for answer in answers:
        answer.close()
    for _ in range(export.MOST_COPIES + 1):
        with rita.head("/api/events/export") as answer:
            assert answer.status_code == 200
    assert rita.get("/api/events/export").status_code == 200


def test_a_database_that_refuses_the_connection_leaves_room_for_the_next_export(
    app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("SQLite needs no other connection")
    add_events(app, cast, [1])

    def refuse(_: Any) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "detach", refuse)
        for _ in range(export.MOST_COPIES + 1):
            assert cast.client("rita").get("/api/events/export").status_code == 500
    assert ids_of(cast.client("rita").get("/api/events/export").data) == [1]
