"""How a channel is told: by a process of its own, at most 25 s. Runs in the worker's threads."""

import re
from urllib.parse import unquote, urlsplit

from flask import Flask

from app.apprise_call import Told, tell
from app.clock import now
from app.database import reading, session
from app.deliveries.operations import Claimed, Outcome
from app.factory import settings_of, vault_of
from app.masking import mask_secrets, shown_text
from app.notifications.messages import Note, write
from app.notifications.models import Channel
from app.retry_after import retry_after
from app.vault import VaultError

EXCERPT = 1000


def send(app: Flask, parcel: list[Claimed]) -> list[Outcome]:
    """Send a parcel as one message; its deliveries share what came of it."""
    with reading():
        channel = session().get(Channel, parcel[0].receiver_id)
        if channel is None:
            return [Outcome(False, error="the channel was deleted", final=True)] * len(parcel)
        if parcel[0].tries > 1 and not channel.enabled:  # it was under way when it was switched off
            return [Outcome(False, error="the channel was switched off", final=True)] * len(parcel)
        try:
            url = vault_of(app).decrypt(channel.url)
        except VaultError as error:
            return [Outcome(False, error=str(error), final=True)] * len(parcel)
        shown = channel.shown
    settings = settings_of(app)
    message = write([Note.load(claimed.payload) for claimed in parcel], settings.own_url)
    told = tell(url, message, settings.outbound_allow)
    return [_outcome(told, secrets_of(url, shown))] * len(parcel)


def secrets_of(url: str, shown: str) -> list[str]:
    """Every part of an Apprise URL that may be a secret: all but its scheme, and a host that is shown."""
    _, _, rest = url.partition("://")
    host = "" if shown.endswith("***") else (urlsplit(url).hostname or "")
    parts = {part for part in re.split(r"[/?&=@:#,+]", rest) if part}
    secrets = {url, rest, *parts, *(unquote(part) for part in parts)}
    return [secret for secret in secrets if secret and secret.lower() != host]


def _outcome(told: Told, secrets: list[str]) -> Outcome:
    error = mask_secrets(told.error, secrets) if told.error else None
    excerpt = shown_text(told.excerpt.encode(), secrets, EXCERPT) or None
    wait = None if told.ok else retry_after(told.retry_after, now())
    return Outcome(told.ok, told.status, told.latency_ms, error, excerpt, retry_after_s=wait)
