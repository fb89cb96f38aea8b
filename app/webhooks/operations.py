"""What can be done with webhooks: make, change, rotate the secret, test, delete; and what of the journal each is told."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from sqlalchemy import select

from app.actors import SYSTEM, Actor
from app.clock import iso, now
from app.database import session, unit_of_work
from app.deliveries import operations as deliveries
from app.deliveries.models import Delivery
from app.deliveries.operations import NewDelivery
from app.errors import Invalid, field_error
from app.journal.models import JournalEntry
from app.journal.operations import record
from app.journal.queries import last_seq
from app.masking import MASK
from app.outbound import Network, refuse_literal
from app.tenants.queries import narrowed, require_scope
from app.vault import Vault
from app.webhooks import queries
from app.webhooks.events import EVENTS, TEST, public
from app.webhooks.models import EVERYTHING, Webhook
from app.webhooks.signing import make_secret

ROTATION = timedelta(hours=24)  # how long the old secret signs as well
MAX_URL = 2000
MAX_SHOWN_QUERY = 1000


def shown(url: str) -> str:
    """An address as it may be shown: no user, no password, no path (which is a key with many services), and of its query only
    the names. Of what is shown already, the same."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    query = "&".join(_name_only(part) for part in parts.query.split("&") if part)
    path = f"/{MASK}" if parts.path.strip("/") else parts.path
    shorter = query if len(query) <= MAX_SHOWN_QUERY else MASK
    return urlunsplit((parts.scheme, f"{MASK}@{where}" if "@" in parts.netloc else where, path, shorter, ""))


def _name_only(part: str) -> str:
    name, found, _ = part.partition("=")
    return f"{name}={MASK}" if found else MASK


def _checked_url(url: str, allow: Sequence[Network]) -> str:
    from app.outbound_post import web_address  # see `app.pinned_network`

    url = url.strip()
    if len(url) > MAX_URL or not url.isprintable() or " " in url:
        raise field_error("url", f"Must be at most {MAX_URL} printable characters without spaces")
    if MASK in url:
        raise field_error("url", f"{MASK} stands for what is not shown; write the whole address")
    try:
        target, _ = web_address(url), shown(url)
    except ValueError as error:
        raise field_error("url", f"The address {error}") from None
    try:
        refuse_literal(target.host, allow)
    except Invalid as error:
        raise field_error("url", error.message) from None
    return url


def _checked_events(events: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(events))
    if not wanted:
        raise field_error("events", "Choose at least one event")
    for event in wanted:
        if event != EVERYTHING and event not in EVENTS:
            raise field_error("events", f"'{event[:64]}' is not an event; they are {', '.join(EVENTS)} and *")
    return [EVERYTHING] if EVERYTHING in wanted else wanted


def create_webhook(
    name: str, url: str, events: Iterable[str], *, actor: Actor, vault: Vault, allow: Sequence[Network],
    description: str | None = None, tenant_ids: Iterable[str] | None = None, enabled: bool = True,
) -> tuple[Webhook, str]:  # fmt: skip
    """A webhook and its secret, shown once. It is told what happens from now on. Raises Invalid."""
    url, secret, scope = _checked_url(url, allow), make_secret(), require_scope(tenant_ids, actor)
    webhook = Webhook(
        name=name, description=description, url=vault.encrypt(url), shown_url=shown(url), events=_checked_events(events),
        all_tenants=scope is None, tenants=scope or [], enabled=enabled, secret=vault.encrypt(secret),
        created_by_name=actor.name[:200],
    )  # fmt: skip
    session().add(webhook)
    session().flush()
    deliveries.begin_following(queries.CARRIER)
    webhook.since_seq = record(
        "webhook.added", actor, queries.subject_of(webhook), events=webhook.events, url=_public_part(webhook)
    )
    return webhook, secret


def _public_part(webhook: Webhook) -> str:
    """Scheme and host."""
    parts = urlsplit(webhook.shown_url)
    return f"{parts.scheme}://{parts.netloc}"


def update_webhook(webhook: Webhook, changes: dict[str, Any], *, actor: Actor, vault: Vault, allow: Sequence[Network]) -> None:
    """Change what is given: name, description, url (as it is shown: unchanged), events, tenant_ids, enabled. Raises Invalid."""
    given = dict(changes)
    if given.get("url") == webhook.shown_url:
        del given["url"]
    if "url" in given:
        url = _checked_url(given["url"], allow)
        webhook.url, webhook.shown_url = vault.encrypt(url), shown(url)
    if "events" in given:
        webhook.events = _checked_events(given["events"])
    if "tenant_ids" in given:
        before, scope = webhook.tenant_scope, require_scope(given["tenant_ids"], actor)
        webhook.all_tenants, webhook.tenants = scope is None, scope or []
        if narrowed(before, webhook.tenant_scope):
            deliveries.forget(queries.CARRIER, webhook.id)  # its log and its queue speak of tenants that it no longer tells of
    webhook.name = given.get("name", webhook.name)
    webhook.description = given.get("description", webhook.description)
    webhook.updated_at = now()
    enabled = given.get("enabled", webhook.enabled)
    if enabled is not webhook.enabled:
        _switch(webhook, enabled, None)
    record("webhook.updated", actor, queries.subject_of(webhook), changed=sorted(given), enabled=webhook.enabled)


def _switch(webhook: Webhook, enabled: bool, reason: str | None) -> None:
    """What happens while it is off is not told later."""
    webhook.enabled, webhook.disabled_reason = enabled, reason
    if enabled:
        webhook.since_seq = last_seq()
    else:
        deliveries.cancel_open(queries.CARRIER, webhook.id)


def retire(webhook_id: str) -> None:
    """Its receiver answered 410 Gone: it wants nothing any more."""
    webhook: Webhook | None = session().get(Webhook, webhook_id)
    if webhook is not None and webhook.enabled:
        _switch(webhook, False, "The receiver answered 410 Gone")
        record("webhook.disabled", SYSTEM, queries.subject_of(webhook), reason=webhook.disabled_reason)


def rotate_secret(webhook: Webhook, *, actor: Actor, vault: Vault) -> str:
    """A new secret, shown once; the old one signs as well for a day."""
    secret = make_secret()
    webhook.previous_secret, webhook.previous_until = webhook.secret, now() + ROTATION
    webhook.secret, webhook.updated_at = vault.encrypt(secret), now()
    record("webhook.secret_rotated", actor, queries.subject_of(webhook))
    return secret


def hide_addresses() -> int:
    """Hide what an earlier version has stored as fit to be shown; returns of how many webhooks. Called at the start."""
    query = select(Webhook.id, Webhook.shown_url)
    clear = [webhook_id for webhook_id, url in session().execute(query) if url != shown(url)]
    session().rollback()
    if clear:
        with unit_of_work():
            for webhook_id in clear:
                webhook = session().get(Webhook, webhook_id)
                webhook.shown_url = shown(webhook.shown_url)
    return len(clear)


def delete_webhook(webhook: Webhook, *, actor: Actor) -> None:
    """Delete it with its deliveries."""
    record("webhook.deleted", actor, queries.subject_of(webhook))
    deliveries.forget(queries.CARRIER, webhook.id)
    session().delete(webhook)


def test_webhook(webhook: Webhook, *, actor: Actor) -> Delivery:
    """Send it `webhook.test`, also while it is disabled; the worker does so at once."""
    body = _body(TEST, iso(now()), {"webhook_id": webhook.id, "name": webhook.name, "requested_by": actor.name})
    record("webhook.tested", actor, queries.subject_of(webhook))
    return deliveries.add_test(queries.CARRIER, webhook.id, TEST, "Test", body)


def _body(event: str, at: str | None, data: dict[str, Any]) -> str:
    """The one body of contracts 000 and 004, as JSON, without its signature."""
    body = {"event_type": event, "event": event, "timestamp": at, "instance_id": deliveries.instance_id(), "data": data}
    return orjson.dumps(body).decode()


def route(entries: Sequence[JournalEntry]) -> list[NewDelivery]:
    """What each webhook is to be told of these entries: those of its events, of its tenants, since it was made or switched on."""
    webhooks, made = [(one, one.tenant_scope) for one in queries.enabled_webhooks()], []
    for entry in entries:
        told = public(entry)
        if told is None:
            continue
        body = ""
        for webhook, scope in webhooks:
            if webhook.wants(told.event) and entry.seq > webhook.since_seq and (scope is None or entry.tenant_id in scope):
                body = body or _body(told.event, iso(entry.at), told.data)
                made.append(NewDelivery(webhook.id, f"journal:{entry.seq}", told.event, entry.subject_name or told.event, body,
                                        entry.seq, entry.subject_id))  # fmt: skip
    return made
