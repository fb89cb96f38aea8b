"""How a webhook is told: one signed POST, within 10 s. Runs in the worker's threads, outside any transaction but for a read."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from flask import Flask

from app import __version__
from app.clock import now
from app.database import reading, session
from app.deliveries.operations import Claimed, Outcome
from app.factory import settings_of, vault_of
from app.masking import shown_text
from app.retry_after import retry_after
from app.vault import VaultError
from app.webhooks import signing
from app.webhooks.models import Webhook

if TYPE_CHECKING:
    from app.outbound_post import Answer

TIMEOUT_S = 10.0
EXCERPT = 1000


def send(app: Flask, parcel: list[Claimed]) -> list[Outcome]:
    """Send a parcel of one."""
    return [_send(app, claimed) for claimed in parcel]


def _send(app: Flask, claimed: Claimed) -> Outcome:
    from app.outbound_post import post  # see `app.pinned_network`

    with reading():
        webhook = session().get(Webhook, claimed.receiver_id)
        if webhook is None:
            return Outcome(False, error="the webhook was deleted", final=True)
        if claimed.tries > 1 and not webhook.enabled:  # it was under way when it was switched off
            return Outcome(False, error="the webhook was switched off", final=True)
        try:
            url, keys = _opened(app, webhook)
        except VaultError as error:
            return Outcome(False, error=str(error), final=True)
    raw = signing.signed_body(orjson.loads(claimed.payload), keys[0])
    headers = [("Content-Type", "application/json"), ("User-Agent", f"Binnacle-Webhooks/{__version__}")]
    headers += signing.headers(signing.message_id(claimed.id), int(now().timestamp()), raw, keys)
    answer = post(url, raw, headers, allow=settings_of(app).outbound_allow, timeout_s=TIMEOUT_S)
    return _outcome(answer, [*keys, *_secrets_in(url)])


def _opened(app: Flask, webhook: Webhook) -> tuple[str, list[str]]:
    """The address and the secrets that sign now, the newest first."""
    vault = vault_of(app)
    keys = [vault.decrypt(webhook.secret)]
    if webhook.previous_secret and webhook.previous_until and webhook.previous_until > now():
        keys.append(vault.decrypt(webhook.previous_secret))
    return vault.decrypt(webhook.url), keys


def _secrets_in(url: str) -> list[str]:
    """All of an address that `operations.shown` does not show."""
    parts = urlsplit(url)
    asked = [value if found else name for name, found, value in (part.partition("=") for part in parts.query.split("&"))]
    return [one for one in (parts.username, parts.password, parts.path, *parts.path.split("/"), *asked) if one]


def _outcome(answer: "Answer", secrets: list[str]) -> Outcome:
    secrets = [*secrets, *(key.removeprefix(signing.PREFIX) for key in secrets)]
    error = answer.error
    if not answer.ok and answer.status is not None:
        redirect = ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
        error = f"answered {answer.status}{redirect}"
    return Outcome(
        answer.ok, answer.status, answer.latency_ms, error, shown_text(answer.body, secrets, EXCERPT) or None,
        retry_after_s=None if answer.ok else retry_after(answer.headers.get("retry-after"), now()), gone=answer.status == 410,
    )  # fmt: skip
