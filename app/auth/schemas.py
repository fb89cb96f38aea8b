"""JSON shapes of contract 004's `/api/auth/*` and of `/api/v1/users`."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from app.actors import Role
from app.auth.models import User
from app.shapes import Answer, Body, Query

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,185}\.[^@\s\x00-\x1f.]{2,63}")
_USERNAME = re.compile(r"[\w.@+-]+")


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value):
        raise ValueError("This is not an e-mail address")
    return value


def _username(value: str) -> str:
    if not _USERNAME.fullmatch(value):
        raise ValueError("Username may hold letters, digits and . _ @ + -")
    return value


Username = Annotated[str, Field(min_length=3, max_length=50), AfterValidator(_username)]
Email = Annotated[str, Field(max_length=254), AfterValidator(_email)]
Password = Annotated[str, Field(min_length=8, max_length=256)]


class Register(Body):
    """`POST /api/auth/register`; `invitation` is needed in network mode."""

    username: Username
    email: Email
    password: Password
    invitation: str | None = None


class Login(Body):
    """`POST /api/auth/login`: a form, as documented, or JSON. `username` may be the e-mail."""

    username: Annotated[str, Field(min_length=1, max_length=254)]
    password: Annotated[str, Field(min_length=1, max_length=1024)]


class Token(Answer):
    """A fresh access token; `expires_in` is in seconds."""

    access_token: str
    token_type: str = "bearer"
    expires_in: int


class UserOut(Answer):
    """A user, as contract 004 shows one; `role` and `tenant_ids` (null: all) are ours."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    username: str
    email: str | None
    is_active: bool
    is_admin: bool
    created_at: datetime
    last_login: datetime | None
    role: Role
    tenant_ids: list[str] | None

    @classmethod
    def of(cls, user: User) -> "UserOut":
        scope = user.tenant_scope
        return cls(
            id=user.id, username=user.username, email=user.email, is_active=user.is_active, is_admin=user.is_admin,
            created_at=user.created_at, last_login=user.last_login, role=user.role,
            tenant_ids=None if scope is None else sorted(scope),
        )  # fmt: skip


class UserList(Answer):
    """`GET /api/v1/users`."""

    total: int
    users: list[UserOut]


class UserCreate(Body):
    """`POST /api/v1/users`. Without `tenant_ids` the user sees all tenants."""

    username: Username
    email: Email
    password: Password
    role: Role = Role.READONLY
    tenant_ids: list[str] | None = None


class UserUpdate(Body):
    """`PUT /api/v1/users/{id}`: what is given changes; `tenant_ids: null` means all tenants."""

    username: Username | None = None
    email: Email | None = None
    password: Password | None = None
    role: Role | None = None
    is_active: bool | None = None
    tenant_ids: list[str] | None = None


class UserQuery(Query):
    """Filter of `GET /api/v1/users`."""

    q: str = Field("", max_length=200)
