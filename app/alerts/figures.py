"""Numbers and names that pages show beside alerts, rules and silences."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import case, func, select

from app.alerts.models import ACTIVE, Alert, ScopeKind, Severity, Threshold
from app.clock import now
from app.database import contains, session
from app.fleet.models import Computer
from app.tenants.models import Tenant

Scope = frozenset[str] | None
WEEK = timedelta(days=7)


def active_counts(scope: Scope) -> dict[str, int]:
    """What every page shows: `alerts-active` (all) and `alerts-critical` (without those that a silence mutes)."""
    critical: Any = case(((Alert.severity == Severity.CRITICAL) & Alert.muted.is_(False), 1), else_=0)
    query: Any = select(func.count(), func.sum(critical)).select_from(Alert).where(Alert.status.in_(ACTIVE))
    number, worst = session().execute(query if scope is None else query.where(Alert.tenant_id.in_(scope))).one()
    return {"alerts-active": int(number), "alerts-critical": int(worst or 0)}


def tenant_names(ids: Iterable[str | None]) -> dict[str | None, str]:
    """Tenant id → name."""
    wanted = sorted({one for one in ids if one})
    return {row[0]: row[1] for row in session().execute(select(Tenant.id, Tenant.name).where(Tenant.id.in_(wanted)))}


def threshold_counts(ids: Sequence[str], scope: Scope) -> dict[str, tuple[int, int]]:
    """Rule → (alerts that are active, alerts that fired in the last 7 days), within the scope."""
    week = case((Alert.fired_at >= now() - WEEK, 1), else_=0)
    active = case((Alert.status.in_(ACTIVE), 1), else_=0)
    query: Any = select(Alert.threshold_id, func.sum(active), func.sum(week)).group_by(Alert.threshold_id)
    if scope is not None:
        query = query.where(Alert.tenant_id.in_(scope))
    found: dict[str, tuple[int, int]] = {}
    for start in range(0, len(ids), 1000):
        rows = session().execute(query.where(Alert.threshold_id.in_(ids[start : start + 1000])))
        found |= {row[0]: (int(row[1]), int(row[2])) for row in rows}
    return found


def scope_names(rows: Iterable[Any], scope: Scope) -> dict[tuple[str, str], str]:
    """(kind, id) → name of what rules or silences are about: computers, tenants, rules; within the scope, since a computer may
    have moved to another tenant after a rule was made for it. Rules for all tenants have a name for everybody."""
    wanted: dict[ScopeKind, set[str]] = {}
    for row in rows:
        wanted.setdefault(row.scope, set()).add(row.scope_id or "")
    found: dict[tuple[str, str], str] = {}
    for kind, key, name, owner in (
        (ScopeKind.COMPUTER, Computer.uuid, Computer.name, Computer.tenant_id),
        (ScopeKind.TENANT, Tenant.id, Tenant.name, Tenant.id),
        (ScopeKind.THRESHOLD, Threshold.id, Threshold.name, Threshold.tenant_id),
    ):
        ids, query = sorted(wanted.get(kind, ())), select(key, name)
        if scope is not None:
            query = query.where(owner.in_(scope) | owner.is_(None))
        for start in range(0, len(ids), 1000):
            named = session().execute(query.where(key.in_(ids[start : start + 1000])))
            found |= {(kind.value, row[0]): row[1] for row in named}
    return found


def by_ids(ids: Sequence[str]) -> list[Alert]:
    """Alerts by id, in no order."""
    parts = (ids[start : start + 1000] for start in range(0, len(ids), 1000))
    return [row for part in parts for row in session().scalars(select(Alert).where(Alert.id.in_(part)))]


def computer_named(text: str, scope: Scope) -> tuple[str | None, str | None]:
    """(public id, what is wrong) of a computer that a person typed by its name or its id."""
    query = select(Computer.uuid).where((Computer.uuid == text.lower()) | (Computer.name_key == text.lower()))
    found = list(session().scalars((query if scope is None else query.where(Computer.tenant_id.in_(scope))).limit(2)))
    if not text:
        return None, "Name a computer"
    if not found:
        return None, "No computer has this name or id"
    return (found[0], None) if len(found) == 1 else (None, "Several computers have this name: give the id")


def computers_like(text: str, scope: Scope, limit: int = 20) -> list[tuple[str, str]]:
    """(name, tenant's name) of computers whose name contains the text, to choose from."""
    query = select(Computer.name, Tenant.name).join(Tenant, Tenant.id == Computer.tenant_id).where(contains(Computer.name, text))
    rows = session().execute(
        (query if scope is None else query.where(Computer.tenant_id.in_(scope))).order_by(Computer.name_key).limit(limit)
    )
    return [(row[0], row[1]) for row in rows]
