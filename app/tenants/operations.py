"""What can be done with tenants."""

from collections.abc import Callable

from sqlalchemy import select

from app.actors import Actor
from app.database import session
from app.errors import Conflict
from app.journal.operations import Subject, record
from app.tenants import queries
from app.tenants.models import Tenant

# Rooms above say here what keeps a tenant from being deleted: a function from its id to a sentence, or None.
deletion_guards: dict[str, Callable[[str], str | None]] = {}
# What they do when one is deleted, before it is gone: functions from its id and who deletes it, in the deleting transaction.
deletion_hooks: list[Callable[[str, Actor], None]] = []


def subject_of(tenant: Tenant) -> Subject:
    """The tenant as the subject of a journal entry."""
    return Subject("tenant", tenant.id, tenant.name, tenant.id)


def _refuse_taken(name: str, except_id: str | None = None) -> None:
    taken = session().scalar(select(Tenant.id).where(Tenant.name_key == name.lower()))
    if taken and taken != except_id:
        raise Conflict("A tenant with this name already exists", details=name)


def create_tenant(name: str, *, actor: Actor) -> Tenant:
    """Raises Conflict when the name is taken."""
    _refuse_taken(name)
    tenant = Tenant(name=name, name_key=name.lower())
    session().add(tenant)
    session().flush()
    record("tenant.added", actor, subject_of(tenant))
    queries.forget_choices()
    return tenant


def rename_tenant(tenant: Tenant, name: str, *, actor: Actor) -> Tenant:
    """Raises Conflict when the name is taken."""
    _refuse_taken(name, tenant.id)
    before, tenant.name, tenant.name_key = tenant.name, name, name.lower()
    record("tenant.renamed", actor, subject_of(tenant), before=before)
    queries.forget_choices()
    return tenant


def delete_tenant(tenant: Tenant, *, actor: Actor) -> None:
    """Raises Conflict while anything belongs to it, or when it is the last one."""
    for guard in deletion_guards.values():
        if reason := guard(tenant.id):
            raise Conflict(f"The tenant cannot be deleted: {reason}")
    if len(queries.list_tenants(None)) == 1:
        raise Conflict("The tenant cannot be deleted: it is the only one")
    for hook in deletion_hooks:
        hook(tenant.id, actor)
    record("tenant.deleted", actor, subject_of(tenant))
    session().delete(tenant)
    queries.forget_choices()


# How many computers each tenant has; the room `fleet`, above this one, says so.
computer_counters: list[Callable[[], dict[str, int]]] = []


def count_computers() -> dict[str, int]:
    """Tenant id → number of its computers."""
    return computer_counters[0]() if computer_counters else {}
