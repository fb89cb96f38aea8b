"""Deliveries: from the commit of a change to a webhook's receiver, while three other receivers hang; and how many a second.

A real worker over SQLite. LATENCY computers are added one after the other, each after the last one was told; then BURST entries of the
journal are written in one transaction, and the time is taken until the receiver has all of them, each signed and noted."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from statistics import median
from typing import Any

from bench.results import Figure
from bench.servers import inside, product

LATENCY, BURST, HANGING = 60, 1000, 3
PATIENCE_S = 120


class _Receiver:
    """Counts what comes to `/quick` at once; never answers on any other path until it is closed."""

    def __init__(self) -> None:
        self.count, self.closing = 0, threading.Event()
        self.came = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/quick":
                    with outer.came:
                        outer.count += 1
                        outer.came.notify_all()
                else:
                    outer.closing.wait()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> None:
        """Until so many have come. Raises RuntimeError after PATIENCE_S."""
        with self.came:
            if not self.came.wait_for(lambda: self.count >= count, PATIENCE_S):
                raise RuntimeError(f"only {self.count} of {count} came")


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    made = _Receiver()
    try:
        yield made
    finally:
        made.closing.set()
        made.server.shutdown()
        made.server.server_close()


def run() -> list[Figure]:
    """Both figures."""
    with _receiver() as receiver, product(prepare=True) as made:
        made.environment["BINNACLE_OUTBOUND_ALLOW"] = "127.0.0.0/8"
        with inside(made) as app:
            _make_webhooks(app, receiver.url)
            made.start("app.cli", "worker")
            waits = _one_by_one(receiver)
            rate = _burst(receiver)
    waits.sort()
    p95 = waits[int(len(waits) * 0.95)]
    said = f"p50 {median(waits) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, at most {waits[-1] * 1000:.0f} ms"
    return [
        Figure("deliveries: commit to receiver, 3 others hang", said, "< 2 s", waits[-1] < 2),
        Figure("deliveries: one receiver, a burst of 1,000", f"{rate:.0f}/s", "≥ 50/s", rate >= 50),
    ]


def _make_webhooks(app: Any, url: str) -> None:
    from app.actors import SYSTEM
    from app.database import unit_of_work
    from app.factory import vault_of
    from app.webhooks.operations import create_webhook

    with unit_of_work():
        for path in ("/quick", *["/hangs"] * HANGING):
            allow = [ip_network("127.0.0.0/8")]
            create_webhook(path, f"{url}{path}", ["computer.added"], actor=SYSTEM, vault=vault_of(app), allow=allow)


def _one_by_one(receiver: _Receiver) -> list[float]:
    from app.actors import SYSTEM
    from app.database import unit_of_work
    from app.fleet.operations import create_computer

    waits = []
    for number in range(LATENCY + 1):
        with unit_of_work():
            create_computer(f"pc-{number}", actor=SYSTEM)
        committed = time.perf_counter()
        receiver.wait_for(number + 1)
        waits.append(time.perf_counter() - committed)
    return waits[1:]  # the first one waits for the worker to start


def _burst(receiver: _Receiver) -> float:
    from app.actors import SYSTEM
    from app.database import unit_of_work
    from app.journal.operations import Happening, Subject, record_all

    before = receiver.count
    with unit_of_work():
        record_all([Happening("computer.added", SYSTEM, Subject("computer", str(n), f"pc-{n}")) for n in range(BURST)])
    began = time.perf_counter()
    receiver.wait_for(before + BURST)
    return BURST / (time.perf_counter() - began)
