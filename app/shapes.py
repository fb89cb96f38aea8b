"""Bases of everything that comes in as JSON or as a query string, and mappings that can be keys. No Flask here."""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

K = TypeVar("K")
V = TypeVar("V")


def _utc(moment: datetime) -> datetime:
    if not 2 <= moment.year <= 9998:  # a zone, here or where it is shown, could carry it past the calendar
        raise ValueError("is not a time that can be stored")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_utc)]
"""A time in UTC; without a zone it counts as UTC, as elsewhere in the contracts."""


class Answer(BaseModel):
    """Base of what is answered. Validators are built when they are first used: most processes need few of them."""

    model_config = ConfigDict(defer_build=True)


def signed_32(code: int) -> int:
    """An exit code as it is stored, in 32 bits with a sign: Windows tells those of crashes without one."""
    return code - 2**32 if code >= 2**31 else code


ExitCode = Annotated[int, Field(ge=-(2**31), lt=2**32), AfterValidator(signed_32)]


class Body(BaseModel):
    """Base of JSON bodies: strict types, no NaN, unknown fields ignored (contracts/README.md, rule 4)."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, str_max_length=100_000, defer_build=True)


class Query(BaseModel):
    """Base of query strings: lax, because everything arrives as text."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, str_max_length=1_000, defer_build=True)


class Fixed(dict[K, V]):
    """A mapping that nobody changes once it is made, so that it can be a key, as a frozen set can. Its values are hashable."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))
