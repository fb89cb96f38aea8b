"""Secrets that must not be shown, cut out of text that comes from outside, in every spelling in which they may come back."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

MASK = "***"
SHORTEST = 4  # shorter ones would take the text apart and hide nothing


def spellings(secret: str) -> set[str]:
    """The secret as it may stand in a text: plain, URL-encoded, base64."""
    plain = {secret, unquote_plus(secret)}
    found = set(plain)
    for one in plain:
        raw = one.encode("utf-8", "surrogateescape")
        found |= {quote(one, safe="", errors="replace"), quote(one, errors="replace"), quote_plus(one, errors="replace")}
        found |= {b64encode(raw).decode().rstrip("="), urlsafe_b64encode(raw).decode().rstrip("=")}
    return {one for one in found if len(one) >= SHORTEST}


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with every spelling of every secret replaced, the longest first."""
    for one in sorted({spelling for secret in secrets for spelling in spellings(secret)}, key=len, reverse=True):
        text = text.replace(one, MASK)
    return text


def shown_text(raw: bytes, secrets: Iterable[str], limit: int) -> str:
    """Bytes from outside as text to be stored and shown: masked, without control characters, at most `limit` characters."""
    text = mask_secrets(raw.decode("utf-8", errors="replace"), secrets)
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)[:limit]
