"""One POST to an address that a person named (RELIABILITY 16): resolved once, every address checked, connected to that address,
no redirects, and all of it within a time.

httpcore makes the request, as in `app.proxy_check`: httpx hands it no network of ours. What can go wrong is said in words
without the address, since that may hold a secret.
"""

import os
import ssl
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import httpcore
import httpx

from app.errors import Invalid
from app.outbound import Network, resolve
from app.pinned_network import PinnedNetwork

MAX_ANSWER = 64 * 1024
RESOLVE_S = 20.0  # how long name servers may take: the system decides when they give up, but not whether we still go


@dataclass(frozen=True)
class Answer:
    """What came back. `status` is None when nothing did, and `error` then says why; `latency_ms` is from connecting to the last
    byte that was read. `body` is the beginning of the answer."""

    status: int | None = None
    latency_ms: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was acknowledged: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def web_address(url: str) -> httpx.URL:
    """A URL that can be posted to. Raises ValueError with words for people."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise ValueError("has a port that does not exist")
    return parsed


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def post(url: str, body: bytes, headers: Sequence[tuple[str, str]], *, allow: Sequence[Network], timeout_s: float) -> Answer:
    """POST the bytes. Never raises for what the other side does; `allow` are networks besides public ones."""
    try:
        target = web_address(url)
        began = time.monotonic()
        addresses = resolve(target.host, target.port or (443 if target.scheme == "https" else 80), allow)
    except ValueError as error:
        return Answer(error=f"the address {error}")
    except Invalid as error:
        return Answer(error=error.message)
    if time.monotonic() - began > RESOLVE_S:
        return Answer(error="the name took too long to resolve")
    network = PinnedNetwork(addresses, timeout_s)
    try:
        with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=network) as pool:
            return _post(pool, target, body, headers, timeout_s)
    finally:
        network.close()


def _post(
    pool: httpcore.ConnectionPool, target: httpx.URL, body: bytes, headers: Sequence[tuple[str, str]], timeout_s: float
) -> Answer:
    url = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
    sent = [*headers, ("Accept", "*/*"), ("Accept-Encoding", "identity"), ("Connection", "close")]
    if target.userinfo:
        login = b64encode(f"{target.username}:{target.password}".encode()).decode()
        sent.append(("Authorization", f"Basic {login}"))
    began, answered, got = time.monotonic(), None, b""
    try:
        with pool.stream("POST", url, headers=sent, content=body) as answer:
            answered = answer.status
            heads = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            for chunk in answer.iter_stream():
                got += chunk
                if len(got) > MAX_ANSWER:
                    break
    except httpcore.TimeoutException:
        if answered is None:
            return Answer(error=f"no answer within {timeout_s:g} s")
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        if answered is None:
            return Answer(error=_of_failure(error))
    latency_ms = round((time.monotonic() - began) * 1000, 1)
    return Answer(answered, latency_ms, heads, got, None)  # a head that came is an answer, also when its body broke off


def _of_failure(error: Exception) -> str:
    cause = error.__context__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {(cause.reason or 'no reason given').replace('_', ' ').lower()}"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    if str(error).startswith("Server disconnected"):
        return "the connection was closed without an answer"
    return "the answer is not HTTP"
