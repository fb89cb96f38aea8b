"""`make run` keeps its children alive, ends them all, refuses wrong settings, and notices a computer that goes quiet."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from launched import CONNECTOR, WEB, WORKER, Launched, SecondComputer
from serving import ROOT, eventually, free_port
from websocket import WebSocketException, create_connection

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

INTERVAL_S = 1
QUIET_S = 2 * INTERVAL_S + 20
SWEEP_S = 2 + 2  # the worker looks every 2 s; and a slow machine


@pytest.fixture(scope="module")
def programs(product: Launched) -> Iterator[httpx.Client]:
    """A program's client of the running product."""
    with product.programs() as client:
        yield client


def computer(programs: httpx.Client, uuid: str) -> dict[str, Any]:
    """A computer as the API shows it; {} while the server is away."""
    with suppress(httpx.TransportError):
        answer = programs.get(f"/api/v1/servers/{uuid}")
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
    return {}


def replaced(product: Launched, name: str, old: psutil.Process) -> psutil.Process | None:
    """The child that runs in the old one's place."""
    now = product.child(name)
    return now if now is not None and now.pid != old.pid else None


@pytest.mark.parametrize("name", [WEB, WORKER, CONNECTOR])
def test_a_killed_child_is_started_again_and_the_page_works(product: Launched, programs: httpx.Client, name: str) -> None:
    old = eventually(lambda: product.child(name))
    family = [old, *old.children(recursive=True)]
    uuid = eventually(lambda: [one for one in programs.get("/api/v1/servers").json() if one["status"] == "online"])[0]["id"]
    seen = computer(programs, uuid)["last_seen"]
    old.kill()
    eventually(lambda: replaced(product, name, old), 15, f"{name} was not started again")
    eventually(product.is_ready, 20, "the web process is not ready")
    assert programs.get("/fleet/").status_code == 200
    eventually(lambda: not any(one.is_running() for one in family), 10, "something of it lives on")
    eventually(lambda: computer(programs, uuid).get("last_seen", seen) > seen, 30, "this machine is not heard any more")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_children(number: signal.Signals) -> None:
    product = Launched()
    try:
        eventually(lambda: product.child(WORKER) and product.child(CONNECTOR))
        everybody = product.children()
        assert len(everybody) >= 4
        product.process.send_signal(number)
        assert product.process.wait(20) == 0
        assert not [one for one in everybody if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert "Traceback" not in product.words()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", product.port)) != 0
    finally:
        product.stop()


def test_a_signal_while_it_starts_ends_it_too() -> None:
    product = Launched(wait=False)
    try:
        eventually(product.children)
        time.sleep(0.3)
        everybody = product.children()
        product.process.terminate()
        assert product.process.wait(45) == 0
        assert not [one for one in everybody if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    finally:
        product.stop()


def test_open_tabs_that_dial_again_do_not_hold_up_the_end() -> None:
    product = Launched(BINNACLE_LOCAL_CONNECTOR="0")
    over = threading.Event()
    try:
        with product.programs() as programs:
            key = programs.headers["X-API-Key"]

        def dial() -> None:
            while not over.is_set():
                with suppress(OSError, WebSocketException):
                    tab = create_connection(f"ws://127.0.0.1:{product.port}/ws/live", header=[f"X-API-Key: {key}"], timeout=20)
                    while tab.recv():
                        continue

        threads = [threading.Thread(target=dial, daemon=True) for _ in range(5)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        started = time.monotonic()
        product.process.terminate()
        assert product.process.wait(20) == 0
        assert time.monotonic() - started < 8
    finally:
        over.set()
        product.stop()


def launch(tmp_path: Path, **settings: str) -> tuple[int, str]:
    """Start it with these settings; the exit status and what it said."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BINNACLE_DATA_DIR": str(tmp_path / "data")}
    env |= {"BINNACLE_BIND": f"127.0.0.1:{free_port()}"} | settings
    done = subprocess.run([sys.executable, "-m", "app.launcher"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=40)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("setting", "value", "more"),
    [
        ("BINNACLE_BIND", "nonsense", {}),
        ("BINNACLE_BIND", "127.0.0.1:99999", {}),
        ("SECRET_KEY", "your_super_secret_key", {}),
        ("SECRET_KEY", "short-1f3dd6eb", {"BINNACLE_BIND": f"0.0.0.0:{free_port()}"}),
        ("BINNACLE_FOO", "a-value-to-hide", {}),
        ("BINNACLE_WEB_PROCESSES", "many", {}),
        ("DATABASE_URL", "mysql://user:a-password-to-hide@host/x", {}),
    ],
)
def test_a_wrong_setting_ends_the_start_and_is_named(tmp_path: Path, setting: str, value: str, more: dict[str, str]) -> None:
    started = time.monotonic()
    status, words = launch(tmp_path, **{setting: value}, **more)
    assert status != 0 and setting in words, words
    assert value not in words and "Traceback" not in words, words
    assert time.monotonic() - started < 30, "it tried again and again"


def test_settings_are_checked_before_the_port_is_opened(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        env = {"PATH": os.environ["PATH"], "BINNACLE_DATA_DIR": str(tmp_path), "BINNACLE_LOG_LEVEL": "loud",
               "BINNACLE_BIND": f"127.0.0.1:{other.getsockname()[1]}"}  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "gunicorn", "-c", "app/gunicorn_conf.py", "wsgi:app"], cwd=ROOT, env=env,
                              capture_output=True, text=True, timeout=40)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("binnacle: BINNACLE_LOG_LEVEL"), done.stderr
    assert "in use" not in done.stderr


def test_network_mode_without_a_secret_is_refused(tmp_path: Path) -> None:
    status, words = launch(tmp_path, BINNACLE_BIND=f"0.0.0.0:{free_port()}")
    assert status != 0 and "SECRET_KEY must be 32 bytes or more" in words, words


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        status, words = launch(tmp_path, BINNACLE_BIND=f"127.0.0.1:{other.getsockname()[1]}")
    assert status == 1
    assert "something answers" in words and "BINNACLE_BIND" in words


@pytest.mark.parametrize("web_dies", [False, True], ids=["web-lives", "web-is-killed"])
def test_a_computer_that_goes_quiet_is_offline_in_time(
    product: Launched, programs: httpx.Client, tmp_path: Path, web_dies: bool
) -> None:
    """Within 2 intervals + 20 s of its last sample, plus the worker's beat, whatever happens to the web process meanwhile."""
    uuid = programs.post("/api/v1/servers", json={"name": f"quiet-{web_dies}"}).raise_for_status().json()["id"]
    key = programs.post("/api/v1/api-keys", json={"name": "agent", "server_id": uuid}).raise_for_status().json()["key"]
    quiet = SecondComputer(tmp_path)
    quiet.configure(server=product.url, key=key, interval=INTERVAL_S)
    quiet.start()
    try:
        eventually(lambda: computer(programs, uuid).get("status") == "online", 30, "it never came online")
        time.sleep(2 * INTERVAL_S)
    finally:
        quiet.kill()
    silent_since = time.monotonic()
    if web_dies:
        web = product.child(WEB)
        assert web is not None
        web.kill()
    assert computer(programs, uuid).get("status", "online") == "online"
    eventually(lambda: computer(programs, uuid).get("status") == "offline", QUIET_S + SWEEP_S, "it is still not offline")
    assert time.monotonic() - silent_since > 10, "a moment's silence is no reason to call it offline"
