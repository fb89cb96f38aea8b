"""A load generator: raw sockets, keep-alive, closed loop, in a process of its own. With a `rate` the connections together send no
more than that many requests a second.

`python -m bench.load` reads {"port", "requests" (base64), "connections", "seconds", "expect", "rate"} from stdin and writes
{"done", "failed", "seconds", "p50_ms", "p99_ms", "bytes"} to stdout. Loopback only.
"""

import base64
import heapq
import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from bench.servers import ROOT


@dataclass
class Round:
    """What one round of load came to."""

    done: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    bytes: int

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.done / self.seconds


def request(path: str, *, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def run(port: int, raw: bytes | list[bytes], *, seconds: float, connections: int = 32, expect: int = 200,
        rate: float | None = None) -> Round:  # fmt: skip
    """One round, in a child process. Several requests are spread over the connections."""
    requests = [raw] if isinstance(raw, bytes) else raw
    job = {"port": port, "requests": [base64.b64encode(r).decode() for r in requests], "seconds": seconds,
           "connections": connections, "expect": expect, "rate": rate}  # fmt: skip
    found = subprocess.run([sys.executable, "-m", "bench.load"], input=json.dumps(job).encode(), cwd=ROOT,
                           stdout=subprocess.PIPE, check=True, timeout=seconds + 60)  # fmt: skip
    return Round(**json.loads(found.stdout))


class _Connection:
    def __init__(self, port: int, raw: bytes) -> None:
        self.raw = raw
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.wanted = 0
        self.sent_at = 0.0

    def send(self) -> None:
        self.buffer, self.wanted, self.sent_at = b"", 0, time.perf_counter()
        self.socket.sendall(self.raw)

    def receive(self) -> int:
        """The status when the answer is complete, else 0."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a keep-alive connection")
        self.buffer += data
        if not self.wanted:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return 0
            at = self.buffer.lower().find(b"content-length:", 0, head)
            if at < 0:
                raise ConnectionError("an answer without Content-Length")
            self.wanted = head + 4 + int(self.buffer[at + 15 : self.buffer.find(b"\r\n", at)])
        return int(self.buffer[9:12]) if len(self.buffer) >= self.wanted else 0


def _work(job: dict[str, Any]) -> Round:
    requests = [base64.b64decode(r) for r in job["requests"]]
    poller, by_fd = select.epoll(), {}
    for number in range(job["connections"]):
        connection = _Connection(job["port"], requests[number % len(requests)])
        by_fd[connection.socket.fileno()] = connection
        poller.register(connection.socket.fileno(), select.EPOLLIN)
    done = failed = size = 0
    times: list[float] = []
    started = time.perf_counter()
    ends = started + job["seconds"]
    period = job["connections"] / job["rate"] if job.get("rate") else 0.0
    resting: list[tuple[float, int]] = []
    for connection in by_fd.values():
        connection.send()
    while (moment := time.perf_counter()) < ends:
        while resting and resting[0][0] <= moment:
            by_fd[heapq.heappop(resting)[1]].send()
        for fd, _ in poller.poll(max(0.0, min([ends, *(due for due, _ in resting[:1])]) - moment)):
            connection = by_fd[fd]
            if status := connection.receive():
                times.append(time.perf_counter() - connection.sent_at)
                done += status == job["expect"]
                failed += status != job["expect"]
                size = len(connection.buffer)
                if period:
                    heapq.heappush(resting, (connection.sent_at + period, fd))
                else:
                    connection.send()
    took = time.perf_counter() - started
    times.sort()
    at = lambda share: round(times[min(len(times) - 1, int(len(times) * share))] * 1000, 2) if times else 0.0  # noqa: E731
    return Round(done, failed, took, at(0.5), at(0.99), size)


if __name__ == "__main__":
    json.dump(_work(json.load(sys.stdin)).__dict__, sys.stdout)
