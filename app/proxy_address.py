"""Proxy addresses as people write them: what they mean, and how they may be shown."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote

PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # where none is given
HIDDEN = "***"
_SCHEME = re.compile(r"(https?|socks[45]?[ah]?|ftp)://", re.IGNORECASE)
_HOST = re.compile(r"\[([0-9A-Fa-f:.]+)\]|((?!-)[\w-]{1,63}(?:\.[\w-]{1,63})*)\.?")


@dataclass(frozen=True)
class ProxyAddress:
    """A proxy. `port` is None where the text gave none; user name and password are decoded, and not in the repr."""

    scheme: str
    host: str
    port: int | None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Reading:
    """One way to understand a text without its scheme; `shown` is the text with `***` in place of the credentials."""

    shown: str
    host: str
    port: int | None
    credentials: tuple[str, str | None] | None = None
    encoded: bool = False

    @property
    def certain(self) -> bool:
        """Whether the host cannot well be a user name."""
        return "." in self.host or ":" in self.host or self.host == "localhost"

    @property
    def complete(self) -> bool:
        """Whether user name and password are both there, where only the two together make sense."""
        return self.credentials is None or self.encoded or all(self.credentials)


def _end(text: str) -> tuple[str, int | None] | None:
    """`host`, `host:port`, `[v6]:port` or a bare IPv6 address; None for anything else."""
    if _is_ip(text):
        return text, None
    match = _HOST.match(text)
    if match is None:
        return None
    host, rest = match[1] or match[2], text[match.end() :]
    if _is_ip(host) != (match[1] is not None or host.replace(".", "").isdigit()):
        return None  # 1.2.3 and 2130706433 are no names; [what] is no address
    if not rest:
        return host, None
    if not re.fullmatch(r":[0-9]{1,5}", rest) or not 1 <= int(rest[1:]) <= 65535:
        return None
    return host, int(rest[1:])


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a scope may be any text, such as a password


def _readings(text: str, has_scheme: bool) -> Iterator[_Reading]:
    """Every way to understand the text, for user names and passwords may hold `@` and `:`, too."""
    if end := _end(text):
        yield _Reading(text, *end)
    left, at, right = text.rpartition("@")
    usual = _userinfo_first(left, right) if at else None
    if usual:
        yield usual
    left, at, right = text.partition("@")
    if at and not has_scheme and (end := _end(left)) and end[1] and not (usual and _is_ip(usual.host) and "@" not in right):
        yield _Reading(f"{left}@{HIDDEN}", *end, _two(right))  # host:port@user:pass, as some tools export
    match = re.fullmatch(r"((?:\[[^]]*\]|[^:\[\]]*):[0-9]+):(.+)", text, re.DOTALL)
    if match and (end := _end(match[1])):
        yield _Reading(f"{match[1]}:{HIDDEN}", *end, _two(match[2]))


def _two(credentials: str) -> tuple[str, str | None]:
    username, colon, password = credentials.partition(":")
    return username, password if colon else None


def _userinfo_first(left: str, right: str) -> _Reading | None:
    credentials, end = _two(left), _end(right)
    if end is None or (":" in right and _is_ip(right)) or not credentials[0] or _is_ip(credentials[0]):
        return None  # an IPv6 address needs its brackets here, and nobody is called like an address
    return _Reading(f"{HIDDEN}@{right}", *end, credentials, encoded=True)


def parse_proxy(text: str) -> ProxyAddress:
    """A proxy from `scheme://user:pass@host:port`, `host:port`, `user:pass@host:port` or `host:port:user:pass`.

    The scheme is http, https, socks5 or socks5h, by default http; before `@`, `%40` and the like are decoded, as curl does.
    Raises ValueError with a reason, which holds no part of the text, when it is no proxy address.
    """
    text = text.strip()
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else "http"
    if scheme not in PORTS or (not match and re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE)):
        raise ValueError(f"the scheme must be one of {', '.join(PORTS)}")
    rest = text[match.end() :].removesuffix("/") if match else text
    if not rest:
        raise ValueError("the host is missing")
    if re.search(r"[\s\x00-\x1f\x7f]", rest):
        raise ValueError("a proxy address has no spaces and no control characters")
    readings = [reading for reading in _readings(rest, match is not None) if reading.complete]
    if len(readings) > 1:
        readings = [reading for reading in readings if reading.certain]
        if len(readings) != 1:
            raise ValueError(
                "it can be read in more than one way; write scheme://user:password@host:port, with %3A for : and %40 for @"
            )
    if not readings:
        raise ValueError(
            "it is none of host:port, user:password@host:port, host:port:user:password, scheme://user:password@host:port"
        )
    return _checked(scheme, readings[0])


def _checked(scheme: str, reading: _Reading) -> ProxyAddress:
    try:
        host = reading.host if _is_ip(reading.host) else reading.host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError("the host is not a valid name") from None
    username, password = reading.credentials or (None, None)
    try:
        if reading.encoded:
            username = unquote(username or "", errors="strict")
            password = None if password is None else unquote(password, errors="strict")
        longest = max(len((username or "").encode()), len((password or "").encode()))
    except UnicodeError:
        raise ValueError("the user name or the password is not valid UTF-8") from None
    if longest > 255:  # RFC 1929
        raise ValueError("the user name and the password may have 255 bytes each")
    return ProxyAddress(scheme, host, reading.port, username, password)


def mask(text: str) -> str:
    """The address as it may be shown: `http://***@1.2.3.4:80`, `***@1.2.3.4:80`, `1.2.3.4:80:***`; unchanged without credentials.

    What cannot be understood, or in more than one way, is hidden whole: `***`, after the scheme if it has a known one.
    """
    stripped = text.strip()
    match = _SCHEME.match(stripped)
    scheme = match[0] if match else ""
    rest = stripped[len(scheme) :]
    slash = "/" if scheme and rest.endswith("/") else ""
    readings = list(_readings(rest.removesuffix(slash), bool(scheme)))
    if not rest or (len(readings) == 1 and readings[0].credentials is None):
        return text
    shown = readings[0].shown if len(readings) == 1 else HIDDEN
    return scheme + shown + ("" if shown.endswith(HIDDEN) else slash)
