"""Reading what a command writes, without ever hanging on a pipe that somebody keeps open."""

from __future__ import annotations

import os
import queue
import selectors
import subprocess
import threading
from typing import IO, Any

PIECE = 64 * 1024
Pieces = list[tuple[str, bytes]]


def _streams(process: subprocess.Popen[bytes]) -> list[tuple[str, IO[bytes]]]:
    pairs = (("stdout", process.stdout), ("stderr", process.stderr))
    return [(name, pipe) for name, pipe in pairs if pipe is not None]


class SelectedPipes:
    """Both pipes of a process (POSIX), for one thread; what is not read stays in the pipe and stops the writer."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._selector = selectors.DefaultSelector()
        for name, pipe in _streams(process):
            self._selector.register(pipe, selectors.EVENT_READ, name)

    @property
    def open(self) -> bool:
        """Whether anybody may still write."""
        return bool(self._selector.get_map())

    def read(self, timeout: float) -> Pieces:
        """What came on which stream, after waiting up to `timeout` seconds for it."""
        pieces: Pieces = []
        for key, _ in self._selector.select(timeout):
            data = os.read(key.fd, PIECE)
            if data:
                pieces.append((key.data, data))
            else:
                self._drop(key.fileobj)
        return pieces

    def close(self) -> None:
        """Let go of the pipes, whoever still holds their other ends."""
        for key in list((self._selector.get_map() or {}).values()):
            self._drop(key.fileobj)
        self._selector.close()

    def _drop(self, pipe: Any) -> None:
        self._selector.unregister(pipe)
        pipe.close()


class ThreadedPipes:
    """The same where pipes cannot be selected (Windows): a thread reads each, and waits while nobody takes its pieces.

    A thread whose pipe is kept open by somebody stays behind when the pipes are closed, and ends with that somebody.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._pieces: queue.Queue[tuple[str, bytes]] = queue.Queue(maxsize=4)
        self._closed = threading.Event()
        streams = _streams(process)
        self._reading = len(streams)
        for name, pipe in streams:
            threading.Thread(target=self._pass_on, args=(name, pipe), name=f"{name}-reader", daemon=True).start()

    @property
    def open(self) -> bool:
        """Whether anybody may still write."""
        return self._reading > 0

    def read(self, timeout: float) -> Pieces:
        """What came on which stream, after waiting up to `timeout` seconds for it."""
        try:
            name, data = self._pieces.get(timeout=timeout)
        except queue.Empty:
            return []
        if data:
            return [(name, data)]
        self._reading -= 1
        return []

    def close(self) -> None:
        """Let go of the pipes, whoever still holds their other ends."""
        self._closed.set()

    def _pass_on(self, name: str, pipe: IO[bytes]) -> None:
        try:
            while not self._closed.is_set():
                data = os.read(pipe.fileno(), PIECE)
                self._put(name, data)
                if not data:
                    return
        except OSError:
            self._put(name, b"")
        finally:
            pipe.close()

    def _put(self, name: str, data: bytes) -> None:
        while not self._closed.is_set():
            try:
                return self._pieces.put((name, data), timeout=0.1)
            except queue.Full:
                continue


Pipes = ThreadedPipes if os.name == "nt" else SelectedPipes
