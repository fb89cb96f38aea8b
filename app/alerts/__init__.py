"""Alerts: thresholds on what is measured and on what is reported, the alerts that they raise, and silences."""

from flask import Flask

from app.web.routing import Room

bp = Room("alerts", __name__)


def init_app(app: Flask) -> None:
    """Let samples be evaluated as they are stored, and what is open about deleted computers and tenants be closed."""
    from app.alerts.operations import close_for_computers, close_for_tenant, on_samples
    from app.alerts.sources import on_inventory  # importing it offers its metrics
    from app.fleet.operations import deletion_hooks, inventory_hooks
    from app.metrics.operations import arrival_hooks
    from app.tenants import operations as tenants

    if on_samples not in arrival_hooks:
        arrival_hooks.append(on_samples)
    if on_inventory not in inventory_hooks:
        inventory_hooks.append(on_inventory)
    if close_for_computers not in deletion_hooks:
        deletion_hooks.append(close_for_computers)
    if close_for_tenant not in tenants.deletion_hooks:
        tenants.deletion_hooks.append(close_for_tenant)
