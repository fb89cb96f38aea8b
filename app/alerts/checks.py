"""Whether what somebody wants to store as a rule or a silence makes sense, and whom it may be about."""

from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from sqlalchemy import select

from app.actors import Actor
from app.alerts.catalogue import Metric, Source, metric_of, metrics
from app.alerts.models import Comparison, Repeat, ScopeKind, Threshold
from app.alerts.rules import crossed
from app.clock import now
from app.database import session
from app.errors import Forbidden, field_error, unknown_id
from app.fleet.models import Computer, ComputerTag
from app.fleet.queries import require_computer
from app.tenants.queries import require_tenant

MAX_FOR_S = 7 * 86_400
LONGEST = timedelta(days=366)


def check_threshold(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of a rule but those of its scope, with defaults. Raises Invalid naming the field."""
    metric = metric_of(values["metric"])
    if metric is None:
        known = ", ".join(one.key for one in metrics())
        raise field_error("metric_type", f"is none of {known}", kind="enum")
    argument = values.get("argument") or None
    _check_argument(metric, argument)
    comparison = Comparison(values.get("comparison") or metric.comparison)
    warning, critical = values.get("warning_value"), values.get("critical_value")
    if warning is None and critical is None:
        raise field_error("threshold_value", "field required", kind="missing")
    for name in ("warning_value", "critical_value", "recovery_value"):
        _check_number(metric, name, values.get(name))
    _check_sides(comparison, warning, critical, values.get("recovery_value"))
    for_seconds = max(_seconds(values, "for_seconds"), metric.least_for_s)
    name = values.get("name") or _name(metric, argument, comparison, warning if warning is not None else critical)
    return {
        "name": name[:200], "metric": metric.key, "argument": argument, "comparison": comparison, "warning_value": warning,
        "critical_value": critical, "recovery_value": values.get("recovery_value"),
        "for_seconds": 0 if metric.source is Source.EVENT else for_seconds,
        "recovery_for_seconds": _seconds(values, "recovery_for_seconds"), "enabled": bool(values.get("enabled", True)),
        "include_ephemeral": bool(values.get("include_ephemeral", False)),
    }  # fmt: skip


def _name(metric: Metric, argument: str | None, comparison: Comparison, limit: float | None) -> str:
    label = metric.named(argument)
    return f"{label} {metric.words[-1]}" if metric.words else f"{label} {comparison.sign} {metric.shown(limit)}"


def _check_argument(metric: Metric, argument: str | None) -> None:
    if argument is None:
        return
    if metric.arguments == "":
        raise field_error("argument", f"{metric.key} has none")
    if metric.arguments != "path" and argument not in metric.arguments.split("|"):
        raise field_error("argument", f"is none of {metric.arguments.replace('|', ', ')}")
    if len(argument) > 1024 or not argument.isprintable():
        raise field_error("argument", "1 to 1,024 printable characters")


def _check_number(metric: Metric, name: str, value: float | None) -> None:
    if value is None:
        return
    if not isfinite(value):
        raise field_error(name, "must be a finite number", kind="finite_number")
    if not metric.lowest <= value <= metric.highest:
        raise field_error(name, f"must be between {metric.lowest:g} and {metric.highest:g} for {metric.key}")


def _check_sides(comparison: Comparison, warning: float | None, critical: float | None, recovery: float | None) -> None:
    """The critical limit lies beyond the warning's, recovery on the good side of both."""
    if warning is not None and critical is not None:
        beyond = critical > warning if comparison.upward else critical < warning
        if not beyond:
            raise field_error("critical_value", f"must be {'above' if comparison.upward else 'below'} the warning's value")
    first = warning if warning is not None else critical
    if recovery is not None and first is not None and crossed(comparison, recovery, first):
        raise field_error("recovery_value", "is on the wrong side: there the limit is still crossed")


def _seconds(values: dict[str, Any], name: str) -> int:
    value = values.get(name) or 0
    if not 0 <= value <= MAX_FOR_S:
        raise field_error(name, f"must be between 0 and {MAX_FOR_S} seconds")
    return int(value)


def check_silence(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of a silence but those of its scope. Raises Invalid."""
    start: datetime = values.get("starts_at") or now()
    end, repeat = values.get("ends_at"), values.get("repeat")
    if end is None:
        raise field_error("ends_at", "field required", kind="missing")
    if end <= start:
        raise field_error("ends_at", "must be after starts_at")
    if end - start > LONGEST:
        raise field_error("ends_at", "a silence lasts a year at most")
    repeat = Repeat(repeat) if repeat else None
    until = values.get("repeat_until")
    if repeat is not None and end - start >= repeat.period:
        raise field_error("ends_at", "the window must end before it begins again")
    if until is not None and (repeat is None or until <= start):
        raise field_error("repeat_until", "only with repeat, and after starts_at")
    if repeat is None and end <= now():
        raise field_error("ends_at", "is over already")
    return {
        "starts_at": start,
        "ends_at": end,
        "repeat": repeat,
        "repeat_until": until,
        "reason": (values.get("reason") or "")[:500],
    }


def place(values: dict[str, Any], actor: Actor) -> dict[str, Any]:
    """`scope`, `scope_id` and `tenant_id` of a rule or a silence. Whoever sees some tenants makes rules inside one of them.

    Raises Invalid for an id that names nothing the actor may see, Forbidden for a scope wider than the actor's.
    """
    scope, scope_id = ScopeKind(values.get("scope") or ScopeKind.ALL), values.get("scope_id") or None
    tenant_id = values.get("tenant_id") or None
    if tenant_id is not None:
        require_tenant(tenant_id, actor)
    if scope is ScopeKind.ALL:
        scope_id = None
    elif scope_id is None:
        raise field_error("scope_id", "field required", kind="missing")
    if scope is ScopeKind.COMPUTER:
        computer = require_computer(str(scope_id), actor, "server_id")
        _must_agree(tenant_id, computer.tenant_id)
        return {"scope": scope, "scope_id": computer.uuid, "tenant_id": computer.tenant_id}
    if scope is ScopeKind.TENANT:
        require_tenant(str(scope_id), actor, "scope_id")
        _must_agree(tenant_id, str(scope_id))
        return {"scope": scope, "scope_id": scope_id, "tenant_id": scope_id}
    if scope is ScopeKind.THRESHOLD:
        return _on_threshold(str(scope_id), tenant_id, actor)
    tenant_id = tenant_id or _only_tenant(actor)
    if scope is ScopeKind.TAG:
        scope_id = _known_tag(str(scope_id), tenant_id)
    return {"scope": scope, "scope_id": scope_id, "tenant_id": tenant_id}


def _on_threshold(scope_id: str, tenant_id: str | None, actor: Actor) -> dict[str, Any]:
    row = session().get(Threshold, scope_id)
    if row is None or not (row.tenant_id is None or actor.sees(row.tenant_id)):
        raise unknown_id("scope_id", "Threshold", scope_id)
    return {"scope": ScopeKind.THRESHOLD, "scope_id": row.id, "tenant_id": row.tenant_id or tenant_id or _only_tenant(actor)}


def _must_agree(given: str | None, actual: str) -> None:
    if given is not None and given != actual:
        raise field_error("tenant_id", "is not the tenant of what the scope names")


def _only_tenant(actor: Actor) -> str | None:
    """The tenant that a rule of somebody who sees one tenant belongs to; None for those who see all."""
    if actor.tenant_ids is None:
        return None
    if len(actor.tenant_ids) != 1:
        raise field_error("tenant_id", "name one of your tenants")
    return next(iter(actor.tenant_ids))


def _known_tag(tag: str, tenant_id: str | None) -> str:
    wanted = tag.strip().lower()
    query = (
        select(ComputerTag.computer_id).join(Computer, Computer.id == ComputerTag.computer_id).where(ComputerTag.tag == wanted)
    )
    if tenant_id is not None:
        query = query.where(Computer.tenant_id == tenant_id)
    if session().scalar(query.limit(1)) is None:
        raise field_error("scope_id", f"no computer has the tag {wanted}")
    return wanted


def refuse_wider(tenant_id: str | None, actor: Actor) -> None:
    """Rules and silences that reach every tenant are changed by those who see every tenant. Raises Forbidden."""
    if tenant_id is None and actor.tenant_ids is not None:
        raise Forbidden("It is for all tenants; only those who see them all may change it")
