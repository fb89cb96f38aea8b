"""Export: GET /api/events/export of 1,000,000 events, read by one client as quickly as it comes.

Rounds of product and yardstick alternate on the same database; the figure is the ratio of the medians. SQLite's yardstick is a process
that writes the same columns with `sqlite3` and `csv` from the same file, times as the numbers that they are stored as; PostgreSQL's is
psql with COPY of the same columns, times as the export writes them. While the product exports, another connection asks for
GET /api/events?per_page=1, PAUSE_S after each answer; that time is not taken off.
"""

import http.client
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import orjson
import psutil
import psycopg

from bench import load
from bench.results import Figure
from bench.servers import Product, inside, postgres, product, serve

ROWS, PER_SESSION, ROUNDS, PAUSE_S = 1_000_000, 20, 5, 0.05
EXPORT, OTHER = "/api/events/export", "/api/events?per_page=1"
KINDS = ("navigation", "page_load", "click", "scroll", "type")
SQLITE_YARDSTICK = """
import csv, os, sqlite3, sys, time
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
started = time.perf_counter()
with open(os.devnull, "w", newline="") as file:
    writer = csv.writer(file)
    for row in connection.execute("SELECT id, session_id, event_type, at, details FROM events ORDER BY id DESC"):
        writer.writerow(row)
print(time.perf_counter() - started)
"""
POSTGRES_YARDSTICK = """
COPY (SELECT id, session_id, event_type,
             to_char(to_timestamp(at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), details
      FROM events ORDER BY id DESC) TO STDOUT WITH CSV
"""


@dataclass
class Export:
    """One export: rows, seconds in all and until the first byte, the growth of the web process, the others' times in ms."""

    rows: int
    seconds: float
    first_s: float
    growth: int
    others: list[float]


def run() -> list[Figure]:
    """Both databases."""
    figures = []
    with product(prepare=True) as made:
        key = _fill(made)
        serve(made)
        figures += _measure("SQLite", 0.9, "sqlite3 + csv", made, key, lambda: _sqlite(made))
    with postgres() as url, product(database_url=url, prepare=True) as made:
        key = _fill(made)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE events")
        serve(made)
        figures += _measure("PostgreSQL", 0.6, "psql COPY", made, key, lambda: _psql(url))
    return figures


def _fill(made: Product) -> str:
    """ROWS events; returns a key."""
    from app.actors import SYSTEM, Role
    from app.api_keys.operations import create_integration_key
    from app.bulk_sql import BulkInsert
    from app.clock import now, to_ms
    from app.database import session, unit_of_work
    from app.sessions.models import Event
    from app.tenants.queries import list_tenants

    chance = random.Random(3)
    bulk = BulkInsert(Event.__table__, ("id", "tenant_id", "session_row", "session_id", "event_type", "at", "details"))
    with inside(made):
        with unit_of_work():
            tenant, start = list_tenants(None)[0].id, to_ms(now()) - ROWS * 100
            key = create_integration_key("bench", Role.ADMIN, actor=SYSTEM, rate_limit=100_000_000)[1]
        name = ""
        for first in range(1, ROWS, 20_000):
            rows: list[tuple[Any, ...]] = []
            for number in range(first, first + 20_000):
                if number % PER_SESSION == 1:
                    name = str(uuid.UUID(int=chance.getrandbits(128)))
                details = {"url": f"https://shop.example.com/items/{number % 9973}?ref=home", "load_time_ms": chance.randrange(4_000),
                           "selector": "#buy > a.button", "status": "completed"}  # fmt: skip
                rows.append((number, tenant, number // PER_SESSION, name, KINDS[number % len(KINDS)], start + number * 97,
                             orjson.dumps(details).decode()))  # fmt: skip
            with unit_of_work():
                bulk(session().connection(), rows)
    return key


def _sqlite(made: Product) -> float:
    (file,) = made.data.glob("*.db")
    done = subprocess.run([sys.executable, "-c", SQLITE_YARDSTICK, str(file)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _psql(url: str) -> float:
    started = time.perf_counter()
    subprocess.run(["psql", url, "-c", POSTGRES_YARDSTICK], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@contextmanager
def _others(made: Product, key: str) -> Iterator[list[float]]:
    """The times in ms of GET OTHER, again and again on one connection."""
    stop, times = threading.Event(), list[float]()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=30)
        while not stop.is_set():
            started = time.perf_counter()
            connection.request("GET", OTHER, headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            times.append((time.perf_counter() - started) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"{OTHER} answered {answer.status}")
            stop.wait(PAUSE_S)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def _export(made: Product, key: str) -> Export:
    """One export, over HTTP/1.0: its body comes without the framing of chunks, so that its lines can be counted as they pass."""
    web = psutil.Process(made.web.children()[0].pid)
    buffer = bytearray(1 << 18)
    asked = load.request(EXPORT, headers={"X-API-Key": key}).replace(b" HTTP/1.1", b" HTTP/1.0", 1)
    with _others(made, key) as times, socket.create_connection(("127.0.0.1", made.port)) as sock:
        time.sleep(0.5)
        times.clear()
        before = peak = web.memory_info().rss
        started = looked = time.perf_counter()
        sock.sendall(asked)
        got = b""
        while not got.partition(b"\r\n\r\n")[2]:
            more = sock.recv(1 << 16)
            got += more
            if not more or b" 200 OK" not in got[:20]:
                raise RuntimeError(got.decode(errors="replace"))
        first_s = time.perf_counter() - started
        lines = got.partition(b"\r\n\r\n")[2].count(b"\n")
        while size := sock.recv_into(buffer):
            lines += buffer.count(b"\n", 0, size)
            if time.perf_counter() - looked > 0.05:
                looked = time.perf_counter()
                peak = max(peak, web.memory_info().rss)
        return Export(lines - 1, time.perf_counter() - started, first_s, peak - before, list(times))


def _measure(name: str, target: float, rival: str, made: Product, key: str, yardstick: Callable[[], float]) -> list[Figure]:
    """The other requests have a target where the database works inside the web process."""
    _export(made, key)
    yardstick()
    ours: list[Export] = []
    bare: list[float] = []
    for _ in range(ROUNDS):
        bare.append(ROWS / yardstick())
        ours.append(_export(made, key))
    if {export.rows for export in ours} != {ROWS}:
        raise RuntimeError(f"rows exported: {[export.rows for export in ours]}")
    rate, reference = median(ROWS / export.seconds for export in ours), median(bare)
    first = 1000 * max(export.first_s for export in ours)
    growth = max(export.growth for export in ours) / 1e6
    waits = sorted(ms for export in ours for ms in export.others)
    half, most = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    said = f"{rate / reference:.2f} × {rival} ({rate:,.0f} of {reference:,.0f} rows/s)"
    figures = [
        Figure(f"export: {name}", said, f"≥ {target} × {rival}", rate / reference >= target),
        Figure(f"export: {name}, first byte", f"{first:.0f} ms at most", "< 100 ms", first < 100),
        Figure(f"export: {name}, memory", f"{growth:.1f} MB more at most", "< 20 MB", growth < 20),
    ]
    if name == "SQLite":
        said = f"p50 {half:.1f} ms, p99 {most:.1f} ms meanwhile"
        figures.append(Figure(f"export: {name}, other requests", said, "p50 < 5 ms", half < 5))
    return figures
