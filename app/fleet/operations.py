"""What can be done with computers. Each operation that changes what lists show takes a version from the change clock."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from app.actors import SYSTEM, Actor
from app.bulk_sql import BulkUpdate
from app.clock import now
from app.database import insert_ignore, session, upsert
from app.errors import NotFound, field_error
from app.fleet import queries
from app.fleet.models import (
    Computer,
    ComputerKind,
    ComputerStatus,
    ComputerTag,
    InstalledSoftware,
    Inventory,
)  # fmt: skip
from app.journal.operations import Subject, record, tick
from app.tenants.models import Tenant
from app.tenants.queries import default_tenant, require_tenant

CLOCK = "fleet"
PLACEMENT = "placement"  # moves when a computer's tenant or tags change: what is kept of rules that go by them is then old
# What rooms above do when computers are deleted: functions from internal ids, in the deleting transaction.
deletion_hooks: list[Callable[[list[int]], None]] = []
# What they do when computers come or go: the same, in the transaction that changes the status.
status_hooks: list[Callable[[list[int]], None]] = []
# What they do when a connector has told what its computer is: a function from the computer, in the transaction that stores it.
inventory_hooks: list[Callable[[Computer], None]] = []
GRACE = timedelta(seconds=15)
MAX_TAGS = 50


def subject_of(computer: Computer) -> Subject:
    """The computer as the subject of a journal entry."""
    return Subject("computer", computer.uuid, computer.name, computer.tenant_id)


def deadline(moment: datetime, interval_s: int) -> datetime:
    """When a computer last heard at `moment` counts as offline (swept every 2 s: within 2 intervals + 20 s)."""
    return moment + timedelta(seconds=2 * interval_s) + GRACE


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Tags in lower case, each once. Raises Invalid for an empty, long or spaced one, or more than MAX_TAGS."""
    cleaned = sorted({tag.strip().lower() for tag in tags})
    if len(cleaned) > MAX_TAGS:
        raise field_error("tags", f"at most {MAX_TAGS} tags")
    for tag in cleaned:
        if not tag or len(tag) > 50 or any(c.isspace() or c == "," or not c.isprintable() for c in tag):
            raise field_error("tags", "a tag has 1 to 50 characters, without spaces and commas")
    return cleaned


def create_computer(
    name: str,
    *,
    actor: Actor,
    tenant_id: str | None = None,
    host: str | None = None,
    port: int | None = None,
    kind: ComputerKind = ComputerKind.SERVER,
    tags: Iterable[str] = (),
    custom: dict[str, Any] | None = None,
    primary_user: str | None = None,
) -> Computer:
    """Raises Invalid for an unknown tenant or a bad tag."""
    tenant = require_tenant(tenant_id, actor) if tenant_id else default_tenant(actor)
    cleaned = clean_tags(tags)
    computer = Computer(
        name=name, name_key=name.lower(), host=host, port=port, kind=kind, tenant_id=tenant.id, tenant=tenant,
        version=tick(CLOCK), primary_user=primary_user, primary_user_fixed=primary_user is not None,
    )  # fmt: skip
    computer.tag_links = [ComputerTag(tag=tag) for tag in cleaned]
    computer.inventory = Inventory(custom=custom or {}, found={})
    session().add(computer)
    session().flush()
    record("computer.added", actor, subject_of(computer))
    _forget()
    return computer


def _forget() -> None:
    queries.forget_counts()
    queries.forget_choices()


_PLAIN = ("host", "port", "kind", "ephemeral")


def update_computer(computer: Computer, changes: dict[str, Any], *, actor: Actor) -> Computer:
    """Change what is given: `name, host, port, kind, ephemeral, tenant_id, tags, metadata, primary_user`. Raises Invalid."""
    computer.version = tick(CLOCK)
    before: dict[str, Any] = {}
    if changes.get("name"):
        before["name"], computer.name, computer.name_key = computer.name, changes["name"], changes["name"].lower()
    for name in _PLAIN:
        if name in changes and (changes[name] is not None or name in ("host", "port")):
            before[name] = getattr(computer, name)
            setattr(computer, name, changes[name])
    if changes.get("tenant_id"):
        tenant: Tenant = require_tenant(changes["tenant_id"], actor)
        before["tenant_id"], computer.tenant_id, computer.tenant = computer.tenant_id, tenant.id, tenant
    if changes.get("tags") is not None:
        before["tags"] = computer.tags
        _replace_tags(computer, clean_tags(changes["tags"]))
    if changes.get("metadata") is not None:
        _inventory(computer).custom = changes["metadata"]
    if "primary_user" in changes:
        before["primary_user"] = computer.primary_user
        computer.primary_user = changes["primary_user"] or _observed_user(computer)
        computer.primary_user_fixed = bool(changes["primary_user"])
    if before.keys() & {"tenant_id", "tags", "ephemeral"}:
        tick(PLACEMENT)
    computer.updated_at = now()
    session().flush()
    record("computer.updated", actor, subject_of(computer), before=_plain(before))
    _forget()
    return computer


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: getattr(v, "value", v) for k, v in values.items()}


def _replace_tags(computer: Computer, tags: list[str]) -> None:
    kept = {link.tag: link for link in computer.tag_links}
    computer.tag_links = [kept.get(tag) or ComputerTag(tag=tag) for tag in tags]


def _inventory(computer: Computer) -> Inventory:
    row: Inventory | None = session().get(Inventory, computer.id)
    if row is None:
        row = Inventory(computer_id=computer.id, found={}, custom={})
        session().add(row)
    return row


def _observed_user(computer: Computer) -> str | None:
    users = _inventory(computer).found.get("users") or []
    return str(users[0])[:200] if users else None


def delete_computers(ids: Iterable[int], *, actor: Actor) -> int:
    """Delete computers with everything of theirs; their keys and sockets end. Returns how many."""
    tick(CLOCK)
    computers = list(queries.by_ids(ids).values())
    for hook in deletion_hooks:
        hook([computer.id for computer in computers])
    for computer in computers:
        session().delete(computer)
    session().flush()
    for computer in computers:
        record("computer.deleted", actor, subject_of(computer))
    _forget()
    return len(computers)


def change_tags(ids: Iterable[int], *, add: Iterable[str] = (), remove: Iterable[str] = (), actor: Actor) -> list[int]:
    """Add and remove tags on many; returns the ids of those that really changed, for an exact undo. Raises Invalid."""
    added, removed = clean_tags(add), clean_tags(remove)
    version, changed = tick(CLOCK), []
    tick(PLACEMENT)
    dialect = session().get_bind().dialect.name
    wanted = list(ids)
    has = select(ComputerTag.computer_id).where(ComputerTag.tag.in_(added), ComputerTag.computer_id.in_(wanted))
    counted: dict[int, int] = {}
    for computer_id in session().scalars(has):
        counted[computer_id] = counted.get(computer_id, 0) + 1
    if added:
        changed = [i for i in wanted if counted.get(i, 0) < len(added)]
        rows = [{"computer_id": i, "tag": tag} for i in changed for tag in added]
        if rows:
            session().execute(insert_ignore(upsert(ComputerTag, dialect)), rows)
    if removed:
        gone = delete(ComputerTag).where(ComputerTag.computer_id.in_(wanted), ComputerTag.tag.in_(removed))
        changed = list({*changed, *session().scalars(gone.returning(ComputerTag.computer_id))})
    session().execute(update(Computer).where(Computer.id.in_(changed)).values(version=version, updated_at=now()))
    session().expire_all()
    record(
        "computer.tagged", actor, None, add=added, remove=removed, computers=[c.uuid for c in queries.by_ids(changed).values()]
    )
    _forget()
    return changed


def store_inventory(computer: Computer, found: dict[str, Any], software: list[dict[str, Any]] | None) -> None:
    """Keep what a connector found out (already checked and shortened); the list's columns follow."""
    computer.version = tick(CLOCK)
    row = _inventory(computer)
    found = found | _untold(found, row.found)
    row.found, row.found_at = found | _certificates(found, row.found), now()
    os, hardware = found.get("os") or {}, found.get("hardware") or {}
    computer.hostname = found.get("hostname") or computer.hostname
    computer.os_family, computer.os_name = os.get("family"), os.get("name")
    computer.serial_number = hardware.get("serial_number")
    computer.address = _first_address(found) or computer.address
    if not computer.primary_user_fixed:
        users = found.get("users") or []
        computer.primary_user = users[0] if users else computer.primary_user
    if software is not None:
        session().execute(delete(InstalledSoftware).where(InstalledSoftware.computer_id == computer.id))
        if software:
            session().execute(insert(InstalledSoftware), [{"computer_id": computer.id, **item} for item in software])
    session().flush()
    queries.forget_choices()
    for hook in inventory_hooks:
        hook(computer)


def _untold(found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What is known already of parts that a connector did not tell: it has just started, or could not find them out this time."""
    return {part: before[part] for part in ("hardware", "network", "users") if found.get(part) is None and before.get(part)}


def _certificates(found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What is known of certificates now: one that cannot be read any more is as it was read last, and so are all when nothing was
    told (in the short inventory of a connector that has just started)."""
    told, known = found.get("certificates"), before.get("certificates")
    if told is None:
        return {} if known is None else {"certificates": known}
    last = {one["path"]: one for one in known or ()}
    return {"certificates": [last[one["path"]] | {"error": one["error"]} if one.get("error") and one["path"] in last else one
                             for one in told]}  # fmt: skip


def _first_address(found: dict[str, Any]) -> str | None:
    every = [a for i in (found.get("network") or {}).get("interfaces", []) for a in i.get("addresses", [])]
    usable = [a for a in every if not a.startswith(("127.", "::1", "fe80:", "169.254."))]
    fourth = [a for a in usable if ":" not in a]
    first: str | None = (fourth or usable or [None])[0]
    return first


def note_connection(computer_id: int, connector_id: str | None, version: str | None, interval_s: int,
                    spool: dict[str, int]) -> int:  # fmt: skip
    """A connector said hello: remember it. Returns the highest seq stored for it (0 for a connector not seen before). Raises
    NotFound when its computer has just been deleted."""
    computer = queries.by_ids([computer_id]).get(computer_id)
    if computer is None:
        raise NotFound("The computer was deleted")
    if connector_id and computer.connector_id != connector_id:
        computer.connector_id, computer.acked_seq = connector_id, 0
    computer.connector_version = version
    computer.interval_s = interval_s
    computer.spool_pending, computer.spool_dropped = spool.get("pending", 0), spool.get("dropped", 0)
    return computer.acked_seq


def contact(computer_id: int, problem: str | None = None) -> None:
    """It was heard, without a sample that could be stored: online, and due again later."""
    moment, version = now(), tick(CLOCK)
    computer = queries.by_ids([computer_id]).get(computer_id)
    if computer is None:
        return
    if computer.problem != problem:
        computer.problem, computer.version = problem, version
    computer.last_seen, computer.due_at = moment, deadline(moment, computer.interval_s)
    if computer.status is not ComputerStatus.ONLINE:
        set_status(computer, ComputerStatus.ONLINE, version)
        for hook in status_hooks:
            hook([computer.id])


def set_status(computer: Computer, status: ComputerStatus, version: int) -> None:
    """Change the status and say so in the journal."""
    before, computer.status, computer.version = computer.status, status, version
    if status is ComputerStatus.OFFLINE:
        computer.cpu = computer.memory = computer.recv_rate = computer.sent_rate = None
        computer.due_at = None
    session().flush()
    record("computer.status_changed", SYSTEM, subject_of(computer), before=before.value, after=status.value)


_count_alerts = BulkUpdate(Computer.__table__, ("alerts_open", "alerts_warning", "alerts_critical", "version", "id"))


def set_alert_counts(counts: Mapping[int, tuple[int, int, int]]) -> None:
    """Keep on the rows how many alerts computers have: (to be looked at, active warnings, active critical ones) by internal id.
    In the transaction that changed the alerts."""
    version = tick(CLOCK)
    _count_alerts(session().connection(), [(*counts[i], version, i) for i in sorted(counts)])
    queries.forget_counts()


def connection_lost(computer_id: int) -> None:
    """Its socket closed: offline in GRACE unless it comes back."""
    soon = now() + GRACE
    session().execute(
        update(Computer)
        .where(Computer.id == computer_id, Computer.status == ComputerStatus.ONLINE, Computer.due_at > soon)
        .values(due_at=soon)
    )


def sweep_offline(limit: int = 500) -> int:
    """Mark those offline whose deadline has passed; safe from several workers at once. Returns how many."""
    overdue = select(Computer.id).where(Computer.status == ComputerStatus.ONLINE, Computer.due_at < now()).limit(limit)
    if not list(session().scalars(overdue)):
        return 0
    version = tick(CLOCK)
    rows = session().scalars(overdue.with_for_update(skip_locked=True, key_share=True))
    computers = list(queries.by_ids(list(rows)).values())
    for computer in computers:
        set_status(computer, ComputerStatus.OFFLINE, version)
    for hook in status_hooks:
        hook([computer.id for computer in computers])
    queries.forget_counts()
    return len(computers)
