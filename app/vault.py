"""Secrets at rest (RELIABILITY 20): encrypted under keys that come from SECRET_KEY and are never stored. No Flask here.

MultiFernet of `cryptography`: AES-128-CBC with HMAC-SHA256 and the time of encryption. Keys by HKDF-SHA256 (RFC 5869).
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class VaultError(Exception):
    """A stored secret cannot be read: it was encrypted under another SECRET_KEY, or it is damaged."""

    def __init__(self) -> None:
        super().__init__("The stored secret cannot be read: it was encrypted under another SECRET_KEY, or it is damaged")


made_anew: list[Callable[["Vault"], None]] = []  # rooms say here what else is made anew when the first secret is replaced


def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


class Vault:
    """Encrypts and decrypts texts. The first of `secrets` encrypts, all of them decrypt, so that a secret can be replaced.

    Raises ValueError without a secret, or when one is empty.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if isinstance(secrets, str) or not secrets or not all(secrets):
            raise ValueError("a vault needs a list of one or more secrets, none of them empty")
        keys = [urlsafe_b64encode(_derive(secret, b"binnacle vault")) for secret in secrets]
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._fingerprint_key = _derive(secrets[0], b"binnacle vault fingerprint")

    def encrypt(self, text: str) -> str:
        """A token (URL-safe base64, ASCII, about 4/3 of the text's UTF-8 and 100 more). The same text gives another each time."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def decrypt(self, token: str) -> str:
        """The text of a token. Raises VaultError when no secret fits or the token is damaged."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except (InvalidToken, UnicodeError):
            raise VaultError from None

    def rotate(self, token: str) -> str:
        """The same text and time of encryption under the first secret. Raises VaultError as `decrypt` does."""
        try:
            return self._fernet.rotate(token.encode()).decode("ascii")
        except (InvalidToken, UnicodeError):
            raise VaultError from None

    def fingerprint(self, text: str) -> str:
        """HMAC-SHA256 as 64 hex digits: equal texts have equal ones, and nobody can guess the text without the key.

        It belongs to the first secret: when that is replaced, fingerprints that are stored have to be made again.
        """
        return hmac.new(self._fingerprint_key, text.encode(), hashlib.sha256).hexdigest()
