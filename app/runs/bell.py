"""The doorbell of workers: huey over SQLite, or over Redis where there is one. It carries no work: the row is the truth, and a
ring that is lost costs a second, until the engine looks by itself.

What is queued is a run's id as JSON; huey's own pickles would let whoever can write to the queue run code in the worker.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask

from app.changes import Watch
from app.factory import settings_of
from app.logging import get_logger

if TYPE_CHECKING:
    from huey import Huey

QUEUE = "queue.db"
POLL_S = 0.02  # SQLite is asked, Redis wakes us
log = get_logger(__name__)


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """huey imports the library of every store that is installed, 20 MB of them: hide those that nobody has imported yet."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def make_huey(app: Flask) -> "Huey":
    """This installation's queue."""
    settings = settings_of(app)
    with _without("cysqlite", "psycopg", *(() if settings.redis_url else ("redis",))):
        from huey import RedisHuey, SqliteHuey
        from huey.registry import Message
        from huey.serializer import Serializer

    class Json(Serializer):  # type: ignore[misc]
        def _serialize(self, data: Any) -> bytes:
            return orjson.dumps(list(data))

        def _deserialize(self, data: bytes) -> Any:
            return Message(*orjson.loads(data))

    how = {"results": False, "serializer": Json()}
    if settings.redis_url:
        return RedisHuey("binnacle", url=settings.redis_url, blocking=True, read_timeout=1, **how)
    path = str(settings.data_dir / QUEUE)
    return SqliteHuey("binnacle", filename=path, fsync=False, cache_mb=1, timeout=1, **how)


class Bell:
    """`ring` is for any process, `listen` for a worker."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._huey: Huey | None = None
        self._heard: Callable[[], None] = lambda: None
        self._task: Any = None

    def _open(self) -> "Huey":
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
        quiet, seen = False, 0
        settings = settings_of(self._app)
        watch = Watch(None if settings.redis_url else settings.data_dir / QUEUE)
        while not stopping.is_set():
            try:
                queue = self._open()
                if (version := watch.version()) == seen:
                    stopping.wait(POLL_S)
                    continue
                task = queue.dequeue()
                quiet = False
                if task is not None:
                    queue.execute(task)
                else:
                    seen = version
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
