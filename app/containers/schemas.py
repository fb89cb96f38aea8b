"""What connectors report of containers, checked and made short; contract 002's shape of them; the CSV columns."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from app.clock import now
from app.containers.models import Container, ContainerState, EngineState
from app.containers.reports import ContainerFound, EngineFound
from app.shapes import Answer, Body, ExitCode, Query, signed_32

MAX_CONTAINERS = 1000
PROJECTS = ("com.docker.compose.project", "io.podman.compose.project", "com.docker.stack.namespace")
_STATES = {"stopped": "exited", "up": "running", "configured": "created", "stopping": "running", "initialized": "created"}
_EXIT = re.compile(r"Exited \((-?\d+)\)")
_PORT = re.compile(r"(\d+)(?:/(\w+))?")


def _short(limit: int) -> Any:
    def cut(value: Any) -> Any:
        return value[:limit].replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value

    return BeforeValidator(cut)


def _plain_time(value: Any) -> Any:
    """A time that cannot be read or stored is none."""
    if not isinstance(value, str) or not 19 <= len(value) <= 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC) if 1970 <= moment.year < 9000 else None


Moment = Annotated[datetime | None, BeforeValidator(_plain_time)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Bytes = Annotated[int | None, Field(ge=0, lt=2**63)]
Cpu = Annotated[float | None, Field(ge=0, le=1_000_000)]


class Port(Body):
    """A port of a container; `public_port` and `ip` when it is published on its computer."""

    ip: Annotated[str | None, Field(max_length=64)] = None
    private_port: Annotated[int, Field(ge=0, le=65_535)]
    public_port: Annotated[int | None, Field(ge=0, le=65_535)] = None
    type: Annotated[str, Field(max_length=8)] = "tcp"


class ContainerIn(Body):
    """A container of our connector's report (docs/connector-protocol.md, "Containers")."""

    id: Id
    name: Annotated[str, _short(255)] = ""
    image: Annotated[str, _short(300)] = ""
    state: Annotated[str, _short(16)] = ""
    status: Annotated[str, _short(200)] = ""
    health: Annotated[str | None, _short(16)] = None
    created: Moment = None
    started_at: Moment = None
    finished_at: Moment = None
    exit_code: ExitCode | None = None
    oom_killed: bool = False
    command: Annotated[str, _short(300)] = ""
    ports: Annotated[list[Port], Field(max_length=64)] = Field(default_factory=list)
    labels: Annotated[dict[Annotated[str, Field(max_length=200)], Annotated[str, _short(500)]], Field(max_length=64)] = Field(
        default_factory=dict
    )

    def found(self) -> ContainerFound:
        """As the domain takes it."""
        return ContainerFound(
            engine_id=self.id, name=self.name or self.id[:12], image=self.image, state=state_of(self.state), status=self.status,
            health=self.health, created_at=self.created, started_at=self.started_at, finished_at=self.finished_at,
            exit_code=self.exit_code, oom_killed=self.oom_killed, project=project_of(self.labels), command=self.command,
            ports=[port.model_dump() for port in self.ports], labels=self.labels,
        )  # fmt: skip


class EngineIn(Body):
    """The engine of a report."""

    state: str
    name: Annotated[str | None, _short(40)] = None
    version: Annotated[str | None, _short(40)] = None
    message: Annotated[str | None, _short(500)] = None


class Report(Body):
    """`containers` of our connector."""

    engine: EngineIn
    total: Annotated[int, Field(ge=0, lt=2**31)] = 0
    containers: Annotated[list[ContainerIn], Field(max_length=MAX_CONTAINERS)]

    def parts(self) -> tuple[EngineFound, list[ContainerFound]]:
        """As the domain takes it; the first of two with one id counts."""
        known = {state.value for state in EngineState} - {EngineState.AGENT.value}
        state = EngineState(self.engine.state) if self.engine.state in known else EngineState.SILENT
        found = {one.id: one.found() for one in reversed(self.containers)}
        total = max(self.total, len(found))
        engine = EngineFound(state, self.engine.name, self.engine.version, self.engine.message, total)
        return engine, list(found.values())


class Figures(Body):
    """`container_figures` of our connector: [id, percent of a core or null, bytes used, bytes allowed or null]."""

    figures: Annotated[list[tuple[Id, Cpu, Bytes, Bytes]], Field(max_length=MAX_CONTAINERS)]


class LogPieceIn(Body):
    """`container_log`: lines as [stream, time or null, text]."""

    request_id: Annotated[str, Field(min_length=1, max_length=64)]
    seq: Annotated[int, Field(ge=1, lt=2**31)]
    lines: Annotated[
        list[tuple[Annotated[str, Field(pattern="^(stdout|stderr)$")], Annotated[str | None, Field(max_length=40)],
                   Annotated[str, Field(max_length=100_000)]]], Field(max_length=100_000)
    ]  # fmt: skip


class LogEnd(Body):
    """`container_log_end`."""

    request_id: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Annotated[str, _short(16)] = "ended"
    message: Annotated[str | None, _short(500)] = None


def state_of(word: Any) -> ContainerState:
    """Docker's word, or the beginning of its `status`, as a state."""
    first = str(word or "").strip().lower().split(" ")[0]
    first = _STATES.get(first, first)
    return ContainerState(first) if first in set(ContainerState) else ContainerState.UNKNOWN


def project_of(labels: dict[str, str]) -> str | None:
    """The compose project or stack that it belongs to."""
    return next((labels[name][:200] for name in PROJECTS if labels.get(name)), None)


# What original agents send in `metrics`: whatever their Docker library showed them.


def _text(value: Any, limit: int) -> str:
    return value[:limit].replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else ""


def _agent_ports(value: Any) -> list[dict[str, Any]]:
    ports: list[dict[str, Any]] = []
    if isinstance(value, dict):  # {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}] or null}
        for inner, published in list(value.items())[:64]:
            match = _PORT.fullmatch(str(inner))
            for one in (published if isinstance(published, list) and published else [{}])[:8]:
                if match and isinstance(one, dict):
                    ports.append(_port(match[1], one.get("HostPort"), one.get("HostIp"), match[2]))
    elif isinstance(value, list):
        for one in value[:64]:
            if isinstance(one, dict):
                inner = one.get("PrivatePort", one.get("private_port"))
                ports.append(_port(inner, one.get("PublicPort", one.get("public_port")), one.get("IP"), one.get("Type")))
    return [port for port in ports if port["private_port"] is not None]


def _port(inner: Any, public: Any, ip: Any, kind: Any) -> dict[str, Any]:
    numbers = [int(n) if str(n or "").isdecimal() and len(str(n)) <= 5 and 0 < int(n) < 65_536 else None for n in (inner, public)]
    return {"ip": _text(ip, 64) or None, "private_port": numbers[0], "public_port": numbers[1], "type": _text(kind, 8) or "tcp"}


def _exit_code(digits: str) -> int | None:
    return signed_32(int(digits)) if len(digits) <= 11 and -(2**31) <= int(digits) < 2**32 else None


def _figure(value: Any, highest: float) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < highest
    return value if good else None


def of_agent(rows: Iterable[Any]) -> list[ContainerFound]:
    """The containers of an original agent's `metrics`; what makes no sense is left out."""
    found: dict[str, ContainerFound] = {}
    for row in rows:
        engine_id = row.get("id", row.get("Id")) if isinstance(row, dict) else None
        if isinstance(engine_id, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", engine_id):
            found.setdefault(engine_id, _of_agent(engine_id, row))
        if len(found) == MAX_CONTAINERS:
            break
    return list(found.values())


def _of_agent(engine_id: str, row: dict[str, Any]) -> ContainerFound:
    names = row.get("names") or row.get("Names")
    name = row.get("name") or (names[0] if isinstance(names, list) and names else "")
    image = row.get("image") or row.get("Image")
    status = _text(row.get("status") or row.get("Status"), 200)
    labels = list(row["labels"].items()) if isinstance(row.get("labels"), dict) else []
    kept = {_text(k, 200): _text(v, 500) for k, v in labels[:32] if isinstance(k, str) and isinstance(v, str)}
    code = _EXIT.match(status)
    cpu, memory = _figure(row.get("cpu_percent"), 1e6), _figure(row.get("memory_usage", row.get("memory_used")), 2**63)
    limit = _figure(row.get("memory_limit"), 2**63)
    return ContainerFound(
        engine_id=engine_id, name=(_text(name, 255).lstrip("/") or engine_id[:12]),
        image=_text(image[0] if isinstance(image, list) and image else image, 300),
        state=state_of(row.get("state") or row.get("State") or status), status=status,
        created_at=_plain_time(row.get("created", row.get("Created"))), exit_code=_exit_code(code[1]) if code else None,
        project=project_of(kept), ports=_agent_ports(row.get("ports", row.get("Ports"))), labels=kept,
        figures=(cpu, int(memory) if memory is not None else None, int(limit) if limit is not None else None),
    )  # fmt: skip


# What we show


class ContainerOut(Answer):
    """A container of contract 002, with what we add."""

    id: str
    name: str
    image: str
    state: str
    status: str
    created: datetime | None
    ports: list[dict[str, Any]]
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    health: str | None
    labels: dict[str, str]
    cpu_percent: float | None
    memory_usage: int | None
    memory_limit: int | None

    @classmethod
    def of(cls, one: Container) -> "ContainerOut":
        return cls(
            id=one.engine_id, name=one.name, image=one.image, state=one.state.value, status=status_text(one, now()),
            created=one.created_at, ports=one.ports, started_at=one.started_at, finished_at=one.finished_at,
            exit_code=one.exit_code, health=one.health, labels=one.labels, cpu_percent=one.cpu, memory_usage=one.memory,
            memory_limit=one.memory_limit,
        )  # fmt: skip


class Done(Answer):
    """Contract 002's answer to start, stop and restart; `run_id` is the run that did it."""

    status: str = "success"
    message: str
    run_id: str


class TimeoutQuery(Query):
    """`?timeout=`: seconds that the container gets to end by itself."""

    timeout: int = Field(10, ge=0, le=3600)


class LogsQuery(Query):
    """`?tail=`: how many last lines."""

    tail: int = Field(100, ge=1, le=10_000)


def lasting(span: timedelta) -> str:
    """A span in Docker's words: `5 minutes`, `About an hour`."""
    seconds = max(0, int(span.total_seconds()))
    minutes, hours, days = seconds // 60, round(seconds / 3600), seconds // 86_400
    if seconds < 60:
        return "Less than a second" if seconds < 1 else "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 46:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for most, size, word in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < most:
            return f"{days // size} {word}"
    return f"{days // 365} years"


def status_text(one: Container, moment: datetime) -> str:
    """`status` as engines word it, now and not when it was reported."""
    mark = f" ({one.health})" if one.health in ("healthy", "unhealthy", "starting") else ""
    if one.state is ContainerState.UNKNOWN:
        return "Unknown: the engine does not answer"
    if one.is_up and one.started_at and one.state is not ContainerState.RESTARTING:
        paused = " (Paused)" if one.state is ContainerState.PAUSED else mark
        return f"Up {lasting(moment - one.started_at)}{paused}"
    if one.state is ContainerState.EXITED and one.finished_at and one.exit_code is not None:
        return f"Exited ({one.exit_code}) {lasting(moment - one.finished_at)} ago"
    return one.status or one.state.value.capitalize()


def port_words(ports: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Ports as Docker writes them: `0.0.0.0:8080->80/tcp`."""
    for port in ports:
        ip = port.get("ip") or ""
        host = f"[{ip}]" if ":" in ip else ip
        published = f"{host}:{port['public_port']}->" if port.get("public_port") else ""
        yield f"{published.removeprefix(':')}{port['private_port']}/{port.get('type') or 'tcp'}"


CSV_COLUMNS = ("id", "name", "computer", "tenant", "image", "state", "status", "project", "cpu_percent", "memory_usage",
               "memory_limit", "started_at", "exit_code", "ports", "container_id")  # fmt: skip


def csv_rows(found: Iterable[Container], moment: datetime) -> Iterator[tuple[Any, ...]]:
    """Lines of `/containers.csv`."""
    for one in found:
        where = one.computer.name, one.computer.tenant.name
        yield (one.uuid, one.name, *where, one.image, one.state.value, status_text(one, moment), one.project,
               one.cpu, one.memory, one.memory_limit, one.started_at, one.exit_code,
               " ".join(port_words(one.ports)), one.engine_id)  # fmt: skip
