"""JSON and CSV shapes of `/api/v1/audit`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from app.actors import ActorKind
from app.journal.models import JournalEntry
from app.journal.queries import EntryFilter
from app.shapes import Answer, Moment, Query

BY = {
    "people": frozenset({ActorKind.USER, ActorKind.TOKEN, ActorKind.ANONYMOUS}),
    "programs": frozenset({ActorKind.KEY, ActorKind.HOST}),
    "binnacle": frozenset({ActorKind.SYSTEM}),
}


class AuditQuery(Query):
    """Filters of the audit; `type` may end in `*`, `by` is who did it: people, programs with a key, or Binnacle itself."""

    q: str = Field("", max_length=200)
    type: str = Field("", max_length=64)
    actor: str = Field("", max_length=200)
    by: Literal["", "people", "programs", "binnacle"] = ""
    start: Moment | None = None
    end: Moment | None = None
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(50, ge=1, le=500)

    @field_validator("start", "end", mode="before")
    @classmethod
    def _unset(cls, value: Any) -> Any:
        return None if value == "" else value  # a form without JavaScript sends its empty fields too

    def filter(self) -> EntryFilter:
        """As the domain takes it."""
        return EntryFilter(type=self.type, actor=self.actor, q=self.q, kinds=BY.get(self.by), start=self.start, end=self.end)


class EntryOut(Answer):
    """One entry."""

    seq: int
    at: datetime
    type: str
    actor_kind: str
    actor_id: str | None
    actor_name: str
    address: str | None
    request_id: str | None
    tenant_id: str | None
    subject_kind: str | None
    subject_id: str | None
    subject_name: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: JournalEntry) -> "EntryOut":
        return cls.model_validate({name: getattr(entry, name) for name in cls.model_fields})


class AuditPage(Answer):
    """A page of entries, newest first."""

    total: int
    page: int
    per_page: int
    entries: list[EntryOut]


CSV_COLUMNS = ("seq", "at", "type", "actor_kind", "actor_name", "address", "subject_kind", "subject_id", "subject_name",
               "tenant_id", "request_id", "data")  # fmt: skip
