"""A real HTTP receiver on loopback that keeps what it is sent and has the manners that receivers have on bad days."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes
    at: float

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class Reply:
    """What it answers. `pause_s`: how long it waits first, or until the receiver is closed."""

    status: int = 200
    body: bytes = b"thanks"
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0


class Receiver:
    """`replies` maps a path to a reply, or to a function from the number of requests to that path so far to one."""

    def __init__(self, replies: dict[str, Reply | Callable[[int], Reply]], tls: Any = None) -> None:
        self.received: list[Received] = []
        self.replies = replies
        self.closing = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with outer._lock:
                    before = len(outer.at(self.path))
                    outer.received.append(
                        Received(self.path, {k.lower(): v for k, v in self.headers.items()}, raw, time.monotonic())
                    )
                reply = outer.replies.get(self.path, Reply())
                reply = reply if isinstance(reply, Reply) else reply(before)
                outer.closing.wait(reply.pause_s)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # whoever sends may die in the middle
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def at(self, path: str) -> list[Received]:
        """What came to one path, in order."""
        return [one for one in self.received if one.path == path]

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def receiving(replies: dict[str, Reply | Callable[[int], Reply]] | None = None, tls: Any = None) -> Iterator[Receiver]:
    """A receiver for the block; a path that `replies` does not name answers 200."""
    receiver = Receiver(replies or {}, tls)
    try:
        yield receiver
    finally:
        receiver.close()
