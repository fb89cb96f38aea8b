"""A check is a real GET through a real proxy, and says in words what went wrong, never with whose password."""

import logging
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import pytest
from local_proxies import (
    EXIT,
    PASSWORD,
    USER,
    HttpProxy,
    SocksProxy,
    hangs,
    listening,
    make_certificate,
    refused,
    says,
    target,
    trickles,
)

from app import proxy_check
from app.proxy_check import CheckResult, check_through

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
URL_AUTH = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    """The address of the target."""
    with listening(target) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's certificate is one that Binnacle trusts."""
    contexts = {whose: ssl.create_default_context(cafile=str(tls[1])) for whose in ("proxy", "target")}
    monkeypatch.setattr(proxy_check, "_tls", contexts.__getitem__)


def check(proxy: str, url: str, timeout_s: float = 5.0) -> CheckResult:
    result = check_through(proxy, url, allow=LOOPBACK, timeout_s=timeout_s)
    assert result.ok == (result.error is None)
    assert "canary" not in repr(result)
    return result


@pytest.mark.parametrize(
    ("form", "password"),
    [(f"http://{URL_AUTH}@127.0.0.1:PORT", PASSWORD), (f"HTTP://{URL_AUTH}@localhost:PORT/", PASSWORD), (f"{URL_AUTH}@127.0.0.1:PORT", PASSWORD),
     (f"127.0.0.1:PORT:{USER}:{PASSWORD}", PASSWORD), (f"http://127.0.0.1:PORT:{USER}:canary%41", "canary%41")],
)  # fmt: skip
def test_every_form_with_credentials_reaches_an_http_proxy(form: str, password: str, where: str) -> None:
    proxy = HttpProxy(password)
    with listening(proxy) as port:
        result = check(form.replace("PORT", str(port)), f"{where}/json")
    assert (result.ok, result.status, result.exit_address) == (True, 200, EXIT)
    assert result.latency_ms and 0 < result.latency_ms < 5000
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("form", ["127.0.0.1:PORT", "http://127.0.0.1:PORT", "localhost:PORT"])
def test_a_proxy_without_credentials_is_asked_once_and_in_absolute_form(form: str, where: str) -> None:
    proxy = HttpProxy()
    with listening(proxy) as port:
        assert check(form.replace("PORT", str(port)), f"{where}/json").ok
    assert [head.split(" HTTP")[0] for head in proxy.heads] == [f"GET {where}/json"]
    assert "authorization" not in proxy.heads[0].lower()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_works_with_and_without_credentials_and_resolves_the_target(scheme: str, where: str) -> None:
    url = where.replace("127.0.0.1", "localhost") + "/json"
    for proxy, auth in ((SocksProxy(), ""), (SocksProxy(PASSWORD), f"{URL_AUTH}@")):
        with listening(proxy) as port:
            assert check(f"{scheme}://{auth}127.0.0.1:{port}", url).exit_address == EXIT
        assert proxy.asked == ["localhost"]


@pytest.mark.usefixtures("trusted")
def test_a_target_with_tls_is_reached_by_connect_and_through_socks(tls: tuple[ssl.SSLContext, Path]) -> None:
    with listening(target, tls[0]) as secure, listening(HttpProxy(PASSWORD)) as http, listening(SocksProxy()) as socks:
        assert check(f"{URL_AUTH}@127.0.0.1:{http}", f"https://127.0.0.1:{secure}/json").exit_address == EXIT
        assert check(f"socks5://127.0.0.1:{socks}", f"https://127.0.0.1:{secure}/json").exit_address == EXIT


@pytest.mark.usefixtures("trusted")
def test_a_proxy_with_tls_is_known_by_its_name_though_an_address_is_connected_to(
    tls: tuple[ssl.SSLContext, Path], where: str
) -> None:
    with listening(target, tls[0]) as secure, listening(HttpProxy(PASSWORD), tls[0]) as port:
        assert check(f"https://{URL_AUTH}@localhost:{port}", f"{where}/json").exit_address == EXIT
        assert check(f"https://{URL_AUTH}@localhost:{port}", f"https://localhost:{secure}/json").exit_address == EXIT


def test_a_certificate_that_nobody_vouches_for_is_an_error(tls: tuple[ssl.SSLContext, Path]) -> None:
    with listening(target, tls[0]) as secure, listening(HttpProxy()) as port:
        error = check(f"127.0.0.1:{port}", f"https://127.0.0.1:{secure}/json").error
    assert error and error.startswith("a TLS certificate is not valid: self")


def test_tls_with_a_proxy_that_speaks_none_is_an_error(where: str) -> None:
    with listening(HttpProxy()) as port, listening(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain:
        assert (check(f"https://127.0.0.1:{plain}", f"{where}/json").error or "").startswith("TLS failed: ")
        assert (check(f"127.0.0.1:{port}", f"https{where[4:]}/json").error or "").startswith("TLS failed: ")


def test_nobody_listens(where: str) -> None:
    with refused() as port:
        for scheme in ("http", "https", "socks5"):
            assert check(f"{scheme}://{URL_AUTH}@127.0.0.1:{port}", f"{where}/json") == CheckResult(
                False, error="connection refused"
            )


@pytest.mark.parametrize("handler", [hangs, trickles], ids=["hangs", "trickles"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_proxy_that_takes_too_long_is_left_after_the_time_for_the_whole(handler, scheme: str, where: str) -> None:
    if handler is trickles and scheme != "http":
        handler = hangs
    with listening(handler) as port:
        began = time.monotonic()
        result = check(f"{scheme}://{URL_AUTH}@127.0.0.1:{port}", f"{where}/json", timeout_s=0.5)
        assert time.monotonic() - began < 1.5
    assert (result.error, result.latency_ms) == ("timed out after 0.5 s", None)


def test_wrong_credentials_are_told_from_missing_ones(where: str) -> None:
    wrong = f"{USER}:canary-wrong@127.0.0.1"
    with listening(HttpProxy(PASSWORD)) as port:
        for url in (f"{where}/json", "https://127.0.0.1:1/json"):  # in absolute form and by CONNECT
            result = check(f"{wrong}:{port}", url)
            assert (result.status, result.error) == (407, "the proxy answered 407: wrong user name or password")
            assert check(f"127.0.0.1:{port}", url).error == "the proxy answered 407: it wants a user name and a password"
    with listening(SocksProxy(PASSWORD)) as port:
        assert check(f"socks5://{wrong}:{port}", f"{where}/json").error == "the proxy refused the user name or the password"
        assert check(f"socks5://127.0.0.1:{port}", f"{where}/json").error == "the proxy wants a user name and a password"
    with listening(SocksProxy()) as port:
        assert check(f"socks5://{wrong}:{port}", f"{where}/json").error == "the proxy does not take a user name and a password"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/500", 500, "the target answered 500"), ("/404", 404, "the target answered 404"), ("/503", 503, "the proxy or the target answered 503"),
        ("/302", 302, "the target answered 302, a redirect, which is not followed"),
    ],
)  # fmt: skip
def test_a_target_that_does_not_answer_well(path: str, status: int, error: str, where: str) -> None:
    proxy = HttpProxy()
    with listening(proxy) as port:
        result = check(f"127.0.0.1:{port}", where + path)
    assert (result.status, result.error, result.exit_address) == (status, error, None)
    assert result.latency_ms
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    ("path", "known"),
    [("/json", True), ("/origin", True), ("/address", True), ("/query", True), ("/plain", True), ("/page", False), ("/nothing", False),
     ("/list", False), ("/deep", False), ("/name", False), ("/big", False)],
)  # fmt: skip
def test_the_exit_address_is_read_from_what_the_target_says(path: str, known: bool, where: str) -> None:
    with listening(HttpProxy()) as port:
        result = check(f"127.0.0.1:{port}", where + path)
    assert (result.ok, result.exit_address) == (True, EXIT if known else None)


def test_of_a_big_answer_only_the_beginning_is_read(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = proxy_check._exit_address
    monkeypatch.setattr(proxy_check, "_exit_address", lambda body: read.append(len(body)) or original(body))
    with listening(HttpProxy()) as port:
        assert check(f"127.0.0.1:{port}", f"{where}/big").ok
    assert proxy_check.MAX_BODY < read[0] < 3 * proxy_check.MAX_BODY


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"\x00\xff garbage\r\n\r\n", "the answer is not HTTP"), (b"", "the proxy closed the connection without an answer"),
     (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "the answer broke off"), (b"HTTP/1.1 99999 Hm\r\n\r\n", "the answer is not HTTP"),
     (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "the answer is not HTTP")],
    ids=["garbage", "nothing", "short", "status", "head"],
)  # fmt: skip
def test_an_answer_that_is_none(answer: bytes, error: str, where: str) -> None:
    with listening(says(answer)) as port:
        assert check(f"{URL_AUTH}@127.0.0.1:{port}", f"{where}/json").error == error


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad\r\n\r\n", b"", b"\x05", b"\x05\x63", b"\x05\x00\x00\x00", b"\x04\x00"])
def test_a_socks_answer_that_is_none(answer: bytes, where: str) -> None:
    with listening(says(answer)) as port:
        error = check(f"socks5://127.0.0.1:{port}", f"{where}/json").error
    assert error in ("the answer is not that of a proxy with socks5", "connection reset by peer", "broken pipe")


def test_a_socks_proxy_says_why_it_cannot_reach_the_target(where: str) -> None:
    with listening(SocksProxy(reply=5)) as port:
        assert (
            check(f"socks5://127.0.0.1:{port}", f"{where}/json").error
            == "the proxy could not reach the target: connection refused"
        )


def test_a_proxy_that_refuses_to_connect(where: str) -> None:
    with listening(says(b"HTTP/1.1 403 canary\r\n\r\n")) as port:
        result = check(f"127.0.0.1:{port}", "https://127.0.0.1:1/")
    assert (result.status, result.error) == (403, "the proxy answered 403")


def test_a_private_proxy_is_refused_unless_an_admin_allows_its_network(where: str) -> None:
    proxy = HttpProxy()
    with listening(proxy) as port:
        for allow in ([], [ip_network("10.0.0.0/8")]):
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"):
                result = check_through(f"http://{URL_AUTH}@{host}:{port}", f"{where}/json", allow=allow)
                assert result.error and "a loopback address" in result.error and "BINNACLE_OUTBOUND_ALLOW" in result.error
        assert not proxy.heads
        assert check_through(f"127.0.0.1:{port}", f"{where}/json", allow=[ip_network("127.0.0.1/32")]).ok


@pytest.mark.parametrize(
    ("proxy", "url", "error"),
    [
        ("canary@@:", "http://example.com", "not a proxy address: "), ("no-such-host.invalid:1", "http://example.com", "could not resolve host"),
        ("127.0.0.1:1", "ftp://example.com", "the target is not usable: "), ("127.0.0.1:1", "http://", "the target is not usable: "),
        ("127.0.0.1:1", "http://user:canary@example.com", "the target is not usable: "),
        ("127.0.0.1:1", "http://a.com:port/", "the target is not usable: "),
    ],
)  # fmt: skip
def test_addresses_that_are_none_end_in_an_error_too(proxy: str, url: str, error: str) -> None:
    assert (check(proxy, url).error or "").startswith(error)


def test_the_environments_proxies_count_for_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*" if "NO" in name.upper() else "http://127.0.0.1:1")
    proxy = HttpProxy()
    with listening(proxy) as port:
        assert check(f"127.0.0.1:{port}", f"{where}/json").ok
    assert proxy.heads


def test_no_log_line_tells_the_credentials(where: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        with (
            listening(SocksProxy(PASSWORD)) as socks,
            listening(HttpProxy(PASSWORD)) as http,
            listening(HttpProxy("other")) as wrong,
        ):
            assert check(f"socks5://{URL_AUTH}@127.0.0.1:{socks}", f"{where}/json").ok
            for port in (http, wrong):
                check(f"{URL_AUTH}@127.0.0.1:{port}", f"{where}/json")
                check(f"{URL_AUTH}@127.0.0.1:{port}", f"https{where[4:]}/json")
    assert caplog.text
    assert "canary" not in caplog.text
