"""Contract 002 `/api/v1/servers` and contract 000 `/api/v1/computers`: the same rows."""

from typing import Any

from app.actors import Permission
from app.fleet import bp, operations, queries
from app.fleet.models import Computer
from app.fleet.queries import ComputerFilter
from app.fleet.schemas import (
    ComputerDetails,
    ComputerList,
    ComputerOut,
    ComputerQuery,
    ServerIn,
    ServerOut,
    ServerQuery,
    ServerUpdate,
    Status000,
)  # fmt: skip
from app.tenants.queries import require_tenant
from app.web import access
from app.web.routing import json_response


def _server(computer: Computer) -> ServerOut:
    return ServerOut.of(computer, queries.inventory_of(computer).custom)


@bp.api("GET", "/api/v1/servers", permission=Permission.FLEET_READ, query=ServerQuery, returns=list[ServerOut])
def list_servers(query: ServerQuery) -> list[ServerOut]:
    """List servers by name."""
    who = access.actor()
    if query.tenant_id:
        require_tenant(query.tenant_id, who)
    wanted = ComputerFilter(scope=who.tenant_ids, q=query.q, status=query.status or "", tenant=query.tenant_id, tag=query.tag)
    rows = queries.page(wanted, "name", query.limit, query.skip)
    custom = queries.custom_of([row.id for row in rows])
    return [ServerOut.of(row, custom.get(row.id)) for row in rows]


@bp.api("POST", "/api/v1/servers", permission=Permission.FLEET_WRITE, body=ServerIn, returns=ServerOut, status=201)
def create_server(body: ServerIn) -> ServerOut:
    """Create a server."""
    computer = operations.create_computer(
        body.name, actor=access.actor(), tenant_id=body.tenant_id, host=body.host, port=body.port, kind=body.kind,
        tags=body.tags, custom=body.metadata, primary_user=body.primary_user_name,
    )  # fmt: skip
    return _server(computer)


@bp.api("GET", "/api/v1/servers/<uuid>", permission=Permission.FLEET_READ, returns=ServerOut)
def get_server(uuid: str) -> ServerOut:
    """Get one server."""
    return _server(queries.get_computer(uuid, access.actor()))


@bp.api("PUT", "/api/v1/servers/<uuid>", permission=Permission.FLEET_WRITE, body=ServerUpdate, returns=ServerOut)
def update_server(uuid: str, body: ServerUpdate) -> ServerOut:
    """Update a server: what is given changes."""
    computer = queries.get_computer(uuid, access.actor())
    return _server(operations.update_computer(computer, body.changes(), actor=access.actor()))


@bp.api("DELETE", "/api/v1/servers/<uuid>", permission=Permission.FLEET_WRITE, status=204)
def delete_server(uuid: str) -> None:
    """Delete a server with everything of its; its keys end."""
    operations.delete_computers([queries.get_computer(uuid, access.actor()).id], actor=access.actor())


@bp.api("GET", "/api/v1/computers", permission=Permission.FLEET_READ, query=ComputerQuery, returns=ComputerList)
def list_computers(query: ComputerQuery) -> Any:
    """List computers by name; everything unless `page` or `per_page` is given."""
    who = access.actor()
    if query.tenant_id:
        require_tenant(query.tenant_id, who)
    wanted = ComputerFilter(scope=who.tenant_ids, os=query.os, tenant=query.tenant_id, status=_words(query.status))
    total = queries.count(wanted)
    body: dict[str, Any] = {"total": total}
    if query.page is None and query.per_page is None:
        rows = queries.page(wanted, "name", max(total, 1), 0)
    else:
        page, per_page = query.page or 1, query.per_page or 50
        rows = queries.page(wanted, "name", per_page, (page - 1) * per_page)
        body |= {"page": page, "per_page": per_page}
    return json_response(body | {"computers": [ComputerOut.of(row) for row in rows]})


def _words(status: Status000 | None) -> str:
    return {None: "", Status000.ONLINE: "online", Status000.OFFLINE: "not-online"}[status]


@bp.api("GET", "/api/v1/computers/<uuid>", permission=Permission.FLEET_READ, returns=ComputerDetails)
def get_computer(uuid: str) -> ComputerDetails:
    """Get a computer's details: hardware, network and the primary user."""
    computer = queries.get_computer(uuid, access.actor())
    return ComputerDetails.with_inventory(computer, queries.inventory_of(computer))
