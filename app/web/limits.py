"""Rate limits, counted per credential, or per address while there is none (contracts/README.md; RELIABILITY 19).

flask-limiter brings the storage (memory, or Redis for several processes) and the strategy; which limits hold is
decided here by contract and credential, because they depend on who calls and not on the view alone.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

from flask import Response, g
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import Storage

from app.actors import Actor, ActorKind
from app.errors import TooMany
from app.extensions import limiter
from app.logging import get_logger
from app.rate_counts import Windows
from app.web.contracts import Contract

HOST_LIMITS = ((600, 60),)
_UNITS = {60: "minute", 3600: "hour"}
_spare = Windows()
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


@dataclass(frozen=True)
class Rate:
    """What is left of a window: `remaining` of `amount` in `seconds`; `reset` is when it ends, in seconds since 1970."""

    amount: int
    seconds: int
    remaining: int
    reset: float
    allowed: bool

    @property
    def retry_after(self) -> int:
        """Seconds until there is something left."""
        return max(1, int(self.reset - time.time()) + 1)

    @property
    def said(self) -> str:
        """As contract 003 words it."""
        return f"{self.amount} per 1 {_UNITS.get(self.seconds, f'{self.seconds} seconds')}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """X-RateLimit-Limit, -Remaining and -Reset."""
        return (("X-RateLimit-Limit", str(self.amount)), ("X-RateLimit-Remaining", str(self.remaining)),
                ("X-RateLimit-Reset", str(int(self.reset) + 1)))  # fmt: skip


def spend(who: Actor, contract: Contract, remote: str) -> Rate:
    """Count a call; returns the figures of the limit that is used up, else of the tightest."""
    family = "host" if who.kind is ActorKind.HOST else contract.name if contract.name in ("000", "003") else "rest"
    rates = []
    for amount, seconds in limits_for(who, contract):
        rates.append(_hit(amount, seconds, family, credential(who, remote)))
        if not rates[-1].allowed:
            return rates[-1]
    return min(rates, key=lambda rate: rate.remaining)


def count(who: Actor, contract: Contract, remote: str) -> None:
    """Count this request. Raises TooMany when a limit is used up; keeps the figures for the headers either way."""
    _keep(spend(who, contract, remote))


def count_login(name: str, remote: str) -> None:
    """Count an attempt to sign in: 10 a minute per account and address (RELIABILITY 2). Raises TooMany."""
    take(10, 60, "login", name.lower(), remote)


def take(amount: int, seconds: int, *identifiers: str) -> None:
    """Take one from a window of `seconds`. Raises TooMany; keeps the tightest figures for the headers."""
    _keep(_hit(amount, seconds, *identifiers))


def _keep(rate: Rate) -> None:
    shown: Rate | None = g.get("rate")
    if shown is None or rate.remaining < shown.remaining or not rate.allowed:
        g.rate = rate
    if not rate.allowed:
        raise TooMany(retry_after=rate.retry_after, limit=rate.said)


def _hit(amount: int, seconds: int, *identifiers: str) -> Rate:
    """A fixed window, as `limits` counts it, with the key made once."""
    key = _item(amount, seconds).key_for(*identifiers)
    try:
        count, reset = _incremented(limiter.storage, key, seconds)
    except (StorageError, OSError) as error:
        log.warning("rate limit storage away, counting in this process", error=type(error).__name__)
        count, reset = _incremented(_spare, key, seconds)
    return Rate(amount, seconds, max(0, amount - count), reset, count <= amount)


def _incremented(storage: Storage, key: str, seconds: int) -> tuple[int, float]:
    return storage.incr(key, seconds), storage.get_expiry(key)


def add_headers(response: Response) -> None:
    """The figures of this request's limit, if any was counted."""
    rate: Rate | None = g.get("rate")
    if rate is not None:
        response.headers.extend(rate.headers)
