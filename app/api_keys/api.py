"""Contract 002 `/api/v1/api-keys`."""

from typing import Any

from app.actors import ActorKind, Permission
from app.api_keys import bp, operations, queries
from app.api_keys.models import ApiKey
from app.api_keys.schemas import HostKeyMe, KeyCreated, KeyIn, KeyList, KeyOut, KeyQuery, KeyUpdate
from app.errors import Forbidden, NotFound, Unauthenticated
from app.fleet.queries import by_ids, require_computer
from app.web import access


def _shown(keys: list[ApiKey]) -> list[KeyOut]:
    computers = by_ids({k.computer_id for k in keys if k.computer_id is not None})
    out = []
    for key in keys:
        computer = computers.get(key.computer_id) if key.computer_id is not None else None
        out.append(KeyOut(**KeyOut.fields_of(key, computer.uuid if computer else None)))
    return out


@bp.api("GET", "/api/v1/api-keys/me", permission=Permission.PUBLIC, returns=list[KeyOut])
def my_keys() -> Any:
    """List my API keys; a host key gets `{server_id, key_id, name, is_active}` about itself."""
    who = access.actor()
    if who.kind is ActorKind.ANONYMOUS:
        raise Unauthenticated(missing=True)
    if who.kind is ActorKind.HOST and who.computer_id is not None:
        computer = by_ids([who.computer_id]).get(who.computer_id)
        if computer is None:
            raise NotFound
        return HostKeyMe(server_id=computer.uuid, key_id=who.key_id or "", name=who.name, is_active=True)
    if who.kind is ActorKind.KEY:
        return _shown([queries.own_row(who)])
    return _shown(queries.list_keys(who, own=True))


@bp.api("GET", "/api/v1/api-keys", permission=Permission.KEYS_READ, query=KeyQuery, returns=KeyList)
def list_keys(query: KeyQuery) -> KeyList:
    """List keys: an admin sees all, others see their own."""
    who = access.actor()
    computer = require_computer(query.server_id, who, "server_id") if query.server_id else None
    rows = queries.list_keys(who, own=not who.is_admin, q=query.q, computer_id=computer.id if computer else None)
    return KeyList(total=len(rows), api_keys=_shown(rows))


@bp.api("POST", "/api/v1/api-keys", permission=Permission.KEYS_READ, body=KeyIn, returns=KeyCreated, status=201)
def create_key(body: KeyIn) -> KeyCreated:
    """Create a key; the secret is in `key`, once. With `server_id` it is that server's host key."""
    who = access.actor()
    if body.server_id is not None:
        access.authorise(who, Permission.FLEET_WRITE)
        computer = require_computer(body.server_id, who, "server_id")
        key, secret = operations.create_host_key(
            body.name, computer.id, computer.uuid, computer.tenant_id, actor=who, rate_limit=body.rate_limit
        )  # fmt: skip
        return KeyCreated(**KeyOut.fields_of(key, computer.uuid), key=secret)
    if body.rate_limit is not None and not who.is_admin:
        raise Forbidden("Only an admin sets a key's own rate limit")
    key, secret = operations.create_integration_key(
        body.name, body.role, actor=who, description=body.description, tenant_ids=body.tenant_ids,
        expires_at=body.expires_at, rate_limit=body.rate_limit,
    )  # fmt: skip
    return KeyCreated(**KeyOut.fields_of(key, None), key=secret)


@bp.api("GET", "/api/v1/api-keys/<key_id>", permission=Permission.KEYS_READ, returns=KeyOut)
def get_key(key_id: str) -> KeyOut:
    """One key, without its secret."""
    return _shown([queries.get_key(key_id, access.actor())])[0]


@bp.api("PUT", "/api/v1/api-keys/<key_id>", permission=Permission.KEYS_READ, body=KeyUpdate, returns=KeyOut)
def update_key(key_id: str, body: KeyUpdate) -> KeyOut:
    """Change a key's name, description or (admins) rate limit."""
    who = access.actor()
    key = queries.get_key(key_id, who)
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if "rate_limit" in changes and not who.is_admin:
        raise Forbidden("Only an admin sets a key's own rate limit")
    return _shown([operations.update_key(key, changes, actor=who)])[0]


@bp.api("DELETE", "/api/v1/api-keys/<key_id>", permission=Permission.KEYS_READ, status=204)
def revoke_key(key_id: str) -> None:
    """Revoke a key; whatever is connected with it is cut within 5 s."""
    operations.revoke_key(queries.get_key(key_id, access.actor()), actor=access.actor())
