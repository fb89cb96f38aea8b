"""What can be asked about tenants."""

from collections.abc import Iterable

from cachetools import TTLCache, cached
from sqlalchemy import select

from app.actors import Actor
from app.database import session
from app.errors import NotFound, field_error, unknown_id
from app.shapes import Fixed
from app.tenants.models import Tenant

Scope = frozenset[str] | None
_choices: TTLCache[Scope, tuple[Fixed[str, str], ...]] = TTLCache(maxsize=256, ttl=2)


def list_tenants(scope: Scope, q: str = "") -> list[Tenant]:
    """The tenants of the scope by name."""
    query = select(Tenant).order_by(Tenant.name_key)
    if scope is not None:
        query = query.where(Tenant.id.in_(scope))
    if q:
        query = query.where(Tenant.name_key.contains(q.lower(), autoescape=True))
    return list(session().scalars(query))


@cached(_choices)
def tenant_choices(scope: Scope) -> tuple[Fixed[str, str], ...]:
    """`{id, name}` of each, for menus; at most 2 s old."""
    return tuple(Fixed(id=tenant.id, name=tenant.name) for tenant in list_tenants(scope))


def forget_choices() -> None:
    """Make this process read the menus anew."""
    _choices.clear()


def get_tenant(tenant_id: str, actor: Actor) -> Tenant:
    """One tenant. Raises NotFound when there is none, or none that the actor may see."""
    tenant: Tenant | None = session().get(Tenant, tenant_id) if actor.sees(tenant_id) else None
    if tenant is None:
        raise NotFound("Tenant not found")
    return tenant


def require_tenant(tenant_id: str, actor: Actor, parameter: str = "tenant_id") -> Tenant:
    """A tenant named in a body or a filter. Raises Invalid (unknown id) when the actor cannot see one."""
    try:
        return get_tenant(tenant_id, actor)
    except NotFound:
        raise unknown_id(parameter, "Tenant", tenant_id) from None


def require_scope(tenant_ids: Iterable[str] | None, actor: Actor) -> list[Tenant] | None:
    """The tenants that a body names as the scope of something; None means all that the actor may see, and is None for who sees
    all. Raises Invalid when the actor cannot see one, or none is named."""
    wanted = actor.tenant_ids if tenant_ids is None else frozenset(tenant_ids)
    if wanted is not None and not wanted:
        raise field_error("tenant_ids", "Choose at least one tenant")
    return None if wanted is None else [require_tenant(tenant_id, actor, "tenant_ids") for tenant_id in sorted(wanted)]


def narrowed(before: frozenset[str] | None, after: frozenset[str] | None) -> bool:
    """Whether a scope (None: all tenants) has lost some of its tenants."""
    return after is not None and (before is None or not before <= after)


def default_tenant(actor: Actor) -> Tenant:
    """Where a computer without a tenant goes: the oldest tenant that the actor may see."""
    query = select(Tenant).order_by(Tenant.created_at, Tenant.id).limit(1)
    if actor.tenant_ids is not None:
        query = query.where(Tenant.id.in_(actor.tenant_ids))
    tenant: Tenant | None = session().scalar(query)
    if tenant is None:
        raise unknown_id("tenant_id", "Tenant", "(default)")
    return tenant
