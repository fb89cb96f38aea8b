"""Active checks with real parts: a session names a proxy with credentials, the worker asks through it, the result is stored."""

import sqlite3
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from local_proxies import EXIT, PASSWORD, USER, HttpProxy, SocksProxy, hangs, listening, refused, target
from serving import Server, eventually


@pytest.fixture(scope="module")
def checked() -> Iterator[tuple[Server, int]]:
    """A server that may reach loopback, whose checks ask a target on this machine: (server, the target's port)."""
    with listening(target) as port:
        server = Server("sqlite", worker=True, BINNACLE_OUTBOUND_ALLOW="127.0.0.0/8",
                        BINNACLE_PROXY_CHECK_URL=f"http://127.0.0.1:{port}/json")  # fmt: skip
        yield server, port
        server.stop()


def proxy_of(server: Server, address: str) -> str:
    """Let a session go through an address; returns the proxy's id."""
    body = {"session_id": str(uuid4()), "profile_id": "p", "proxy": address}
    server.http.post("/api/sessions/register", json=body).raise_for_status()
    known = {row["id"] for row in server.http.get("/api/v1/proxies").json()["proxies"] if row["uses"] == 1}
    seen = getattr(server, "seen_proxies", set())
    new = known - seen
    server.seen_proxies = known  # type: ignore[attr-defined]
    assert len(new) == 1
    return str(new.pop())


def check(server: Server, proxy: str) -> dict[str, Any]:
    asked = server.http.post(f"/api/v1/proxies/{proxy}/check")
    assert asked.status_code == 202, asked.text
    assert asked.json()["status"] == "queued"
    path = f"/api/v1/proxies/{proxy}/checks/{asked.json()['id']}"
    found: dict[str, Any] = eventually(lambda: (row := server.http.get(path).json())["status"] == "done" and row, 30)
    return found


def test_a_check_goes_through_the_proxy_with_its_credentials(checked: tuple[Server, int]) -> None:
    server, port = checked
    proxy = HttpProxy(PASSWORD)
    with listening(proxy) as at:
        known = proxy_of(server, f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{at}")
        result = check(server, known)
    assert (result["ok"], result["http_status"], result["exit_address"], result["error"]) == (True, 200, EXIT, None)
    assert result["latency_ms"] > 0
    assert f"127.0.0.1:{port}" in proxy.heads[0]
    shown = server.http.get(f"/api/v1/proxies/{known}").json()
    assert shown["url"] == f"http://***@127.0.0.1:{at}"
    assert (shown["exit_address"], shown["avg_latency_ms"]) == (EXIT, pytest.approx(result["latency_ms"], abs=0.1))
    assert shown["checks"][0]["id"] == result["id"]


def test_a_socks_proxy_is_checked_as_well(checked: tuple[Server, int]) -> None:
    server, _ = checked
    with listening(SocksProxy()) as at:
        result = check(server, proxy_of(server, f"socks5://127.0.0.1:{at}"))
    assert (result["ok"], result["error"]) == (True, None)


def test_what_is_wrong_is_said_in_words(checked: tuple[Server, int]) -> None:
    server, _ = checked
    with refused() as at:
        assert "refused" in check(server, proxy_of(server, f"127.0.0.1:{at}"))["error"]
    with listening(HttpProxy("another")) as at:
        failed = check(server, proxy_of(server, f"{USER}:wrong-canary@127.0.0.1:{at}"))
    assert "407" in failed["error"]
    assert "canary" not in failed["error"]
    private = check(server, proxy_of(server, "10.255.255.1:3128"))
    assert "BINNACLE_OUTBOUND_ALLOW" in private["error"]
    assert private["ok"] is False


def test_one_check_at_a_time_and_only_for_those_who_may(checked: tuple[Server, int]) -> None:
    server, _ = checked
    with listening(hangs) as at:
        known = proxy_of(server, f"127.0.0.1:{at}")
        path = f"/api/v1/proxies/{known}/check"
        assert server.http.post(path).status_code == 202
        assert server.http.post(path).status_code == 409
        for role, status in (("readonly", 403), ("executor", 403), ("user", 409)):
            key = server.http.post("/api/v1/api-keys", json={"name": role, "role": role}).json()["key"]
            assert server.http.post(path, headers={"X-API-Key": key}).status_code == status
    assert server.http.post("/api/v1/proxies/00000000-0000-0000-0000-000000000000/check").status_code == 404


def test_a_check_whose_worker_was_killed_is_made_again(checked: tuple[Server, int]) -> None:
    server, _ = checked
    with listening(HttpProxy()) as at:
        known = proxy_of(server, f"127.0.0.1:{at}")
        assert server.worker is not None
        server.worker.kill()
        server.worker.wait()
        asked = server.http.post(f"/api/v1/proxies/{known}/check").json()
        with sqlite3.connect(server.data / "binnacle.db", timeout=10) as connection:  # a lease that has run out
            connection.execute(
                "UPDATE proxy_checks SET status = 'running', lease_until = '2020-01-01 00:00:00' WHERE id = ?", (asked["id"],)
            )
        server.start_worker()
        path = f"/api/v1/proxies/{known}/checks/{asked['id']}"
        assert eventually(lambda: (row := server.http.get(path).json())["status"] == "done" and row, 30)["ok"] is True


def test_no_credential_is_anywhere_in_the_clear(checked: tuple[Server, int]) -> None:
    server, _ = checked
    written = b"".join(path.read_bytes() for path in server.data.glob("binnacle.db*")) + server.words().encode()
    for canary in (USER, PASSWORD, quote(PASSWORD, safe=""), "wrong-canary"):
        assert canary.encode() not in written
        for path in ("/api/v1/proxies", "/api/ip/status", "/api/stats", "/api/sessions", "/api/sessions/export", "/api/v1/audit"):
            assert canary not in server.http.get(path).text
