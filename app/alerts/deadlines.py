"""What happens to alerts because time passes, run by the worker: durations that run out, silences that begin and end, rules
that no longer apply. Deadlines are stored on the rows, so a restart loses none, and each is settled once, whatever the number of
workers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import isnan
from typing import Any

from sqlalchemy import func, select, update

from app.alerts.book import Book, open_book
from app.alerts.catalogue import About, Source, metric_of, metrics
from app.alerts.entries import Entry
from app.alerts.evaluation import is_fresh, settle
from app.alerts.matching import applies, reader, tags_of
from app.alerts.models import Alert, AlertStatus, Silence, Threshold
from app.alerts.rules import Rule, Verdict, decide, step
from app.alerts.silencing import Muter
from app.alerts.sources import search, sweep, values_now
from app.clock import now, to_ms
from app.database import reading, session, unit_of_work
from app.fleet.models import Computer, ComputerStatus
from app.fleet.operations import PLACEMENT
from app.journal.queries import clock
from app.metrics.operations import NewSample
from app.metrics.queries import latest

CHUNK = 500
SOON = timedelta(seconds=10)
RECONCILE_S = 60
SLOWLY = timedelta(hours=1)
_ALERTS: Any = Alert.__table__


def settle_due() -> int:
    """Settle alerts whose deadline has come; returns how many were looked at."""
    looked = 0
    while _is_due():
        with unit_of_work():
            looked += (found := _settle_some())
        if found < CHUNK:
            break
    return looked


def next_due() -> datetime | None:
    """When the next alert is to be settled."""
    found: datetime | None = session().scalar(
        select(Alert.due_at).where(Alert.live, Alert.due_at.is_not(None)).order_by(Alert.due_at).limit(1)
    )
    return found


def next_turn() -> datetime | None:
    """When the next silence begins or ends."""
    found: datetime | None = session().scalar(select(func.min(Silence.due_at)))
    return found


def _is_due() -> bool:
    found = session().scalar(select(Alert.id).where(Alert.due_at <= now(), Alert.live).limit(1)) is not None
    session().remove()
    return found


def _settle_some() -> int:
    book = open_book()
    entries = book.load(_ALERTS.c.id.in_(
        select(_ALERTS.c.id).where(_ALERTS.c.live, _ALERTS.c.due_at <= book.moment).order_by(_ALERTS.c.due_at).limit(CHUNK)
    ))  # fmt: skip
    rules = rules_of(entries)
    by_metric: dict[str, list[Entry]] = {}
    for entry in entries:
        by_metric.setdefault(entry.metric, []).append(entry)
    for key, mine in by_metric.items():
        metric = metric_of(key)
        if metric is not None and metric.source is Source.SAMPLES:
            _sampled_due(book, mine, rules)
        elif metric is not None and metric.source is Source.EVENT:
            for entry in mine:
                book.resolve(entry, "expired")
        else:
            _states_due(book, key, mine, rules)
    book.save()
    return len(entries)


def rules_of(entries: Sequence[Entry]) -> dict[str, Rule]:
    """The rules of alerts by id, as far as they still exist and are switched on."""
    ids = {entry.threshold_id for entry in entries}
    found = {}
    for row in session().scalars(select(Threshold).where(Threshold.id.in_(ids), Threshold.enabled)):
        metric = metric_of(row.metric)
        found[row.id] = Rule.of(row, metric.least_for_s if metric is not None else 0)
    return found


def about_of(entry: Entry) -> About:
    """Its subject, from its own columns."""
    return About(
        entry.subject_kind, entry.subject_id, entry.subject_name, entry.tenant_id, entry.computer_id, entry.computer_uuid
    )


def _states_due(book: Book, key: str, entries: Sequence[Entry], rules: dict[str, Rule]) -> None:
    current = values_now(key, [entry.subject_id for entry in entries])
    at = to_ms(book.moment)
    for entry in entries:
        rule = rules.get(entry.threshold_id)
        if rule is None:
            book.resolve(entry, "threshold_changed")
            continue
        found = (entry.value, "") if current is None else current.get((entry.subject_id, rule.argument))
        if found is None or found[0] is None:
            book.resolve(entry, "subject_gone")
            continue
        state, value = entry.state(), found[0]
        step(rule, state, at, value)
        settle(book, rule, about_of(entry), entry, state, at, None if isnan(value) else value, said=found[1])


def _sampled_due(book: Book, entries: Sequence[Entry], rules: dict[str, Rule]) -> None:
    """A limit was still crossed at the newest sample, or the row would say otherwise. That counts as long as the sample is
    fresh; a computer that has fallen silent is a matter of the rule on that."""
    query = select(Computer).where(Computer.id.in_([entry.computer_id for entry in entries]))
    computers = {row.id: row for row in session().scalars(query, execution_options={"populate_existing": True})}
    at = to_ms(book.moment)
    for entry in entries:
        rule, computer = rules.get(entry.threshold_id), computers.get(entry.computer_id)
        if rule is None or computer is None:
            book.resolve(entry, "subject_gone" if rule else "threshold_changed")
        elif entry.status is AlertStatus.RESOLVED:
            book.resolve(entry, "")  # an old latch
        elif computer.status is ComputerStatus.OFFLINE:
            _broken_off(book, entry)
        elif computer.sampled_at is None or not is_fresh(to_ms(computer.sampled_at), computer.interval_s, at):
            entry.due_at = book.moment + SOON  # a spool is on its way, or it is offline soon
        else:
            _held(book, entry, rule, computer.id, at)


def _broken_off(book: Book, entry: Entry) -> None:
    if entry.status is AlertStatus.PENDING:
        book.drop(entry)
    else:
        entry.shift_since, entry.due_at = None, None


def _held(book: Book, entry: Entry, rule: Rule, computer_id: int, at: int) -> None:
    state, value = entry.state(), newest_value(rule, computer_id, at)
    if value is not None and decide(rule, state, at) in (Verdict.FIRE, Verdict.ESCALATE):
        settle(book, rule, about_of(entry), entry, state, at, value, sampled=True)
    else:
        entry.due_at = book.moment + SOON


def newest_value(rule: Rule, computer_id: int, at: int) -> float | None:
    """What a computer's newest sample says of a rule's metric."""
    point = latest(computer_id)
    if point is None:
        return None
    values, detail = point.values, point.detail or {}
    sample = NewSample(
        computer_id, point.at, values["cpu"] or 0.0, values["memory"] or 0.0, values["disk"], values["recv_rate"],
        values["sent_rate"], load=values["load"], disks=detail.get("d", []),
    )  # fmt: skip
    value: float | None = reader(rule.metric, rule.argument)(sample, at)
    return value


# -- silences --------------------------------------------------------------------------------------------------------


def turn_silences() -> int:
    """Let silences begin and end whose time has come; returns how many."""
    due = select(Silence.id).where(Silence.due_at <= now())
    waiting = session().scalar(due.limit(1))
    session().remove()
    if waiting is None:
        return 0
    with unit_of_work():
        book = open_book()
        turned = 0
        for row in session().scalars(select(Silence).where(Silence.due_at <= book.moment)):
            later = row.next_change(book.moment)
            claimed = update(Silence).where(Silence.id == row.id, Silence.due_at == row.due_at).values(due_at=later)
            turned += session().execute(claimed, execution_options={"synchronize_session": False}).rowcount
        session().expire_all()
        mute_anew(book)
        book.save()
        return turned


def mute_anew(book: Book) -> None:
    """Give each open alert the mark that silences give it now. One that is muted no longer, and still active, is told then."""
    entries = [entry for entry in book.load(_ALERTS.c.status != AlertStatus.RESOLVED) if entry.status is not AlertStatus.PENDING]
    for entry, muted in zip(entries, Muter(book.moment).verdicts(entries), strict=True):
        if entry.muted is not muted:
            entry.muted = muted
            entry.tell("alert.muted" if muted else "alert.unmuted")


# -- rules and subjects that change ------------------------------------------------------------------------------------


class Reconciler:
    """Closes what no longer has a rule, follows subjects to another tenant, and looks at all states: when rules or the
    placement of computers have changed, and every RECONCILE_S besides."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._at = now()
        self._searched_seen: int = 0
        self._searched_at: datetime | None = None

    def next_run(self) -> datetime:
        """When it looks again although nothing has changed."""
        return self._at + timedelta(seconds=RECONCILE_S)

    def run(self) -> None:
        """One look."""
        seen, moment = clock(PLACEMENT), now()
        session().remove()
        if seen == self._seen and moment < self._at + timedelta(seconds=RECONCILE_S):
            return
        with unit_of_work():
            reconcile()
        with reading():
            found = search() if (searches := self._is_time_to_search(moment)) else {}
        with unit_of_work():
            sweep(found)
        self._seen, self._at = seen, moment
        if searches:
            self._searched_seen, self._searched_at = seen, moment

    def _is_time_to_search(self, moment: datetime) -> bool:
        """Whether to look for what changes by the day: rules about that are new, or the last look is an hour old."""
        keys = [metric.key for metric in metrics() if metric.search is not None]
        newest = session().scalar(select(func.max(Threshold.version)).where(Threshold.enabled, Threshold.metric.in_(keys)))
        if newest is None:
            return False
        return self._searched_at is None or newest > self._searched_seen or moment >= self._searched_at + SLOWLY


def reconcile() -> None:
    """Close alerts whose rule is gone, off, or no longer about their subject, in the caller's unit of work."""
    book = open_book()
    entries = book.load(_ALERTS.c.live)
    rules = rules_of(entries)
    ids = [entry.computer_id for entry in entries if entry.computer_id is not None]
    computers: dict[int, Computer] = {}
    for start in range(0, len(ids), 1000):
        computers |= {c.id: c for c in session().scalars(select(Computer).where(Computer.id.in_(ids[start : start + 1000])))}
    tags, states = tags_of(ids), dict[str, list[Entry]]()
    for entry in entries:
        rule, metric = rules.get(entry.threshold_id), metric_of(entry.metric)
        if rule is None or rule.metric != entry.metric or rule.argument != entry.argument:
            book.resolve(entry, "threshold_changed")
        elif _is_still_about(book, entry, rule, computers, tags) and metric is not None and metric.source is Source.STATE:
            states.setdefault(entry.metric, []).append(entry)
    for key, mine in states.items():  # should an observation of its end have been missed
        _states_due(book, key, mine, rules)
    book.save()


def _is_still_about(
    book: Book, entry: Entry, rule: Rule, computers: dict[int, Computer], tags: dict[int, set[str | None]]
) -> bool:
    about = about_of(entry)
    if entry.computer_uuid is not None and entry.subject_kind == "computer":
        computer = computers.get(entry.computer_id or 0)
        if computer is None:
            book.resolve(entry, "subject_gone")
            return False
        about = About(
            "computer", computer.uuid, computer.name, computer.tenant_id, computer.id, computer.uuid, computer.ephemeral
        )
        if entry.tenant_id != computer.tenant_id or entry.subject_name != computer.name[:300]:
            entry.tenant_id, entry.subject_name, entry.shows = computer.tenant_id, computer.name[:300], True
    if applies(rule, about, tags.get(entry.computer_id or 0, ())):
        return True
    book.resolve(entry, "subject_gone")
    return False
