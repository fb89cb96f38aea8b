"""Real proxies and a real target on loopback, for tests: threads, sockets, and the manners that proxies have on bad days."""

import base64
import ipaddress
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

EXIT = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"  # where the proxies call from: all of 127/8 is loopback on Linux
USER, PASSWORD = "canary-user", "canary-pass:w@rd"

Handler = Callable[[socket.socket], None]


@contextmanager
def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port on 127.0.0.1 where each connection is handled in a thread; all of them end with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = [listener]

    def serve(client: socket.socket) -> None:
        with suppress(OSError):
            if tls:
                client = tls.wrap_socket(client, server_side=True)
                open_sockets.append(client)
            handler(client)
        client.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                open_sockets.append(client)
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in open_sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def refused() -> Iterator[int]:
    """A port on 127.0.0.1 that nobody listens on, and nobody else gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def says(answer: bytes) -> Handler:
    """Reads once, answers this, and closes."""

    def handler(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)

    return handler


def hangs(client: socket.socket) -> None:
    """Reads and never answers."""
    while client.recv(65536):
        pass


def trickles(client: socket.socket) -> None:
    """Answers a header now and a header then, so that no single read ever takes long."""
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    pause = threading.Event()
    while not pause.wait(0.1):
        client.sendall(b"X-Wait: 1\r\n")


def _head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionError
        if chunk[0] == 0x16:  # TLS to a server without
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            raise ConnectionError
        head += chunk
    return head


def target(client: socket.socket) -> None:
    """A server that tells callers their address, and misbehaves on demand."""
    path = _head(client).split(b" ", 2)[1].decode()
    caller = client.getpeername()[0]
    bodies = {
        "/json": json.dumps({"ip": caller}), "/origin": json.dumps({"origin": f"10.9.8.7, {caller}"}), "/plain": f"{caller}\n",
        "/address": json.dumps({"address": caller}), "/query": json.dumps({"query": caller}), "/list": json.dumps([caller]),
        "/nothing": "", "/page": "<html>hello</html>", "/deep": "[" * 60_000, "/name": json.dumps({"ip": "not an address"}),
        "/big": json.dumps({"ip": caller, "more": "x" * 8_000_000}),
    }  # fmt: skip
    status = {"/500": "500 Oops", "/302": "302 Found", "/503": "503 Busy", "/404": "404 Not Found"}.get(path, "200 OK")
    body = bodies.get(path, "").encode()
    length = len(body) + (100 if path == "/short" else 0)
    client.sendall(
        f"HTTP/1.1 {status}\r\nLocation: /json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode() + body
    )


class HttpProxy:
    """A forward proxy: absolute-form requests and CONNECT. With `password`, it wants USER and that. `heads` is what it was asked."""

    def __init__(self, password: str | None = None) -> None:
        self.heads: list[str] = []
        self._wanted = None if password is None else "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()

    def __call__(self, client: socket.socket) -> None:
        head = _head(client)
        self.heads.append(head.decode())
        lines = head.decode().split("\r\n")
        given = next((line.split(": ", 1)[1] for line in lines if line.lower().startswith("proxy-authorization: ")), None)
        if self._wanted and given != self._wanted:
            client.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
            )
            return
        method, where, _ = lines[0].split(" ")
        host, _, port = where.removeprefix("http://").split("/")[0].rpartition(":")
        with socket.create_connection((host, int(port)), source_address=(EXIT, 0)) as onward:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                path = "/" + where.removeprefix("http://").split("/", 1)[1]
                onward.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            _relay(client, onward)


class SocksProxy:
    """A SOCKS5 proxy (RFC 1928, 1929). With `password`, it wants USER and that. `asked` are the hosts, `reply` is its answer."""

    def __init__(self, password: str | None = None, reply: int = 0) -> None:
        self.asked: list[str] = []
        self._password = password
        self._reply = reply

    def __call__(self, client: socket.socket) -> None:
        methods = self._take(client, self._take(client, 2)[1])
        wanted = 0 if self._password is None else 2
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return
        client.sendall(bytes([5, wanted]))
        if self._password is not None:
            username = self._take(client, self._take(client, 2)[1])
            password = self._take(client, self._take(client, 1)[0])
            good = (username.decode(), password.decode()) == (USER, self._password)
            client.sendall(bytes([1, not good]))
            if not good:
                return
        kind = self._take(client, 4)[3]
        host = self._take(client, self._take(client, 1)[0]).decode() if kind == 3 else socket.inet_ntoa(self._take(client, 4))
        port = int.from_bytes(self._take(client, 2), "big")
        self.asked.append(host)
        client.sendall(bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if self._reply == 0:
            with socket.create_connection((host, port), source_address=(EXIT, 0)) as onward:
                _relay(client, onward)

    @staticmethod
    def _take(client: socket.socket, size: int) -> bytes:
        data = client.recv(size, socket.MSG_WAITALL)
        if len(data) < size:
            raise ConnectionError
        return data


def _relay(one: socket.socket, other: socket.socket) -> None:
    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(10)


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for 127.0.0.1 and localhost, and the file of its certificate, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, path
