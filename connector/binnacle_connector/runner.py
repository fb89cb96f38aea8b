"""One command from its start to its end: what it writes, its timeout, and whoever wants it to end sooner."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from .ledger import Unfinished
from .output import Buffers, Output
from .pipes import Pipes
from .process import Group, left_behind, spawn, started_at
from .request import Request

GRACE = 3.0
LAST_WORDS = 1.0
GIVE_UP = 2.0
TICK = 0.05
BREATH = 0.01


class Ending(NamedTuple):
    """How a command ended: `exit_code` only when it ended by itself, `message` when there is more to say."""

    reason: str
    exit_code: int | None = None
    message: str | None = None


class Runner:
    """Runs one command in the thread that calls `run`; `end` is for any other. Times are seconds."""

    def __init__(self, request: Request, buffers: Buffers, output: Output) -> None:
        self.request = request
        self._buffers, self._output = buffers, output
        self._asked: Ending | None = None
        self._ending: Ending | None = None
        self._grace = GRACE
        self._kill_at = self._give_up_at = 0.0

    def end(self, ending: Ending, grace: float = GRACE) -> None:
        """Ask for its end; the first who asks is its reason."""
        if self._asked is None:
            self._grace, self._asked = grace, ending

    def run(self, on_start: Callable[[int, float | None], None]) -> Ending:
        """Start it, tell `on_start` its process and when that was born, and stay until it has ended."""
        if self._asked is not None:
            return self._asked
        try:
            process = spawn(self.request)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            return Ending("failed_to_start", None, _why(error))
        group = Group(process.pid, process)
        pipes = Pipes(process)
        try:
            on_start(process.pid, started_at(process.pid))
            self._attend(process, group, pipes)
            held = self._last_words(pipes)
        finally:
            if process.poll() is None:
                group.kill()
            pipes.close()
        return self._ending or _ended(process.returncode, held)

    def _attend(self, process: subprocess.Popen[bytes], group: Group, pipes: Any) -> None:
        """Read and watch the clock until the command has ended, or does not end whatever is done."""
        timeout_at = time.monotonic() + self.request.timeout
        killed = False
        while True:
            if self._ending is None:
                if process.poll() is not None:
                    return
                if self._asked is not None or time.monotonic() >= timeout_at:
                    self._begin_to_end(group)
            elif not group.alive():
                return
            elif not killed and time.monotonic() >= self._kill_at:
                killed = True
                group.kill()
            elif time.monotonic() >= self._give_up_at:
                words = "It did not end, not even by SIGKILL: it may belong to another user or wait for a device."
                self._ending = self._ending._replace(message=words)
                return
            self._read(process, pipes)

    def _begin_to_end(self, group: Group) -> None:
        self._ending = self._asked or Ending("timeout", None, f"It was ended after {self.request.timeout:g} s.")
        self._kill_at = time.monotonic() + self._grace
        self._give_up_at = self._kill_at + GIVE_UP
        group.terminate()

    def _read(self, process: subprocess.Popen[bytes], pipes: Any) -> None:
        """Take what there is, or wait a tick. Without room the command waits while a server is taking its output."""
        if not pipes.open:
            try:
                process.wait(TICK)
            except subprocess.TimeoutExpired:
                return
            if self._ending is not None:
                time.sleep(TICK)
        elif self._output.room or not self._buffers.flowing:
            for stream, data in pipes.read(TICK):
                self._output.feed(stream, data)
            if not self._output.room:
                time.sleep(BREATH)  # what is dropped need not be dropped fast
        else:
            time.sleep(TICK)

    def _last_words(self, pipes: Any) -> bool:
        """Read what is left, for at most a second; gives whether somebody still holds the pipes."""
        until = time.monotonic() + LAST_WORDS
        while pipes.open and time.monotonic() < until:
            for stream, data in pipes.read(TICK):
                self._output.feed(stream, data)
        return bool(pipes.open)


def _ended(code: int, held: bool) -> Ending:
    words = (
        "A process that it left in the background still holds its output, which is no longer read." if held else None
    )
    if code >= 0:
        return Ending("exited", code, words)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return Ending("signal", 128 - code, f"It was ended by {name}." + (f" {words}" if words else ""))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename and "There is no" not in error.strerror else ""
        return f"{error.strerror}{where}."
    return f"{type(error).__name__}: {error}."


def end_leftovers(lost: Iterable[Unfinished]) -> None:
    """What a crashed connector left running is ended, as a command without a timeout and a reader must not stay."""
    groups: list[Group] = []
    for one in lost:
        group = left_behind(one.pid, one.born) if one.pid is not None and one.born is not None else None
        if group is not None:
            group.terminate()
            groups.append(group)
    until = time.monotonic() + GRACE
    while any(group.alive() for group in groups) and time.monotonic() < until:
        time.sleep(TICK)
    for group in groups:
        if group.alive():
            group.kill()
