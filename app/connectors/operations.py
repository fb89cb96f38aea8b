"""What can be done with enrolment tokens."""

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from app.actors import Actor, ActorKind
from app.api_keys.operations import create_host_key
from app.auth.queries import digest
from app.clock import now
from app.connectors import queries
from app.connectors.models import EnrolmentToken
from app.database import session
from app.errors import NotFound
from app.fleet.models import Computer, ComputerKind
from app.fleet.operations import clean_tags, create_computer
from app.journal.operations import Subject, record
from app.tenants.queries import default_tenant, require_tenant

LIFE = timedelta(hours=1)


def create_token(tenant_id: str | None, tags: Iterable[str] = (), *, actor: Actor) -> tuple[EnrolmentToken, str]:
    """A token for one computer and one hour, and its text, shown once. Raises Invalid."""
    tenant = require_tenant(tenant_id, actor) if tenant_id else default_tenant(actor)
    token = secrets.token_urlsafe(24)
    row = EnrolmentToken(token_hash=digest(token), tenant_id=tenant.id, tags=",".join(clean_tags(tags)),
                         created_by=actor.id or "", created_by_name=actor.name, expires_at=now() + LIFE)  # fmt: skip
    session().add(row)
    session().flush()
    record("enrolment_token.added", actor, Subject("enrolment_token", row.id, tenant.name, tenant.id))
    return row, token


def revoke_token(row: EnrolmentToken, *, actor: Actor) -> None:
    """End a token that was not used."""
    if row.is_open(now()):
        row.revoked_at = now()
        record("enrolment_token.revoked", actor, Subject("enrolment_token", row.id, "", row.tenant_id))


def enrol(token: str, hostname: str, os_family: str | None, *, actor: Actor) -> tuple[Computer, str]:
    """Spend a token: a new computer and its host key, shown once. The host name is a label, never an identity
    (RELIABILITY 22). Raises NotFound for a used, revoked, expired or unknown token."""
    row, moment = queries.by_token(token), now()
    if row is None or not row.is_open(moment):
        raise NotFound("This enrolment token has been used or has expired; make a new one on the Add computer page")
    spent = session().execute(
        update(EnrolmentToken)
        .where(EnrolmentToken.id == row.id, EnrolmentToken.used_at.is_(None))
        .values(used_at=moment)
        .execution_options(synchronize_session=False)
    )
    if spent.rowcount != 1:
        raise NotFound("This enrolment token has just been used")
    who = replace(actor, kind=ActorKind.SYSTEM, id=row.id, name=f"enrolment by {row.created_by_name}", tenant_ids=None)
    kind = ComputerKind.WORKSTATION if os_family in ("windows", "macos") else ComputerKind.SERVER
    computer = create_computer(hostname, actor=who, tenant_id=row.tenant_id, kind=kind, tags=filter(None, row.tags.split(",")))
    _, secret = create_host_key(f"connector of {hostname}"[:200], computer.id, computer.uuid, computer.tenant_id, actor=who)
    session().execute(update(EnrolmentToken).where(EnrolmentToken.id == row.id).values(computer_id=computer.id))
    return computer, secret
