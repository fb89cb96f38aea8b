"""JSON shapes of contract 002's metrics, of the agents' nested form, and of our connector's samples."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from app.clock import from_ms, now, to_ms
from app.errors import field_error
from app.metrics.models import VALUES
from app.metrics.operations import NewSample, clock_fault
from app.metrics.queries import Point
from app.shapes import Answer, Body, Query

Percent = Annotated[float, Field(ge=0, le=100)]
Size = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(ge=0, lt=1e15)]
GIB = 1024**3


def _whole(value: Any) -> Any:
    """Counters that a client writes as 1e9 or 5.0 are still whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


Count = Annotated[Size, BeforeValidator(_whole)]


class DiskIn(Body):
    """One file system, sizes in bytes."""

    path: str = Field(max_length=1024)
    total: Count
    used: Count
    free: Count = 0
    percent: Percent


class NetworkIn(Body):
    """One interface, counters in bytes."""

    interface: str = Field(max_length=255)
    bytes_sent: Count
    bytes_recv: Count


class RatesIn(Body):
    """Bytes a second over all interfaces but loopback."""

    sent_per_s: Rate
    recv_per_s: Rate


class SampleIn(Body):
    """The documented object of `GET /metrics/{server_id}`, and what our connector adds (docs/connector-protocol.md)."""

    server_id: str | None = None
    seq: Annotated[int | None, Field(ge=1, lt=2**63)] = None
    timestamp: datetime | None = None
    cpu_percent: Percent
    memory_percent: Percent
    memory_total: Count | None = None
    memory_used: Count | None = None
    swap_percent: Percent | None = None
    load: list[Annotated[float, Field(ge=0, lt=1e6)]] = Field(default_factory=list, max_length=3)
    uptime_seconds: Annotated[float | None, Field(ge=0, lt=1e12)] = None
    process_count: Annotated[int | None, Field(ge=0, lt=2**31)] = None
    disk_usage: list[DiskIn] = Field(default_factory=list, max_length=256)
    network: list[NetworkIn] = Field(default_factory=list, max_length=256)
    network_rates: RatesIn | None = None

    def sample(self, computer_id: int) -> NewSample:
        """As the domain takes it. Raises Invalid for a clock that is too far away."""
        physical = [n for n in self.network if n.interface not in ("lo", "lo0", "Loopback Pseudo-Interface 1")]
        extra = {k: v for k in ("memory_total", "memory_used", "swap_percent", "load", "uptime_seconds", "process_count")
                 if (v := getattr(self, k)) not in (None, [])}  # fmt: skip
        return NewSample(
            computer_id=computer_id,
            at=_checked_time(self.timestamp),
            cpu=round(self.cpu_percent, 2),
            memory=round(self.memory_percent, 2),
            disk=max((d.percent for d in self.disk_usage), default=None),
            recv_rate=self.network_rates.recv_per_s if self.network_rates else None,
            sent_rate=self.network_rates.sent_per_s if self.network_rates else None,
            recv=_total(n.bytes_recv for n in physical) if physical else None,
            sent=_total(n.bytes_sent for n in physical) if physical else None,
            load=self.load[0] if self.load else None,
            disks=[[d.path, d.total, d.used, d.free, d.percent] for d in self.disk_usage],
            networks=[[n.interface, n.bytes_sent, n.bytes_recv] for n in self.network],
            extra=extra,
            seq=self.seq,
        )


def _total(counters: Iterable[int]) -> int:
    """The sum of counters, as far as the database can hold it."""
    return min(sum(counters), 2**63 - 1)


def _checked_time(moment: datetime | None) -> int:
    if moment is None:
        return to_ms(now())
    try:
        at = to_ms(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    except (OverflowError, ValueError):
        raise field_error("timestamp", "is not a time that can be stored") from None
    if fault := clock_fault(at):
        raise field_error("timestamp", fault)
    return at


class _Gauge(Body):
    total_gb: Annotated[float | None, Field(ge=0, lt=1e9)] = None
    used_gb: Annotated[float | None, Field(ge=0, lt=1e9)] = None
    available_gb: Annotated[float | None, Field(ge=0, lt=1e9)] = None
    usage_percent: Percent


class _Cpu(Body):
    usage_percent: Percent
    cores: int | None = None
    frequency_mhz: float | None = None


class _Traffic(Body):
    bytes_sent: Count = 0
    bytes_recv: Count = 0


class AgentData(Body):
    """The nested `data` of contract 002's agents."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)

    cpu: _Cpu
    memory: _Gauge
    disk: _Gauge | None = None
    network: _Traffic | None = None
    containers: list[Any] | None = None
    processes: list[Any] | None = None
    timestamp: datetime | None = None

    def sample(self, computer_id: int) -> NewSample:
        """As the domain takes it. Raises Invalid for a clock that is too far away."""
        extra: dict[str, Any] = {}
        if self.memory.total_gb is not None:
            extra["memory_total"] = int(self.memory.total_gb * GIB)
            extra["memory_used"] = int((self.memory.used_gb or 0) * GIB)
        disks = []
        if self.disk:
            total, used = int((self.disk.total_gb or 0) * GIB), int((self.disk.used_gb or 0) * GIB)
            disks = [["/", total, used, max(0, total - used), self.disk.usage_percent]]
        net = self.network
        return NewSample(
            computer_id=computer_id, at=_checked_time(self.timestamp), cpu=round(self.cpu.usage_percent, 2),
            memory=round(self.memory.usage_percent, 2), disk=self.disk.usage_percent if self.disk else None,
            recv=net.bytes_recv if net else None, sent=net.bytes_sent if net else None, disks=disks,
            networks=[["all", net.bytes_sent, net.bytes_recv]] if net else [], extra=extra,
        )  # fmt: skip


class AgentPush(Body):
    """`POST /metrics` in the agents' form: `{"data": {…}}`."""

    data: AgentData


class DiskOut(Answer):
    """One file system."""

    path: str
    total: int
    used: int
    free: int
    percent: float


class NetworkOut(Answer):
    """One interface."""

    interface: str
    bytes_sent: int
    bytes_recv: int


class MetricsOut(Answer):
    """A sample of contract 002. Rolled-up ones have `…_min`, `…_max` and `resolution` too."""

    model_config = ConfigDict(extra="allow")

    server_id: str
    cpu_percent: float
    memory_percent: float
    disk_usage: list[DiskOut]
    network: list[NetworkOut]
    timestamp: datetime


NAMES = {"cpu": "cpu_percent", "memory": "memory_percent", "disk": "disk_percent", "recv_rate": "recv_per_s",
         "sent_rate": "sent_per_s", "load": "load_1m"}  # fmt: skip


def shown(uuid: str, point: Point, resolution: str) -> dict[str, Any]:
    """A point as contract 002 shows it, with our additions."""
    detail = point.detail or {}
    out: dict[str, Any] = {
        "server_id": uuid,
        "cpu_percent": point.values["cpu"],
        "memory_percent": point.values["memory"],
        "disk_usage": [dict(zip(("path", "total", "used", "free", "percent"), d, strict=True)) for d in detail.get("d", [])],
        "network": [dict(zip(("interface", "bytes_sent", "bytes_recv"), n, strict=True)) for n in detail.get("n", [])],
        "timestamp": from_ms(point.at),
        "resolution": resolution,
    }
    for name in ("disk", "recv_rate", "sent_rate", "load"):
        out[NAMES[name]] = point.values[name]
    for name in VALUES if point.spans else ():
        out[f"{NAMES[name]}_min"], out[f"{NAMES[name]}_max"] = point.spans[name]
    out.update(detail.get("x", {}))
    return out


class HistoryQuery(Query):
    """`start`/`end` or `start_time`/`end_time` (RFC 3339; without a zone UTC); by default the last 24 h."""

    start: datetime | None = None
    end: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    limit: int = Field(1_500, ge=1, le=1_500)

    def span_ms(self) -> tuple[int, int]:
        """(start, end) in ms. Raises Invalid when the range is empty or absurd."""
        end = self.end or self.end_time or now()
        start = self.start or self.start_time
        try:
            end_ms = to_ms(_aware(end)) + 1
            start_ms = to_ms(_aware(start)) if start else end_ms - 24 * 3600 * 1000
        except (OverflowError, ValueError):
            raise field_error("start", "is not a time that can be asked for", "query") from None
        if start_ms >= end_ms:
            raise field_error("start", "must be before end", "query")
        return max(start_ms, end_ms - 10 * 365 * 86_400_000), end_ms


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class Stored(Answer):
    """The answer to a pushed sample, after its commit."""

    status: str = "ok"
    server_id: str
    timestamp: datetime
