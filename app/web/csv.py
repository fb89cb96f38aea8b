"""CSV by RFC 4180, streamed, with spreadsheet formulas made inert (RELIABILITY 15)."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from flask import Response, stream_with_context

from app.clock import iso, now

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
_CHUNK_ROWS = 500


def cell(value: Any) -> Any:
    """A value as a cell: times as RFC 3339, lists joined with spaces, text that a spreadsheet would run with a leading '."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        value = " ".join(str(item) for item in value)
    if isinstance(value, str) and value.startswith(DANGEROUS):
        return "'" + value
    return value


def stream(header: Iterable[str], rows: Iterable[Iterable[Any]], name: str) -> Response:
    """A download `<name>_YYYYmmdd_HHMMSS.csv` that starts at once and keeps only a chunk in memory."""

    def chunks() -> Iterator[str]:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow(header)
        for number, row in enumerate(rows, 1):
            writer.writerow([cell(value) for value in row])
            if number % _CHUNK_ROWS == 0:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue()

    return attachment(stream_with_context(chunks()), name)


def attachment(body: Iterable[Any], name: str) -> Response:
    """A streamed body as a download `<name>_YYYYmmdd_HHMMSS.csv`."""
    response = Response(body, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}_{now():%Y%m%d_%H%M%S}.csv"'
    return response
