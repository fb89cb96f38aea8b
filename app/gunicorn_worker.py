"""gunicorn's gevent worker, with a stop that ends sockets and idle connections at once: they would hold the worker for its
whole grace."""

import errno
import json
import socket
from contextlib import suppress
from typing import Any
from uuid import uuid4

from gunicorn import util
from gunicorn.workers.ggevent import GeventWorker


def write_error(client: Any, status: int, reason: str, _details: str) -> None:
    """What gunicorn answers itself, to something that is not HTTP or past its limits: as short as ours, with a request id, and
    without repeating what was sent (contracts/README.md, "Errors")."""
    kind = "internal_error" if status >= 500 else "invalid_request"
    body = json.dumps({"detail": reason, "type": kind}).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-ID: {uuid4().hex}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\r\n"
    )
    util.write_nonblock(client, head.encode() + body)


util.write_error = write_error


class Worker(GeventWorker):  # type: ignore[misc]
    """Not ready at once, sockets closed with 1001, requests under way finished (RELIABILITY 27)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: set[Any] = set()  # connections on which no request is under way

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        self._idle.add(client)
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        self._idle.discard(sock)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError as error:  # its answer was given a time to be taken in (app.web.export)
            self.log.warning("a client that stopped reading was cut off: %s", req.path)
            raise ConnectionResetError(errno.ECONNRESET, "stopped reading") from error
        finally:
            self._idle.add(sock)

    def handle_exit(self, sig: int, frame: Any) -> None:
        import gevent

        gevent.spawn(self._say_goodbye)
        super().handle_exit(sig, frame)

    def _say_goodbye(self) -> None:
        import gevent

        from app.web.sockets import close_all

        wsgi = getattr(self, "wsgi", None)  # absent when it is asked to stop while it boots
        if wsgi is not None:
            getattr(wsgi, "config", {})["STOPPING"] = True
        while True:  # who dials again before the port is closed would hold us as well
            close_all(1001, "the server is restarting")
            for client in list(self._idle):
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RD)
            gevent.sleep(0.2)
