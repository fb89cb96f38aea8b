"""Fixed windows counted in memory, for `limits`: its own MemoryStorage starts a timer thread every 10 ms under load."""

import time

from limits.storage import Storage

SWEEP_S = 60.0


class Windows(Storage):
    """Counters by key, each with the end of its window. One process, one thread at a time within a call."""

    STORAGE_SCHEME = ["windows"]  # noqa: RUF012 (limits declares it so)

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: str) -> None:
        super().__init__(uri, wrap_exceptions)
        self._counts: dict[str, tuple[int, float]] = {}
        self._swept = time.time()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in the window that is open or in a new one of `expiry` seconds; returns the new count."""
        moment = time.time()
        count, ends = self._counts.get(key, (0, 0.0))
        if ends <= moment:
            count, ends = 0, moment + expiry
            self._sweep(moment)
        self._counts[key] = (count + amount, ends)
        return count + amount

    def _sweep(self, moment: float) -> None:
        if moment - self._swept > SWEEP_S:
            self._swept = moment
            self._counts = {key: entry for key, entry in self._counts.items() if entry[1] > moment}

    def get(self, key: str) -> int:
        """The count of the open window."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since 1970."""
        return max(self._counts.get(key, (0, 0.0))[1], time.time())

    def check(self) -> bool:
        """Always there."""
        return True

    def reset(self) -> int:
        """Forget everything."""
        count = len(self._counts)
        self._counts.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one."""
        self._counts.pop(key, None)
