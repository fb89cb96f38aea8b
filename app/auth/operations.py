"""What can be done with users and logins. Hashing happens outside write transactions: see `passwords`."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, update

from app.actors import Actor, Role
from app.auth import queries
from app.auth.models import Invitation, LoginSession, RevokedToken, User
from app.clock import now
from app.database import begin_write, session, unit_of_work
from app.errors import Conflict, FieldError, Invalid, Unauthenticated
from app.journal.operations import Subject, record
from app.passwords import check_strength, hash_password, verify_password
from app.tenants.queries import require_tenant

INVITATION_LIFE = timedelta(days=7)
end_hooks: list[Callable[[User], None]] = []  # what rooms above do when a user is disabled, enabled again or deleted


def subject_of(user: User) -> Subject:
    """The user as the subject of a journal entry."""
    return Subject("user", user.id, user.username)


def _refuse_taken(username: str, email: str | None, except_id: str | None = None) -> None:
    for name, value in (("username", username), ("email", email)):
        found = queries.find_for_login(value) if value else None
        if found and found.id != except_id:
            raise Conflict(f"{name.capitalize()} already registered")


def _set_tenants(user: User, tenant_ids: Iterable[str] | None, actor: Actor) -> None:
    user.all_tenants = tenant_ids is None
    user.tenants = [require_tenant(i, actor, "tenant_ids") for i in sorted(set(tenant_ids or ()))]


def create_user(
    username: str, email: str | None, password: str, role: Role, tenant_ids: Iterable[str] | None = None, *, actor: Actor
) -> User:
    """Begins its own write after hashing. Raises Invalid for a weak password, Conflict for a taken name or e-mail."""
    check_strength(password, username, email or "")
    hashed = hash_password(password)
    begin_write()
    _refuse_taken(username, email)
    user = User(username=username, username_key=username.lower(), email=email, email_key=email and email.lower(),
                password_hash=hashed, role=role)  # fmt: skip
    _set_tenants(user, tenant_ids, actor)
    session().add(user)
    session().flush()
    record("user.added", actor, subject_of(user), role=role.value)
    return user


def create_first_admin(username: str, email: str | None, password: str, *, actor: Actor) -> User:
    """Raises Conflict when there is a user already, also when two set-ups race."""
    check_strength(password, username, email or "")
    hashed = hash_password(password)
    begin_write()
    if queries.has_users():
        raise Conflict("The first admin exists already")
    user = User(username=username, username_key=username.lower(), email=email, email_key=email and email.lower(),
                password_hash=hashed, role=Role.ADMIN)  # fmt: skip
    session().add(user)
    session().flush()
    record("user.added", actor, subject_of(user), role="admin", first=True)
    return user


def check_credentials(name: str, password: str, *, actor: Actor) -> User:
    """The user who signs in, with a write begun. Raises Unauthenticated, the same for unknown, wrong and disabled."""
    user = queries.find_for_login(name)
    known_id, known_hash, active = (user.id, user.password_hash, user.is_active) if user else (None, None, False)
    session().rollback()
    right = verify_password(known_hash, password)
    if not right or not active or known_id is None:
        with unit_of_work():
            record("auth.refused", actor, Subject("user", known_id or "unknown", name[:50]))
        raise Unauthenticated("Invalid authentication credentials")
    begin_write()
    fresh = queries.get_user(known_id)
    if not fresh.is_active or fresh.password_hash != known_hash:
        raise Unauthenticated("Invalid authentication credentials")
    fresh.last_login = now()
    return fresh


def open_login(user: User, address: str | None, *, actor: Actor) -> str:
    """Sign a browser in; returns the token for its cookie."""
    token = secrets.token_urlsafe(32)
    user.last_login = now()
    session().add(LoginSession(id=queries.digest(token), user_id=user.id, epoch=user.epoch, address=address))
    record("auth.login", actor, subject_of(user), way="browser")
    return token


def record_token(user: User, *, actor: Actor) -> None:
    """Note that a program signed in with the user's password."""
    record("auth.login", actor, subject_of(user), way="token")


def touch_login(login_id: str, moment: datetime) -> None:
    """Note that the browser is still in use (its own small transaction; called at most once a minute)."""
    with unit_of_work(power_safe=False):
        session().execute(update(LoginSession).where(LoginSession.id == login_id).values(last_seen=moment))
    queries.forget_logins()


def close_login(login_id: str, *, actor: Actor) -> None:
    """Sign a browser out; its sockets follow the journal and end too."""
    session().execute(update(LoginSession).where(LoginSession.id == login_id).values(ended_at=now()))
    record("auth.logout", actor, Subject("user", actor.user_id or "", actor.name), login=login_id[:12])
    queries.forget_logins()


def revoke_token(jti: str, expires_at: datetime, *, actor: Actor) -> None:
    """Log a JWT out."""
    if not queries.is_revoked(jti):
        session().add(RevokedToken(jti=jti, expires_at=expires_at))
        record("auth.logout", actor, Subject("user", actor.user_id or "", actor.name), token=jti)


def _end_everything(user: User) -> None:
    user.epoch += 1
    queries.forget_logins()
    session().execute(update(LoginSession).where(LoginSession.user_id == user.id).values(ended_at=now()))


def _tell(user: User) -> None:
    for hook in end_hooks:
        hook(user)


def change_password(user_id: str, new: str, old: str | None, *, actor: Actor) -> User:
    """Set a password and end all logins and tokens. `old` is checked unless None. Begins its own write after hashing."""
    user = queries.get_user(user_id)
    known, names = user.password_hash, (user.username, user.email or "")
    session().rollback()
    if old is not None and not verify_password(known, old):
        raise Invalid("Wrong password", errors=[FieldError(("body", "current_password"), "This is not the current password")])
    check_strength(new, *names)
    hashed = hash_password(new)
    begin_write()
    user = queries.get_user(user_id)
    user.password_hash = hashed
    _end_everything(user)
    record("user.password_changed", actor, subject_of(user))
    return user


def update_user(
    user: User,
    *,
    actor: Actor,
    username: str | None = None,
    email: str | None = None,
    role: Role | None = None,
    is_active: bool | None = None,
    tenant_ids: Iterable[str] | None = None,
    set_tenants: bool = False,
) -> User:
    """Change what is given. Raises Conflict for a taken name, or when nobody would be left to administer."""
    _refuse_taken(username or "", email, user.id)
    loses = (role not in (None, Role.ADMIN)) or is_active is False or (set_tenants and tenant_ids is not None)
    if loses and user.is_admin and user.is_active and user.all_tenants and not queries.other_active_admins(user):
        raise Conflict("This is the last admin; name another one first")
    before = {"role": user.role.value, "is_active": user.is_active, "all_tenants": user.all_tenants}
    if username:
        user.username, user.username_key = username, username.lower()
    if email:
        user.email, user.email_key = email, email.lower()
    user.role = role or user.role
    user.is_active = user.is_active if is_active is None else is_active
    if set_tenants:
        _set_tenants(user, tenant_ids, actor)
    after = {"role": user.role.value, "is_active": user.is_active, "all_tenants": user.all_tenants}
    if after != before or set_tenants:
        _end_everything(user)
    if after["is_active"] != before["is_active"]:
        _tell(user)
    record("user.updated", actor, subject_of(user), before=before, after=after)
    return user


def delete_user(user: User, *, actor: Actor) -> None:
    """Raises Conflict for oneself and for the last admin."""
    if user.id == actor.user_id:
        raise Conflict("You cannot delete yourself")
    if user.is_admin and not queries.other_active_admins(user):
        raise Conflict("This is the last admin; name another one first")
    record("user.deleted", actor, subject_of(user))
    session().delete(user)
    _tell(user)
    queries.forget_logins()


def invite(role: Role, tenant_ids: Iterable[str] | None, *, actor: Actor) -> tuple[Invitation, str]:
    """An invitation and its token, which is shown once."""
    token = secrets.token_urlsafe(24)
    ids = None if tenant_ids is None else ",".join(require_tenant(i, actor, "tenant_ids").id for i in sorted(set(tenant_ids)))
    row = Invitation(token_hash=queries.digest(token), role=role, tenant_ids=ids, created_by=actor.name,
                     expires_at=now() + INVITATION_LIFE)  # fmt: skip
    session().add(row)
    session().flush()
    record("invitation.added", actor, Subject("invitation", row.id, role.value))
    return row, token


def use_invitation(token: str, user: User) -> None:
    """Mark it used, in the transaction that made the user. Raises Conflict when somebody was quicker."""
    moment = now()
    used = session().execute(
        update(Invitation)
        .where(Invitation.token_hash == queries.digest(token), Invitation.used_at.is_(None), Invitation.expires_at > moment)
        .values(used_at=moment)
    )
    if used.rowcount != 1:
        raise Conflict("The invitation has been used already")
    record("invitation.used", queries.actor_of(user), subject_of(user))


def forget_expired(absolute: timedelta) -> int:
    """Delete ended logins, expired token ids and old invitations; returns how many rows went."""
    moment = now()
    gone = 0
    for statement in (
        delete(RevokedToken).where(RevokedToken.expires_at < moment),
        delete(LoginSession).where(or_(LoginSession.created_at < moment - absolute, LoginSession.ended_at < moment)),
        delete(Invitation).where(Invitation.expires_at < moment),
    ):
        gone += session().execute(statement).rowcount
    return gone


def end_all_logins(user: User, *, actor: Actor) -> None:
    """End every login and token of the user."""
    _end_everything(user)
    record("user.logins_ended", actor, subject_of(user))


def unlimited(actor: Actor) -> Actor:
    """The stranger who registers, allowed to get the scope that the invitation (made by an admin) grants."""
    return replace(actor, tenant_ids=None)
