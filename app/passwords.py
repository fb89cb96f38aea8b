"""Password hashes: argon2id, 19 MiB, t=2, p=1 (RELIABILITY 1), at most one at a time per core."""

import os
import threading
from functools import lru_cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import field_error
from app.off_loop import off_the_loop

MIN_LENGTH = 8
MAX_LENGTH = 256
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_slots = threading.BoundedSemaphore(os.cpu_count() or 1)
_COMMON = Path(__file__).parent / "auth" / "common_passwords.txt"


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(_COMMON.read_text(encoding="utf-8").split())


def check_strength(password: str, *forbidden: str) -> None:
    """Raises Invalid when it is shorter than 8 or longer than 256 characters, among the commonest, or `forbidden`."""
    if len(password) < MIN_LENGTH:
        raise field_error("password", f"Password must be at least {MIN_LENGTH} characters", kind="string_too_short")
    if len(password) > MAX_LENGTH:
        raise field_error("password", f"Password must be at most {MAX_LENGTH} characters", kind="string_too_long")
    lowered = password.lower()
    if lowered in _common() or lowered in {f.lower() for f in forbidden if f}:
        raise field_error("password", "Password is too easy to guess; choose another")


def hash_password(password: str) -> str:
    """The argon2id hash. Call it before a write transaction begins: it takes about 30 ms."""
    with _slots:
        return off_the_loop(_hasher.hash, password)


@lru_cache(maxsize=1)
def _decoy() -> str:
    return _hasher.hash("a password that nobody has")


def verify_password(hashed: str | None, password: str) -> bool:
    """Whether it is the right one. Without a hash (no such user) it works just as long and answers False."""
    if len(password) > MAX_LENGTH:
        password = password[:MAX_LENGTH] + "\N{REPLACEMENT CHARACTER}"
    with _slots:
        return off_the_loop(_matches, hashed or _decoy(), password) and hashed is not None


def _matches(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False
