"""What a threshold can be about: the metrics that this room knows, and those that other rooms offer (`offer`).

A metric is sampled (a number of each sample), a state (told by `observe` when it changes, and looked up when a deadline comes)
or an event (told once; it ends when a person resolves it, or after `expires_s`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from app.alerts.models import Comparison, Severity


class Source(StrEnum):
    """How its values come."""

    SAMPLES = "samples"
    STATE = "state"
    EVENT = "event"


@dataclass(frozen=True)
class About:
    """What an observation is about. `computer_id` and `computer_uuid` when that is a computer, or lives on one."""

    kind: str
    id: str
    name: str
    tenant_id: str | None
    computer_id: int | None = None
    computer_uuid: str | None = None
    ephemeral: bool = False


@dataclass(frozen=True)
class Observation:
    """A value of a metric, as of `at` (ms); NaN: it cannot be told now. `said` is a line for a person instead of the
    metric's own. Rules with the same `argument` go by it."""

    metric: str
    about: About
    value: float
    at: int
    said: str = ""
    argument: str | None = None


Current = Mapping[tuple[str, str | None], tuple[float, str]]


@dataclass(frozen=True)
class Metric:
    """A metric. `lowest` and `highest` bound what a limit may be; `limit`, `comparison` and `severity` are what a rule has that
    does not say them. `arguments` says what `argument` may be: "" nothing, "path" a file's or a disk's path, else words with |
    between; `narrowed` is the label with one.
    `least_for_s` is the shortest time that its limits must be crossed. `words` are what levels 0, 1, 2 … are called.

    `current` gives what subjects are like now, by (subject, argument) as (value, line for a person or ""); what is missing exists
    no more. `sweep` gives every observation that may be bad now. What changes by the day has a `search` for the ids of subjects
    that may be bad: it is made once an hour, before anything is locked, and `sweep` is given what it found.
    """

    key: str
    label: str
    source: Source
    unit: str = ""
    subject: str = "computer"
    lowest: float = 0.0
    highest: float = 1e15
    limit: float | None = None
    comparison: Comparison = Comparison.GT
    severity: Severity = Severity.WARNING
    arguments: str = ""
    narrowed: str = "{label} {argument}"
    least_for_s: int = 0
    expires_s: int = 0
    words: tuple[str, ...] = ()
    current: Callable[[Sequence[str]], Current] | None = field(default=None, compare=False)
    sweep: Callable[..., Iterable[Observation]] | None = field(default=None, compare=False)
    search: Callable[[], Sequence[str]] | None = field(default=None, compare=False)

    def named(self, argument: str | None) -> str:
        """Its label, with what narrows it."""
        return self.narrowed.format(label=self.label, argument=argument) if argument else self.label

    def shown(self, value: float | None) -> str:
        """A value with its unit."""
        if value is None or not isfinite(value):
            return "–"
        if self.words:
            return self.words[min(max(int(value), 0), len(self.words) - 1)]
        if self.unit == "B/s":
            for size, name in ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")):
                if value >= size:
                    return f"{value / size:.1f} {name}"
        number = f"{value:,.1f}".removesuffix(".0")
        if self.unit == "days" and number == "1":
            return "1 day"
        return f"{number} {self.unit}" if self.unit else number


_METRICS: dict[str, Metric] = {}


def offer(metric: Metric) -> None:
    """Let thresholds be about it. A room offers its metrics when it is imported, and tells their values through `observe`."""
    _METRICS[metric.key] = metric


def forget(key: str) -> None:
    """Take an offer back."""
    _METRICS.pop(key, None)


def metric_of(key: str) -> Metric | None:
    """The metric of this name."""
    return _METRICS.get(key)


def metrics() -> list[Metric]:
    """All of them, in the order in which they were offered."""
    return list(_METRICS.values())


_PERCENT = {"source": Source.SAMPLES, "unit": "%", "highest": 100.0, "limit": 90.0}
for _metric in (
    Metric("cpu", "CPU", **_PERCENT),  # type: ignore[arg-type]
    Metric("memory", "Memory", **_PERCENT),  # type: ignore[arg-type]
    Metric("disk", "Disk", arguments="path", **_PERCENT),  # type: ignore[arg-type]
    Metric("network", "Network", Source.SAMPLES, "B/s", arguments="recv|sent"),
    Metric("load", "Load", Source.SAMPLES, highest=1e6),
    Metric("clock_skew", "Clock off by", Source.SAMPLES, "s", highest=7 * 86400.0, limit=30.0, least_for_s=120),
):
    offer(_metric)
