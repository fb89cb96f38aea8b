"""Ingest: POST /api/v1/metrics, one sample a request with a host key, 32 keep-alive connections, 201 after the commit.

Rounds of hello and product alternate; the figure is the ratio of the medians. Each connection sends for a computer of its
own, without a timestamp (the server's clock then counts), so that each request is a row of its own.
"""

from statistics import median

import orjson

from bench import load
from bench.results import Figure
from bench.servers import Product, hello, inside, postgres, product

CONNECTIONS, SECONDS, ROUNDS = 32, 4.0, 5


def run() -> list[Figure]:
    """Both databases."""
    figures = []
    with hello() as yardstick:
        with product() as sqlite:
            figures.append(_measure("SQLite", 0.6, sqlite, yardstick))
        with postgres() as url, product(database_url=url) as server:
            figures.append(_measure("PostgreSQL", 0.4, server, yardstick))
    return figures


def _keys(made: Product) -> list[str]:
    from app.actors import SYSTEM
    from app.api_keys.operations import create_host_key
    from app.database import unit_of_work
    from app.fleet.operations import create_computer

    keys = []
    with inside(made), unit_of_work():
        for number in range(CONNECTIONS):
            computer = create_computer(f"bench-{number}", actor=SYSTEM)
            _, key = create_host_key("bench", computer.id, computer.uuid, computer.tenant_id, actor=SYSTEM, rate_limit=1_000_000)
            keys.append(key)
    return keys


def _sample() -> bytes:
    return orjson.dumps({
        "cpu_percent": 12.5, "memory_percent": 40.1,
        "disk_usage": [{"path": "/", "total": 10**12, "used": 4 * 10**11, "free": 6 * 10**11, "percent": 40.0}],
        "network": [{"interface": "eth0", "bytes_sent": 123456789, "bytes_recv": 987654321}],
    })  # fmt: skip


def _measure(name: str, target: float, made: Product, yardstick: int) -> Figure:
    body = _sample()
    posts = [load.request("/api/v1/metrics", method="POST", body=body, headers={"X-API-Key": key}) for key in _keys(made)]
    gets = load.request("/")
    load.run(made.port, posts, seconds=2, connections=CONNECTIONS, expect=201)
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(load.run(yardstick, gets, seconds=SECONDS / 2, connections=CONNECTIONS))
        ours.append(load.run(made.port, posts, seconds=SECONDS, connections=CONNECTIONS, expect=201))
    failed = sum(r.failed for r in ours)
    rate, reference = median(r.rate for r in ours), median(r.rate for r in bare)
    said = (f"{rate / reference:.2f} × hello ({rate:,.0f} of {reference:,.0f} requests/s; p99 {median(r.p99_ms for r in ours):.0f} ms; "
            f"{failed} failed)")  # fmt: skip
    return Figure(f"ingest: {name}", said, f"≥ {target} × hello", rate / reference >= target and not failed)
