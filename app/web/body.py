"""Bodies of requests, read strictly (RELIABILITY 11, 12): size and depth before the parse, then types."""

import re
from typing import Any, TypeVar

import orjson
from flask import Request
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError

from app.errors import FieldError, Invalid, Malformed, TooLarge

M = TypeVar("M", bound=BaseModel)
MAX_BODY = 1 << 20
MAX_INGEST = 5 << 20
MAX_DEPTH = 32
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def read_raw(request: Request, limit: int = MAX_BODY) -> bytes:
    """The body's bytes. Raises TooLarge past `limit` bytes, before reading more, and Malformed when less came than was said, or
    chunks that are none (RFC 9112, section 8)."""
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(details=f"at most {limit} bytes")
    try:
        raw = request.stream.read(limit + 1)
    except (ParseException, OSError):
        raise Malformed(details="The body is cut off or wrongly encoded") from None
    if len(raw) > limit:
        raise TooLarge(details=f"at most {limit} bytes")
    if length is not None and len(raw) < length:
        raise Malformed(details="The body is cut off")
    return raw


def parse_json(raw: bytes) -> Any:
    """Parse JSON as RFC 8259 has it. Raises Malformed for anything else: NaN, invalid UTF-8, lone surrogates, NUL,
    numbers past a double or a 64-bit integer, nesting deeper than MAX_DEPTH."""
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(raw)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed("Invalid request", details=f"The body is not valid JSON: {error.msg}") from None
    if b"\\u0000" in raw:
        _refuse_nul(value)
    if _LONG_NUMBER.search(raw):
        _refuse_big(raw)
    return value


def _check_depth(raw: bytes) -> None:
    depth = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", raw)):
        depth += 1 if match[0] in (b"[", b"{") else -1
        if depth > MAX_DEPTH:
            raise Malformed("Invalid request", details=f"The body is nested deeper than {MAX_DEPTH} levels")


def _refuse_nul(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Malformed("Invalid request", details="A string contains a NUL character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_nul(key)
            _refuse_nul(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_nul(item)


def _refuse_big(raw: bytes) -> None:
    for match in re.finditer(rb"-?[0-9]{19,}(?![0-9]*[.eE])", _STRINGS.sub(b"", raw)):
        if not -(2**63) <= int(match[0]) < 2**63:
            raise Malformed("Invalid request", details="A number does not fit in 64 bits")


def read_object(request: Request, limit: int = MAX_BODY) -> tuple[bytes, dict[str, Any]]:
    """The body as bytes and as a JSON object. Raises TooLarge, or Malformed when it is not an object."""
    raw = read_raw(request, limit)
    return raw, parse_object(raw)


def parse_object(raw: bytes) -> dict[str, Any]:
    """JSON that is an object. Raises Malformed."""
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise Malformed("Invalid request", details="The body must be a JSON object")
    return value


def field_errors(error: ValidationError, where: str) -> Invalid:
    """A pydantic error as ours, worded for people."""
    rows = [
        FieldError((where, *row["loc"]), _say(row["type"], row["loc"], row.get("ctx") or {}, row["msg"]), row["type"])
        for row in error.errors(include_url=False, include_input=False)
    ]
    return Invalid(errors=rows)


def _say(kind: str, loc: tuple[int | str, ...], ctx: dict[str, Any], default: str) -> str:
    name = str(loc[-1]).replace("_", " ").capitalize() if loc else "Value"
    match kind:
        case "missing":
            return f"{name} is required"
        case "string_too_short":
            return f"{name} must be at least {ctx['min_length']} characters"
        case "string_too_long":
            return f"{name} must be at most {ctx['max_length']} characters"
        case "value_error":
            return default.removeprefix("Value error, ")
        case _:
            return default


def validate_body(model: type[M], request: Request, limit: int = MAX_BODY) -> M:
    """The JSON body as `model`. Raises Malformed, TooLarge or Invalid."""
    raw, _ = read_object(request, limit)
    return validate_json(model, raw)


def validate_json(model: type[M], raw: bytes | str) -> M:
    """JSON that `parse_json` has accepted, as `model`. Raises Invalid."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise field_errors(error, "body") from None


def validate_query(model: type[M], request: Request) -> M:
    """The query string as `model`; the last of a repeated parameter counts. Raises Invalid."""
    values = {}
    for name, items in request.args.lists():
        if any("\x00" in item for item in items):
            raise Invalid(errors=[FieldError(("query", name), "contains a NUL character")])
        values[name] = items if name == "cols" else items[-1]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise field_errors(error, "query") from None
