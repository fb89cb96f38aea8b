"""Page: GET /fleet/?sort=-cpu as a signed-in person, 50 rows with sparklines, of 10,000 computers and of 100.

Rounds of hello, the large and the small fleet alternate on three running servers; meanwhile samples keep arriving for the
rows that the page shows (CHANGES a second). Queries are counted in this process through Flask's test client, when the counts and
the filter menus have to be read anew; the rows are rendered once for all pages and live tables.
"""

import gzip
import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from statistics import median

import orjson

from bench import load
from bench.people import sign_in
from bench.results import Figure
from bench.servers import PASSWORD, USERNAME, Product, hello, inside, product, serve

PATH, LARGE, SMALL = "/fleet/?sort=-cpu", 10_000, 100
CONNECTIONS, SECONDS, ROUNDS, CHANGES = 8, 4.0, 5, 20


def run() -> list[Figure]:
    """Fill, serve, measure."""
    with product(prepare=True) as large, product(prepare=True) as small, hello() as yardstick:
        keys = {made.port: _fill(made, count) for made, count in ((large, LARGE), (small, SMALL))}
        for made in (large, small):
            serve(made)
        cookie = {made.port: sign_in(made.url, USERNAME, PASSWORD) for made in (large, small)}
        cold, warm, size = _inside(large, cookie[large.port])
        with _changes(large, keys[large.port]), _changes(small, keys[small.port]):
            ours, few, bare = _rounds(large, small, yardstick, cookie)
    rate, reference, less = (median(r.rate for r in rounds) for rounds in (ours, bare, few))
    failed = sum(r.failed for r in (*ours, *few))
    said = f"{rate / reference:.3f} × hello ({rate:,.0f} of {reference:,.0f}/s; p99 {median(r.p99_ms for r in ours):.0f} ms; {failed} failed)"
    return [
        Figure("page: 10,000 computers", said, "≥ 0.08 × hello", rate / reference >= 0.08 and not failed),
        Figure("page: queries", f"{cold} SQL queries, {warm} when counts and menus are cached", "≤ 8", cold <= 8),
        Figure("page: size", f"{size / 1024:.1f} KB gzipped", "≤ 16 KB", size <= 16 * 1024),
        Figure("page: against 100 computers", f"{less / rate:.2f} × as long ({less:,.0f}/s there)", "≤ 2 ×", less / rate <= 2),
    ]


def _rounds(large: Product, small: Product, yardstick: int, cookie: dict[int, str]) -> tuple[list[load.Round], ...]:
    gets = {port: load.request(PATH, headers={"Cookie": value}) for port, value in cookie.items()}
    ours: list[load.Round] = []
    few: list[load.Round] = []
    bare: list[load.Round] = []
    for _ in range(ROUNDS):
        bare.append(load.run(yardstick, load.request("/"), seconds=SECONDS / 2, connections=CONNECTIONS))
        ours.append(load.run(large.port, gets[large.port], seconds=SECONDS, connections=CONNECTIONS))
        few.append(load.run(small.port, gets[small.port], seconds=SECONDS, connections=CONNECTIONS))
    return ours, few, bare


def _fill(made: Product, count: int) -> list[str]:
    """A fleet with an hour of CPU on every row; returns host keys of the busiest 50."""
    from sqlalchemy import insert

    from app.actors import SYSTEM
    from app.api_keys.operations import create_host_key
    from app.clock import now, to_ms
    from app.database import session, unit_of_work
    from app.fleet.models import Computer, ComputerStatus, ComputerTag
    from app.fleet.queries import by_ids
    from app.tenants.queries import list_tenants

    with inside(made), unit_of_work():
        tenant, moment = list_tenants(None)[0].id, now()
        rows = [{
            "name": f"host-{n:05d}", "name_key": f"host-{n:05d}", "tenant_id": tenant, "status": ComputerStatus.ONLINE,
            "version": n + 1, "last_seen": moment, "sampled_at": moment - timedelta(seconds=1),
            "due_at": moment + timedelta(hours=2), "interval_s": 3600, "cpu": 100 * (n + 1) / (count + 1), "memory": n * 7 % 100,
            "disk": n * 13 % 100, "recv_rate": 1.0, "sent_rate": 1.0, "os_family": "linux",
            "os_name": ("Ubuntu 24.04 LTS", "Debian GNU/Linux 12", "Windows Server 2022")[n % 3], "address": f"10.0.{n // 250}.{n % 250}",
            "spark": bytes(random.Random(n).randrange(0, 100) for _ in range(60)), "spark_minute": to_ms(moment) // 60_000,
            "spark_count": 3,
        } for n in range(count)]  # fmt: skip
        ids = list(session().scalars(insert(Computer).returning(Computer.id), rows))
        session().execute(insert(ComputerTag), [{"computer_id": i, "tag": ("prod", "web", "db")[i % 3]} for i in ids])
        return [create_host_key("bench", i, c.uuid, tenant, actor=SYSTEM, rate_limit=1_000_000)[1]
                for i, c in by_ids(ids[-50:]).items()]  # fmt: skip


def _inside(made: Product, cookie: str) -> tuple[int, int, int]:
    """(SQL queries with only the rendered rows cached, with everything cached, the size gzipped)."""
    from sqlalchemy import event

    from app.extensions import db
    from app.fleet.queries import forget_choices, forget_counts
    from app.fleet.saved import forget_view_choices
    from app.tenants.queries import forget_choices as forget_tenants

    seen: list[int] = []
    headers = {"Cookie": cookie, "Host": f"127.0.0.1:{made.port}"}
    with inside(made) as app:
        event.listen(db.engine, "before_cursor_execute", lambda *_: seen.append(1))

        def get() -> tuple[int, bytes]:
            seen.clear()
            answer = app.test_client(use_cookies=False).get(PATH, headers=headers)  # type: ignore[attr-defined]
            if answer.status_code != 200:
                raise RuntimeError(f"{PATH} answered {answer.status_code}")
            return len(seen), answer.data

        Context().run(get)  # a context of its own: no session of ours to find the login in
        for forget in (forget_counts, forget_choices, forget_tenants, forget_view_choices):
            forget()
        cold, _ = Context().run(get)
        warm, page = Context().run(get)
    return cold, warm, len(gzip.compress(page, 6))


@contextmanager
def _changes(made: Product, keys: list[str]) -> Iterator[None]:
    """CHANGES samples a second for the rows that the page shows."""
    stop = threading.Event()

    def feed() -> None:
        connection, number = http.client.HTTPConnection("127.0.0.1", made.port, timeout=10), 0
        while not stop.wait(1 / CHANGES):
            number += 1
            body = orjson.dumps({"cpu_percent": 99.0 + number % 10 / 10, "memory_percent": number % 100})
            connection.request(
                "POST", "/api/v1/metrics", body, {"X-API-Key": keys[number % len(keys)], "Content-Type": "application/json"}
            )
            connection.getresponse().read()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        stop.set()
        thread.join(15)
