"""What can be asked about people and their logins."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cachetools import TTLCache
from sqlalchemy import func, or_, select

from app.actors import Actor, ActorKind, Role
from app.auth.models import Invitation, LoginSession, RevokedToken, User
from app.clock import now
from app.database import contains, session
from app.errors import NotFound


def digest(token: str) -> str:
    """SHA-256 of a random token, in hex: what the database keeps of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def actor_of(user: User, kind: ActorKind = ActorKind.USER, **more: str | None) -> Actor:
    """The user as an Actor."""
    return Actor(kind, id=user.id, name=user.username, role=user.role, tenant_ids=user.tenant_scope, user_id=user.id, **more)  # type: ignore[arg-type]


def has_users() -> bool:
    """Whether the first admin exists."""
    return session().scalar(select(User.id).limit(1)) is not None


def first_admin() -> User | None:
    """The oldest active admin of all tenants."""
    query = select(User).where(User.role == Role.ADMIN, User.is_active, User.all_tenants)
    user: User | None = session().scalar(query.order_by(User.created_at, User.id).limit(1))
    return user


def find_for_login(name: str) -> User | None:
    """By user name or e-mail, in any case."""
    key = name.strip().lower()
    user: User | None = session().scalar(select(User).where(or_(User.username_key == key, User.email_key == key)).limit(1))
    return user


def get_user(user_id: str) -> User:
    """Raises NotFound."""
    user: User | None = session().get(User, user_id)
    if user is None:
        raise NotFound("User not found")
    return user


def list_users(q: str = "") -> list[User]:
    """All users by name."""
    query = select(User).order_by(User.username_key)
    return list(session().scalars(query.where(or_(contains(User.username, q), contains(User.email, q))) if q else query))


def other_active_admins(user: User) -> int:
    """How many other admins could still sign in and see everything."""
    query = select(func.count()).where(
        User.role == Role.ADMIN, User.is_active, User.all_tenants, User.id != user.id
    )  # fmt: skip
    return int(session().scalar(query) or 0)


@dataclass(frozen=True)
class Login:
    """A login that was good when it was read."""

    actor: Actor
    last_seen: datetime
    created_at: datetime


LOGIN_CACHE_S = 1.0  # a login that ends is dead within 5 s in every process, at once in the one that ends it (RELIABILITY 4)
_logins: TTLCache[str, Login] = TTLCache(maxsize=10_000, ttl=LOGIN_CACHE_S)


def forget_logins() -> None:
    """Make this process look every login up anew."""
    _logins.clear()


def live_login(token: str, idle: timedelta, absolute: timedelta) -> Login | None:
    """The login behind a cookie's token, unless it has ended: signed out, idle, too old, user disabled or changed. At most
    LOGIN_CACHE_S old."""
    hashed = digest(token)
    found = _logins.get(hashed)
    if found is None:
        row: LoginSession | None = session().get(LoginSession, hashed)
        if row is None or row.ended_at is not None or not row.user.is_active or row.epoch != row.user.epoch:
            return None
        found = _logins[hashed] = Login(actor_of(row.user, login_id=row.id), row.last_seen, row.created_at)
    moment = now()
    return None if moment - found.last_seen > idle or moment - found.created_at > absolute else found


def is_revoked(jti: str) -> bool:
    """Whether the token with this id was logged out."""
    return session().get(RevokedToken, jti) is not None


def open_invitation(token: str, moment: datetime) -> Invitation | None:
    """The unused, unexpired invitation of a token."""
    row: Invitation | None = session().scalar(select(Invitation).where(Invitation.token_hash == digest(token)))
    return row if row and row.used_at is None and row.expires_at > moment else None


def list_invitations(moment: datetime) -> list[Invitation]:
    """Those that can still be used."""
    query = select(Invitation).where(Invitation.used_at.is_(None), Invitation.expires_at > moment)
    return list(session().scalars(query.order_by(Invitation.created_at.desc())))
