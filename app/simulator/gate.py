"""How many computers dial, say hello and replay their past at once: a fleet that starts must not be a stampede."""

from collections import deque
from collections.abc import Callable


class Gate:
    """Lets `limit` in at a time, in order of arrival."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, go: Callable[[], None]) -> None:
        """Call `go` as soon as there is room; whoever was let in calls `leave` once."""
        if self._inside < self._limit:
            self._inside += 1
            go()
        else:
            self._waiting.append(go)

    def leave(self) -> None:
        """Make room for the next."""
        self._inside -= 1
        if self._waiting and self._inside < self._limit:
            self._inside += 1
            self._waiting.popleft()()
