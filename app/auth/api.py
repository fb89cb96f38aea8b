"""Contract 004 `/api/auth/*` (also under `/api/v1/auth/`), and `/api/v1/users`."""

from datetime import datetime, timedelta

from flask import current_app, request
from pydantic import ValidationError

from app import tokens
from app.actors import Permission
from app.auth import authenticator, bp, operations, queries
from app.auth.models import User
from app.auth.schemas import Login, Register, Token, UserCreate, UserList, UserOut, UserQuery, UserUpdate
from app.clock import now
from app.database import begin_write
from app.errors import Forbidden, Invalid, Malformed, Unauthenticated
from app.factory import settings_of
from app.logging import get_logger
from app.web import access, limits
from app.web.body import MAX_BODY, field_errors, validate_body

log = get_logger(__name__)


@bp.api("POST", "/api/v1/auth/register", permission=Permission.PUBLIC, body=Register, returns=UserOut, status=201,
        begins_own_write=True, endpoint="register_v1")  # fmt: skip
@bp.api(
    "POST", "/api/auth/register", permission=Permission.PUBLIC, body=Register, returns=UserOut, status=201, begins_own_write=True
)
def register(body: Register) -> UserOut:
    """Register a new user account; by invitation in network mode."""
    settings = settings_of(current_app)
    invitation = queries.open_invitation(body.invitation, now()) if body.invitation else None
    if invitation is None and (settings.network_mode or body.invitation):
        raise Forbidden("Registration is by invitation")
    if invitation is None and not authenticator.is_local_request(request):
        # Bound to loopback behind a proxy: "anybody on this machine" would be anybody at all (contracts/README.md).
        log.warning("registration refused: it came through a proxy or by a foreign name, though Binnacle is bound to loopback; "
                    "see README, Open it to the network", address=access.address(), host=request.host)  # fmt: skip
        raise Forbidden("Registration is by invitation")
    role = invitation.role if invitation else settings.registration_role
    scope = invitation.tenant_ids.split(",") if invitation and invitation.tenant_ids is not None else None
    user = operations.create_user(
        body.username, body.email, body.password, role, scope, actor=operations.unlimited(access.actor())
    )
    if body.invitation:
        operations.use_invitation(body.invitation, user)
    return UserOut.of(user)


@bp.api("POST", "/api/v1/auth/login", permission=Permission.PUBLIC, returns=Token, begins_own_write=True, endpoint="login_v1")
@bp.api("POST", "/api/auth/login", permission=Permission.PUBLIC, returns=Token, begins_own_write=True)
def login() -> Token:
    """Authenticate with a form (`username`, `password`) or JSON and get an access token."""
    if request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        body = _login_form()
    else:
        body = validate_body(Login, request)
    limits.count_login(body.username, access.address())
    user = operations.check_credentials(body.username, body.password, actor=access.actor())
    operations.record_token(user, actor=queries.actor_of(user, address=access.address()))
    return _token(user)


def _login_form() -> Login:
    request.max_content_length = MAX_BODY
    values = {k: v for k, v in request.form.items() if k in Login.model_fields}
    if any("\x00" in v for v in values.values()):
        raise Malformed("Invalid request", details="A field contains a NUL character")
    try:
        return Login.model_validate(values)
    except ValidationError as error:
        raise field_errors(error, "body") from None


def _token(user: User, auth_time: datetime | None = None) -> Token:
    settings = settings_of(current_app)
    life = timedelta(minutes=settings.access_token_expire_minutes)
    token = tokens.issue(authenticator.jwt_key(settings), user.id, user.username, user.is_admin, user.epoch, life, auth_time)
    return Token(access_token=token, expires_in=int(life.total_seconds()))


def _own_token() -> tuple[User, tokens.Claims]:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or secret.count(".") != 2:
        raise Unauthenticated("Send the access token as Authorization: Bearer")
    return authenticator.read_jwt(secret.strip())


@bp.api("POST", "/api/v1/auth/refresh", permission=Permission.SIGNED_IN, returns=Token, endpoint="refresh_v1")
@bp.api("POST", "/api/auth/refresh", permission=Permission.SIGNED_IN, returns=Token)
def refresh() -> Token:
    """Exchange a good access token for a fresh one, until the absolute length of a login is reached."""
    user, claims = _own_token()
    if now() - claims.auth_time > timedelta(minutes=settings_of(current_app).session_absolute_minutes):
        raise Unauthenticated("The login is too old; give the password again")
    return _token(user, claims.auth_time)


@bp.api("POST", "/api/v1/auth/logout", permission=Permission.SIGNED_IN, endpoint="logout_v1")
@bp.api("POST", "/api/auth/logout", permission=Permission.SIGNED_IN)
def logout() -> dict[str, str]:
    """Revoke the access token that is sent."""
    _, claims = _own_token()
    operations.revoke_token(claims.jti, claims.expires_at, actor=access.actor())
    return {"detail": "Logged out"}


@bp.api("GET", "/api/v1/auth/me", permission=Permission.SIGNED_IN, returns=UserOut, endpoint="me_v1")
@bp.api("GET", "/api/auth/me", permission=Permission.SIGNED_IN, returns=UserOut)
def me() -> UserOut:
    """The user behind the credentials; a key that belongs to nobody gets 403."""
    who = access.actor()
    if not who.user_id or not who.is_person:
        raise Forbidden("An API key is not a user")
    return UserOut.of(queries.get_user(who.user_id))


@bp.api("GET", "/api/v1/users", permission=Permission.USERS_WRITE, query=UserQuery, returns=UserList)
def list_users(query: UserQuery) -> UserList:
    """All users."""
    users = queries.list_users(query.q)
    return UserList(total=len(users), users=[UserOut.of(u) for u in users])


@bp.api(
    "POST",
    "/api/v1/users",
    permission=Permission.USERS_WRITE,
    body=UserCreate,
    returns=UserOut,
    status=201,
    begins_own_write=True,
)
def create_user(body: UserCreate) -> UserOut:
    """Create a user."""
    user = operations.create_user(
        body.username, body.email, body.password, body.role, body.tenant_ids, actor=access.actor()
    )  # fmt: skip
    return UserOut.of(user)


@bp.api("GET", "/api/v1/users/<user_id>", permission=Permission.USERS_WRITE, returns=UserOut)
def get_user(user_id: str) -> UserOut:
    """One user."""
    return UserOut.of(queries.get_user(user_id))


@bp.api(
    "PUT", "/api/v1/users/<user_id>", permission=Permission.USERS_WRITE, body=UserUpdate, returns=UserOut, begins_own_write=True
)
def update_user(user_id: str, body: UserUpdate) -> UserOut:
    """Change a user; a new role, scope, password or disabling ends the user's logins and tokens."""
    if body.is_active is False and user_id == access.actor().user_id:
        raise Invalid("You cannot disable yourself")
    queries.get_user(user_id)
    if body.password is not None:
        operations.change_password(user_id, body.password, None, actor=access.actor())
    else:
        begin_write()
    user = operations.update_user(
        queries.get_user(user_id), actor=access.actor(), username=body.username, email=body.email, role=body.role,
        is_active=body.is_active, tenant_ids=body.tenant_ids, set_tenants="tenant_ids" in body.model_fields_set,
    )  # fmt: skip
    return UserOut.of(user)


@bp.api("DELETE", "/api/v1/users/<user_id>", permission=Permission.USERS_WRITE, status=204)
def delete_user(user_id: str) -> None:
    """Delete a user."""
    operations.delete_user(queries.get_user(user_id), actor=access.actor())
