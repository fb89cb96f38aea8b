"""The fleet: computers with their inventory, tags, software and status, and the saved views of their list."""

from flask import Flask

from app.web.routing import Room

bp = Room("fleet", __name__)


def init_app(app: Flask) -> None:
    """Tell the room `tenants` how many computers each tenant has, and that one with computers cannot be deleted."""
    from app.fleet.queries import counts_by_tenant
    from app.tenants import operations as tenants

    def guard(tenant_id: str) -> str | None:
        number = counts_by_tenant().get(tenant_id, 0)
        return f"it has {number} computers" if number else None

    tenants.computer_counters[:] = [counts_by_tenant]
    tenants.deletion_guards["computers"] = guard
