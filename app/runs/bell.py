"""The doorbell of workers: huey over SQLite, or over Redis where there is one. It carries no work: the row is the truth, and a
ring that is lost costs a second, until the engine looks by itself.

What is queued is a run's id as JSON; huey's own pickles would let whoever can write to the queue run code in the worker.
"""

import threading
from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask
from huey import Huey, RedisHuey, SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer

from app.factory import settings_of
from app.logging import get_logger

POLL_S = 0.02  # SQLite is asked, Redis wakes us
log = get_logger(__name__)


class _Json(Serializer):  # type: ignore[misc]
    def _serialize(self, data: Any) -> bytes:
        return orjson.dumps(list(data))

    def _deserialize(self, data: bytes) -> Any:
        return Message(*orjson.loads(data))


def make_huey(app: Flask) -> Huey:
    """This installation's queue."""
    settings = settings_of(app)
    if settings.redis_url:
        made = RedisHuey("binnacle", url=settings.redis_url, results=False, serializer=_Json(), blocking=True, read_timeout=1)
    else:
        path = str(settings.data_dir / "queue.db")
        made = SqliteHuey("binnacle", filename=path, results=False, serializer=_Json(), fsync=False, cache_mb=1, timeout=1)
    return made


class Bell:
    """`ring` is for any process, `listen` for a worker."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._huey: Huey | None = None
        self._heard: Callable[[], None] = lambda: None
        self._task: Any = None

    def _open(self) -> Huey:
        with self._lock:
            if self._huey is None:
                self._huey = make_huey(self._app)
                self._task = self._huey.task(name="run_waits")(lambda _run_id: self._heard())
            return self._huey

    def ring(self, run_id: str) -> None:
        """A run waits for a worker. Raises what the queue raises; nothing is lost by it."""
        self._open()
        self._task(run_id)

    def listen(self, heard: Callable[[], None], stopping: threading.Event) -> None:
        """Call `heard` at each ring, in a thread of its own, until `stopping`."""
        self._heard = heard
        threading.Thread(target=self._listen, args=(stopping,), name="bell", daemon=True).start()

    def _listen(self, stopping: threading.Event) -> None:
        quiet = False
        while not stopping.is_set():
            try:
                queue = self._open()
                task = queue.dequeue()
                quiet = False
                if task is not None:
                    queue.execute(task)
                elif not settings_of(self._app).redis_url:
                    stopping.wait(POLL_S)
            except Exception as error:  # Redis may be away: runs are found by looking
                if not quiet:
                    log.warning("the doorbell is out of order", error=f"{type(error).__name__}: {error}"[:300])
                quiet = True
                self._heard()
                stopping.wait(1.0)


def bell_of(app: Flask) -> Bell:
    """The process's bell."""
    bell: Bell = app.extensions["binnacle_bell"]
    return bell
