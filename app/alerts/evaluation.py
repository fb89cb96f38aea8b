"""Evaluation: of samples in the transaction that stores them, and of states and events as they are told.

A computer whose samples cross no limit and that has no open alert costs a few comparisons and no question to the database.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isnan
from typing import Any

from app.alerts.book import CLOCK, Book, open_book
from app.alerts.catalogue import About, Observation, Source, metric_of
from app.alerts.entries import Entry, ms
from app.alerts.matching import Reader, RuleSet, about_computer, matcher
from app.alerts.models import AlertStatus
from app.alerts.rules import Rule, State, Verdict, break_off, deadline, decide, step
from app.alerts.shelf import shelf
from app.clock import from_ms, now, to_ms
from app.fleet.operations import PLACEMENT
from app.journal.queries import two_clocks
from app.metrics.operations import NewSample

STALE_MS = 60_000


def is_fresh(at: int, interval_s: int, now_ms: int) -> bool:
    """Whether a sample of this time (ms) still says how it is: a minute, or two intervals and a little."""
    return at >= now_ms - max(STALE_MS, 2_000 * interval_s + 20_000)


def gap_ms(interval_s: int) -> int:
    """How long nothing may be heard before what held is not known to have held."""
    return 3_000 * interval_s + 60_000


def on_samples(prior: Mapping[int, Any], arrived: Mapping[int, list[NewSample]], moment: datetime) -> None:
    """The hook of `metrics.operations.store`. Samples older than the newest known one say nothing about now."""
    now_ms, busy = to_ms(moment), []
    placed_at, alerts_at = two_clocks(PLACEMENT, CLOCK)
    rule_sets = matcher(placed_at).rule_sets(prior)
    for computer_id, row in prior.items():
        rules = rule_sets[computer_id]
        if not rules.sampled:
            continue
        samples = arrived[computer_id]
        known = ms(row.sampled_at) if row.sampled_at else -1
        if samples[0].at <= known:
            samples = [sample for sample in samples if sample.at > known]
        if samples and (row.alerts_open or rules.are_crossed(samples, now_ms)):
            busy.append((row, rules, samples, known))
    if busy:
        _evaluate(busy, moment, now_ms, alerts_at)


def _evaluate(busy: Sequence[tuple[Any, RuleSet, list[NewSample], int]], moment: datetime, now_ms: int,
              alerts_at: int) -> None:  # fmt: skip
    book = Book(moment)
    if counts := {row.id: row.alerts_open for row, *_ in busy if row.alerts_open}:
        book.adopt(shelf(alerts_at).rows(counts))
    for row, rules, samples, known in busy:
        about = about_computer(row)
        for rule, read in rules.sampled:
            _follow(book, rule, read, about, row.interval_s, samples, known, now_ms)
    book.save()


def _follow(book: Book, rule: Rule, read: Reader, about: About, interval_s: int, samples: Sequence[NewSample], known: int,
            now_ms: int) -> None:  # fmt: skip
    """One rule through a computer's new samples; what follows is decided at the last one, since the others are over."""
    entry = book.find(rule, about)
    state = entry.state() if entry is not None else State(hold_ms=rule.hold_ms)
    skew, before, last = rule.metric == "clock_skew", known, None
    for sample in samples:
        value = read(sample, now_ms)
        at = now_ms if skew else sample.at
        if before >= 0 and sample.at - before > gap_ms(interval_s):
            break_off(state)
        before = sample.at
        if value is not None:
            step(rule, state, at, value)
            last = at, value
    if last is None:
        return
    at, value = last
    fresh = skew or (at == samples[-1].at and is_fresh(at, interval_s, now_ms))
    settle(book, rule, about, entry, state, at, value, is_now=fresh, sampled=True)


def settle(
    book: Book, rule: Rule, about: About, entry: Entry | None, state: State, at: int, value: float | None, *, is_now: bool = True,
    sampled: bool = False, said: str = "",
) -> None:  # fmt: skip
    """Let happen what follows for an alert, after `step` has seen its values; `at` is the time (ms) of the last one."""
    if entry is not None and entry.status is AlertStatus.RESOLVED:
        entry = _unlatch(book, entry, rule, value)
        if entry is not None:
            return
    verdict = decide(rule, state, at, is_now=is_now)
    if entry is None:
        if verdict not in (Verdict.WAIT, Verdict.FIRE) or value is None:
            return
        entry = book.begin(rule, about, state, value, said)
    match verdict:
        case Verdict.FIRE:
            book.fire(entry, rule, state, at, value, said)
        case Verdict.ESCALATE:
            book.escalate(entry, rule, value, said)
        case Verdict.DEESCALATE:
            book.deescalate(entry, rule, value)
        case Verdict.DROP:
            book.drop(entry)
        case Verdict.RESOLVE:
            entry.value = entry.value if value is None else value
            book.resolve(entry, "recovered")
        case Verdict.WAIT | Verdict.NOTHING:
            _keep(entry, state)
    _look_again(entry, rule, sampled=sampled)


def _keep(entry: Entry, state: State) -> None:
    entry.calm_since, entry.shift_since = state.calm_since, state.shift_since
    if entry.status is AlertStatus.PENDING and state.since is not None:
        entry.pending_since = from_ms(state.since)


def _look_again(entry: Entry, rule: Rule, *, sampled: bool) -> None:
    if entry.dropped or entry.status is AlertStatus.RESOLVED:
        return
    due = deadline(rule, entry.state(), sampled=sampled)
    entry.due_at = from_ms(due) if due is not None else None


def _unlatch(book: Book, entry: Entry, rule: Rule, value: float | None) -> Entry | None:
    """What a person resolved stays so until its value was well, has become worse, or the latch is old; then it may come again
    (None)."""
    worse = value is not None and rule.level(value) > entry.severity.rank
    well = value is not None and rule.is_calm(value)
    if entry.latched_until is not None and book.moment < entry.latched_until and not worse and not well:
        return entry
    book.resolve(entry, "")
    return None


def observe(observations: Sequence[Observation], *, book: Book | None = None) -> int:
    """States and events as they are now, in the caller's transaction; returns how many alerts changed. Rooms after this one
    may call it while they change what is observed, before they take change clocks of their own; see `open_book`."""
    kept = open_book() if book is None else book
    by_metric: dict[str, list[Observation]] = {}
    for observation in observations:
        by_metric.setdefault(observation.metric, []).append(observation)
    for key, found in by_metric.items():
        metric = metric_of(key)
        rules = matcher().rules_about(key, [one.about for one in found]) if metric is not None else []
        wanted = [(one, mine) for one, mine in zip(found, rules, strict=True) if mine]
        for kind in {one.about.kind for one, _ in wanted}:
            kept.load_about(kind, [one.about.id for one, _ in wanted if one.about.kind == kind])
        for one, mine in wanted:
            for rule in mine:
                if rule.argument == one.argument:
                    _observe_one(kept, rule, one, is_event=metric is not None and metric.source is Source.EVENT)
    return len(kept.save()) if book is None else 0


def _observe_one(book: Book, rule: Rule, one: Observation, *, is_event: bool) -> None:
    entry = book.find(rule, one.about)
    state = entry.state() if entry is not None else State(hold_ms=rule.hold_ms)
    if is_event and state.is_active:
        return  # told already
    step(rule, state, one.at, one.value)
    settle(book, rule, one.about, entry, state, one.at, None if isnan(one.value) else one.value, said=one.said)
    made = book.find(rule, one.about)
    metric = metric_of(one.metric)
    if is_event and made is not None and metric is not None and made.status is AlertStatus.ACTIVE and metric.expires_s:
        made.due_at = from_ms(ms(now()) + metric.expires_s * 1000)
