"""What can be asked about computers."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cachetools import TTLCache
from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import joinedload

from app.actors import Actor
from app.database import contains, session
from app.errors import NotFound, unknown_id
from app.fleet.models import Certificate, Computer, ComputerStatus, ComputerTag, InstalledSoftware, Inventory

Scope = frozenset[str] | None
_TOKEN = re.compile(r"(tag|os|status|tenant|user|serial):(\S+)")
_SORTS: dict[str, Any] = {
    "name": Computer.name_key,
    "status": Computer.status,
    "os": Computer.os_name,
    "cpu": Computer.cpu,
    "memory": Computer.memory,
    "disk": Computer.disk,
    "last_seen": Computer.last_seen,
    "address": Computer.address,
    "alerts": Computer.alerts_critical * 1000 + Computer.alerts_warning,
    "added": Computer.id,
}
SORT_KEYS = (*_SORTS, "tenant")


@dataclass(frozen=True)
class ComputerFilter:
    """Which computers. `q` is text, with `tag:x os:y status:z tenant:t user:u serial:s` among it; `scope` None: all tenants."""

    scope: Scope = None
    q: str = ""
    status: str = ""
    os: str = ""
    tenant: str = ""
    tag: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether every computer of the scope matches."""
        return not (self.q or self.status or self.os or self.tenant or self.tag)


def _where(query: Select[Any], wanted: ComputerFilter) -> Select[Any]:
    if wanted.scope is not None:
        query = query.where(Computer.tenant_id.in_(wanted.scope))
    if wanted.status == "attention":
        query = query.where(_needs_attention())
    elif wanted.status == "alerts":
        query = query.where(_has_alerts())
    elif wanted.status == "not-online":
        query = query.where(Computer.status != ComputerStatus.ONLINE)
    elif wanted.status:
        query = query.where(Computer.status == wanted.status)
    if wanted.os:
        query = query.where(or_(Computer.os_family == wanted.os.lower(), contains(Computer.os_name, wanted.os)))
    if wanted.tenant:
        query = query.where(Computer.tenant_id == wanted.tenant)
    if wanted.tag:
        query = query.where(_tagged(wanted.tag))
    if wanted.q:
        query = _search(query, wanted.q)
    return query


def _has_alerts() -> ColumnElement[bool]:
    return Computer.alerts_warning + Computer.alerts_critical > 0


def _needs_attention() -> ColumnElement[bool]:
    return or_(Computer.status == ComputerStatus.OFFLINE, Computer.disk >= 90, _has_alerts())


def _tagged(tag: str) -> Any:
    return Computer.id.in_(select(ComputerTag.computer_id).where(ComputerTag.tag == tag.lower()))


def _search(query: Select[Any], text: str) -> Select[Any]:
    for key, value in _TOKEN.findall(text):
        match key:
            case "tag":
                query = query.where(_tagged(value))
            case "os":
                query = query.where(or_(Computer.os_family == value.lower(), contains(Computer.os_name, value)))
            case "status":
                query = query.where(contains(Computer.status, value))
            case "tenant":
                query = query.where(Computer.tenant.has(contains(Computer.tenant.property.mapper.class_.name, value)))
            case "user":
                query = query.where(contains(Computer.primary_user, value))
            case _:
                query = query.where(contains(Computer.serial_number, value))
    for word in _TOKEN.sub("", text).split():
        columns = (Computer.name, Computer.hostname, Computer.address, Computer.host, Computer.serial_number,
                   Computer.primary_user, Computer.uuid)  # fmt: skip
        query = query.where(or_(*(contains(column, word) for column in columns)))
    return query


def _ordered(query: Select[Any], sort: str) -> Select[Any]:
    descending, key = sort.startswith("-"), sort.removeprefix("-")
    if key == "tenant":
        query, column = query.join(Computer.tenant), Computer.tenant.property.mapper.class_.name_key
    else:
        column = _SORTS[key]
    if descending:
        return query.order_by(column.desc().nulls_last(), Computer.id.desc())
    return query.order_by(column.asc().nulls_last() if key != "name" else column.asc(), Computer.id.asc())


def versions(wanted: ComputerFilter, sort: str, limit: int, offset: int) -> list[tuple[int, str, int]]:
    """(id, public id, version) of one page of rows, in order: all that a live list needs to see what changed."""
    columns: Any = select(Computer.id, Computer.uuid, Computer.version)
    query = _ordered(_where(columns, wanted), sort)
    return [(row[0], row[1], row[2]) for row in session().execute(query.limit(limit).offset(offset))]


def version_of(uuid: str, scope: Scope) -> list[tuple[int, str, int]]:
    """The same for one computer; empty when it is gone or out of scope."""
    columns: Any = select(Computer.id, Computer.uuid, Computer.version)
    query = _where(columns, ComputerFilter(scope=scope))
    return [(row[0], row[1], row[2]) for row in session().execute(query.where(Computer.uuid == uuid))]


def by_ids(ids: Iterable[int]) -> dict[int, Computer]:
    """Computers by internal id, with tenant and tags."""
    wanted = list(ids)
    if not wanted:
        return {}
    return {row.id: row for row in session().scalars(select(Computer).where(Computer.id.in_(wanted)))}


def each(wanted: ComputerFilter, sort: str = "name", chunk: int = 500) -> Iterator[Computer]:
    """All that match, in order, fetched in chunks."""
    ids = [row[0] for row in session().execute(_ordered(_where(select(Computer.id), wanted), sort))]
    for start in range(0, len(ids), chunk):
        part = ids[start : start + chunk]
        found = by_ids(part)
        yield from (found[i] for i in part if i in found)
        session().expunge_all()


def page(wanted: ComputerFilter, sort: str, limit: int, offset: int) -> list[Computer]:
    """One page of computers."""
    query = _ordered(_where(select(Computer), wanted), sort).limit(limit).offset(offset)
    return list(session().scalars(query).unique())


def ids_of(wanted: ComputerFilter) -> list[int]:
    """The internal ids of all that match."""
    return list(session().scalars(_where(select(Computer.id), wanted).order_by(Computer.id)))


def count(wanted: ComputerFilter) -> int:
    """How many match, exactly, now."""
    return int(session().scalar(_where(select(func.count(Computer.id)), wanted)) or 0)


_counts: TTLCache[ComputerFilter, dict[str, int]] = TTLCache(maxsize=512, ttl=1)


def status_counts(wanted: ComputerFilter, *, fresh: bool = False) -> dict[str, int]:
    """`total, online, offline, unknown, attention, alerts` of all that match apart from the status filter; at most 1 s old."""
    wanted = replace(wanted, status="")
    known = None if fresh else _counts.get(wanted)
    if known is None:
        columns: Any = select(
            Computer.status, func.count(Computer.id), func.sum(case((_needs_attention(), 1), else_=0)),
            func.sum(case((_has_alerts(), 1), else_=0)),
        )  # fmt: skip
        rows = session().execute(_where(columns, wanted).group_by(Computer.status)).all()
        known = {status.value: 0 for status in ComputerStatus} | {row[0].value: int(row[1]) for row in rows}
        attention, alerts = (sum(int(row[column]) for row in rows) for column in (2, 3))
        known |= {"total": sum(known.values()), "attention": attention, "alerts": alerts}
        _counts[wanted] = known
    return known


def forget_counts() -> None:
    """Make this process count anew."""
    _counts.clear()


def counts_by_tenant() -> dict[str, int]:
    """Tenant id → number of computers."""
    rows = session().execute(select(Computer.tenant_id, func.count()).group_by(Computer.tenant_id))
    return {tenant_id: number for tenant_id, number in rows.all()}  # noqa: C416 (rows are not pairs to mypy)


def get_computer(uuid: str, actor: Actor, *, inventory: bool = False) -> Computer:
    """One computer by public id. Raises NotFound when there is none, or none that the actor may see."""
    query = select(Computer).where(Computer.uuid == uuid.lower())
    if inventory:
        query = query.options(joinedload(Computer.inventory))
    row: Computer | None = session().scalar(query)
    if row is None or not actor.sees(row.tenant_id) or actor.computer_id not in (None, row.id):
        raise NotFound("Computer not found")
    return row


def require_computer(uuid: str, actor: Actor, parameter: str) -> Computer:
    """A computer named in a body or a filter. Raises Invalid (unknown id)."""
    try:
        return get_computer(uuid, actor)
    except NotFound:
        raise unknown_id(parameter, "Computer", uuid) from None


def os_names(scope: Scope) -> list[str]:
    """The operating systems that occur."""
    query = select(Computer.os_name).where(Computer.os_name.is_not(None)).distinct().order_by(Computer.os_name).limit(100)
    return list(session().scalars(query if scope is None else query.where(Computer.tenant_id.in_(scope))))


def tags(scope: Scope) -> list[str]:
    """The tags that occur."""
    query = select(ComputerTag.tag).distinct().order_by(ComputerTag.tag).limit(500)
    if scope is not None:
        query = query.join(Computer, Computer.id == ComputerTag.computer_id).where(Computer.tenant_id.in_(scope))
    return list(session().scalars(query))


_choices: TTLCache[Scope, tuple[list[str], list[str]]] = TTLCache(maxsize=256, ttl=15)


def filter_choices(scope: Scope) -> tuple[list[str], list[str]]:
    """Operating systems and tags for the filter menus; at most 15 s old."""
    known = _choices.get(scope)
    if known is None:
        known = _choices[scope] = (os_names(scope), tags(scope))
    return known


def forget_choices() -> None:
    """Make this process read the menus anew."""
    _choices.clear()


def inventory_of(computer: Computer) -> Inventory:
    """Its inventory; an empty one when nothing has been found out yet."""
    row: Inventory | None = session().get(Inventory, computer.id)
    return row or Inventory(computer_id=computer.id, found={}, custom={})


def certificates_of(uuids: Sequence[str] | None = None) -> Iterator[tuple[Any, list[Certificate]]]:
    """Computers with certificates: rows with `id, uuid, name, tenant_id, ephemeral`, and these; of some public ids, or of all."""
    columns = Computer.id, Computer.uuid, Computer.name, Computer.tenant_id, Computer.ephemeral
    query = select(*columns, Inventory.found["certificates"].label("told")).join(Inventory, Inventory.computer_id == Computer.id)
    for row in session().execute(query if uuids is None else query.where(Computer.uuid.in_(uuids))):
        if row.told:
            yield row, [Certificate.of(one) for one in row.told]


def custom_of(ids: list[int]) -> dict[int, dict[str, Any]]:
    """A person's metadata by internal id, for many at once."""
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), 5000):
        part = ids[start : start + 5000]
        for computer_id, custom in session().execute(
            select(Inventory.computer_id, Inventory.custom).where(Inventory.computer_id.in_(part))
        ):
            found[computer_id] = custom
    return found


def software_of(computer: Computer, q: str, limit: int, offset: int) -> tuple[list[InstalledSoftware], int]:
    """One page of installed packages by name, and how many match."""
    query = select(InstalledSoftware).where(InstalledSoftware.computer_id == computer.id)
    if q:
        query = query.where(contains(InstalledSoftware.name, q))
    total = int(session().scalar(select(func.count()).select_from(query.subquery())) or 0)
    rows = session().scalars(query.order_by(InstalledSoftware.name, InstalledSoftware.id).limit(limit).offset(offset))
    return list(rows), total


def internal_ids(uuids: list[str], scope: Scope) -> list[int]:
    """The internal ids of public ones, as far as they exist within the scope."""
    query = select(Computer.id).where(Computer.uuid.in_([u.lower() for u in uuids]))
    return list(session().scalars(query if scope is None else query.where(Computer.tenant_id.in_(scope))))


def fullest(scope: Scope, percent: float, limit: int) -> list[Computer]:
    """Computers with a disk at least this full, the fullest first."""
    query = _where(select(Computer).where(Computer.disk >= percent), ComputerFilter(scope=scope))
    return list(session().scalars(query.order_by(Computer.disk.desc(), Computer.id).limit(limit)).unique())


def next_offline() -> datetime | None:
    """When the next computer is offline, unless it is heard before."""
    found: datetime | None = session().scalar(select(func.min(Computer.due_at)).where(Computer.status == ComputerStatus.ONLINE))
    return found
