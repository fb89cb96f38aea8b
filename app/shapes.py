"""Bases of everything that comes in as JSON or as a query string, and mappings that can be keys. No Flask here."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict

K = TypeVar("K")
V = TypeVar("V")


class Body(BaseModel):
    """Base of JSON bodies: strict types, no NaN, unknown fields ignored (contracts/README.md, rule 4)."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, str_max_length=100_000)


class Query(BaseModel):
    """Base of query strings: lax, because everything arrives as text."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, str_max_length=1_000)


class Fixed(dict[K, V]):
    """A mapping that nobody changes once it is made, so that it can be a key, as a frozen set can. Its values are hashable."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))
