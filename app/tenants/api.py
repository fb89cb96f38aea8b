"""`/api/v1/tenants`."""

from app.actors import Permission
from app.tenants import bp, operations, queries
from app.tenants.schemas import TenantIn, TenantList, TenantOut, TenantQuery
from app.web import access


@bp.api("GET", "/api/v1/tenants", permission=Permission.TENANTS_READ, query=TenantQuery, returns=TenantList)
def list_tenants(query: TenantQuery) -> TenantList:
    """The tenants that the credentials may see."""
    rows = queries.list_tenants(access.actor().tenant_ids, query.q)
    return TenantList(total=len(rows), tenants=[TenantOut.of(t) for t in rows])


@bp.api("POST", "/api/v1/tenants", permission=Permission.TENANTS_WRITE, body=TenantIn, returns=TenantOut, status=201)
def create_tenant(body: TenantIn) -> TenantOut:
    """Create a tenant."""
    return TenantOut.of(operations.create_tenant(body.name, actor=access.actor()))


@bp.api("GET", "/api/v1/tenants/<tenant_id>", permission=Permission.TENANTS_READ, returns=TenantOut)
def get_tenant(tenant_id: str) -> TenantOut:
    """One tenant."""
    return TenantOut.of(queries.get_tenant(tenant_id, access.actor()))


@bp.api("PUT", "/api/v1/tenants/<tenant_id>", permission=Permission.TENANTS_WRITE, body=TenantIn, returns=TenantOut)
def rename_tenant(tenant_id: str, body: TenantIn) -> TenantOut:
    """Rename a tenant."""
    tenant = queries.get_tenant(tenant_id, access.actor())
    return TenantOut.of(operations.rename_tenant(tenant, body.name, actor=access.actor()))


@bp.api("DELETE", "/api/v1/tenants/<tenant_id>", permission=Permission.TENANTS_WRITE, status=204)
def delete_tenant(tenant_id: str) -> None:
    """Delete a tenant to which nothing belongs any more."""
    operations.delete_tenant(queries.get_tenant(tenant_id, access.actor()), actor=access.actor())
