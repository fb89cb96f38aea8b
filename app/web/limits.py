"""Rate limits, counted per credential, or per address while there is none (contracts/README.md; RELIABILITY 19).

flask-limiter brings the storage (memory, or Redis for several processes) and the strategy; which limits hold is
decided here by contract and credential, because they depend on who calls and not on the view alone.
"""

import time
from functools import lru_cache

from flask import Response, g
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.strategies import FixedWindowRateLimiter

from app.actors import Actor, ActorKind
from app.errors import TooMany
from app.extensions import limiter
from app.logging import get_logger
from app.rate_counts import Windows
from app.web.contracts import Contract

HOST_LIMITS = ((600, 60),)
_UNITS = {60: "minute", 3600: "hour"}
_spare = FixedWindowRateLimiter(Windows())
log = get_logger(__name__)


@lru_cache(maxsize=256)
def _item(amount: int, seconds: int) -> RateLimitItem:
    return RateLimitItemPerSecond(amount, seconds, namespace="bn")


def limits_for(who: Actor, contract: Contract) -> tuple[tuple[int, int], ...]:
    """The (amount, seconds) pairs in force. A key's own limit, per minute, replaces its contract's."""
    if who.rate_limit:
        return ((who.rate_limit, 60),)
    if who.kind is ActorKind.HOST:
        return HOST_LIMITS
    return contract.admin_limits if who.is_admin else contract.limits


def credential(who: Actor, remote: str) -> str:
    """What the calls are counted under."""
    return who.key_id or who.user_id or f"address:{remote}"


def count(who: Actor, contract: Contract, remote: str) -> None:
    """Count this call. Raises TooMany when a limit is used up; keeps the figures for the headers either way."""
    family = "host" if who.kind is ActorKind.HOST else contract.name if contract.name in ("000", "003") else "rest"
    for amount, seconds in limits_for(who, contract):
        take(amount, seconds, family, credential(who, remote))


def count_login(name: str, remote: str) -> None:
    """Count an attempt to sign in: 10 a minute per account and address (RELIABILITY 2). Raises TooMany."""
    take(10, 60, "login", name.lower(), remote)


def take(amount: int, seconds: int, *identifiers: str) -> None:
    """Take one from a window of `seconds`. Raises TooMany; keeps the tightest figures for the headers."""
    item = _item(amount, seconds)
    try:
        allowed = limiter.limiter.hit(item, *identifiers)
        reset, remaining = limiter.limiter.get_window_stats(item, *identifiers)
    except (StorageError, OSError) as error:
        log.warning("rate limit storage away, counting in this process", error=type(error).__name__)
        allowed = _spare.hit(item, *identifiers)
        reset, remaining = _spare.get_window_stats(item, *identifiers)
    shown: tuple[int, int, int] | None = g.get("rate")
    if shown is None or remaining < shown[1] or not allowed:
        g.rate = (amount, max(0, remaining), int(reset) + 1)
    if not allowed:
        after = max(1, int(reset - time.time()) + 1)
        raise TooMany(retry_after=after, limit=f"{amount} per 1 {_UNITS.get(seconds, f'{seconds} seconds')}")


def add_headers(response: Response) -> None:
    """X-RateLimit-Limit, -Remaining and -Reset (seconds since 1970)."""
    rate: tuple[int, int, int] | None = g.get("rate")
    if rate:
        response.headers["X-RateLimit-Limit"] = str(rate[0])
        response.headers["X-RateLimit-Remaining"] = str(rate[1])
        response.headers["X-RateLimit-Reset"] = str(rate[2])
