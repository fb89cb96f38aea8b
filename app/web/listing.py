"""Lists: columns, canonical queries and pages of rows. The URL is the state (ux/README.md, "Behaviour")."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlencode

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from app.errors import Invalid
from app.shapes import Fixed, Query
from app.web.body import field_errors

PER_PAGE = 50
_NOT_FILTERS = {"sort", "page", "per_page", "cols"}
MAX_PER_PAGE = 200


@dataclass(frozen=True)
class Column:
    """A column of a list; `key` is used in `sort` and `cols`."""

    key: str
    label: str
    sortable: bool = True
    align: str = ""
    default: bool = True


class ListQuery(Query):
    """What every list takes. A room's filters extend it and name their columns in `COLUMNS`."""

    model_config = ConfigDict(frozen=True)

    COLUMNS: ClassVar[tuple[Column, ...]] = ()
    DEFAULT_SORT: ClassVar[str] = ""

    q: str = Field("", max_length=200)
    sort: str = ""
    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(PER_PAGE, ge=1, le=MAX_PER_PAGE)
    cols: str = Field("", max_length=400)

    @field_validator("cols", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return ",".join(value) if isinstance(value, list) else value

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        sortable = {c.key for c in self.COLUMNS if c.sortable}
        if self.sort and self.sort.removeprefix("-") not in sortable:
            raise PydanticCustomError("sort", "sort: use one of {known}, with - for descending",
                                      {"known": ", ".join(sorted(sortable))})  # fmt: skip
        keys = {c.key for c in self.COLUMNS}
        if self.cols and not set(self.cols.split(",")) <= keys:
            raise PydanticCustomError("cols", "cols: use {known}, separated by commas", {"known": ", ".join(sorted(keys))})
        return self

    @classmethod
    def parse(cls, query_string: str) -> Self:
        """A query string as this model, the last of a repeated parameter counting. Raises Invalid."""
        try:
            given = parse_qs(query_string, max_num_fields=40)
            return cls.model_validate({name: items if name == "cols" else items[-1] for name, items in given.items()})
        except ValidationError as error:
            raise field_errors(error, "query") from None
        except ValueError:
            raise Invalid("too many parameters") from None

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.per_page

    @property
    def sort_key(self) -> str:
        """The column to sort by, with `-` for descending."""
        return self.sort or self.DEFAULT_SORT

    @property
    def shown(self) -> set[str]:
        """The keys of the columns to show."""
        return set(self.cols.split(",")) if self.cols else {c.key for c in self.COLUMNS if c.default}

    def filters(self) -> dict[str, str]:
        """The filters that are set, without sort, page and columns."""
        values = self.model_dump(exclude=_NOT_FILTERS, mode="json")
        return {k: str(v) for k, v in values.items() if v not in ("", None)}

    def _canonical(self, *, paging: bool, columns: bool) -> str:
        shown = {"sort": self.sort, "page": self.page, "per_page": self.per_page, "cols": self.cols}
        return self.compose(self.filters() | shown, paging=paging, columns=columns)

    @classmethod
    def compose(cls, values: Mapping[str, Any], *, paging: bool = True, columns: bool = True) -> str:
        """The query string of these values with everything at its default left out, in a fixed order."""
        defaults = {"sort": cls.DEFAULT_SORT, "page": 1, "per_page": PER_PAGE}
        left_out = () if paging else ("page", "per_page")
        if not columns:
            left_out = (*left_out, "cols")
        kept = {k: v for k, v in values.items() if v not in ("", None) and v != defaults.get(k) and k not in left_out}
        return urlencode(dict(sorted(kept.items())))

    def canonical(self, *, paging: bool = True) -> str:
        """The query string with everything at its default left out, in a fixed order."""
        return self._canonical(paging=paging, columns=True)

    def view(self) -> str:
        """The canonical query of the rows alone: what live tables share, whatever columns somebody shows."""
        return self._canonical(paging=True, columns=False)


@dataclass(frozen=True)
class Listing:
    """A page of a list without its rows, as templates take it: `app.web.parts` keeps what is rendered for equal ones. `lead` is
    how many cells a row has before its first column."""

    path: str
    query_model: ListQuery
    total: int
    options: Fixed[str, tuple[tuple[str, str], ...]]
    counts: Fixed[str, int]
    view_key: str
    lead: int = 1

    @property
    def page(self) -> int:
        return self.query_model.page

    @property
    def per_page(self) -> int:
        return self.query_model.per_page

    @property
    def pages(self) -> int:
        return max(1, ceil(self.total / self.per_page))

    @property
    def page_numbers(self) -> list[int | None]:
        """The pages to link to: the first, the last, two around this one; None where some are left out."""
        last = self.pages
        near = {1, last, *range(max(1, self.page - 2), min(last, self.page + 2) + 1)}
        numbers: list[int | None] = []
        for number in sorted(near):
            if numbers and number != (numbers[-1] or 0) + 1:
                numbers.append(None)
            numbers.append(number)
        return numbers

    @property
    def sort(self) -> str:
        return self.query_model.sort_key

    @cached_property
    def columns(self) -> list[dict[str, Any]]:
        shown = self.query_model.shown
        return [
            {"key": c.key, "label": c.label, "sortable": c.sortable, "align": c.align, "shown": c.key in shown}
            for c in self.query_model.COLUMNS
        ]

    @property
    def hidden(self) -> str:
        """Classes of the table that hide the columns not shown; with a cell for the ticks the first column is its second."""
        return "".join(f" bn-h{place}" for place, column in enumerate(self.columns, self.lead + 1) if not column["shown"])

    @cached_property
    def filters(self) -> dict[str, str]:
        return self.query_model.filters()

    @property
    def filtered(self) -> bool:
        """Whether any filter is set (an empty list then means "no match")."""
        return bool(self.filters)

    @cached_property
    def query(self) -> str:
        """The canonical query, without paging: what CSV links, saved views and bulk actions carry."""
        return self.query_model.canonical(paging=False)

    @cached_property
    def _values(self) -> dict[str, Any]:
        query = self.query_model
        return self.filters | {"sort": query.sort, "page": query.page, "per_page": query.per_page, "cols": query.cols}

    def url(self, **changes: Any) -> str:
        """This list's address with some of the query changed; a change of filter or sort goes back to page 1."""
        first = {"page": 1} if set(changes) - {"page", "cols"} else {}
        query = self.query_model.compose(self._values | changes | first)
        return f"{self.path}?{query}" if query else self.path
