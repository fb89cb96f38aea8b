"""What can be asked about containers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachetools import TTLCache, cached
from sqlalchemy import Select, and_, case, func, or_, select

from app.actors import Actor
from app.containers.models import STOPPED, UP, Container, ContainerEngine, ContainerState, EngineState
from app.database import contains, session
from app.errors import NotFound
from app.fleet.models import Computer

Scope = frozenset[str] | None
SHORTEST_ID = 4
ATTENTION: Any = or_(
    Container.state.in_((ContainerState.DEAD, ContainerState.RESTARTING)),
    and_(Container.state == ContainerState.EXITED, Container.exit_code != 0),
    and_(Container.state == ContainerState.RUNNING, Container.health == "unhealthy"),
)
_UP_SINCE: Any = case((Container.state.in_(UP), Container.started_at), else_=None)
_SORTS: dict[str, Any] = {
    "name": Container.name_key, "state": Container.state, "computer": Computer.name_key, "image": Container.image,
    "cpu": Container.cpu, "memory": Container.memory, "uptime": _UP_SINCE, "project": Container.project,
    "tenant": Computer.tenant_id, "created": Container.created_at,
}  # fmt: skip
SORT_KEYS = tuple(_SORTS)


@dataclass(frozen=True)
class ContainerFilter:
    """Which containers. `state` is one of ContainerState, or `stopped`, or `attention`; `computer` a computer's public id;
    `q` text in name, image, project, computer or id."""

    scope: Scope = None
    tenant: str = ""
    state: str = ""
    computer: str = ""
    image: str = ""
    q: str = ""


def _where(query: Select[Any], wanted: ContainerFilter) -> Select[Any]:
    """The query, of containers, with the computers joined."""
    query = query.join(Computer, Computer.id == Container.computer_id)
    if wanted.scope is not None:
        query = query.where(Computer.tenant_id.in_(wanted.scope))
    if wanted.tenant:
        query = query.where(Computer.tenant_id == wanted.tenant)
    if wanted.computer:
        query = query.where(Computer.uuid == wanted.computer)
    if wanted.state == "attention":
        query = query.where(ATTENTION)
    elif wanted.state == "stopped":
        query = query.where(Container.state.in_(STOPPED))
    elif wanted.state:
        query = query.where(Container.state == wanted.state)
    if wanted.image:
        query = query.where(Container.image == wanted.image)
    for word in wanted.q.split():
        columns = (Container.name, Container.image, Container.project, Computer.name)
        query = query.where(
            or_(*(contains(column, word) for column in columns), Container.engine_id.startswith(word.lower(), autoescape=True))
        )
    return query


def _ordered(query: Select[Any], sort: str) -> Select[Any]:
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    if key == "uptime":  # the longest up was started first
        descending = not descending
    column = _SORTS[key]
    return query.order_by(
        column.desc().nulls_last() if descending else column.asc().nulls_last(), Container.name_key, Container.id
    )


def versions(wanted: ContainerFilter, sort: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of rows, in order: what a live list needs."""
    columns: Any = select(Container.id, Container.uuid, Container.version)
    rows = session().execute(_ordered(_where(columns, wanted), sort).limit(limit).offset(offset))
    return [(row[0], row[1], row[2]) for row in rows]


def version_of(uuid: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one container; empty when it is gone or out of scope."""
    columns: Any = select(Container.id, Container.uuid, Container.version)
    rows = session().execute(_where(columns, ContainerFilter(scope=scope)).where(Container.uuid == uuid))
    return [(row[0], row[1], row[2]) for row in rows]


def engine_version_of(computer_uuid: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for the engine of a computer."""
    columns: Any = select(ContainerEngine.computer_id, Computer.uuid, ContainerEngine.version)
    query = columns.join(Computer, Computer.id == ContainerEngine.computer_id).where(Computer.uuid == computer_uuid)
    if scope is not None:
        query = query.where(Computer.tenant_id.in_(scope))
    return [(row[0], row[1], row[2]) for row in session().execute(query)]


def by_ids(ids: Iterable[int]) -> dict[int, Container]:
    """Containers by internal id, with their computers."""
    wanted = list(ids)
    return {row.id: row for row in session().scalars(select(Container).where(Container.id.in_(wanted)))} if wanted else {}


def each(wanted: ContainerFilter, sort: str, chunk: int = 500) -> Iterator[Container]:
    """All that match, in order, fetched in chunks."""
    ids = list(session().scalars(_ordered(_where(select(Container.id), wanted), sort)))
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        found = by_ids(part)
        yield from (found[i] for i in part if i in found)
        session().expunge_all()


def first(wanted: ContainerFilter, limit: int) -> list[Container]:
    """The first ones that match, by name."""
    return list(session().scalars(_ordered(_where(select(Container), wanted), "name").limit(limit)).unique())


def ids_of(wanted: ContainerFilter) -> list[int]:
    """The internal ids of all that match, by name."""
    return list(session().scalars(_ordered(_where(select(Container.id), wanted), "name")))


def internal_ids(uuids: Iterable[str], scope: Scope) -> list[int]:
    """The internal ids of public ones, as far as they exist within the scope."""
    query = _where(select(Container.id), ContainerFilter(scope=scope))
    return list(session().scalars(_ordered(query.where(Container.uuid.in_([u.lower() for u in uuids])), "name")))


def get_container(uuid: str, actor: Actor) -> Container:
    """One container by its page's id. Raises NotFound when there is none, or none that the actor may see."""
    row: Container | None = session().scalar(select(Container).where(Container.uuid == uuid.lower()))
    if row is None or not actor.sees(row.computer.tenant_id):
        raise NotFound("Container not found")
    return row


def of_computer(computer: Computer) -> list[Container]:
    """All of a computer, by name."""
    query = select(Container).where(Container.computer_id == computer.id).order_by(Container.name_key, Container.id)
    return list(session().scalars(query))


def on_computer(computer: Computer, named: str) -> Container:
    """One of a computer by its id, its name, or the beginning of its id when only one begins so. Raises NotFound."""
    mine = select(Container).where(Container.computer_id == computer.id)
    for exact in (Container.engine_id == named.lower(), Container.name == named.removeprefix("/")):
        row: Container | None = session().scalars(mine.where(exact).order_by(Container.id)).first()
        if row is not None:
            return row
    if len(named) >= SHORTEST_ID and named.isalnum():
        found: list[Container] = list(session().scalars(mine.where(Container.engine_id.startswith(named.lower())).limit(2)))
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound("More than one container has an id that begins so")
    raise NotFound("Container not found")


def engine_of(computer: Computer) -> ContainerEngine | None:
    """The engine of a computer as it was last told; None when nobody ever told."""
    row: ContainerEngine | None = session().get(ContainerEngine, computer.id)
    return row


def engines(ids: Iterable[int]) -> dict[int, ContainerEngine]:
    """The engines of computers by the computers' internal ids."""
    query = select(ContainerEngine).where(ContainerEngine.computer_id.in_(list(ids)))
    return {row.computer_id: row for row in session().scalars(query)}


def down(scope: Scope = None, since: datetime | None = None, limit: int = 1000) -> list[Container]:
    """Containers that ran and do not run any more (`stopped_at`), the latest first; with `since` those that stopped after it.
    What never ran, and what is on a computer whose engine does not answer, is not among them."""
    query = _where(select(Container), ContainerFilter(scope=scope)).where(Container.stopped_at.is_not(None))
    if since is not None:
        query = query.where(Container.stopped_at > since)
    return list(session().scalars(query.order_by(Container.stopped_at.desc(), Container.id).limit(limit)).unique())


_counts: TTLCache[ContainerFilter, dict[str, int]] = TTLCache(maxsize=512, ttl=1)


def state_counts(wanted: ContainerFilter, *, fresh: bool = False) -> dict[str, int]:
    """`total`, `stopped`, `attention` and each state, of all that match apart from the state's filter; at most 1 s old."""
    wanted = replace(wanted, state="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        columns: Any = select(Container.state, func.count(Container.id), func.sum(case((ATTENTION, 1), else_=0)))
        rows = session().execute(_where(columns, wanted).group_by(Container.state)).all()
        known = {state.value: 0 for state in ContainerState} | {row[0].value: int(row[1]) for row in rows}
        known |= {"stopped": sum(known[state.value] for state in STOPPED), "total": sum(int(row[1]) for row in rows)}
        known["attention"] = sum(int(row[2]) for row in rows)
        _counts[wanted] = known
    return known


_choices: TTLCache[Scope, tuple[list[tuple[str, str]], list[str]]] = TTLCache(maxsize=256, ttl=15)


@cached(_choices)
def filter_choices(scope: Scope) -> tuple[list[tuple[str, str]], list[str]]:
    """Computers with containers as (public id, name), and images, for the filter menus; at most 15 s old."""
    computers: Any = select(Computer.uuid, Computer.name, Computer.name_key).distinct()
    rows = session().execute(_where_from(computers, scope).order_by(Computer.name_key).limit(500))
    images = session().scalars(_where_from(select(Container.image), scope).distinct().order_by(Container.image).limit(300))
    return [(row[0], row[1]) for row in rows], [image for image in images if image]


def _where_from(query: Select[Any], scope: Scope) -> Select[Any]:
    query = query.select_from(Container).join(Computer, Computer.id == Container.computer_id)
    return query if scope is None else query.where(Computer.tenant_id.in_(scope))


def forget_counts() -> None:
    """Make this process count and read the menus anew."""
    _counts.clear()
    _choices.clear()


def engine_states(scope: Scope) -> Sequence[tuple[EngineState, int]]:
    """How many computers have an engine in each state."""
    query: Any = select(ContainerEngine.state, func.count()).join(Computer, Computer.id == ContainerEngine.computer_id)
    if scope is not None:
        query = query.where(Computer.tenant_id.in_(scope))
    return [(row[0], int(row[1])) for row in session().execute(query.group_by(ContainerEngine.state))]
