"""What can be asked about keys."""

from datetime import datetime, timedelta
from time import monotonic

from cachetools import TTLCache
from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import joinedload, lazyload

from app.actors import Actor, ActorKind, Role
from app.api_keys.models import ApiKey, looks_right
from app.auth.models import User
from app.auth.queries import digest
from app.clock import now
from app.database import session, unit_of_work
from app.errors import NotFound
from app.fleet.queries import by_ids
from app.journal.queries import clock

CLOCK = "api_keys"  # its version grows with every change of a key
CHECK_S = 2.0  # a revoked key is dead within 5 s on every worker (RELIABILITY 7)
CACHE_S = 60.0  # … and an unchanged one is read once a minute, which also keeps `last_used_at`
USED_EVERY = timedelta(minutes=1)
_known: TTLCache[str, tuple[Actor | None, datetime | None]] = TTLCache(maxsize=20_000, ttl=CACHE_S)

# Its tenants are read only when the key is limited to some.
_MAKER = joinedload(ApiKey.maker).lazyload(User.tenants)
_BY_HASH = select(ApiKey).where(ApiKey.key_hash == bindparam("hashed")).options(lazyload(ApiKey.tenants), _MAKER)


class _Seen:
    """The version of the keys that `_known` holds, and when that was last made sure of."""

    version = -1
    at = -CHECK_S


def forget_cached() -> None:
    """Make this process look every key up anew."""
    _known.clear()
    _Seen.at = -CHECK_S


def _is_sure() -> bool:
    return monotonic() - _Seen.at < CHECK_S


def _make_sure() -> None:
    moment, version = monotonic(), clock(CLOCK)
    if version != _Seen.version:
        _known.clear()
    _Seen.version, _Seen.at = version, moment


def actor_of_key(secret: str) -> Actor | None:
    """The actor behind a key, or None when it is not one of ours or no longer good. At most CHECK_S old."""
    if not looks_right(secret):
        return None
    if not _is_sure():
        _make_sure()
    hashed = digest(secret)
    cached = _known.get(hashed)
    if cached is None:
        cached = _known[hashed] = _look_up(hashed)
    who, expires_at = cached
    return None if expires_at is not None and expires_at <= now() else who


def known_actor(secret: str) -> Actor | None:
    """The same without asking the database: None also when that would have to be asked."""
    who, expires_at = _known.get(digest(secret), (None, None)) if _is_sure() else (None, None)
    return None if expires_at is not None and expires_at <= now() else who


def _look_up(hashed: str) -> tuple[Actor | None, datetime | None]:
    row: ApiKey | None = session().scalar(_BY_HASH, {"hashed": hashed})
    moment = now()
    if row is None or not row.is_active(moment):
        return None, None
    kind = ActorKind.HOST if row.computer_id is not None else ActorKind.KEY
    who = Actor(kind, id=row.id, name=row.name, role=row.role, tenant_ids=row.tenant_scope, user_id=row.created_by,
                key_id=row.id, computer_id=row.computer_id, computer_uuid=_uuid_of(row.computer_id),
                rate_limit=row.rate_limit)  # fmt: skip
    key_id, expires_at, last_used_at = row.id, row.expires_at, row.last_used_at
    if last_used_at is None or moment - last_used_at > USED_EVERY:
        session().rollback()
        with unit_of_work(power_safe=False):
            session().execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=moment))
    return who, expires_at


def _uuid_of(computer_id: int | None) -> str | None:
    if computer_id is None:
        return None
    computer = by_ids([computer_id]).get(computer_id)
    return computer.uuid if computer else None


def list_keys(actor: Actor, *, own: bool, q: str = "", computer_id: int | None = None) -> list[ApiKey]:
    """Keys, newest first: one's own, or (for admins) all."""
    query = select(ApiKey).options(_MAKER).order_by(ApiKey.created_at.desc(), ApiKey.id)
    if own:
        query = query.where(ApiKey.created_by == actor.user_id)
    if computer_id is not None:
        query = query.where(ApiKey.computer_id == computer_id)
    if q:
        query = query.where(or_(ApiKey.name.icontains(q, autoescape=True), ApiKey.prefix == q))
    return list(session().scalars(query))


def get_key(key_id: str, actor: Actor) -> ApiKey:
    """One key, if it is one's own or the actor is an admin. Raises NotFound."""
    row: ApiKey | None = session().get(ApiKey, key_id)
    if row is None or not ((actor.role is Role.ADMIN and actor.tenant_ids is None) or row.created_by == actor.user_id):
        raise NotFound("API key not found")
    return row


def own_row(actor: Actor) -> ApiKey:
    """The row of the key that calls. Raises NotFound."""
    row: ApiKey | None = session().get(ApiKey, actor.key_id)
    if row is None:
        raise NotFound("API key not found")
    return row
