"""One line for each record: JSON when stderr is not a terminal, and never a key."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, TextIO

logger = logging.getLogger("binnacle_connector")

_KEY = re.compile(r"chatops_[A-Za-z0-9_\-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def redact(text: str) -> str:
    """`text` with every host key masked and every control character made visible."""
    masked = _KEY.sub("chatops_***", text)
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", masked)


def brief(value: Any, limit: int = 200) -> str:
    """What a peer sent, as at most `limit` harmless characters."""
    text = value if isinstance(value, str) else repr(value)
    return redact(text[:limit])


class _OneLine(logging.Formatter):
    """Common to both shapes: the message, with an exception's type and words behind it."""

    def words(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text += f": {type(error).__name__}: {error}"
        return redact(text)

    def clock(self, record: logging.LogRecord) -> str:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{whole}.{int(record.msecs):03d}Z"


class _Text(_OneLine):
    def format(self, record: logging.LogRecord) -> str:
        return f"{self.clock(record)} {record.levelname.lower()} {self.words(record)}"


class _Json(_OneLine):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"time": self.clock(record), "level": record.levelname.lower(), "message": self.words(record)}
        return json.dumps(fields, ensure_ascii=False)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send the connector's log to `stream` (stderr) from `level` (debug, info, warning, error) up."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Text() if target.isatty() else _Json())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(_LEVELS[level])
