"""The doorbell: heard over SQLite and over Redis, it carries no code, and nothing depends on it."""

import sys
import threading
from pathlib import Path

import pytest
from conftest import port_open
from serving import eventually

from app.config import load_settings
from app.factory import make_flask
from app.runs.bell import Bell, make_huey


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process imports huey for its one store; this one is several."""
    for name in [name for name in sys.modules if name.split(".")[0] == "huey"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("redis", [None, "redis://127.0.0.1:6379/7"], ids=["sqlite", "redis"])
def test_a_ring_is_heard_and_is_only_an_id(tmp_path: Path, redis: str | None) -> None:
    if redis and not port_open(6379):
        pytest.skip("no Redis on 127.0.0.1:6379")
    app = make_flask(load_settings(REDIS_URL=redis, BINNACLE_DATA_DIR=tmp_path))
    queue = make_huey(app)
    queue.flush()
    Bell(app).ring("3f2a")
    (raw,) = queue.storage.enqueued_items()
    assert b'run_waits"' in bytes(raw) and b"3f2a" in bytes(raw) and bytes(raw).startswith(b"[")
    heard, stopping = threading.Event(), threading.Event()
    Bell(app).listen(heard.set, stopping)
    assert heard.wait(5)
    heard.clear()
    Bell(app).ring("4b1c")
    assert heard.wait(5)
    stopping.set()


def test_a_bell_that_is_out_of_order_says_look(tmp_path: Path) -> None:
    app = make_flask(load_settings(REDIS_URL="redis://127.0.0.1:1/0", BINNACLE_DATA_DIR=tmp_path))
    times, stopping = [], threading.Event()
    Bell(app).listen(lambda: times.append(1), stopping)
    eventually(lambda: len(times) >= 2, 10)
    stopping.set()
    with pytest.raises(Exception, match=r"refused|Connection"):
        Bell(app).ring("x")
