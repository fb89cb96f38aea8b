"""What can be done with channels: make, change, test, delete; and which alerts each tells, when."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.actors import Actor
from app.alerts.models import Alert, Severity
from app.apprise_call import describe
from app.clock import now
from app.database import session
from app.deliveries import operations as deliveries
from app.deliveries import queries as delivery_queries
from app.deliveries.models import Delivery, DeliveryStatus
from app.deliveries.operations import NewDelivery
from app.errors import Invalid, field_error
from app.fleet.operations import clean_tags
from app.journal.models import JournalEntry
from app.journal.operations import record
from app.journal.queries import last_seq
from app.notifications import messages, queries
from app.notifications.messages import GROUP_FROM, TEST, Note
from app.notifications.models import Channel
from app.outbound import Network, refuse_literal
from app.tenants.queries import narrowed, require_scope
from app.vault import Vault

MAX_URL = 2000
MAX_REPEAT = 7 * 24 * 60  # minutes
HOLD_S, STORM_HOLD_S, STORM_WINDOW = 3.0, 30.0, timedelta(seconds=60)
RETURN_HOLD_S, DAMPING = 300.0, timedelta(minutes=30)
# Addresses whose host is a host: it may be shown. In all others what stands there may be a token.
_HOSTED = frozenset(
    {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "gotify", "gotifys", "mqtt", "mqtts", "rsyslog"}
)


# -- making and changing -------------------------------------------------------------------------------------------


def check_address(url: str, allow: Sequence[Network]) -> tuple[str, str, str]:
    """(the address, how it may be shown, what Apprise calls the service). Asks a process of its own, outside any transaction.
    Raises Invalid."""
    url = url.strip()
    schema, found, _ = url.partition("://")
    if not found or len(url) > MAX_URL or not url.isprintable():
        raise field_error("url", "Must be an Apprise URL such as slack://… or ntfy://…")
    host = ""
    if schema.lower() in _HOSTED:
        try:
            parts = urlsplit(url)
            host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
            refuse_literal(parts.hostname or "", allow)
        except ValueError:
            raise field_error("url", "This is not a URL") from None
        except Invalid as error:
            raise field_error("url", error.message) from None
    said = describe(url)
    if not said.ok:
        raise field_error("url", f"{(said.error or 'It cannot be used')[:200]}")
    return url, f"{schema.lower()}://{host or '***'}"[:300], (said.service or schema)[:100]


def create_channel(
    name: str, address: tuple[str, str, str], *, actor: Actor, vault: Vault, severities: Iterable[str] = ("warning", "critical"),
    tenant_ids: Iterable[str] | None = None, tag: str | None = None, repeat_minutes: int = 0, tell_recovery: bool = True,
    enabled: bool = True,
) -> Channel:  # fmt: skip
    """A channel that tells of what happens from now on; `address` is what `check_address` gave. Raises Invalid."""
    url, shown, service = address
    scope = require_scope(tenant_ids, actor)
    channel = Channel(
        name=name, url=vault.encrypt(url), shown=shown, service=service, severities=_severities(severities),
        all_tenants=scope is None, tenants=scope or [], tag=_tag(tag), repeat_minutes=_repeat(repeat_minutes),
        tell_recovery=tell_recovery, enabled=enabled, created_by_name=actor.name[:200],
    )  # fmt: skip
    session().add(channel)
    session().flush()
    deliveries.begin_following(queries.CARRIER)
    channel.since_seq = record(
        "channel.added", actor, queries.subject_of(channel), service=service, severities=channel.severities
    )
    return channel


def _severities(wanted: Iterable[str]) -> list[str]:
    chosen = set(wanted)
    known = [severity.value for severity in Severity]
    if not chosen or not chosen <= set(known):
        raise field_error("severities", "Choose at least one of " + " and ".join(known))
    return [severity for severity in known if severity in chosen]


def _tag(tag: str | None) -> str | None:
    return next(iter(clean_tags([tag])), None) if tag and tag.strip() else None


def _repeat(minutes: int) -> int:
    if not 0 <= minutes <= MAX_REPEAT:
        raise field_error("repeat_minutes", f"Must be between 0 (never) and {MAX_REPEAT}")
    return minutes


def update_channel(
    channel: Channel, changes: dict[str, Any], *, actor: Actor, vault: Vault, address: tuple[str, str, str] | None = None
) -> None:
    """Change what is given: name, severities, tenant_ids, tag, repeat_minutes, tell_recovery, enabled, and the address. Raises
    Invalid."""
    if address is not None:
        channel.url, channel.shown, channel.service = vault.encrypt(address[0]), address[1], address[2]
    if "severities" in changes:
        channel.severities = _severities(changes["severities"])
    if "tenant_ids" in changes:
        before, scope = channel.tenant_scope, require_scope(changes["tenant_ids"], actor)
        channel.all_tenants, channel.tenants = scope is None, scope or []
        if narrowed(before, channel.tenant_scope):
            deliveries.forget(queries.CARRIER, channel.id)  # its log and its queue speak of tenants that it no longer tells of
    if "tag" in changes:
        channel.tag = _tag(changes["tag"])
    if "repeat_minutes" in changes:
        channel.repeat_minutes = _repeat(changes["repeat_minutes"])
    channel.name = changes.get("name", channel.name)
    channel.tell_recovery = changes.get("tell_recovery", channel.tell_recovery)
    channel.updated_at = now()
    enabled = changes.get("enabled", channel.enabled)
    if enabled is not channel.enabled:
        channel.enabled = enabled
        if enabled:
            channel.since_seq = last_seq()
        else:
            deliveries.cancel_open(queries.CARRIER, channel.id)
    changed = sorted({*changes, *(["url"] if address else [])})
    record("channel.updated", actor, queries.subject_of(channel), changed=changed, enabled=channel.enabled)


def delete_channel(channel: Channel, *, actor: Actor) -> None:
    """Delete it with its deliveries."""
    record("channel.deleted", actor, queries.subject_of(channel))
    deliveries.forget(queries.CARRIER, channel.id)
    session().delete(channel)


def test_channel(channel: Channel, *, actor: Actor) -> Delivery:
    """Send a test message, also while it is disabled; the worker does so at once."""
    note = Note("test", message=f"{actor.name} asked for this test of the channel {channel.name}.")
    record("channel.tested", actor, queries.subject_of(channel))
    return deliveries.add_test(queries.CARRIER, channel.id, TEST, "Test", note.dump())


# -- what each channel tells ---------------------------------------------------------------------------------------


def route(entries: Sequence[JournalEntry]) -> list[NewDelivery]:
    """What each channel is to tell of these entries of alerts."""
    tags = queries.tags_of(uuid for entry in entries if (uuid := entry.data.get("computer")))
    made: list[NewDelivery] = []
    for channel in queries.enabled_channels():
        mine = [entry for entry in entries if entry.seq > channel.since_seq and _reaches(channel, entry, tags)]
        made += _Teller(channel, mine).tell() if mine else []
    return made


def _reaches(channel: Channel, entry: JournalEntry, tags: dict[str, set[str]]) -> bool:
    scope = channel.tenant_scope
    if scope is not None and entry.tenant_id not in scope:
        return False
    return channel.tag is None or channel.tag in tags.get(entry.data.get("computer") or "", ())


class _Teller:
    """One channel and entries in its scope: who was told of what decides what is to be told.

    What goes to and fro is not worth a message each time. A rule's first alert about a subject is told at once, so is its end.
    When it fires again within DAMPING, and no worse than before, that is told only if it stays: after RETURN_HOLD_S, and so late
    that no more than two messages fall into DAMPING."""

    def __init__(self, channel: Channel, entries: Sequence[JournalEntry]) -> None:
        self._channel, self._entries, moment = channel, entries, now()
        ids = [str(entry.subject_id) for entry in entries]
        self._rows = delivery_queries.about(queries.CARRIER, channel.id, ids)
        self._told = {alert: max(map(messages.severity_of, rows)) for alert, rows in self._rows.items()}
        lately = delivery_queries.lately(queries.CARRIER, channel.id, map(_topic, entries), moment - DAMPING)
        self._lately = {topic: [_memory(row) for row in rows] for topic, rows in lately.items()}
        recent = delivery_queries.made_since(queries.CARRIER, channel.id, moment - STORM_WINDOW)
        self._hold = STORM_HOLD_S if recent >= GROUP_FROM else HOLD_S
        self._made: list[NewDelivery] = []

    def tell(self) -> list[NewDelivery]:
        for entry in self._entries:
            alert, topic = str(entry.subject_id), _topic(entry)
            if entry.type in ("alert.resolved", "alert.escalated"):
                self._drop_waiting(alert)
            what = self._what(entry, self._told.get(alert, 0))
            if what is not None:
                severity = messages.rank(str(entry.data.get("severity")))
                hold = self._return_hold(topic, alert, severity) if what == "fired" else self._hold
                self._told[alert] = severity
                self._lately.setdefault(topic, []).append((now(), alert, severity))
                self._made.append(self._delivery(entry, what, hold))
        return self._made

    def _return_hold(self, topic: str, alert: str, severity: int) -> float:
        """For how many seconds an alert is held that comes when another of the same was told not long ago, and was no better."""
        before = self._lately.get(topic, [])
        if not any(bad >= severity for _, other, bad in before if other != alert):
            return self._hold
        third = [told + DAMPING for told, _, _ in before[-2:-1]]  # with two in the window, this waits until only one is
        return max([RETURN_HOLD_S, *((moment - now()).total_seconds() for moment in third)])

    def _drop_waiting(self, alert: str) -> None:
        """What waits to be told of it is overtaken by what is told now; then who has heard nothing of it was not told."""
        rows = self._rows.get(alert, [])
        soon = now() + delivery_queries.SHORT_HOLD
        waits = [row for row in rows if row.status is DeliveryStatus.QUEUED and row.due_at and (row.tries or row.due_at > soon)]
        deliveries.supersede(waits)
        self._made = [new for new in self._made if new.subject_id != alert or new.hold_s < RETURN_HOLD_S]
        heard = any(row not in waits or row.tries for row in rows) or any(new.subject_id == alert for new in self._made)
        if not heard:
            self._told.pop(alert, None)

    def _delivery(self, entry: JournalEntry, what: str, hold_s: float) -> NewDelivery:
        data, alert = entry.data, str(entry.subject_id)
        note = Note(
            what, alert, str(data.get("severity")), entry.subject_name or "", str(data.get("message") or ""),
            f"{entry.at:%Y-%m-%d %H:%M} UTC", data.get("duration_s"), data.get("reason"),
        )  # fmt: skip
        return NewDelivery(self._channel.id, f"journal:{entry.seq}", f"alert.{what}", note.title, note.dump(), entry.seq, alert,
                           _topic(entry), hold_s)  # fmt: skip

    def _what(self, entry: JournalEntry, told: int) -> str | None:
        """Which message an entry is, None for none. `told`: how bad the alert was when the channel was told, 0: it was not."""
        severity = str(entry.data.get("severity"))
        if entry.type == "alert.resolved":
            return "resolved" if told and self._channel.tell_recovery else None
        if entry.data.get("muted") or severity not in self._channel.severities:
            return None
        if entry.type == "alert.unmuted":
            worth = entry.data.get("status") == "active" and messages.rank(severity) > told
            return "fired" if worth else None
        return "escalated" if entry.type == "alert.escalated" and told else "fired"


def _memory(row: Delivery) -> tuple[datetime, str, int]:
    """When it was told, which alert that was, and how bad."""
    return row.created_at, str(row.subject_id), messages.severity_of(row)


def _topic(entry: JournalEntry) -> str:
    """A rule and what it watches: the same over all the alerts that come of it."""
    about = entry.data.get("subject") or {}
    return f"{entry.data.get('threshold')}:{about.get('kind')}:{about.get('id')}"[:160]


# -- repeating -----------------------------------------------------------------------------------------------------


def repeats() -> list[NewDelivery]:
    """What is to be told again, because it stays active and unacknowledged: each channel after its interval."""
    channels = [channel for channel in queries.enabled_channels() if channel.repeat_minutes]
    alerts = queries.nagging() if channels else []
    return [new for channel in channels for new in _again(channel, alerts)] if alerts else []


def repeat() -> int:
    """Make the deliveries for it; returns how many."""
    return len(deliveries.add(queries.CARRIER, repeats()))


def _again(channel: Channel, alerts: Sequence[Alert]) -> list[NewDelivery]:
    """Only what the channel was told of and told successfully is told again; what is still on its way is not doubled."""
    due, made = now() - timedelta(minutes=channel.repeat_minutes), []
    told = delivery_queries.about(queries.CARRIER, channel.id, [alert.id for alert in alerts])
    tags = queries.tags_of(alert.computer_uuid for alert in alerts if alert.computer_uuid) if channel.tag is not None else {}
    for alert in alerts:
        if channel.tenant_scope is not None and alert.tenant_id not in channel.tenant_scope:
            continue
        if channel.tag is not None and channel.tag not in tags.get(alert.computer_uuid or "", ()):
            continue
        rows = told.get(alert.id, [])
        if (
            not rows
            or any(row.is_open for row in rows)
            or rows[-1].created_at > due
            or alert.severity.value not in channel.severities
        ):
            continue
        since = f"{alert.fired_at:%Y-%m-%d %H:%M} UTC" if alert.fired_at else ""
        note = Note("repeated", alert.id, alert.severity.value, rows[0].title, alert.message, since)
        occasion = f"repeat:{alert.id}:{int(rows[-1].created_at.timestamp() * 1000)}"  # the same for two workers
        made.append(NewDelivery(channel.id, occasion, "alert.repeated", note.title, note.dump(), None,
                                alert.id, rows[0].topic, HOLD_S))  # fmt: skip
    return made
