"""The states and events that thresholds can be about, beside samples: what earlier rooms say in the journal, and what can be
looked up.

An entry of the journal only says that something has changed; what is observed is how it is now. So entries may be read again,
and a reader that comes late sees the truth.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import inf, nan
from typing import Any

from sqlalchemy import func, select, update

from app.alerts.book import open_book
from app.alerts.catalogue import About, Current, Metric, Observation, Source, metric_of, metrics, offer
from app.alerts.entries import ms
from app.alerts.evaluation import observe
from app.alerts.matching import about_computer
from app.alerts.models import Alert, AlertMark, Comparison, Severity, Threshold
from app.clock import now, to_ms
from app.containers.models import Container
from app.containers.queries import down as stopped_containers
from app.database import insert_ignore, session, unit_of_work, upsert
from app.fleet.models import Certificate, Computer, ComputerStatus
from app.fleet.operations import CLOCK as FLEET
from app.fleet.queries import certificates_of
from app.journal.models import JournalEntry
from app.journal.operations import tick
from app.journal.queries import after, last_seq
from app.proxies.models import Proxy, ProxyStatus
from app.runs.drivers import all_drivers
from app.runs.models import Run, RunStatus, RunStep
from app.sessions.models import HOUR_MS, SessionHour, SessionStatus
from app.tenants.models import Tenant

MARK = "journal"
CHUNK = 500
FAILED = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.LOST)
LEAST_SESSIONS = 5
SICKNESS = {ProxyStatus.HEALTHY: 0.0, ProxyStatus.FLAGGED: 1.0, ProxyStatus.BLACKLISTED: 2.0}


def _told(observations: Iterable[Observation]) -> Current:
    return {(one.about.id, one.argument): (one.value, one.said) for one in observations}


# -- offline ---------------------------------------------------------------------------------------------------------


def _offline(computer: Computer) -> Observation:
    is_offline = computer.status is ComputerStatus.OFFLINE
    since = computer.last_seen if is_offline and computer.last_seen is not None else now()
    return Observation("offline", about_computer(computer), float(is_offline), ms(since))


def _computers(uuids: Sequence[str]) -> list[Computer]:
    return list(session().scalars(select(Computer).where(Computer.uuid.in_(uuids)).execution_options(populate_existing=True)))


def _offline_now(uuids: Sequence[str]) -> Current:
    return _told(map(_offline, _computers(uuids)))


def _all_offline() -> Iterable[Observation]:
    return map(_offline, session().scalars(select(Computer).where(Computer.status == ComputerStatus.OFFLINE)))


# -- certificates ------------------------------------------------------------------------------------------------------


def _certificates(computer: Any, certificates: Sequence[Certificate], moment: datetime) -> Iterator[Observation]:
    """The first of them to end, and each by its path; one that was never read has no value that could be told."""
    about, at = about_computer(computer), to_ms(moment)
    known = [(days, one) for one in certificates if (days := one.days_left(moment)) is not None]
    days, first = min(known, key=lambda pair: pair[0], default=(nan, None))
    yield Observation("certificate", about, days, at, _ends(first, days) if first else "")
    for one in certificates:
        left = one.days_left(moment)
        yield Observation("certificate", about, nan if left is None else left, at, _ends(one, left or 0.0), one.path)


def _ends(one: Certificate, days: float) -> str:
    when = f"ended {CERTIFICATE.shown(-days)} ago" if days < 0 else f"ends in {CERTIFICATE.shown(days)}"
    return f"Certificate of {one.subject or 'nobody'} {when} ({one.path})"


def _certificates_now(uuids: Sequence[str]) -> Current:
    moment = now()
    return _told(found for computer, every in certificates_of(uuids) for found in _certificates(computer, every, moment))


def _search_certificates() -> list[str]:
    """The computers that any rule may be about: of 10,000, most have certificates with long to go."""
    moment, rules = now(), list(session().scalars(select(Threshold).where(Threshold.enabled, Threshold.metric == "certificate")))
    low = max((row.limit for row in rules if not row.comparison.upward), default=-inf)
    high = min((row.limit for row in rules if row.comparison.upward), default=inf)
    found = []
    for computer, every in certificates_of():
        left = [days for one in every if (days := one.days_left(moment)) is not None]
        if left and (min(left) <= low or max(left) >= high):
            found.append(computer.uuid)
    return found


def _ending_certificates(uuids: Sequence[str]) -> Iterator[Observation]:
    moment = now()
    for start in range(0, len(uuids), 1000):
        for computer, every in certificates_of(uuids[start : start + 1000]):
            yield from _certificates(computer, every, moment)


def on_inventory(computer: Computer) -> None:
    """The hook of `fleet.operations.store_inventory`: certificates may have been renewed, or be new and old."""
    moment = now()
    found = [told for one, every in certificates_of([computer.uuid]) for told in _certificates(one, every, moment)]
    if found:
        observe(found)


# -- proxies ---------------------------------------------------------------------------------------------------------


def _sickness(proxy: Proxy) -> float:
    """What a person has switched off is not sick."""
    return SICKNESS[proxy.status] if proxy.enabled else 0.0


def _proxy(proxy: Proxy) -> Observation:
    return Observation("proxy_health", About("proxy", proxy.uuid, proxy.address, proxy.tenant_id), _sickness(proxy), to_ms(now()))


def _proxies(uuids: Sequence[str]) -> list[Proxy]:
    return list(session().scalars(select(Proxy).where(Proxy.uuid.in_(uuids)).execution_options(populate_existing=True)))


def _proxies_now(uuids: Sequence[str]) -> Current:
    return _told(map(_proxy, _proxies(uuids)))


def _sick_proxies() -> Iterable[Observation]:
    return map(_proxy, session().scalars(select(Proxy).where(Proxy.status != ProxyStatus.HEALTHY, Proxy.enabled)))


# -- containers ------------------------------------------------------------------------------------------------------


def _container(container: Container) -> Observation:
    """Down is what ran and does not run any more; while its engine does not answer, nobody knows."""
    on, since = container.computer, container.stopped_at or now()
    about = About("container", container.uuid, f"{container.name} on {on.name}", on.tenant_id, on.id, on.uuid)
    return Observation("container_down", about, float(container.stopped_at is not None), to_ms(since))


def _containers(uuids: Sequence[str]) -> list[Container]:
    return list(session().scalars(select(Container).where(Container.uuid.in_(uuids)).execution_options(populate_existing=True)))


def _containers_now(uuids: Sequence[str]) -> Current:
    return _told(map(_container, _containers(uuids)))


def _stopped_containers() -> Iterable[Observation]:
    return map(_container, stopped_containers())


# -- sessions --------------------------------------------------------------------------------------------------------


def _failure_rates() -> dict[str, float]:
    """Tenant id → percent of the sessions that began in this hour or the last one and have ended that failed; of at least
    LEAST_SESSIONS. From the counters."""
    query = select(SessionHour.tenant_id, SessionHour.status, func.sum(SessionHour.n)).where(
        SessionHour.hour >= to_ms(now()) // HOUR_MS - 1, SessionHour.kind == "", SessionHour.status != SessionStatus.ACTIVE
    )
    counts: dict[str, dict[SessionStatus, int]] = {}
    for tenant_id, status, number in session().execute(query.group_by(SessionHour.tenant_id, SessionHour.status)):
        counts.setdefault(tenant_id, {})[status] = int(number)
    rates = {}
    for tenant_id, found in counts.items():
        ended = sum(found.values())
        if ended >= LEAST_SESSIONS:
            rates[tenant_id] = round(100 * found.get(SessionStatus.FAILED, 0) / ended, 1)
    return rates


def _rates_now(tenant_ids: Sequence[str]) -> Current:
    rates = _failure_rates()
    return {(tenant_id, None): (rates.get(tenant_id, 0.0), "") for tenant_id in tenant_ids}


def _all_rates() -> Iterable[Observation]:
    rates, at = _failure_rates(), to_ms(now())
    names = {row[0]: row[1] for row in session().execute(select(Tenant.id, Tenant.name))}
    alerted = select(Alert.subject_id).where(Alert.live, Alert.subject_kind == "sessions")
    for tenant_id in {*rates, *session().scalars(alerted)} & names.keys():
        about = About("sessions", tenant_id, f"Sessions of {names[tenant_id]}", tenant_id)
        yield Observation("session_failures", about, rates.get(tenant_id, 0.0), at)


# -- runs ------------------------------------------------------------------------------------------------------------


def _failed_runs(ids: Sequence[str]) -> list[Observation]:
    found = []
    for run in session().scalars(select(Run).where(Run.id.in_(ids), Run.status.in_(FAILED))):
        query = select(Computer.id, Computer.uuid).join(RunStep, RunStep.computer_id == Computer.id)
        targets = list(session().execute(query.where(RunStep.run_id == run.id).distinct().limit(2)))
        about = About("run", run.id, run.title[:300], run.tenant_id)
        if len(targets) == 1:
            about = replace(about, computer_id=targets[0][0], computer_uuid=targets[0][1])
        words = {RunStatus.FAILED: "failed", RunStatus.TIMED_OUT: "timed out", RunStatus.LOST: "was lost"}[run.status]
        said = f"The {run.kind} {words}" + (f": {run.reason}" if run.reason else "")
        found.append(Observation("run_failed", about, 1.0, to_ms(now()), said))
    return found


CERTIFICATE = Metric(
    "certificate", "Certificate ends in", Source.STATE, "days", highest=3650, limit=14, comparison=Comparison.LT,
    arguments="path", narrowed="Certificate {argument} ends in", current=_certificates_now, sweep=_ending_certificates,
    search=_search_certificates,
)  # fmt: skip
for _metric in (
    Metric("offline", "Offline", Source.STATE, highest=1, limit=0, severity=Severity.CRITICAL, words=("online", "offline"),
           current=_offline_now, sweep=_all_offline),
    CERTIFICATE,
    Metric("proxy_health", "Proxy", Source.STATE, subject="proxy", highest=2, limit=1,
           words=("healthy", "flagged", "blacklisted"), current=_proxies_now, sweep=_sick_proxies),
    Metric("container_down", "Container", Source.STATE, subject="container", highest=1, limit=0, words=("running", "stopped"),
           current=_containers_now, sweep=_stopped_containers),
    Metric("session_failures", "Failed sessions", Source.STATE, unit="%", subject="sessions", highest=100, limit=50,
           current=_rates_now, sweep=_all_rates),
    Metric("run_failed", "Run", Source.EVENT, subject="run", highest=1, limit=0, words=("ended", "failed"), expires_s=86_400),
):  # fmt: skip
    offer(_metric)


# -- following the journal -------------------------------------------------------------------------------------------


def _followed() -> tuple[str, ...]:
    return ("computer.status_changed", "proxy.status_changed", "proxy.enabled", "proxy.disabled", "container.state_changed",
            *(f"{driver.kind}.finished" for driver in all_drivers()))  # fmt: skip


def follow() -> int:
    """Look at what the journal says since the last time; safe from several workers at once. Returns the entries read."""
    _begin_at_the_end()
    read = 0
    while True:
        found = session().scalar(select(AlertMark.n).where(AlertMark.name == MARK))
        waiting = bool(after(found or 0, _followed(), 1))
        session().remove()
        if not waiting:
            return read
        with unit_of_work():
            read += _read_on()


def _begin_at_the_end() -> None:
    """A journal that is older than this room is not gone through."""
    known = session().scalar(select(AlertMark.n).where(AlertMark.name == MARK))
    session().remove()
    if known is None:
        with unit_of_work():
            statement = upsert(AlertMark.__table__, session().get_bind().dialect.name).values(name=MARK, n=last_seq())
            session().execute(insert_ignore(statement))


def _read_on() -> int:
    tick(FLEET)  # the order of locks: see `open_book`
    seen = session().scalar(select(AlertMark.n).where(AlertMark.name == MARK)) or 0
    entries = after(seen, _followed(), CHUNK)
    if not entries:
        return 0
    claimed = update(AlertMark).where(AlertMark.name == MARK, AlertMark.n == seen).values(n=entries[-1].seq)
    if not session().execute(claimed, execution_options={"synchronize_session": False}).rowcount:
        return 0
    observe(_observed(entries))
    return len(entries)


def _observed(entries: Sequence[JournalEntry]) -> list[Observation]:
    ids: dict[str, set[str]] = {}
    for entry in entries:
        ids.setdefault(entry.subject_kind or "", set()).add(entry.subject_id or "")
    found = [_offline(computer) for computer in _computers(sorted(ids.get("computer", ())))]
    found += [_container(container) for container in _containers(sorted(ids.get("container", ())))]
    found += [_proxy(proxy) for proxy in _proxies(sorted(ids.get("proxy", ())))]
    return found + _failed_runs(sorted(ids.get("run", ())))


def _watched() -> set[str]:
    return set(session().scalars(select(Threshold.metric).where(Threshold.enabled).distinct()))


def search() -> dict[str, Sequence[str]]:
    """What may be bad of the metrics that change by the day, for `sweep`; reads a lot, and locks nothing."""
    watched = _watched()
    return {metric.key: metric.search() for metric in metrics() if metric.search is not None and metric.key in watched}


def sweep(searched: Mapping[str, Sequence[str]] | None = None) -> None:
    """Observe everything that may be bad now and that a rule is about, in the caller's unit of work: rules may be newer than what
    they are about. `searched` is what `search` has found, if it is time for that."""
    book, ids = open_book(), searched or {}
    watched = _watched()
    for metric in metrics():
        if metric.sweep is None or metric.key not in watched or (metric.search is not None and metric.key not in ids):
            continue
        found = list(metric.sweep() if metric.search is None else metric.sweep(ids[metric.key]))
        for start in range(0, len(found), 1000):
            observe(found[start : start + 1000], book=book)
    book.save()


def values_now(metric_key: str, subject_ids: Sequence[str]) -> Current | None:
    """What a state is now (see `Metric.current`); None for a metric that cannot be looked up."""
    metric = metric_of(metric_key)
    return None if metric is None or metric.current is None else metric.current(subject_ids)
