"""What is done to a container when the server asks: checked, then handed to the engine, once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from .engine import EngineError, Finder
from .request import Refused, unix_time
from .runner import GRACE, Ending

ACTIONS = {"start_container": "start", "stop_container": "stop", "restart_container": "restart"}
ANSWERS = {
    "start_container": "container_started",
    "stop_container": "container_stopped",
    "restart_container": "container_restarted",
}
DEFAULT_TIMEOUT = 10
MAX_TIMEOUT = 3600
MARGIN = 30.0  # seconds that an engine may take beyond the time that the container was given

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}", re.ASCII)


class Action(NamedTuple):
    """One action. The container gets `timeout` seconds to end; `expires` is Unix time by the server's clock."""

    request_id: str
    kind: str
    container_id: str
    timeout: int = DEFAULT_TIMEOUT
    expires: float | None = None


def container_of(message: dict[str, Any]) -> str:
    """The container that is named. Raises Refused."""
    value = message.get("container_id")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Refused("The container_id must be a container's id or name.")
    return value


def parse_action(request_id: str, message: dict[str, Any]) -> Action:
    """The action in `message`. Absent and null are the same. Raises Refused."""
    timeout: Any = DEFAULT_TIMEOUT if message.get("timeout") is None else message["timeout"]
    if isinstance(timeout, bool) or not isinstance(timeout, int) or not 0 <= timeout <= MAX_TIMEOUT:
        raise Refused(f"The timeout must be a whole number of seconds from 0 to {MAX_TIMEOUT:,}.")
    expires = None
    if message.get("expires") is not None:
        expires = unix_time(message["expires"])
        if expires is None:
            raise Refused("The time in expires must be RFC 3339 with a zone, such as 2026-01-01T00:00:00Z.")
    return Action(request_id, message["type"], container_of(message), timeout, expires)


class Actor:
    """Carries out one action in the thread that calls `run`; `end` is for any other."""

    def __init__(self, request: Action, finder: Finder, looked: Callable[[], None]) -> None:
        self.request = request
        self._finder, self._looked = finder, looked
        self._asked: Ending | None = None
        self._over = threading.Event()

    def end(self, ending: Ending, grace: float = GRACE) -> None:
        """Ask for its end. An engine takes nothing back: what it was told may still be done, and the result says so."""
        if self._asked is None:
            words = f"{ending.message or ''} The engine had been told already and may still do it.".strip()
            self._asked = ending._replace(message=words)
            self._over.set()

    def run(self, on_start: Callable[[int, float | None], None]) -> Ending:
        """Tell the engine, and stay until it has done it, failed, or somebody does not want to wait for it."""
        if self._asked is not None:
            return self._asked
        done: list[Ending] = []
        threading.Thread(target=self._carry_out, args=(done,), name="container-action", daemon=True).start()
        self._over.wait(self.request.timeout + 2 * MARGIN)
        if done:
            return done[0]
        return self._asked or Ending("timeout", None, "The engine did not answer in time; it may still do it.")

    def _carry_out(self, done: list[Ending]) -> None:
        try:
            engine = self._finder.open(self.request.timeout + MARGIN)
            try:
                engine.act(ACTIONS[self.request.kind], self.request.container_id, self.request.timeout)
                done.append(Ending("exited", 0))
            finally:
                engine.close()
        except EngineError as error:
            done.append(Ending("not_found" if error.status == 404 else "failed", None, str(error)))
        except Exception as error:
            done.append(Ending("failed", None, f"The connector failed: {type(error).__name__}."))
        self._looked()
        self._over.set()
