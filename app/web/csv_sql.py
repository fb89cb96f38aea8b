"""CSV lines written by the database itself: an SQL expression for each kind of cell, with the same text on SQLite and PostgreSQL.

The text is RFC 4180; what a spreadsheet would run as a formula begins with a ' (RELIABILITY 15). A NULL is an empty cell.
"""

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


def _text(value: str) -> Sql:
    """A constant, written into the statement: the database then has nothing to bind, and folds it."""
    return literal_column("'" + value.replace("'", "''") + "'", String)


def _number(value: int) -> Sql:
    return literal_column(str(value), Integer)


def _quoted(value: Sql, opening: Sql) -> Sql:
    return opening.concat(func.replace(value, _text('"'), _text('""'))).concat(_text('"'))


def _guarded(value: Sql) -> Sql:
    first = func.substr(value, _number(1), _number(1))
    dangerous = first.in_([_text(character) for character in DANGEROUS])
    return _quoted(value, case((dangerous, _text("\"'")), else_=_text('"')))


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


def _cell(cell: Cell, dialect: str) -> Sql:
    match cell.kind:
        case Kind.TEXT:
            written = _guarded(type_coerce(cell.expression, String))
        case Kind.JSON:
            written = _quoted(type_coerce(cell.expression, String), _text('"'))
        case Kind.WORD:
            written = type_coerce(cell.expression, String)
        case Kind.INTEGER:
            written = cast(cell.expression, Text)
        case Kind.TIME:
            written = _time(type_coerce(cell.expression, Integer), dialect)
        case Kind.SECONDS:
            written = _seconds(type_coerce(cell.expression, Integer))
        case Kind.BOOLEAN:
            written = case((cell.expression.is_(True), _text("true")), (cell.expression.is_(False), _text("false")))
    return func.coalesce(written, _text(""), type_=String)


def line(cells: tuple[Cell, ...], dialect: str) -> Sql:
    """One row as a line that ends with CR LF."""
    whole = _cell(cells[0], dialect)
    for cell in cells[1:]:
        whole = whole.concat(_text(",")).concat(_cell(cell, dialect))
    return whole.concat(_text("\r\n"))


def joined(lines: Any, dialect: str) -> Sql:
    """The lines of a sorted subquery as one text, in its order."""
    name = "string_agg" if dialect == "postgresql" else "group_concat"
    return getattr(func, name)(lines, _text(""), type_=String)  # type: ignore[no-any-return]
