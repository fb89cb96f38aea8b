"""The two signatures of a webhook (contracts/README.md, "Where documents meet"), both with the bytes of its secret.

`signature` in the body is HMAC-SHA256 over the canonical JSON of the body without it: sorted keys, no spaces, UTF-8 without ASCII
escapes. The headers are those of the Standard Webhooks specification, over the raw bytes.
"""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

PREFIX = "whsec_"


def make_secret() -> str:
    """A new secret: `whsec_` and base64 of 32 random bytes."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign."""
    return b64decode(secret.removeprefix(PREFIX))


def canonical(body: dict[str, Any]) -> bytes:
    """The bytes that `signature` covers, of a body without it."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def signed_body(body: dict[str, Any], secret: str) -> bytes:
    """The body with its `signature`, as the bytes to be sent."""
    digest = hmac.new(key_of(secret), canonical(body), hashlib.sha256).hexdigest()
    return canonical(body | {"signature": f"sha256={digest}"})


def headers(message_id: str, timestamp: int, raw: bytes, keys: Sequence[str]) -> list[tuple[str, str]]:
    """`webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature` with one signature for each secret."""
    content = f"{message_id}.{timestamp}.".encode() + raw
    signed = (b64encode(hmac.new(key_of(key), content, hashlib.sha256).digest()).decode() for key in keys)
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(f"v1,{one}" for one in signed)),
    ]


def message_id(delivery_id: str) -> str:
    """The id that a delivery keeps over all its retries, by which a receiver tells a repetition."""
    return f"msg_{delivery_id.replace('-', '')}"
