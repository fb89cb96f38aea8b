"""The TLS certificates in the files that the settings name: whose they are, who signed them, and when they end."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from .log import logger

# Where certbot and Caddy keep what they renew. Of a chain the first certificate is the computer's own.
DEFAULT_CERTIFICATES = (
    "/etc/letsencrypt/live/*/fullchain.pem",
    "/var/lib/caddy/.local/share/caddy/certificates/*/*/*.crt",
)
MAX_CERTIFICATES = 200
MAX_BYTES = 1024 * 1024
_PEM = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s+(.+?)-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.DOTALL
)


class Unusable(Exception):
    """The file holds no certificate that can be read; the message says why."""


def certificates(patterns: Sequence[str] = DEFAULT_CERTIFICATES) -> list[dict[str, Any]]:
    """The protocol's `certificates`: one entry a file, at most 200. What cannot be read is told with its reason.

    A pattern that matches nothing is no error, a plain path that is not there is one.
    """
    found = [_entry(path) for path in _paths(patterns)]
    if len(found) > MAX_CERTIFICATES:
        logger.warning("there are more than %d certificates: the rest is left out", MAX_CERTIFICATES)
    return found[:MAX_CERTIFICATES]


def _paths(patterns: Sequence[str]) -> Iterator[str]:
    """Each file once, in order, and a few too many where there are too many."""
    seen: set[str] = set()
    for pattern in patterns:
        matching = sorted(glob.iglob(pattern)) if glob.has_magic(pattern) else [pattern]
        if not matching and _is_closed(pattern):
            matching = [pattern]
        for path in matching:
            if path not in seen:
                seen.add(path)
                yield path
            if len(seen) > MAX_CERTIFICATES:
                return


def _is_closed(pattern: str) -> bool:
    """Whether the folder that a pattern begins in may not be listed: then nobody knows what it matches."""
    folder = os.path.dirname(pattern[: min(pattern.find(c) for c in "*?[" if c in pattern)])
    try:
        os.scandir(folder).close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _entry(path: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": path, "subject": None, "issuer": None, "not_after": None, "error": None}
    if glob.has_magic(path) and not os.path.lexists(path):
        return {**entry, "error": "its folder may not be listed"}
    try:
        return {**entry, **_parsed(_first(_read(path)))}
    except Unusable as error:
        return {**entry, "error": str(error)}


def _read(path: str) -> bytes:
    """A regular file's bytes, never waiting for a pipe or a device. Raises Unusable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise Unusable("it is no file")
            if about.st_size > MAX_BYTES:
                raise Unusable("it is larger than 1 MiB")
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        raise Unusable("it does not exist") from None
    except (OSError, ValueError) as error:
        raise Unusable(str(getattr(error, "strerror", None) or error)) from None


def _first(data: bytes) -> bytes:
    """The DER of the first certificate. Keys beside it are not looked at. Raises Unusable."""
    import base64

    block = _PEM.search(data)
    if block is None:
        if data[:1] == b"\x30":
            return data
        raise Unusable("it holds no certificate")
    try:
        return base64.b64decode(b"".join(block[1].split()), validate=True)
    except ValueError:
        raise Unusable("its certificate is damaged") from None


def _parsed(der: bytes) -> dict[str, Any]:
    """`subject`, `issuer`, `not_after`. Raises Unusable for whatever is no X.509 certificate."""
    from asn1crypto import x509  # 2 MB of memory, only where there is a certificate

    try:
        found = x509.Certificate.load(der)
        not_after = found.not_valid_after
        subject, issuer = _name(found.subject.native), _name(found.issuer.native, organisation=True)
        alternative = found.subject_alt_name_value
        if subject is None and alternative is not None:
            subject = next((str(name) for name in alternative.native if isinstance(name, str)), None)
        text = f"{not_after.year:04}-{not_after:%m-%dT%H:%M:%S}Z"
    except Exception as error:  # whatever a hostile file makes of the parser
        raise Unusable(f"its certificate is damaged ({type(error).__name__})") from None
    return {"subject": subject, "issuer": issuer, "not_after": text}


def _name(parts: Any, organisation: bool = False) -> str | None:
    """What people call it: the common name (behind the organisation, for who signs), or whatever it has."""
    wanted = ("organization_name", "common_name") if organisation else ("common_name",)
    chosen = [parts[key] for key in wanted if parts.get(key)] or list(parts.values())
    words = [str(word) for one in chosen for word in (one if isinstance(one, list) else [one])]
    return ", ".join(words) or None
