"""JWTs of contract 004: HS256, claims `sub, username, is_admin, jti, iat, exp`; ours are `ver` and `auth_time`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt

from app.clock import now

ALGORITHM = "HS256"
_REQUIRED = ["sub", "username", "is_admin", "jti", "iat", "exp", "ver", "auth_time"]


class BadToken(Exception):
    """Not a token of ours, tampered with, or expired."""


@dataclass(frozen=True)
class Claims:
    """What a good token says. `auth_time` is when the password was last given; a refresh keeps it."""

    user_id: str
    jti: str
    version: int
    expires_at: datetime
    auth_time: datetime


def issue(key: str, user_id: str, username: str, is_admin: bool, version: int, life: timedelta,
          auth_time: datetime | None = None) -> str:  # fmt: skip
    """A signed token that lives for `life`."""
    moment = now()
    claims = {
        "sub": user_id,
        "username": username,
        "is_admin": is_admin,
        "jti": uuid4().hex,
        "iat": int(moment.timestamp()),
        "exp": int((moment + life).timestamp()),
        "ver": version,
        "auth_time": int((auth_time or moment).timestamp()),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def read(key: str, token: str) -> Claims:
    """The claims of a good token. Raises BadToken; only HS256 is taken, never `none`."""
    try:
        claims = jwt.decode(token, key, algorithms=[ALGORITHM], options={"require": _REQUIRED})
        return Claims(
            user_id=str(claims["sub"]),
            jti=str(claims["jti"]),
            version=int(claims["ver"]),
            expires_at=_moment(claims["exp"]),
            auth_time=_moment(claims["auth_time"]),
        )
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as error:
        raise BadToken(str(error)) from None


def _moment(seconds: object) -> datetime:
    return datetime.fromtimestamp(float(str(seconds)), UTC)
