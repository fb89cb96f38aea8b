"""What can be done with sessions: register, end, log events; many of each in one transaction, with all counters."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, select

from app.actors import Actor
from app.bulk_sql import BulkAdd, BulkInsert, BulkUpdate
from app.clock import now, to_ms
from app.database import session
from app.errors import DomainError, NotFound
from app.journal.operations import Happening, Subject, record_all, tick
from app.proxies.operations import Exits
from app.sessions import counters
from app.sessions.models import (
    BLOCK,
    BotSession,
    ErrorGroup,
    Event,
    EventCount,
    EventKey,
    EventType,
    SessionCount,
    SessionHour,
    SessionStatus,
)  # fmt: skip
from app.sessions.pieces import NewEvent, NewSession, Outcome, Piece, Stored, host_of
from app.tenants.queries import default_tenant, require_tenant
from app.vault import Vault

CLOCK = "sessions"


_SESSIONS: Any = BotSession.__table__
_STATE = (
    "profile_id", "device", "target_url", "target_host", "proxy", "proxy_id", "country", "info", "status", "ended_at",
    "duration_us", "success", "error", "error_key", "events", "errors", "last_event_at", "ended_version", "version",
)  # fmt: skip
_FIXED = ("id", "tenant_id", "session_id", "started_at")
_READ = select(*(_SESSIONS.c[name] for name in (*_FIXED, *_STATE)))
_insert = BulkInsert(_SESSIONS, (*_FIXED, *_STATE))
_update = BulkUpdate(_SESSIONS, (*_STATE, "id"))
_EVENT = ("id", "tenant_id", "session_row", "session_id", "event_type", "at", "details")
_insert_events = BulkInsert(Event.__table__, _EVENT)
_insert_keys = BulkInsert(EventKey.__table__, ("tenant_id", "key", "event_id"))
_count_blocks = BulkAdd(
    SessionCount.__table__, ("tenant_id", "block", "status", "n", "timed", "duration_us"), ("n", "timed", "duration_us")
)
_count_hours = BulkAdd(SessionHour.__table__, ("tenant_id", "hour", "kind", "value", "status", "n"), ("n",))
_count_events = BulkAdd(EventCount.__table__, ("tenant_id", "event_type", "block", "n"), ("n",))
_count_errors = BulkAdd(ErrorGroup.__table__, ("tenant_id", "key", "message", "n", "first_at", "last_at"), ("n",))
_saw_errors = BulkUpdate(ErrorGroup.__table__, ("last_at", "tenant_id", "key"), keys=2)


class Batch:
    """Pieces of several requests in one transaction: state is read once, changed in memory piece by piece, written once."""

    def __init__(self, pieces: Sequence[Piece], vault: Vault) -> None:
        self.pieces = pieces
        self.moment = now()
        self.at = to_ms(self.moment)
        size = sum(piece.size for piece in pieces)
        self._next = tick(CLOCK, size) - size
        self.exits = Exits(vault, self.moment)
        self._tenants: dict[tuple[frozenset[str] | None, str | None], str] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._before: dict[int, dict[str, Any]] = {}
        self._new: list[dict[str, Any]] = []
        self._changed: dict[int, dict[str, Any]] = {}
        self._events: list[tuple[Any, ...]] = []
        self._keys: dict[tuple[str, str], int] = {}
        self._new_keys: list[tuple[str, str, int]] = []
        self._happened: list[Happening] = []

    def _number(self) -> int:
        self._next += 1
        return self._next

    # -- reading -----------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the sessions, events and proxies that the pieces name."""
        named = {name for piece in self.pieces for name in piece.session_ids}
        for row in session().execute(_READ.where(_SESSIONS.c.session_id.in_(named)).order_by(_SESSIONS.c.id)).mappings():
            self._rows.setdefault(row["session_id"], []).append(dict(row))
            self._before[row["id"]] = dict(row)
        keys = {event.key for piece in self.pieces for event in piece.events if event.key}
        if keys:
            query = select(EventKey.tenant_id, EventKey.key, EventKey.event_id).where(EventKey.key.in_(keys))
            self._keys = {(tenant, key): event_id for tenant, key, event_id in session().execute(query)}
        self._load_exits()

    def _load_exits(self) -> None:
        registers = [(piece.actor, new) for piece in self.pieces for new in piece.registers]
        named = [(self._tenant_of(who, new), new.proxy, host_of(new.target_url)) for who, new in registers if new.proxy]
        touched = {end.session_id for piece in self.pieces for end in piece.ends} | {
            n.session_id for _, n in registers if n.proxy
        }
        rows = [row for name in touched for row in self._rows.get(name, ()) if row["proxy_id"] is not None]
        if named or rows:
            self.exits.load((row["proxy_id"] for row in rows), ((t, p, h) for t, p, h in named if t is not None),
                            ((row["proxy_id"], row["target_host"]) for row in rows))  # fmt: skip

    def _tenant_of(self, actor: Actor, new: NewSession) -> str | None:
        """The tenant that a new session belongs to; None when it may not be (which `_register` then says)."""
        try:
            return self._tenant(actor, new.tenant_id)
        except DomainError:
            return None

    def _tenant(self, actor: Actor, wanted: str | None) -> str:
        key = actor.tenant_ids, wanted
        if key not in self._tenants:
            self._tenants[key] = (require_tenant(wanted, actor) if wanted else default_tenant(actor)).id
        return self._tenants[key]

    def _find(self, actor: Actor, session_id: str, tenant_id: str | None = None) -> dict[str, Any] | None:
        """The session of this id that the actor sees; with the same id in several tenants, the one in its own first one."""
        seen = [row for row in self._rows.get(session_id, ()) if actor.sees(row["tenant_id"])]
        if tenant_id is not None:
            seen = [row for row in seen if row["tenant_id"] == tenant_id]
        if len(seen) > 1:
            own = self._tenant(actor, None)
            seen.sort(key=lambda row: (row["tenant_id"] != own, row["id"]))
        return seen[0] if seen else None

    # -- changing ----------------------------------------------------------------------------------------------------

    def apply(self, piece: Piece) -> Stored:
        """Do what a piece wants. Raises NotFound, Invalid; then nothing of it has been done."""
        for new in piece.registers:
            self._tenant(piece.actor, new.tenant_id)
        rows = [self._find(piece.actor, event.session_id) for event in piece.events]
        if None in rows:
            unknown = piece.events[rows.index(None)].session_id
            raise NotFound(f"Session not found: {unknown[:200]}")
        for new in piece.registers:
            self._register(piece.actor, new)
        for end in piece.ends:
            self._end(piece.actor, end)
        return Stored([self._log(event, row) for event, row in zip(piece.events, rows, strict=True) if row is not None])

    def _add(self, tenant_id: str, session_id: str, started_at: int) -> dict[str, Any]:
        number = self._number()
        row: dict[str, Any] = dict.fromkeys(_STATE)
        row |= {"id": number, "tenant_id": tenant_id, "session_id": session_id, "started_at": started_at, "events": 0,
                "errors": 0, "status": SessionStatus.ACTIVE, "version": number}  # fmt: skip
        self._rows.setdefault(session_id, []).append(row)
        self._new.append(row)
        return row

    def _touch(self, row: dict[str, Any]) -> None:
        row["version"] = self._number()
        if row["id"] in self._before:
            self._changed[row["id"]] = row

    def _register(self, actor: Actor, new: NewSession) -> None:
        row = self._find(actor, new.session_id, new.tenant_id)
        if row is None:
            row = self._add(self._tenant(actor, new.tenant_id), new.session_id, self.at)
            self._journal("automation_session.started", actor, row)
        else:
            self._touch(row)
        settled = row["status"] is not SessionStatus.ACTIVE and row["proxy_id"] is not None  # counted for this proxy and target
        for name in ("profile_id", "device", "country", "info", *(() if settled else ("target_url",))):
            if getattr(new, name) is not None:
                row[name] = getattr(new, name)
        row["target_host"] = host_of(row["target_url"])
        if new.proxy and row["status"] is SessionStatus.ACTIVE:  # what an ended one went through is settled
            before = row["proxy_id"]
            row["proxy_id"], row["proxy"] = self.exits.use(row["tenant_id"], new.proxy, row["country"], row["started_at"])
            if before is not None:
                self.exits.unuse(before)

    def _end(self, actor: Actor, end: Outcome) -> None:
        row = self._find(actor, end.session_id)
        if row is None:
            row = self._add(self._tenant(actor, None), end.session_id, self.at - (end.duration_us or 0) // 1000)
        elif row["status"] is not SessionStatus.ACTIVE:
            return  # ending twice counts once
        else:
            self._touch(row)
        row |= {"status": SessionStatus.COMPLETED if end.success else SessionStatus.FAILED, "success": end.success,
                "ended_at": self.at, "duration_us": end.duration_us, "error": end.error, "ended_version": row["version"],
                "error_key": None if end.success else counters.error_key(end.error or "")}  # fmt: skip
        if row["proxy_id"] is not None:
            self.exits.end(row["proxy_id"], row["target_host"], end.success, end.duration_us, end.error, self.at)
        self._journal("automation_session.ended", actor, row, success=end.success)

    def _log(self, event: NewEvent, row: dict[str, Any]) -> int:
        tenant = row["tenant_id"]
        if event.key is not None and (tenant, event.key) in self._keys:
            return self._keys[tenant, event.key]
        self._touch(row)
        number: int = row["version"]
        self._events.append((number, tenant, row["id"], row["session_id"], event.event_type, event.at, event.details))
        row["events"] += 1
        row["errors"] += event.event_type is EventType.ERROR
        row["last_event_at"] = max(row["last_event_at"] or 0, event.at)
        if event.key is not None:
            self._keys[tenant, event.key] = number
            self._new_keys.append((tenant, event.key, number))
        return number

    def _journal(self, type_: str, actor: Actor, row: dict[str, Any], **data: Any) -> None:
        subject = Subject("session", str(row["id"]), row["session_id"], row["tenant_id"])
        self._happened.append(Happening(type_, actor, subject, data))

    # -- writing -----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write everything, in one statement a table."""
        connection = session().connection()
        self.exits.save()
        _insert(connection, [tuple(row[name] for name in (*_FIXED, *_STATE)) for row in self._new])
        _update(connection, [tuple(row[name] for name in (*_STATE, "id")) for row in self._changed.values()])
        _insert_events(connection, self._events)
        _insert_keys(connection, self._new_keys)
        count_changes([(None, row) for row in self._new] + [(self._before[i], row) for i, row in self._changed.items()], self.at)
        counted = Counter((event[1], event[4], event[0] // BLOCK) for event in self._events)
        _count_events(connection, [(*key, n) for key, n in sorted(counted.items())])
        record_all(self._happened)


Change = tuple[dict[str, Any] | None, dict[str, Any] | None]


def count_changes(changes: Iterable[Change], at: int) -> None:
    """Bring the counters of sessions in step with changes of rows: (before, after) each, None for a row that is not there."""
    blocks: dict[tuple[Any, ...], list[int]] = {}
    hours: Counter[tuple[Any, ...]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    messages: dict[tuple[str, str], str] = {}
    for before, after in changes:
        for row, sign in ((before, -1), (after, 1)):
            if row is None:
                continue
            sums = blocks.setdefault(counters.block_key(row), [0, 0, 0])
            for place, value in enumerate(counters.block_values(row)):
                sums[place] += sign * value
            for key in counters.hour_keys(row):
                hours[key] += sign
            if row["error_key"]:
                errors[row["tenant_id"], row["error_key"]] += sign
                messages[row["tenant_id"], row["error_key"]] = counters.normalised(row["error"] or "")
    connection = session().connection()
    _count_blocks(connection, [(*key, *sums) for key, sums in sorted(blocks.items()) if any(sums)])
    _count_hours(connection, [(*key, n) for key, n in sorted(hours.items()) if n])
    grown = [(*key, messages[key], n, at, at) for key, n in sorted(errors.items()) if n]
    _count_errors(connection, grown)
    _saw_errors(connection, [(at, row[0], row[1]) for row in grown if row[3] > 0])


_ACTIVE = (
    select(SessionCount.tenant_id, func.sum(SessionCount.n))
    .where(SessionCount.status == SessionStatus.ACTIVE)
    .group_by(SessionCount.tenant_id)
)


def store(pieces: Sequence[Piece], vault: Vault) -> list[Stored | Exception]:
    """Store pieces inside the caller's unit of work; for each what became of it, or the error that its caller gets."""
    batch = Batch(pieces, vault)
    batch.load()
    results: list[Stored | Exception] = []
    for piece in pieces:
        try:
            results.append(batch.apply(piece))
        except DomainError as error:
            results.append(error)
    batch.save()
    if any(piece.registers or piece.ends for piece in pieces):
        active = {tenant: int(n) for tenant, n in session().execute(_ACTIVE)}
        for piece, result in zip(pieces, results, strict=True):
            if isinstance(result, Stored):
                result.active = sum(n for tenant, n in active.items() if piece.actor.sees(tenant))
    return results
