"""What comes over the wire and is hardly HTTP: a real server answers it in the contract's words, with a request id, and goes on."""

import re
import socket

import pytest
from serving import Server

BAD = b'{"detail": "Bad Request", "type": "invalid_request"}'
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def say(served: Server, head: str, body: bytes = b"", *, cut: bool = False) -> tuple[int, str, bytes]:
    """Send bytes as they are; the status, the head and the body of the answer."""
    lines = (
        head.replace("\n", f"\r\nHost: 127.0.0.1\r\nX-API-Key: {served.key}\r\n", 1).replace("\n", "\r\n").replace("\r\r", "\r")
    )
    with socket.create_connection(("127.0.0.1", served.port), 15) as wire:
        wire.sendall(lines.encode("latin-1") + b"\r\n" + body)
        if cut:
            wire.shutdown(socket.SHUT_WR)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer) < _whole(answer):
            got = wire.recv(65536)
            if not got:
                break
            answer += got
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), top.decode("latin-1"), rest


def _whole(answer: bytes) -> int:
    top, _, _ = answer.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", top, re.IGNORECASE)
    return len(top) + 4 + int(found[1] if found else 0)


HARDLY_HTTP = {
    "a method in small letters": ("get /api/v1/servers HTTP/1.1\n", 400),
    "TLS": ("\x16\x03\x01\x02\x00\x01\n", 400),
    "a raw byte in the path": ("GET /api/v1/servers/\xff HTTP/1.1\n", 400),
    "a folded header": ("GET /api/v1/servers HTTP/1.1\nX-A: a\n b\n", 400),
    "two lengths": ("POST /api/v1/servers HTTP/1.1\nContent-Length: 2\nContent-Length: 3\n", 400),
    "a length and chunks": ("POST /api/v1/servers HTTP/1.1\nContent-Length: 2\nTransfer-Encoding: chunked\n", 400),
    "a length below nothing": ("POST /api/v1/servers HTTP/1.1\nContent-Length: -1\n", 400),
    "too many headers": ("GET /api/v1/servers HTTP/1.1\n" + "".join(f"X-{i}: y\n" for i in range(90)), 431),
    "a path without end": ("GET /" + "a" * 9000 + " HTTP/1.1\n", 414),
}


@pytest.mark.parametrize("what", HARDLY_HTTP)
def test_what_is_hardly_http_gets_a_short_json_answer_with_a_request_id(served: Server, what: str) -> None:
    head, status = HARDLY_HTTP[what]
    got, top, body = say(served, head)
    assert got == status
    assert re.search(r"\r\nX-Request-ID: [0-9a-f]{32}\r\n", top)
    assert body.startswith(b'{"detail": "')
    assert b"invalid_request" in body


@pytest.mark.parametrize("path", ["/api/v1/servers", "/api/v1/tenants", "/api/events", "/api/v1/metrics"])
@pytest.mark.parametrize("body", [b"ZZ\r\nabc\r\n0\r\n\r\n", b"5\r\nab"], ids=["not a chunk", "cut in a chunk"])
def test_chunks_that_are_none_are_400(served: Server, path: str, body: bytes) -> None:
    status, _, answer = say(served, f"POST {path} HTTP/1.1\nTransfer-Encoding: chunked\n", body, cut=True)
    assert status == 400, answer


@pytest.mark.parametrize("path", ["/api/v1/servers", "/api/v1/tenants"])
def test_a_body_that_was_cut_off_is_not_acted_on_though_it_parses(served: Server, path: str) -> None:
    head = f"POST {path} HTTP/1.1\nContent-Type: application/json\nContent-Length: 500\n"
    status, _, answer = say(served, head, b'{"name": "half a request"}', cut=True)
    assert status == 400
    assert b"Invalid request" in answer


def test_a_sample_that_was_cut_off_is_not_stored_by_the_express_lane(served: Server) -> None:
    uuid, key = served.computer("cut")
    assert (
        served.http.post(
            "/api/v1/metrics", json={"cpu_percent": 1.0, "memory_percent": 1.0}, headers={"X-API-Key": key}
        ).status_code
        == 201
    )
    head = f"POST /api/v1/metrics HTTP/1.1\nContent-Length: 900\nX-Other: {uuid}\n"
    with socket.create_connection(("127.0.0.1", served.port), 15) as wire:
        wire.sendall((head.replace("\n", f"\r\nHost: x\r\nX-API-Key: {key}\r\n", 1).replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n").encode()
                     + b'{"cpu_percent": 77.0, "memory_percent": 1.0}')  # fmt: skip
        wire.shutdown(socket.SHUT_WR)
        assert b" 400 " in wire.recv(65536)
    assert served.http.get(f"/api/v1/metrics/{uuid}").json()["cpu_percent"] == 1.0


@pytest.mark.parametrize("path", ["/ws/live", "/ws", "/api/v1/agents/ws"])
@pytest.mark.parametrize(
    "more", ["", "Sec-WebSocket-Version: 13\n", f"Sec-WebSocket-Version: 8\n{KEY}\n"], ids=["no key", "no key at all", "old"]
)
def test_half_a_handshake_is_400(served: Server, path: str, more: str) -> None:
    status, top, _ = say(served, f"GET {path} HTTP/1.1\nUpgrade: websocket\nConnection: Upgrade\n{more}")
    assert status == 400
    assert "X-Request-ID" in top


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_form_of_megabytes_ends_at_one(served: Server, kind: str) -> None:
    part = (
        b'--x\r\nContent-Disposition: form-data; name="username"; filename="f"\r\n\r\n' if "multipart" in kind else b"username="
    )
    body = part + b"x" * (1 << 20)
    for head in (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"):
        sent = body if "Length" in head else f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        status, _, answer = say(served, f"POST /api/auth/login HTTP/1.1\nContent-Type: {kind}\n{head}\n", sent)
        if "Length" in head:
            assert (status, answer) == (413, b'{"detail":"The request body is too large","type":"payload_too_large"}')
        else:
            assert status in (400, 413), "of chunks only the first MiB is read"
