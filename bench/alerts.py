"""Alerts: what evaluation adds to the ingest, and how soon a sample becomes an active alert.

The cost: 10,000 computers × 6 rules of their own (60,000 rules), samples in the batches that 1,000 of them a second make, from the
bytes of each to the commit, without HTTP; one computer in fifty is above a limit, so that its alert is open. Rounds with and without
evaluation alternate over the same computers, in wall time; the figure is the median of the ratios of two neighbours. 6 rules for all are measured too.

The delay: a real server under 1,000 samples a second; a sample that crosses a limit is sent, and the list of active alerts is asked
until the alert is there.
"""

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import delete, insert, select

from bench import load
from bench.ingest import _sample
from bench.results import Figure
from bench.servers import Product, inside, postgres, product, serve

COMPUTERS, BATCH, ROUNDS, MEASURED = 10_000, 50, 60, 2_000
RATE, CONNECTIONS, TRIES = 1_000, 16, 20
RULES = (("cpu", 90.0), ("memory", 95.0), ("disk", 90.0), ("load", 64.0), ("network", 1e9), ("cpu", 97.0))


def run() -> list[Figure]:
    """Both databases."""
    figures = []
    with product(prepare=True) as made:
        figures += _cost("SQLite", made)
    with postgres() as url, product(database_url=url, prepare=True) as made:
        figures += _cost("PostgreSQL", made)
    with product(prepare=True) as made:
        figures.append(_delay("SQLite", made))
    with postgres() as url, product(database_url=url, prepare=True) as made:
        figures.append(_delay("PostgreSQL", made))
    return figures


def _fleet(number: int) -> list[tuple[int, str]]:
    from app.actors import SYSTEM
    from app.alerts.models import Threshold
    from app.database import session, unit_of_work
    from app.fleet.models import Computer
    from app.tenants.operations import create_tenant
    from app.tenants.queries import default_tenant, list_tenants

    with unit_of_work():
        if not list_tenants(None):
            create_tenant("Default", actor=SYSTEM)
        session().execute(delete(Threshold))
        tenant = default_tenant(SYSTEM).id
        rows = [{"name": f"bench-{i}", "name_key": f"bench-{i}", "tenant_id": tenant} for i in range(number)]
        session().execute(insert(Computer), rows)
        return [(row[0], row[1]) for row in session().execute(select(Computer.id, Computer.uuid).order_by(Computer.id))]


def _rules(computers: list[tuple[int, str]] | None) -> None:
    """Six rules for each of the computers, or six for all."""
    from app.alerts.models import ScopeKind, Threshold
    from app.database import session, unit_of_work
    from app.fleet.operations import PLACEMENT
    from app.journal.operations import tick

    with unit_of_work():
        tick(PLACEMENT)
        session().execute(delete(Threshold))
        scopes: list[tuple[Any, str | None]] = [(ScopeKind.ALL, None)]
        if computers is not None:
            scopes = [(ScopeKind.COMPUTER, uuid) for _, uuid in computers]
        session().execute(insert(Threshold), [
            {"id": str(uuid4()), "name": f"{metric} > {limit}", "metric": metric, "warning_value": limit, "scope": scope, "scope_id": scope_id}
            for scope, scope_id in scopes for metric, limit in RULES
        ])  # fmt: skip


def _cost(name: str, made: Product) -> list[Figure]:
    with inside(made):
        from app.alerts.operations import on_samples
        from app.clock import now, to_ms
        from app.database import unit_of_work
        from app.metrics.operations import arrival_hooks, store
        from app.metrics.schemas import SampleIn
        from app.web.body import validate_json

        computers = _fleet(COMPUTERS)
        at = [to_ms(now()) - 3_600_000]
        low, high = _sample(), _sample().replace(b'"cpu_percent":12.5', b'"cpu_percent":95.5')

        def ingest(hook: Callable[..., None] | None) -> float:
            arrival_hooks[:] = [hook] if hook else []
            at[0] += 1_000
            took = 0.0
            for start in range(0, MEASURED, BATCH):
                bodies = [(i, high if i % 50 == 0 else low) for i, _ in computers[start : start + BATCH]]
                began = time.perf_counter()
                samples = [validate_json(SampleIn, body).sample(i) for i, body in bodies]
                for sample in samples:
                    sample.at = at[0]
                with unit_of_work(power_safe=False):
                    store(samples)
                took += time.perf_counter() - began
            return took / MEASURED * 1e6

        figures = []
        for label, own in (("6 rules of each", computers), ("6 rules for all", None)):
            _rules(own)
            for _ in range(3):  # the alerts of what is above a limit fire here, and the rules get known
                ingest(on_samples)
            took: dict[Any, list[float]] = {None: [], on_samples: []}
            for number in range(ROUNDS):  # each first in turn: the tables grow, and so does what a sample costs
                for hook in (None, on_samples) if number % 2 else (on_samples, None):
                    took[hook].append(ingest(hook))
            bare, ours = took[None], took[on_samples]
            added = median(mine / theirs for mine, theirs in zip(ours, bare, strict=True)) - 1
            said = f"+{100 * added:.1f} % ({median(bare):.0f} → {median(ours):.0f} µs a sample, batches of {BATCH}, 2 % alerting)"
            figures.append(Figure(f"alerts: {name}, {COMPUTERS:,} × {label}", said, "< +15 %", added < 0.15))
        return figures


def _delay(name: str, made: Product) -> Figure:
    with inside(made):
        from app.actors import SYSTEM, Role
        from app.api_keys.operations import create_host_key, create_integration_key
        from app.database import unit_of_work

        computers = _fleet(CONNECTIONS + TRIES)
        _rules(None)
        with unit_of_work():
            from app.tenants.queries import default_tenant

            tenant = default_tenant(SYSTEM).id
            keys = [create_host_key("bench", i, uuid, tenant, actor=SYSTEM, rate_limit=10**6)[1] for i, uuid in computers]
            reader = create_integration_key("bench", Role.READONLY, actor=SYSTEM, tenant_ids=None, rate_limit=10**6)[1]
    serve(made, worker=True)
    posts = [
        load.request("/api/v1/metrics", method="POST", body=_sample(), headers={"X-API-Key": key}) for key in keys[:CONNECTIONS]
    ]
    stop = threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            load.run(made.port, posts, seconds=2, connections=CONNECTIONS, rate=RATE, expect=201)

    busy = threading.Thread(target=traffic)
    busy.start()
    delays = []
    try:
        with httpx.Client(base_url=made.url, headers={"X-API-Key": reader}, timeout=30) as client:
            for (_, uuid), key in zip(computers[CONNECTIONS:], keys[CONNECTIONS:], strict=True):
                began = time.monotonic()
                body = {"cpu_percent": 93.0, "memory_percent": 5.0}
                client.post("/api/v1/metrics", json=body, headers={"X-API-Key": key}).raise_for_status()
                while not client.get(f"/api/v1/alerts?status=active&server_id={uuid}").raise_for_status().json():
                    if time.monotonic() - began > 30:
                        raise RuntimeError("no alert came in 30 s")
                delays.append(time.monotonic() - began)
    finally:
        stop.set()
        busy.join()
    said = f"{1000 * median(delays):.0f} ms, at most {1000 * max(delays):.0f} ms, beside {RATE:,} samples/s ({len(delays)} tries)"
    return Figure(f"alerts: {name}, sample to active alert", said, "< 1 s", max(delays) < 1.0)
