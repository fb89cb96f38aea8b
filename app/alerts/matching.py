"""Which rules apply to which computers, kept in memory under the change clock of fleet's placement and of the thresholds."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from sqlalchemy import select

from app.alerts.catalogue import About, Source, metric_of
from app.alerts.models import ScopeKind, Threshold
from app.alerts.rules import Rule
from app.database import session
from app.fleet.models import Computer, ComputerTag
from app.fleet.operations import PLACEMENT
from app.journal.queries import clock
from app.metrics.operations import NewSample

Reader = Any  # a function (sample, now in ms) → value or None


def reader(metric: str, argument: str | None) -> Reader:
    """How a sampled metric is read from a sample."""
    if metric == "disk" and argument is not None:
        return lambda sample, _now: next((disk[4] for disk in sample.disks if disk[0] == argument), None)
    if metric == "network":
        if argument is not None:
            name = f"{argument}_rate"
            return lambda sample, _now: getattr(sample, name)
        return lambda sample, _now: None if sample.recv_rate is None else sample.recv_rate + (sample.sent_rate or 0.0)
    if metric == "clock_skew":
        return lambda sample, now_ms: abs(sample.at - now_ms) / 1000
    return {"cpu": _cpu, "memory": _memory, "disk": _disk, "load": _load}[metric]


def _cpu(sample: NewSample, _now: int) -> float:
    return sample.cpu


def _memory(sample: NewSample, _now: int) -> float:
    return sample.memory


def _disk(sample: NewSample, _now: int) -> float | None:
    return sample.disk


def _load(sample: NewSample, _now: int) -> float | None:
    return sample.load


@dataclass
class RuleSet:
    """The rules of one computer (many share one). `quick` are (reader, low, high): a sample of which no value reaches `low` from
    below or `high` from above crosses no limit."""

    sampled: list[tuple[Rule, Reader]] = field(default_factory=list)
    others: list[Rule] = field(default_factory=list)
    quick: list[tuple[Reader, float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "RuleSet":
        made = cls()
        bounds: dict[tuple[str, str | None], list[Any]] = {}
        for rule in rules:
            metric = metric_of(rule.metric)
            if metric is None or metric.source is not Source.SAMPLES:
                made.others.append(rule)
                continue
            known = bounds.setdefault((rule.metric, rule.argument), [reader(rule.metric, rule.argument), inf, -inf])
            made.sampled.append((rule, known[0]))
            if rule.comparison.upward:
                known[1] = min(known[1], rule.first_limit)
            else:
                known[2] = max(known[2], rule.first_limit)
        made.quick = [(found[0], found[1], found[2]) for found in bounds.values()]
        return made

    def are_crossed(self, samples: Iterable[NewSample], now_ms: int) -> bool:
        """Whether one of the samples may cross a limit."""
        for sample in samples:
            for read, low, high in self.quick:
                value = read(sample, now_ms)
                if value is not None and (value >= low or value <= high):
                    return True
        return False


NO_RULES = RuleSet()


def applies(rule: Rule, about: About, tags: Collection[str | None] = ()) -> bool:
    """Whether a rule is about the subject. Rules on a tag or a computer are about what lives on computers."""
    if rule.tenant_id is not None and rule.tenant_id != about.tenant_id:
        return False
    if rule.metric == "offline" and about.ephemeral and not rule.include_ephemeral:
        return False
    match rule.scope:
        case ScopeKind.ALL:
            return True
        case ScopeKind.TENANT:
            return rule.scope_id == about.tenant_id
        case ScopeKind.TAG:
            return rule.scope_id in tags
        case ScopeKind.COMPUTER:
            return about.computer_uuid is not None and rule.scope_id == about.computer_uuid
        case _:
            return False


class Matcher:
    """The rules as of one reading of the clock. Rules on single computers are read for the computers that are asked about."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        wide = select(Threshold).where(Threshold.enabled, Threshold.scope != ScopeKind.COMPUTER).order_by(Threshold.id)
        self.wide = [_compiled(row) for row in session().scalars(wide)]
        self._of: dict[int, RuleSet] = {}
        self._sets: dict[tuple[str, ...], RuleSet] = {}

    def rule_sets(self, computers: Mapping[int, Any]) -> dict[int, RuleSet]:
        """By internal id; the values are rows with `id`, `uuid`, `tenant_id`."""
        known = self._of
        missing = [row for computer_id, row in computers.items() if computer_id not in known]
        if missing:
            self._read(missing)
        return known

    def _read(self, rows: Sequence[Any]) -> None:
        tags = tags_of([row.id for row in rows]) if any(rule.scope is ScopeKind.TAG for rule in self.wide) else {}
        own: dict[str, list[Rule]] = {}
        query = select(Threshold).where(Threshold.enabled, Threshold.scope == ScopeKind.COMPUTER)
        for found in session().scalars(query.where(Threshold.scope_id.in_([row.uuid for row in rows])).order_by(Threshold.id)):
            own.setdefault(found.scope_id or "", []).append(_compiled(found))
        for row in rows:
            about = About("computer", row.uuid, "", row.tenant_id, row.id, row.uuid)
            rules = [rule for rule in (*self.wide, *own.get(row.uuid, ())) if applies(rule, about, tags.get(row.id, ()))]
            key = tuple(rule.id for rule in rules)
            if key not in self._sets:
                self._sets[key] = RuleSet.of(rules) if rules else NO_RULES
            self._of[row.id] = self._sets[key]

    def rules_about(self, metric: str, abouts: Sequence[About]) -> list[list[Rule]]:
        """For each subject the rules of a metric that apply to it."""
        wide = [rule for rule in self.wide if rule.metric == metric]
        uuids = {about.computer_uuid for about in abouts if about.computer_uuid}
        own: dict[str, list[Rule]] = {}
        if uuids:
            query = select(Threshold).where(Threshold.enabled, Threshold.scope == ScopeKind.COMPUTER, Threshold.metric == metric)
            for found in session().scalars(query.where(Threshold.scope_id.in_(uuids))):
                own.setdefault(found.scope_id or "", []).append(_compiled(found))
        needs_tags = any(rule.scope is ScopeKind.TAG for rule in wide)
        tags = tags_of([about.computer_id for about in abouts if about.computer_id]) if needs_tags else {}
        return [
            [rule for rule in (*wide, *own.get(about.computer_uuid or "", ()))
             if applies(rule, about, tags.get(about.computer_id or 0, ()))]
            for about in abouts
        ]  # fmt: skip


def _compiled(row: Threshold) -> Rule:
    metric = metric_of(row.metric)
    return Rule.of(row, metric.least_for_s if metric else 0)


def tags_of(computer_ids: Sequence[int]) -> dict[int, set[str | None]]:
    """Tags by internal id."""
    found: dict[int, set[str | None]] = {}
    for start in range(0, len(computer_ids), 5000):
        part = computer_ids[start : start + 5000]
        query = select(ComputerTag.computer_id, ComputerTag.tag).where(ComputerTag.computer_id.in_(part))
        for computer_id, tag in session().execute(query):
            found.setdefault(computer_id, set()).add(tag)
    return found


_cached: list[Matcher] = []


def matcher(at: int | None = None) -> Matcher:
    """The rules as they are now; those of this process while the clock (which stands `at`, if that is known) has not moved."""
    seen = clock(PLACEMENT) if at is None else at
    if not _cached or _cached[0].seen != seen:
        _cached[:] = [Matcher(seen)]
    return _cached[0]


def forget_rules() -> None:
    """Make this process read the rules anew."""
    _cached.clear()


def about_computer(row: Computer | Any) -> About:
    """A computer as a subject."""
    return About("computer", row.uuid, row.name, row.tenant_id, row.id, row.uuid, bool(row.ephemeral))
