"""Alembic's environment: the models of every room, one transaction a revision."""

from importlib import import_module
from importlib.util import find_spec

from alembic import context
from flask import current_app
from sqlalchemy import JSON

from app.database import Base, EnumText, UtcDateTime
from app.extensions import db
from app.rooms import ROOMS

for room in ROOMS:
    if find_spec(f"app.{room}.models"):
        import_module(f"app.{room}.models")


def _render_item(kind, item, _context):
    """Write our column types as what they are in the database, so that a revision never depends on today's code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, EnumText):
        return "sa.String(length=32)"
    if kind == "type" and isinstance(item, JSON):
        return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')" if item._variant_mapping else False
    return False


def _run(connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
        compare_type=True,
        render_item=_render_item,
        include_name=lambda name, kind, parents: not (kind == "table" and str(name).startswith("samples_2")),
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with current_app.app_context(), db.engine.connect() as own:
        _run(own)
