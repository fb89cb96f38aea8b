"""CSV lines written by the database itself: an SQL expression for each kind of cell, with the same text on SQLite and PostgreSQL.

The text is RFC 4180; what a spreadsheet would run as a formula begins with a ' (RELIABILITY 15). A NULL is an empty cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import Integer, String, Text, case, cast, func, literal_column, type_coerce
from sqlalchemy.sql.elements import ColumnElement

from app.web.csv import DANGEROUS

Sql = ColumnElement[Any]


class Kind(Enum):
    """What a column holds, and so how its cells are written."""

    TEXT = auto()  # anything: quoted, formulas made inert
    JSON = auto()  # a JSON document as it is stored: quoted
    WORD = auto()  # one of our own words, such as a status: as it is
    INTEGER = auto()
    TIME = auto()  # ms since 1970, as `datetime.isoformat` writes it: 2026-01-29T12:00:00+00:00, …00.123000+00:00
    SECONDS = auto()  # µs, as seconds that parse to the same float as µs / 1e6: 15.0, 0.25
    BOOLEAN = auto()  # true, false


@dataclass(frozen=True)
class Cell:
    """One column of an export: its header, and the SQL expression or mapped column that it shows."""

    header: str
    expression: Any
    kind: Kind

    @property
    def is_quoted(self) -> bool:
        """Whether its cells stand in quotes, all but the empty ones."""
        return self.kind in (Kind.TEXT, Kind.JSON)


def _text(value: str) -> Sql:
    """A constant, written into the statement: the database then has nothing to bind, and folds it."""
    return literal_column("'" + value.replace("'", "''") + "'", String)


def _number(value: int) -> Sql:
    return literal_column(str(value), Integer)


def _inert(value: Sql) -> Sql:
    dangerous = func.substr(value, _number(1), _number(1)).in_([_text(character) for character in DANGEROUS])
    return case((dangerous, _text("'").concat(value)), else_=value)


def _digits(value: Sql, places: int) -> Sql:
    """A number below 10 ** places with leading zeros."""
    return func.substr(cast(value + _number(10**places), Text), _number(2))


def _time(ms: Sql, dialect: str) -> Sql:
    second, rest = ms.op("/")(_number(1000)), ms % _number(1000)
    if dialect == "postgresql":
        utc = func.to_char(func.to_timestamp(second).op("AT TIME ZONE")(_text("UTC")), _text('YYYY-MM-DD"T"HH24:MI:SS'))
    else:
        utc = func.replace(func.datetime(second, _text("unixepoch")), _text(" "), _text("T"))
    fraction = _text(".").concat(_digits(rest, 3)).concat(_text("000+00:00"))
    return type_coerce(utc, String).concat(case((rest == _number(0), _text("+00:00")), else_=fraction))


def _seconds(us: Sql) -> Sql:
    """No floating point here: both databases would print it differently."""
    digits = _digits(us % _number(1_000_000), 6)
    kept = func.substr(digits, _number(1), _number(1)).concat(func.rtrim(func.substr(digits, _number(2)), _text("0")))
    return cast(us.op("/")(_number(1_000_000)), Text).concat(_text(".")).concat(kept)


def value(cell: Cell, dialect: str) -> Sql:
    """The text of a cell, not quoted yet; NULL for none."""
    match cell.kind:
        case Kind.TEXT:
            return _inert(type_coerce(cell.expression, String))
        case Kind.JSON | Kind.WORD:
            return type_coerce(cell.expression, String)
        case Kind.INTEGER:
            return cast(cell.expression, Text)
        case Kind.TIME:
            return _time(type_coerce(cell.expression, Integer), dialect)
        case Kind.SECONDS:
            return _seconds(type_coerce(cell.expression, Integer))
        case Kind.BOOLEAN:
            return case((cell.expression.is_(True), _text("true")), (cell.expression.is_(False), _text("false")))


def line(cells: Sequence[Cell], dialect: str) -> Sql:
    """One row as a line that ends with CR LF."""
    parts: list[Sql] = []
    for cell in cells:
        text = value(cell, dialect)
        if cell.is_quoted:
            text = _text('"').concat(func.replace(text, _text('"'), _text('""'))).concat(_text('"'))
        parts += [_text(","), func.coalesce(text, _text(""), type_=String)]
    whole = parts[1]
    for part in [*parts[2:], _text("\r\n")]:
        whole = whole.concat(part)
    return whole


def copy_command(select: str, cells: Sequence[Cell]) -> str:
    """PostgreSQL's COPY of a SELECT whose columns are `value` of the cells, named by `name_of`."""
    quoted = ", ".join(name_of(number) for number, cell in enumerate(cells) if cell.is_quoted)
    force = f", FORCE_QUOTE ({quoted})" if quoted else ""
    return f"COPY ({select}) TO STDOUT WITH (FORMAT csv{force})"


def name_of(number: int) -> str:
    """The name of a column of a COPY."""
    return f"cell_{number}"
