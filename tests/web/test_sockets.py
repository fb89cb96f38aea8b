"""RELIABILITY 18: pings, and a peer that does not answer them."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from simple_websocket import ConnectionClosed

from app.actors import Actor, Permission
from app.web import sockets
from app.web.routing import Room
from app.web.sockets import Socket


class Quiet:
    """A peer that sends nothing; it answers pings or does not."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers
        self.sent: list[bytes] = []
        self.connected, self.pong_received, self.closed = True, True, None
        self.sock = SimpleNamespace(sendall=self.sent.append, shutdown=lambda how: None)
        self.input_buffer: list[str] = []
        self.max_message_size = 0
        self.ws = SimpleNamespace(send=lambda event: type(event).__name__.encode())

    def receive(self, timeout: float) -> None:
        time.sleep(timeout)
        if self.answers:
            self.pong_received = True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def test_a_peer_that_answers_stays_and_one_that_does_not_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PING_S", 0.02)
    alive, dead = Quiet(True), Quiet(False)
    assert Socket(alive, 1).receive(0.1) is None  # type: ignore[arg-type]
    assert alive.sent.count(b"Ping") >= 2
    assert alive.closed is None
    with pytest.raises(ConnectionClosed):
        Socket(dead, 1).receive(None)  # type: ignore[arg-type]
    assert dead.sent == [b"Ping"]
    assert dead.closed == (1008, "Ping/Pong timeout")


def test_an_error_in_a_handler_closes_the_socket_and_writes_no_page_into_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[Any] = []
    monkeypatch.setattr(sockets.sock, "route", lambda rule, **kwargs: handlers.append)

    @sockets.route(Room("odd", __name__), "/odd", permission=Permission.PUBLIC)
    def odd(socket: Socket, who: Actor) -> None:
        raise ValueError("a bug")

    peer = Quiet(True)
    with app.test_request_context("/odd"):
        handlers[0](peer)
    assert peer.closed == (1011, "internal error")
