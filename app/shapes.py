"""Bases of everything that comes in as JSON or as a query string. No Flask here."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Base of JSON bodies: strict types, no NaN, unknown fields ignored (contracts/README.md, rule 4)."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, str_max_length=100_000)


class Query(BaseModel):
    """Base of query strings: lax, because everything arrives as text."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, str_max_length=1_000)
