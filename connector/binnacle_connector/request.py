"""What an execute_command asks for, checked field by field before anything is done."""

from __future__ import annotations

import datetime
import math
import os
import re
from typing import Any, NamedTuple

SHELLS = ("sh", "bash", "powershell", "pwsh", "cmd")
DEFAULT_SHELL = "powershell" if os.name == "nt" else "sh"
DEFAULT_TIMEOUT = 300.0
MAX_TIMEOUT = 7 * 24 * 3600.0
MAX_COMMAND = 128 * 1024 - 1  # Linux takes no longer argument
MAX_ENVIRONMENT = 256 * 1024
MAX_ID = 200

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Refused(Exception):
    """The request cannot be carried out as it stands; the message is a sentence for whoever sent it."""


class Request(NamedTuple):
    """One command: `timeout` in seconds, `expires` as Unix time by the server's clock."""

    request_id: str
    command: str
    timeout: float = DEFAULT_TIMEOUT
    shell: str = DEFAULT_SHELL
    cwd: str | None = None
    env: dict[str, str] = {}
    expires: float | None = None


def request_id_of(message: dict[str, Any]) -> str | None:
    """The id that an answer can name, or none."""
    value = message.get("request_id")
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable() else None


def parse(request_id: str, message: dict[str, Any]) -> Request:
    """The request in `message`. Absent and null are the same. Raises Refused."""
    shell = DEFAULT_SHELL if message.get("shell") is None else message["shell"]
    if shell not in SHELLS:
        raise Refused(f"The shell must be one of {', '.join(SHELLS)}.")
    cwd = message.get("cwd")
    if cwd is not None and (not _is_plain(cwd) or not os.path.isabs(cwd)):
        raise Refused("The working folder (cwd) must be an absolute path.")
    return Request(
        request_id, _command(message), _timeout(message), shell, cwd, _env(message), _expires(message.get("expires"))
    )


def unix_time(text: Any) -> float | None:
    """An RFC 3339 time as Unix time, or none when it is not one."""
    found = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    date, clock, fraction, zone = found.groups()
    offset = "+00:00" if zone in "Zz" else zone
    try:
        whole = datetime.datetime.fromisoformat(f"{date}T{clock}{offset}").timestamp()
    except (ValueError, OverflowError):
        return None
    return whole + float(fraction or 0)


def _is_plain(value: Any) -> bool:
    """Text that an operating system takes: no NUL, and nothing that UTF-8 cannot say."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _command(message: dict[str, Any]) -> str:
    command = message.get("command")
    if not isinstance(command, str) or not command.strip():
        raise Refused("The command must be text and not empty.")
    if not _is_plain(command):
        raise Refused("The command holds a NUL or characters that are not Unicode.")
    if len(command.encode("utf-8")) > MAX_COMMAND:
        raise Refused(f"The command is longer than {MAX_COMMAND:,} bytes.")
    return command


def _timeout(message: dict[str, Any]) -> float:
    value = message.get("timeout")
    if value is None:
        return DEFAULT_TIMEOUT
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not (math.isfinite(value) if isinstance(value, float) else True) or not 0 < value <= MAX_TIMEOUT:
        raise Refused(f"The timeout must be a number of seconds above 0 and at most {MAX_TIMEOUT:,.0f}.")
    return float(value)


def _env(message: dict[str, Any]) -> dict[str, str]:
    env = message.get("env")
    if env is None:
        return {}
    if not isinstance(env, dict) or not all(
        _is_plain(name) and name and "=" not in name and _is_plain(value) for name, value in env.items()
    ):
        raise Refused("The environment (env) must be an object of names and texts.")
    if sum(len(name.encode()) + len(value.encode()) + 2 for name, value in env.items()) > MAX_ENVIRONMENT:
        raise Refused(f"The environment (env) is larger than {MAX_ENVIRONMENT:,} bytes.")
    return env


def _expires(value: Any) -> float | None:
    if value is None:
        return None
    moment = unix_time(value)
    if moment is None:
        raise Refused("The time in expires must be RFC 3339 with a zone, such as 2026-01-01T00:00:00Z.")
    return moment
