"""What the simulated fleet and the simulated bots have sent, and how long the acknowledgements took."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

STEPS = 16  # buckets per doubling: percentiles are exact to about 4 %


class Lags:
    """A histogram of durations that does not grow with their number."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._buckets[int(log2(max(seconds, 1e-5)) * STEPS // 1)] += 1
        self.longest = max(self.longest, seconds)

    def percentile(self, share: float) -> float:
        """The duration in seconds that this share (0–1) stayed under; 0 while there is none."""
        left = ceil(self._buckets.total() * share)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return float(min(2 ** ((bucket + 1) / STEPS), self.longest))
        return 0.0


@dataclass
class Tally:
    """The counts of a run. `sent` counts each sample once, however often it went out."""

    computers: int
    connected: int = 0
    sent: int = 0
    acked: int = 0
    refused: int = 0
    reconnects: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lags: Lags = field(default_factory=Lags)
    recent: Lags = field(default_factory=Lags)

    def answered(self, seconds: float) -> None:
        """A message was acknowledged after so long."""
        self.lags.add(seconds)
        self.recent.add(seconds)

    def progress(self) -> str:
        """A line about now; its lags are those since the last line."""
        recent, self.recent = self.recent, Lags()
        said = (f"connected {self.connected:,} of {self.computers:,} · sent {self.sent:,} · acked {self.acked:,} · "
                f"ack p50 {recent.percentile(0.5) * 1000:.0f} ms, p99 {recent.percentile(0.99) * 1000:.0f} ms")  # fmt: skip
        return said + (f" · reconnects {self.reconnects:,}" if self.reconnects else "")

    def summary(self) -> dict[str, Any]:
        """The whole run, for programs."""
        return {
            "computers": self.computers, "connected": self.connected, "sent": self.sent, "acked": self.acked,
            "refused": self.refused, "reconnects": self.reconnects,
            "ack_p50_ms": round(self.lags.percentile(0.5) * 1000, 1), "ack_p99_ms": round(self.lags.percentile(0.99) * 1000, 1),
            "ack_max_ms": round(self.lags.longest * 1000, 1), "errors": dict(self.errors.most_common(5)),
        }  # fmt: skip


@dataclass
class BotTally:
    """The counts of a run of sessions. What is `begun`, `ended` and `acked` (events) the server has acknowledged, each counted
    once; `refused` is by status, `retries` by status or `connection`."""

    begun: int = 0
    ended: int = 0
    acked: int = 0
    under_way: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lags: Lags = field(default_factory=Lags)
    recent: Lags = field(default_factory=Lags)

    def answered(self, seconds: float) -> None:
        """A request was answered after so long."""
        self.lags.add(seconds)
        self.recent.add(seconds)

    def progress(self) -> str:
        """A line about now; its lags are those since the last line."""
        recent, self.recent = self.recent, Lags()
        said = (f"sessions begun {self.begun:,} · under way {self.under_way:,} · ended {self.ended:,} · "
                f"events acked {self.acked:,} · "
                f"answers p50 {recent.percentile(0.5) * 1000:.0f} ms, p99 {recent.percentile(0.99) * 1000:.0f} ms")  # fmt: skip
        said += f" · refused {self.refused.total():,}" if self.refused else ""
        return said + (f" · retries {self.retries.total():,}" if self.retries else "")

    def summary(self) -> dict[str, Any]:
        """The whole run, for programs."""
        return {
            "begun": self.begun, "ended": self.ended, "unfinished": self.begun - self.ended, "events_acked": self.acked,
            "refused": {str(status): times for status, times in sorted(self.refused.items())}, "retries": dict(self.retries),
            "answer_p50_ms": round(self.lags.percentile(0.5) * 1000, 1),
            "answer_p99_ms": round(self.lags.percentile(0.99) * 1000, 1),
            "answer_max_ms": round(self.lags.longest * 1000, 1), "errors": dict(self.errors.most_common(5)),
        }  # fmt: skip
