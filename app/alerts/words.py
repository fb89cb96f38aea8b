"""Rules, scopes and durations in words."""

from collections.abc import Mapping
from math import ceil, floor
from typing import Any

from app.alerts.catalogue import Metric, Source, metric_of
from app.alerts.models import Comparison, ScopeKind

REASONS = {
    "recovered": "its value is well again", "person": "a person", "expired": "nothing more was heard of it",
    "threshold_changed": "its rule was changed, switched off or deleted", "subject_gone": "it is no longer watched",
}  # fmt: skip


def lasting(seconds: float) -> str:
    """A duration of a rule: `90 s`, `10 min`, `1 h`, `2 d`."""
    whole = int(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size and whole % size == 0:
            return f"{whole // size} {unit}"
    return f"{whole} s" if whole < 3_600 else f"{whole / 3_600:.1f} h"


def lasted(seconds: float | None) -> str:
    """How long something was: `12 s`, `4 min 10 s`, `1 h 02 min`, `3 d 4 h`."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def level_name(metric: Metric, comparison: Comparison, limit: float) -> str:
    """The first level on the bad side of a limit of a metric whose levels have names."""
    level = {Comparison.GT: floor(limit) + 1, Comparison.GTE: ceil(limit), Comparison.LT: ceil(limit) - 1,
             Comparison.LTE: floor(limit)}[comparison]  # fmt: skip
    return metric.words[min(max(level, 0), len(metric.words) - 1)]


def limit_words(metric_key: str, comparison: Comparison, limit: float) -> str:
    """`over 90 %`, `at least 3`, `blacklisted`."""
    metric = metric_of(metric_key)
    if metric is None:
        return f"{comparison.sign} {limit:g}"
    if metric.words:
        return level_name(metric, comparison, limit)
    side = {Comparison.GT: "over", Comparison.GTE: "at least", Comparison.LT: "under", Comparison.LTE: "at most"}[comparison]
    return f"{side} {metric.shown(limit)}"


def subject_words(metric_key: str, argument: str | None) -> str:
    """The metric and what narrows it: `Disk /var`, `Network, received`."""
    metric = metric_of(metric_key)
    if metric_key == "network" and metric is not None and argument:
        return f"{metric.label}, {'received' if argument == 'recv' else argument}"
    return metric.named(argument) if metric else f"{metric_key} {argument or ''}".rstrip()


def condition(rule: Any) -> str:
    """A threshold (or whatever has its columns) as one reads it: `CPU over 90 % for 10 min, back under 85 %`."""
    metric = metric_of(rule.metric)
    warning, critical, comparison = rule.warning_value, rule.critical_value, rule.comparison
    first = warning if warning is not None else critical
    parts = subject_words(rule.metric, rule.argument)
    if rule.metric != "offline":
        parts += " " + limit_words(rule.metric, comparison, first or 0.0)
    if warning is not None and critical is not None:
        parts += f", critical {limit_words(rule.metric, comparison, critical)},"
    if rule.for_seconds:
        parts += f" for {lasting(rule.for_seconds)}"
    parts = parts.removesuffix(",")
    if metric is not None and metric.source is Source.EVENT:
        return parts
    if rule.recovery_value is not None:
        recovery = metric.shown(rule.recovery_value) if metric else f"{rule.recovery_value:g}"
        parts += f", back at {recovery}"
    if rule.recovery_for_seconds:
        parts += f"{'' if rule.recovery_value is not None else ', back'} after {lasting(rule.recovery_for_seconds)}"
    return parts


def scope_words(row: Any, names: Mapping[tuple[str, str], str], tenants: Mapping[Any, str]) -> str:
    """What a rule or a silence is about: `All computers`, `Tag prod of Acme`, `Computer web-1`."""
    name = names.get((row.scope.value, row.scope_id or ""), "one that is gone")
    owner = tenants.get(row.tenant_id)
    match row.scope:
        case ScopeKind.ALL:
            return f"Everything of {owner}" if owner else "Everything"
        case ScopeKind.TAG:
            return f"Tag {row.scope_id}" + (f" of {owner}" if owner else "")
        case ScopeKind.TENANT:
            return f"Tenant {name}"
        case ScopeKind.THRESHOLD:
            return f"Rule {name}"
        case _:
            return f"Computer {name}"
