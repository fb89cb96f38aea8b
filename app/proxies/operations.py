"""What can be done with proxies: note what their sessions came to, rest them, enable, disable and check them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, tuple_, update

from app.actors import SYSTEM, Actor
from app.bulk_sql import BulkInsert, BulkUpdate
from app.clock import from_ms, now, to_ms
from app.database import session
from app.errors import Conflict
from app.journal.operations import Happening, Subject, record, record_all, tick
from app.proxies import health, queries
from app.proxies.models import CheckStatus, Proxy, ProxyCheck, ProxyStatus, ProxyTarget
from app.proxy_address import mask
from app.vault import Vault, VaultError

if TYPE_CHECKING:
    from app.proxy_check import CheckResult

CLOCK = "proxies"
KEPT_CHECKS = 100  # of each proxy
_PROXIES: Any = Proxy.__table__
_TARGETS: Any = ProxyTarget.__table__
_STATE = (
    "status", "uses", "successes", "failures", "latency_us", "latency_count", "failures_in_row", "good_in_row", "offences",
    "cooldown_until", "recent", "latencies", "last_used", "last_error", "country",
)  # fmt: skip
_FIXED = (
    "id", "uuid", "tenant_id", "fingerprint", "address", "enabled", "disabled_by", "check_ok", "check_error", "check_latency_ms",
)  # fmt: skip
_READ = select(*(_PROXIES.c[name] for name in (*_FIXED, *_STATE)))
_save = BulkUpdate(_PROXIES, (*_STATE, "version", "id"))
_TARGET_STATE = ("successes", "failures", "failures_in_row", "recent", "last_error", "last_at")
_READ_TARGETS = select(*(_TARGETS.c[name] for name in ("proxy_id", "host", *_TARGET_STATE)))
_add_targets = BulkInsert(_TARGETS, ("proxy_id", "host", *_TARGET_STATE))
_save_targets = BulkUpdate(_TARGETS, (*_TARGET_STATE, "proxy_id", "host"), keys=2)


class _State:
    """A row as plain attributes."""

    def __init__(self, values: Any) -> None:
        self.__dict__.update(values)


@dataclass
class Exits:
    """The proxies that one transaction of sessions touches: loaded first, changed in memory, written at the end."""

    vault: Vault
    moment: datetime
    _by_id: dict[int, Any] = field(default_factory=dict)
    _by_key: dict[tuple[str, str], Any] = field(default_factory=dict)
    _targets: dict[tuple[int, str], Any] = field(default_factory=dict)
    _known_targets: set[tuple[int, str]] = field(default_factory=set)
    _asked: set[tuple[int, str]] = field(default_factory=set)
    _changed: set[int] = field(default_factory=set)
    _changed_targets: set[tuple[int, str]] = field(default_factory=set)
    _version: int = 0

    def load(
        self, ids: Iterable[int], named: Iterable[tuple[str, str, str | None]], targets: Iterable[tuple[int, str | None]]
    ) -> None:
        """Read proxies by internal id and by (tenant, whole address, target host), and the targets of some (proxy, host)."""
        self._version = tick(CLOCK)  # first: what a person changes meanwhile waits, or would be overwritten
        wanted, hosts = set(ids), {(proxy_id, host) for proxy_id, host in targets if host}
        for row in session().execute(_READ.where(_PROXIES.c.id.in_(wanted))).mappings() if wanted else ():
            self._keep(row)
        keys = {((tenant, self.vault.fingerprint(address)), host) for tenant, address, host in named}
        if keys:
            query = _READ.where(tuple_(_PROXIES.c.tenant_id, _PROXIES.c.fingerprint).in_({key for key, _ in keys}))
            for row in session().execute(query).mappings():
                self._keep(row)
            hosts |= {(self._by_key[key].id, host) for key, host in keys if host and key in self._by_key}
        self._load_targets(hosts)

    def _load_targets(self, hosts: set[tuple[int, str]]) -> None:
        self._asked |= hosts
        query = _READ_TARGETS.where(tuple_(_TARGETS.c.proxy_id, _TARGETS.c.host).in_(hosts))
        for row in session().execute(query).mappings() if hosts else ():
            self._targets[row["proxy_id"], row["host"]] = _State(row)
            self._known_targets.add((row["proxy_id"], row["host"]))

    def _keep(self, row: Any) -> Any:
        if row["id"] in self._by_id:
            return self._by_id[row["id"]]
        state = self._by_id[row["id"]] = self._by_key[row["tenant_id"], row["fingerprint"]] = _State(row)
        return state

    def use(self, tenant_id: str, address: str, country: str | None, at_ms: int) -> tuple[int, str]:
        """A session says that it goes through this address; returns the proxy's internal id and the address as it is shown."""
        key = tenant_id, self.vault.fingerprint(address)
        proxy = self._by_key.get(key) or self._create(tenant_id, key[1], address)
        proxy.uses += 1
        proxy.country = country or proxy.country
        proxy.last_used = max(proxy.last_used or from_ms(at_ms), from_ms(at_ms))
        self._changed.add(proxy.id)
        return proxy.id, proxy.address

    def _create(self, tenant_id: str, fingerprint: str, address: str) -> Any:
        shown = mask(address)
        values = {"tenant_id": tenant_id, "fingerprint": fingerprint, "address": shown[:500],
                  "sealed": self.vault.encrypt(address) if shown != address else None}  # fmt: skip
        new = Proxy(**values)
        session().add(new)
        session().flush()
        row = session().execute(_READ.where(_PROXIES.c.id == new.id)).mappings().one()
        session().expunge(new)
        return self._keep(row)

    def unuse(self, proxy_id: int) -> None:
        """A session turned out to go through another one."""
        if proxy_id in self._by_id:
            self._by_id[proxy_id].uses -= 1
            self._changed.add(proxy_id)

    def end(self, proxy_id: int, host: str | None, success: bool, duration_us: int | None, error: str | None, at_ms: int) -> None:
        """A session through it has ended."""
        proxy = self._by_id.get(proxy_id)
        if proxy is None:
            return
        self._count(proxy, success, error, at_ms)
        streak = health.Streak(proxy.failures_in_row, proxy.good_in_row, proxy.offences, proxy.cooldown_until)
        streak.ended(success, self.moment)
        proxy.__dict__.update(streak.__dict__)
        if success and duration_us is not None:
            proxy.latency_us, proxy.latency_count = proxy.latency_us + duration_us, proxy.latency_count + 1
            if proxy.check_latency_ms is None:  # checks measure better
                proxy.latencies = health.add_latency(proxy.latencies, at_ms, duration_us / 1000)
        self._changed.add(proxy_id)
        if host:
            key = proxy_id, host
            if key not in self._asked:  # its session got this proxy or this target within the batch
                self._load_targets({key})
            target: Any = self._targets.get(key)
            if target is None:
                target = self._targets[key] = _State({"successes": 0, "failures": 0, "failures_in_row": 0, "recent": "[]",
                                                      "last_error": None, "last_at": None})  # fmt: skip
            self._count(target, success, error, at_ms)
            target.failures_in_row = 0 if success else target.failures_in_row + 1
            target.last_at = from_ms(at_ms)
            self._changed_targets.add(key)

    @staticmethod
    def _count(row: Any, success: bool, error: str | None, at_ms: int) -> None:
        row.successes += success
        row.failures += not success
        row.recent = health.add_outcome(row.recent, at_ms, success)
        if not success:
            row.last_error = error[:500] if error else row.last_error

    def save(self) -> None:
        """Write what has changed, and journal each change of status."""
        if not self._changed:
            return
        happened = []
        for proxy_id in self._changed:
            proxy = self._by_id[proxy_id]
            status = health.status_of(proxy, self.moment)
            if status is not proxy.status:
                happened.append(_status_changed(proxy, status, self.moment))
            proxy.status, proxy.version = status, self._version
        connection = session().connection()
        rows = [tuple(getattr(self._by_id[i], name) for name in (*_STATE, "version", "id")) for i in sorted(self._changed)]
        _save(connection, rows)
        changed = [(key, tuple(getattr(self._targets[key], n) for n in _TARGET_STATE)) for key in sorted(self._changed_targets)]
        _add_targets(connection, [(*key, *values) for key, values in changed if key not in self._known_targets])
        _save_targets(connection, [(*values, *key) for key, values in changed if key in self._known_targets])
        record_all(happened)


def subject_of(proxy: Any) -> Subject:
    """A proxy as the subject of a journal entry; its address without credentials."""
    return Subject("proxy", proxy.uuid, proxy.address, proxy.tenant_id)


def _status_changed(proxy: Any, status: ProxyStatus, moment: datetime, actor: Actor = SYSTEM) -> Happening:
    said = {"before": proxy.status.value, "after": status.value, "reason": health.reason(proxy, moment)}
    return Happening("proxy.status_changed", actor, subject_of(proxy), said)


def refresh(proxy: Proxy, version: int, actor: Actor = SYSTEM) -> None:
    """Give the row the status that follows from it now; journal a change. `version` was taken before the row was locked."""
    moment = now()
    proxy.version = version
    status = health.status_of(proxy, moment)
    if status is not proxy.status:
        record_all([_status_changed(proxy, status, moment, actor)])
        proxy.status = status


def locked(ids: Sequence[int]) -> list[Proxy]:
    """The rows as they are now, locked against other writers; `tick(CLOCK)` comes first."""
    query = select(Proxy).where(Proxy.id.in_(ids)).order_by(Proxy.id).with_for_update(of=Proxy)
    return list(session().scalars(query, execution_options={"populate_existing": True}))


def set_enabled(proxy: Proxy, enabled: bool, *, actor: Actor) -> None:
    """Enable (which also ends a rest and forgives its offences) or disable it."""
    change_enabled([proxy.id], enabled, actor=actor)


def change_enabled(ids: Sequence[int], enabled: bool, *, actor: Actor, keep_rest: bool = False) -> list[Proxy]:
    """Enable or disable several, and return those that changed. `keep_rest`: enabling does not end a rest nor forgive offences,
    which makes it the exact inverse of disabling."""
    version, changed = tick(CLOCK), []
    for proxy in locked(ids):
        forgives = enabled and not keep_rest
        if proxy.enabled is enabled and not (forgives and (proxy.cooldown_until or proxy.offences)):
            continue
        proxy.enabled, proxy.disabled_by = enabled, None if enabled else actor.name[:200]
        if forgives:
            proxy.cooldown_until, proxy.failures_in_row, proxy.offences = None, 0, 0
        record("proxy.enabled" if enabled else "proxy.disabled", actor, subject_of(proxy))
        refresh(proxy, version, actor)
        changed.append(proxy)
    return changed


def request_check(proxy: Proxy, target: str, *, actor: Actor) -> ProxyCheck:
    """Ask for an active check; the worker makes it. Raises Conflict while one is waiting or running."""
    made = request_checks([proxy.id], target, actor=actor)
    if not made:
        raise Conflict("A check of this proxy is under way already")
    return made[0]


def request_checks(ids: Sequence[int], target: str, *, actor: Actor) -> list[ProxyCheck]:
    """Ask for a check of several; those with one waiting or running are left out."""
    version = tick(CLOCK)  # first: its lock makes two who ask at once wait for each other
    waiting, made = queries.under_check(ids), []
    proxies = [proxy for proxy in locked(ids) if proxy.id not in waiting]
    for proxy in proxies:
        made.append(ProxyCheck(proxy_id=proxy.id, target=target, requested_by=actor.name[:200]))
        proxy.version = version
    session().add_all(made)
    record_all([Happening("proxy.check_requested", actor, subject_of(proxy), {"target": target}) for proxy in proxies])
    session().flush()
    return made


def store_result(check_id: str, result: "CheckResult") -> None:
    """Store what came of a check, once, and forget the proxy's oldest ones."""
    version = tick(CLOCK)
    check: ProxyCheck | None = session().get(ProxyCheck, check_id)
    if check is None or check.status is CheckStatus.DONE:
        return
    (proxy,) = locked([check.proxy_id])
    moment = now()
    check.status, check.finished_at, check.lease_until = CheckStatus.DONE, moment, None
    check.ok, check.latency_ms, check.http_status = result.ok, result.latency_ms, result.status
    check.exit_address, check.error = result.exit_address, result.error[:500] if result.error else None
    proxy.checked_at, proxy.check_ok, proxy.check_error = moment, result.ok, check.error
    if result.ok and result.latency_ms is not None:
        before = "[]" if proxy.check_latency_ms is None else proxy.latencies  # not mixed with durations of sessions
        proxy.check_latency_ms = result.latency_ms
        proxy.exit_address = result.exit_address or proxy.exit_address
        proxy.latencies = health.add_latency(before, to_ms(moment), result.latency_ms)
    refresh(proxy, version)
    session().flush()
    old = list(session().scalars(queries.older_checks(proxy.id, KEPT_CHECKS)))
    if old:
        session().execute(delete(ProxyCheck).where(ProxyCheck.id.in_(old)), execution_options={"synchronize_session": False})


def end_rests(limit: int = 500) -> int:
    """Give proxies whose rest is over their status back; returns how many (the worker asks again at `limit`)."""
    moment = now()
    due = select(Proxy.id).where(Proxy.cooldown_until <= moment).limit(limit)
    ids = list(session().scalars(due))
    if not ids:
        return 0
    version = tick(CLOCK)
    for proxy in locked(ids):
        if proxy.cooldown_until is not None and proxy.cooldown_until <= moment:
            proxy.cooldown_until = None
            refresh(proxy, version)
    return len(ids)


def age(since: datetime | None) -> int:
    """Let tables show anew what reads differently than it did at `since` (None: whatever was measured), because time has passed:
    the last hour and the latencies of the day. Returns how many proxies that are."""
    moment = now()
    before = since or moment
    changed = [
        proxy_id
        for proxy_id, recent, latencies in queries.measured()
        if since is None
        or health.window(recent, before) != health.window(recent, moment)
        or health.hourly_latency(latencies, before) != health.hourly_latency(latencies, moment)
    ]
    if changed:
        version = tick(CLOCK)
        table = update(_PROXIES).where(_PROXIES.c.id.in_(changed))
        session().execute(table.values(version=version))
    return len(changed)


def fingerprint_anew(vault: Vault) -> None:
    """Make every fingerprint under the vault's first secret; one whose address cannot be read keeps the old."""
    for row in session().execute(select(_PROXIES.c.id, _PROXIES.c.address, _PROXIES.c.sealed)).all():
        try:
            address = vault.decrypt(row.sealed) if row.sealed else row.address
        except VaultError:
            continue
        session().execute(update(_PROXIES).where(_PROXIES.c.id == row.id).values(fingerprint=vault.fingerprint(address)))
