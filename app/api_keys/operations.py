"""What can be done with keys."""

from collections.abc import Iterable
from datetime import datetime

from app.actors import ROLE_PERMISSIONS, Actor, Role
from app.api_keys import queries
from app.api_keys.models import HOST, INTEGRATION, ApiKey, make_key
from app.auth.queries import digest
from app.clock import now
from app.database import session
from app.errors import Forbidden, field_error
from app.journal.operations import Subject, record, tick
from app.tenants.queries import require_tenant


def subject_of(key: ApiKey, tenant_id: str | None = None) -> Subject:
    """The key as the subject of a journal entry."""
    return Subject("api_key", key.id, key.name, tenant_id)


def _add(key: ApiKey, secret: str, actor: Actor, tenant_id: str | None = None, **data: object) -> tuple[ApiKey, str]:
    key.prefix, key.key_hash = secret[:12], digest(secret)
    key.created_by, key.created_by_name = actor.user_id, actor.name
    session().add(key)
    session().flush()
    record("api_key.added", actor, subject_of(key, tenant_id), **data)
    return key, secret


def create_integration_key(
    name: str,
    role: Role,
    *,
    actor: Actor,
    description: str | None = None,
    tenant_ids: Iterable[str] | None = None,
    expires_at: datetime | None = None,
    rate_limit: int | None = None,
) -> tuple[ApiKey, str]:
    """An `itk_` key and its secret, shown once. Raises Forbidden when it would allow more than its maker may do."""
    if expires_at is not None and expires_at <= now():
        raise field_error("expires_at", "This time has passed")
    if actor.role is not None and not ROLE_PERMISSIONS[role] <= actor.permissions:
        raise Forbidden("A key cannot allow more than its maker may do")
    scope = actor.tenant_ids if tenant_ids is None else frozenset(tenant_ids)
    key = ApiKey(name=name, description=description, role=role, all_tenants=scope is None, expires_at=expires_at,
                 rate_limit=rate_limit)  # fmt: skip
    key.tenants = [require_tenant(i, actor, "tenant_ids") for i in sorted(scope or ())]
    return _add(key, make_key(INTEGRATION), actor, role=role.value, scope=None if scope is None else sorted(scope))


def create_host_key(
    name: str, computer_id: int, computer_uuid: str, tenant_id: str, *, actor: Actor, rate_limit: int | None = None
) -> tuple[ApiKey, str]:
    """A `chatops_` key for one computer and its secret, shown once."""
    key = ApiKey(name=name, computer_id=computer_id, all_tenants=True, rate_limit=rate_limit)
    return _add(key, make_key(HOST), actor, tenant_id, computer=computer_uuid)


def note_change(_owner: object = None) -> None:
    """Let every process read the keys anew; in the transaction that changes them, or the computers or people they belong to."""
    tick(queries.CLOCK)
    queries.forget_cached()


def revoke_key(key: ApiKey, *, actor: Actor) -> None:
    """End it; its sockets follow the journal and are cut."""
    if key.revoked_at is None:
        key.revoked_at = now()
        record("api_key.revoked", actor, subject_of(key))
    note_change()


def revoke_host_keys(computer_id: int, *, actor: Actor, reason: str) -> None:
    """End every key of a computer."""
    for key in queries.list_keys(actor, own=False, computer_id=computer_id):
        if key.revoked_at is None:
            key.revoked_at = now()
            record("api_key.revoked", actor, subject_of(key), reason=reason)
    note_change()


def update_key(key: ApiKey, changes: dict[str, object], *, actor: Actor) -> ApiKey:
    """Change `name`, `description`, `rate_limit`; what is given."""
    for name, value in changes.items():
        if name != "name" or value:
            setattr(key, name, value)
    record("api_key.updated", actor, subject_of(key), changed=sorted(changes))
    note_change()
    return key
