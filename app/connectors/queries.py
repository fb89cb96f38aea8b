"""What can be asked about enrolment."""

from sqlalchemy import select

from app.actors import Actor
from app.auth.queries import digest
from app.connectors.models import EnrolmentToken
from app.database import session
from app.errors import NotFound


def by_token(token: str) -> EnrolmentToken | None:
    """The row of a token, whatever its state."""
    row: EnrolmentToken | None = session().scalar(select(EnrolmentToken).where(EnrolmentToken.token_hash == digest(token)))
    return row


def get_token(token_id: str, actor: Actor) -> EnrolmentToken:
    """A token by id, for whoever sees its tenant. Raises NotFound."""
    row: EnrolmentToken | None = session().get(EnrolmentToken, token_id)
    if row is None or not actor.sees(row.tenant_id):
        raise NotFound("Enrolment token not found")
    return row


def list_tokens(actor: Actor, limit: int = 20) -> list[EnrolmentToken]:
    """The newest tokens of the tenants that the actor sees."""
    query = select(EnrolmentToken).order_by(EnrolmentToken.created_at.desc()).limit(limit)
    if actor.tenant_ids is not None:
        query = query.where(EnrolmentToken.tenant_id.in_(actor.tenant_ids))
    return list(session().scalars(query))
