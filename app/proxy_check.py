"""Whether a proxy works: one real GET through it. `app.proxy_address` reads its address.

httpx's own engine, httpcore, makes the request: httpx hands it no network, and so could neither connect to the address that
`outbound.resolve` has checked nor put a limit on the whole (its handshake with a SOCKS proxy waits for ever).
"""

import logging
import os
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

import httpcore
import httpx
import orjson
from socksio import SOCKSError

from app.outbound import AddressRefused, Network, Unresolvable, resolve
from app.pinned_network import PinnedNetwork
from app.proxy_address import PORTS, ProxyAddress, mask, parse_proxy

__all__ = ["CheckResult", "ProxyAddress", "check_through", "mask", "parse_proxy"]

MAX_BODY = 64 * 1024

# At level debug httpcore would log the arguments of the SOCKS handshake, the password among them.
logging.getLogger("httpcore.socks").setLevel(logging.INFO)


@dataclass(frozen=True)
class CheckResult:
    """What came of a check. `error` is None exactly when `ok`; it never holds credentials.

    `latency_ms`: from connecting to the last byte that was read, None when no whole answer came. `status`: HTTP, of whoever
    answered. `exit_address`: the address that the target saw, if it tells.
    """

    ok: bool
    latency_ms: float | None = None
    status: int | None = None
    exit_address: str | None = None
    error: str | None = None


def check_through(proxy_url: str, target_url: str, *, allow: Sequence[Network], timeout_s: float = 15.0) -> CheckResult:
    """GET `target_url` through the proxy, without redirects, and tell how it went. Never raises for what the two addresses say.

    `allow` are the networks that the proxy may be in besides public ones (settings.outbound_allow). The name of the target is
    resolved by the proxy, also for socks5. `timeout_s` limits all but the resolving of the proxy's own name. At most 64 KiB of
    the answer are read. Environment variables such as HTTP_PROXY and .netrc count for nothing.
    """
    try:
        proxy = parse_proxy(proxy_url)
    except ValueError as error:
        return CheckResult(False, error=f"not a proxy address: {error}")
    try:
        target = _target(target_url)
    except ValueError as error:
        return CheckResult(False, error=f"the target is not usable: {error}")
    try:
        addresses = resolve(proxy.host, proxy.port or PORTS[proxy.scheme], allow)
    except (Unresolvable, AddressRefused) as error:
        return CheckResult(False, error=error.message)
    network = PinnedNetwork(addresses, timeout_s)
    try:
        with _pool(proxy, network) as pool:
            return _get(pool, target, proxy, timeout_s)
    finally:
        network.close()


def _target(url: str) -> httpcore.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("it is not a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("it must begin with http:// or https://")
    if parsed.userinfo:
        raise ValueError("it must not hold a user name or a password")
    return httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)


@lru_cache(maxsize=2)
def _tls(_whose: str) -> ssl.SSLContext:
    """One context for proxies and one for targets, with the certificates of certifi."""
    return httpx.create_ssl_context(trust_env=False)


def _pool(proxy: ProxyAddress, network: PinnedNetwork) -> httpcore.ConnectionPool:
    url = httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port or PORTS[proxy.scheme], target="/")
    username, password = (proxy.username or "").encode(), (proxy.password or "").encode()
    auth = (username, password) if username else None
    if proxy.scheme.startswith("socks"):
        return httpcore.SOCKSProxy(url, proxy_auth=auth, ssl_context=_tls("target"), network_backend=network)
    headers = [(b"Proxy-Authorization", b"Basic " + b64encode(username + b":" + password))] if auth else []
    of_proxy = _tls("proxy") if proxy.scheme == "https" else None
    return httpcore.HTTPProxy(
        url, proxy_headers=headers, ssl_context=_tls("target"), proxy_ssl_context=of_proxy, network_backend=network
    )


def _get(pool: httpcore.ConnectionPool, target: httpcore.URL, proxy: ProxyAddress, timeout_s: float) -> CheckResult:
    headers = [
        ("User-Agent", "Binnacle proxy check"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    began = time.monotonic()
    status: int | None = None
    try:
        with pool.stream("GET", target, headers=headers) as answer:
            status = answer.status
            body = _read(answer)
    except httpcore.TimeoutException:
        return CheckResult(False, status=status, error=f"timed out after {timeout_s:g} s")
    except httpcore.ProxyError as error:
        refused = re.match(r"[0-9]{3}\b", str(error))  # the answer to CONNECT
        if refused:
            return CheckResult(False, status=int(refused[0]), error=_of_status(int(refused[0]), proxy, "the proxy"))
        return CheckResult(False, error=_of_socks(str(error)))
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        return CheckResult(False, status=status, error="the answer broke off" if status else _of_failure(error))
    except (SOCKSError, AssertionError, ValueError, IndexError):  # what socksio raises for an answer that it does not expect
        return CheckResult(False, error=f"the answer is not that of a proxy with {proxy.scheme}")
    latency_ms = round((time.monotonic() - began) * 1000, 3)
    forwarded = proxy.scheme.startswith("http") and target.scheme == b"http"
    who = "the proxy or the target" if forwarded and status in (502, 503, 504) else "the target"
    problem = _of_status(status, proxy, who)
    return CheckResult(problem is None, latency_ms, status, None if problem else _exit_address(body), problem)


def _read(answer: httpcore.Response) -> bytes:
    """The body as it came, or its first 64 KiB and a bit; what follows is left on the wire."""
    body = b""
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return body


def _exit_address(body: bytes) -> str | None:
    """The caller's address from JSON with `ip`, `origin`, `address` or `query`, or from plain text; None when there is none."""
    if len(body) > MAX_BODY:
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = {"ip": body.decode("utf-8", errors="replace")}
    if not isinstance(document, dict):
        return None
    for name in ("ip", "origin", "address", "query"):
        found = str(document.get(name, "")).rpartition(",")[2].strip()  # a chain of proxies: the last is the exit
        with suppress(ValueError):
            return str(ip_address(found))
    return None


def _of_status(status: int, proxy: ProxyAddress, who: str) -> str | None:
    if 200 <= status < 300:
        return None
    if status == 407:
        wants = "wrong user name or password" if proxy.username else "it wants a user name and a password"
        return f"the proxy answered 407: {wants}"
    return f"{who} answered {status}" + (", a redirect, which is not followed" if 300 <= status < 400 else "")


def _of_socks(message: str) -> str:
    """httpcore's words about a SOCKS handshake as ours."""
    if message.startswith("Invalid username"):
        return "the proxy refused the user name or the password"
    if message.startswith("Requested NO AUTH"):
        return "the proxy wants a user name and a password"
    if message.startswith("Requested USERNAME"):
        return "the proxy does not take a user name and a password"
    reason = message.partition("could not connect: ")[2].rstrip(".").lower()
    return f"the proxy could not reach the target: {reason or 'no reason given'}"


def _of_failure(error: Exception) -> str:
    cause = error.__context__ or error  # httpcore's pool raises anew and takes the cause away
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"a TLS certificate is not valid: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {(cause.reason or 'no reason given').replace('_', ' ').lower()}"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    if str(error).startswith("Server disconnected"):
        return "the proxy closed the connection without an answer"
    return "the answer is not HTTP"
