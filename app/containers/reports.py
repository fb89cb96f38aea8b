"""What connectors report is stored: the list of a computer's containers as it is now, and what the running ones use."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from app.actors import SYSTEM
from app.bulk_sql import BulkUpdate
from app.clock import now
from app.containers.models import STOPPED, UP, Container, ContainerEngine, ContainerState, EngineState
from app.containers.queries import forget_counts
from app.database import session
from app.fleet.models import Computer
from app.fleet.queries import by_ids
from app.journal.operations import Happening, Subject, record_all, tick

CLOCK = "containers"
MAX_TOLD = 50  # changes of state of one report that go to the journal one by one
PRESENT = (EngineState.OK, EngineState.AGENT)
GONE = (EngineState.NONE, EngineState.OFF)
_update_figures = BulkUpdate(
    Container.__table__, ("cpu", "memory", "memory_limit", "version", "computer_id", "engine_id"), keys=2
)


@dataclass(frozen=True)
class EngineFound:
    """The engine of a report. `total` counts all containers, also those that the report left out."""

    state: EngineState
    name: str | None = None
    version: str | None = None
    message: str | None = None
    total: int = 0


@dataclass(frozen=True)
class ContainerFound:
    """A container of a report, checked and shortened. `figures` are (cpu, memory, limit) when the report itself has them."""

    engine_id: str
    name: str
    image: str
    state: ContainerState
    status: str = ""
    health: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    oom_killed: bool = False
    project: str | None = None
    command: str = ""
    ports: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    figures: tuple[float | None, int | None, int | None] | None = None

    def values(self) -> dict[str, Any]:
        """As columns of the row."""
        return {
            "name": self.name, "name_key": self.name.lower(), "image": self.image, "state": self.state, "status": self.status,
            "health": self.health, "created_at": self.created_at, "started_at": self.started_at,
            "finished_at": self.finished_at, "exit_code": self.exit_code, "oom_killed": self.oom_killed,
            "project": self.project, "command": self.command, "ports": [dict(port) for port in self.ports],
            "labels": dict(self.labels),
        }  # fmt: skip


def subject_of(container: Container) -> Subject:
    """A container as the subject of a journal entry."""
    return Subject("container", container.uuid, container.name, container.computer.tenant_id)


def store_report(computer_id: int, engine: EngineFound, found: Iterable[ContainerFound]) -> None:
    """Make the stored list what the report says. A changed state goes to the journal; what is gone is removed. While an engine
    does not answer, what it had is kept as `unknown`."""
    version, moment = tick(CLOCK), now()
    computer = by_ids([computer_id]).get(computer_id)
    if computer is None:
        return
    _store_engine(computer_id, engine, version, moment)
    query = select(Container).where(Container.computer_id == computer_id).with_for_update(of=Container)
    known = {row.engine_id: row for row in session().scalars(query)}
    told: list[Happening] = []
    if engine.state in PRESENT or engine.state in GONE:
        for one in found if engine.state in PRESENT else ():
            row = known.pop(one.engine_id, None)
            if row is None:
                session().add(_new(computer, one, version, moment))
            else:
                _change(row, one.values(), one.figures, version, moment, told)
        for row in known.values():
            _say(told, row, row.state, "removed")
            session().delete(row)
    else:
        for row in known.values():
            _change(row, {"state": ContainerState.UNKNOWN}, None, version, moment, told)
    session().flush()
    record_all(told[:MAX_TOLD])
    forget_counts()


def _store_engine(computer_id: int, engine: EngineFound, version: int, moment: datetime) -> None:
    row: ContainerEngine | None = session().get(ContainerEngine, computer_id)
    if row is None:
        row = ContainerEngine(computer_id=computer_id, state=engine.state, version=version)
        session().add(row)
    values = {"state": engine.state, "name": engine.name, "engine_version": engine.version, "message": engine.message,
              "total": engine.total}  # fmt: skip
    if any(getattr(row, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(row, name, value)
        row.version = version
    row.reported_at = moment
    session().flush()


def _new(computer: Computer, one: ContainerFound, version: int, moment: datetime) -> Container:
    cpu, memory, limit = one.figures or (None, None, None)
    return Container(
        computer_id=computer.id, computer=computer, engine_id=one.engine_id, version=version, first_seen=moment,
        changed_at=moment, cpu=cpu, memory=memory, memory_limit=limit, **one.values(),
    )  # fmt: skip


def _change(
    row: Container, values: dict[str, Any], figures: tuple[Any, ...] | None, version: int, moment: datetime, told: list[Happening]
) -> None:
    before, after = row.state, values["state"]
    if figures is not None:
        values = values | dict(zip(("cpu", "memory", "memory_limit"), figures, strict=True))
    if after not in UP:
        values = values | {"cpu": None, "memory": None, "memory_limit": None}
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(row, name, value)
    row.version = version
    if before != after:
        row.changed_at = moment
        if after in UP:
            row.stopped_at = None
        elif after in STOPPED and (before in UP or (before is ContainerState.UNKNOWN and row.started_at)):
            row.stopped_at = row.stopped_at or moment
        _say(told, row, before, after.value)


def _say(told: list[Happening], row: Container, before: ContainerState, after: str) -> None:
    data: dict[str, Any] = {
        "before": before.value,
        "after": after,
        "computer": row.computer.uuid,
        "computer_name": row.computer.name,
    }
    if after == ContainerState.EXITED:
        data["exit_code"] = row.exit_code
    told.append(Happening("container.state_changed", SYSTEM, subject_of(row), data))


def store_figures(computer_id: int, figures: Iterable[tuple[str, float | None, int | None, int | None]]) -> None:
    """What running containers use, as (engine id, cpu, memory, limit); those that are not known are left out."""
    version = tick(CLOCK)
    known = set(
        session().scalars(select(Container.engine_id).where(Container.computer_id == computer_id, Container.state.in_(UP)))
    )
    rows = [(cpu, memory, limit, version, computer_id, engine_id) for engine_id, cpu, memory, limit in figures
            if engine_id in known]  # fmt: skip
    _update_figures(session().connection(), rows)


def renew(computer_ids: list[int]) -> None:
    """Let live tables render the containers of computers anew, as their computer has come or gone."""
    version = tick(CLOCK)
    session().execute(update(Container).where(Container.computer_id.in_(computer_ids)).values(version=version))
    session().execute(update(ContainerEngine).where(ContainerEngine.computer_id.in_(computer_ids)).values(version=version))


def forget(_computer_ids: list[int]) -> None:
    """Computers are about to be deleted, and their containers with them: let live tables look, and wait for whoever reports just
    now before the computers' rows are locked."""
    tick(CLOCK)
    forget_counts()


def forget_figures(computer_ids: Sequence[int]) -> None:
    """Nobody knows any more what the containers of these computers use."""
    values = {"cpu": None, "memory": None, "memory_limit": None}
    session().execute(update(Container).where(Container.computer_id.in_(computer_ids)).values(**values))
