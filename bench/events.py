"""Events: POST /api/events one by one and in batches, and how the lists answer with 10,000 and with 1,000,000 events stored.

One event a request: 32 keep-alive connections with one integration key, each for a session of its own, 200 after the commit; rounds
of hello and product alternate, the figure is the ratio of the medians. Batches: 500 events a request over 4 connections. The
lists: two servers, filled through the same code that serves requests; their pages are asked for in turns, request by request, and the
figure is the ratio of the median times. About five minutes in all.
"""

import random
import sqlite3
from statistics import median
from typing import Any

import orjson
import psycopg

from bench import load
from bench.people import sign_in
from bench.results import Figure
from bench.servers import PASSWORD, USERNAME, Product, hello, inside, postgres, product, serve

CONNECTIONS, SECONDS, ROUNDS = 32, 4.0, 5
BATCH = 500
FEW, MANY = 10_000, 1_000_000
PER_SESSION, AT_ONCE = 100, 20
WARM, TURNS = 30, 200
COPIED = ("proxies", "proxy_targets", "sessions", "events", "session_counts", "session_hours", "event_counts", "error_groups")
ASKED = {
    "/api/events?page=1": "events, page 1",
    "/api/events?page=3&event_type=click": "events, filtered",
    "/api/events?page=5000": "events, page 5,000",
    "/api/stats": "statistics",
    "/sessions/": "the Sessions page",
}
FEW_HAVE = {"/api/events?page=5000": "/api/events?page=50"}  # a page as far in: among 10,000 events there is no page 5,000


def run() -> list[Figure]:
    """All of them."""
    figures = []
    with hello() as yardstick:
        with product() as sqlite:
            figures += [_singles("SQLite", sqlite, yardstick), _batches("SQLite", sqlite, 20_000)]
        with postgres() as url, product(database_url=url) as server:
            figures += [_singles("PostgreSQL", server, yardstick), _batches("PostgreSQL", server, None)]
    return figures + growth()


def growth() -> list[Figure]:
    """Both databases with few and with many; PostgreSQL gets a copy of what the code has stored in SQLite."""
    with product(prepare=True) as few, product(prepare=True) as many:
        fill(few, FEW)
        fill(many, MANY)
        with postgres() as small, postgres() as large:
            with product(database_url=small, prepare=True) as few_too, product(database_url=large, prepare=True) as many_too:
                _copy(few, small)
                _copy(many, large)
                figures = _compare("SQLite", few, many)
                for made in (few, many):
                    made.stop()
                return figures + _compare("PostgreSQL", few_too, many_too)


def _key(made: Product) -> str:
    from app.actors import SYSTEM, Role
    from app.api_keys.operations import create_integration_key
    from app.database import unit_of_work

    with inside(made), unit_of_work():
        return create_integration_key("bench", Role.ADMIN, actor=SYSTEM, rate_limit=100_000_000)[1]


def _sessions(made: Product, key: str, count: int) -> list[str]:
    names = [f"bench-{number}" for number in range(count)]
    body = orjson.dumps([{"session_id": name, "profile_id": "p", "proxy": "10.0.0.1:80", "country": "US"} for name in names])
    asked = load.request("/api/sessions/register", method="POST", body=body, headers={"X-API-Key": key})
    load.run(made.port, asked, seconds=0.2, connections=1)
    return names


def _event(name: str, number: int = 0) -> dict[str, Any]:
    details = {"url": f"https://shop.example.com/products/{number}", "load_time_ms": 1500}
    return {"session_id": name, "event_type": "navigation", "details": details}


def _singles(name: str, made: Product, yardstick: int) -> Figure:
    key = _key(made)
    posts = [load.request("/api/events", method="POST", body=orjson.dumps(_event(session)), headers={"X-API-Key": key})
             for session in _sessions(made, key, CONNECTIONS)]  # fmt: skip
    gets = load.request("/")
    load.run(made.port, posts, seconds=2, connections=CONNECTIONS)
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(load.run(yardstick, gets, seconds=SECONDS / 2, connections=CONNECTIONS))
        ours.append(load.run(made.port, posts, seconds=SECONDS, connections=CONNECTIONS))
    failed = sum(r.failed for r in ours)
    rate, reference = median(r.rate for r in ours), median(r.rate for r in bare)
    said = (f"{rate / reference:.2f} × hello ({rate:,.0f} of {reference:,.0f} requests/s; p99 {median(r.p99_ms for r in ours):.0f} ms; "
            f"{failed} failed)")  # fmt: skip
    wanted = 0.5 if name == "SQLite" else None
    return Figure(f"events: one by one, {name}", said, f"≥ {wanted} × hello" if wanted else "—",
                  (wanted is None or rate / reference >= wanted) and not failed)  # fmt: skip


def _batches(name: str, made: Product, wanted: int | None) -> Figure:
    key = _key(made)
    sessions = _sessions(made, key, 20)
    chance = random.Random(7)
    body = orjson.dumps([_event(chance.choice(sessions), number) for number in range(BATCH)])
    asked = load.request("/api/events", method="POST", body=body, headers={"X-API-Key": key})
    load.run(made.port, asked, seconds=1, connections=4)
    found = [load.run(made.port, asked, seconds=SECONDS, connections=4) for _ in range(3)]
    rate, failed = median(r.rate for r in found) * BATCH, sum(r.failed for r in found)
    said = f"{rate:,.0f} events/s in batches of {BATCH} (p99 {median(r.p99_ms for r in found):.0f} ms a batch; {failed} failed)"
    return Figure(
        f"events: batches, {name}", said, f"≥ {wanted:,}/s" if wanted else "—", (wanted is None or rate >= wanted) and not failed
    )


def fill(made: Product, events: int) -> None:
    """Store this many events in sessions of PER_SESSION, nine in ten of them ended, through the code that serves requests."""
    from app.actors import SYSTEM
    from app.clock import now, to_ms
    from app.database import unit_of_work
    from app.factory import vault_of
    from app.sessions.models import EventType
    from app.sessions.operations import store
    from app.sessions.pieces import NewEvent, NewSession, Outcome, Piece

    chance, kinds = random.Random(11), list(EventType)
    with inside(made) as app:
        vault, moment = vault_of(app), to_ms(now())  # type: ignore[arg-type]
        for start in range(0, events // PER_SESSION, AT_ONCE):
            names = [f"session-{number}" for number in range(start, min(start + AT_ONCE, events // PER_SESSION))]
            with unit_of_work(power_safe=False):
                store([Piece(SYSTEM, registers=[
                    NewSession(name, f"profile-{chance.randrange(50)}", "desktop", f"https://shop-{chance.randrange(12)}.example/x",
                               f"10.0.{chance.randrange(4)}.{chance.randrange(10)}:8080", chance.choice(["US", "DE", "FR", "BR"]))
                    for name in names])], vault)  # fmt: skip
                logged = [NewEvent(name, chance.choice(kinds), moment, '{"url":"https://shop.example.com/products/1","load_time_ms":1500}')
                          for name in names for _ in range(PER_SESSION)]  # fmt: skip
                ended = [
                    Outcome(name, chance.random() < 0.85, chance.randrange(10**7, 10**8), f"Timeout {chance.randrange(90)} s")
                    for name in names
                ]
                store(
                    [Piece(SYSTEM, events=logged), *(Piece(SYSTEM, ends=[end]) for end in ended if chance.random() < 0.9)], vault
                )


def _copy(source: Product, url: str) -> None:
    """What a SQLite database has of sessions, into an empty PostgreSQL one."""
    (file,) = source.data.glob("*.db")
    with sqlite3.connect(file) as rows, psycopg.connect(url) as target:
        tenants = [connection.execute("SELECT id FROM tenants").fetchone()[0] for connection in (rows, target)]
        target.execute("SET timezone TO 'UTC'")
        for table in COPIED:
            found = rows.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in found.description]
            place = names.index("tenant_id") if "tenant_id" in names else None
            with target.cursor().copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
                for row in found:
                    copy.write_row(row if place is None else [*row[:place], tenants[1], *row[place + 1 :]])
    with psycopg.connect(url, autocommit=True) as target:
        target.execute("VACUUM ANALYZE")


def _compare(name: str, few: Product, many: Product) -> list[Figure]:
    """Ask the two servers in turns, request by request, so that whatever else the machine does slows both."""
    asked = [_connections(few, FEW_HAVE), _connections(many, {})]
    figures = []
    for path, what in ASKED.items():
        times: tuple[list[float], list[float]] = [], []
        for turn in range(WARM + TURNS):
            for connections, found in zip(asked, times, strict=True):
                status, took = connections[path].ask()
                if status != 200:
                    raise RuntimeError(f"{path} answered {status}")
                if turn >= WARM:
                    found.append(took)
        before, after = map(median, times)
        said = f"{after / before:.2f} × as long ({after:.2f} ms with {MANY:,} events, {before:.2f} ms with {FEW:,})"
        figures.append(Figure(f"events: {what}, {name}", said, "≤ 1.5 ×", after / before <= 1.5))
    for connections in asked:
        for connection in connections.values():
            connection.close()
    return figures


def _connections(made: Product, instead: dict[str, str]) -> dict[str, load.Connection]:
    """Serve it, and a connection for each path; `instead` are the paths that it is asked for in place of others."""
    key = _key(made)
    serve(made)
    found = {}
    cookie = sign_in(made.url, USERNAME, PASSWORD)
    for path in ASKED:
        headers = {"X-API-Key": key} if path.startswith("/api/") else {"Cookie": cookie}
        found[path] = load.Connection(made.port, load.request(instead.get(path, path), headers=headers))
    return found
