"""What can be asked of channels."""

from collections.abc import Iterable

from sqlalchemy import select

from app.actors import Actor
from app.alerts.models import Alert, AlertStatus
from app.database import session
from app.errors import NotFound
from app.fleet.models import Computer, ComputerTag
from app.journal.operations import Subject
from app.notifications.models import Channel

CARRIER = "channel"
TYPES = ("alert.fired", "alert.escalated", "alert.unmuted", "alert.resolved")  # docs/alerts.md


def _visible(channel: Channel, actor: Actor) -> bool:
    """Somebody of some tenants sees the channels that tell of nothing but those."""
    scope = channel.tenant_scope
    return actor.tenant_ids is None or (bool(scope) and scope is not None and scope <= actor.tenant_ids)


def limited_to(tenant_id: str) -> str | None:
    """Why a tenant cannot be deleted: they would be left with a narrower scope, and a log of what is not theirs any more."""
    found = [one for one in session().scalars(select(Channel)) if tenant_id in (one.tenant_scope or ())]
    return f"{len(found)} notification channels are limited to it" if found else None


def list_channels(actor: Actor) -> list[Channel]:
    """Those that the actor may see, by name."""
    found = session().scalars(select(Channel).order_by(Channel.name, Channel.created_at))
    return [channel for channel in found if _visible(channel, actor)]


def get_channel(channel_id: str, actor: Actor) -> Channel:
    """One channel. Raises NotFound when there is none, or none that the actor may see."""
    channel: Channel | None = session().get(Channel, channel_id)
    if channel is None or not _visible(channel, actor):
        raise NotFound("Channel not found")
    return channel


def enabled_channels() -> list[Channel]:
    """All through which anybody is to be told."""
    return list(session().scalars(select(Channel).where(Channel.enabled), execution_options={"populate_existing": True}))


def wanted_types() -> tuple[str, ...]:
    """The journal's types that channels are about, if there is one."""
    return TYPES if session().scalar(select(Channel.id).where(Channel.enabled).limit(1)) else ()


def tags_of(computer_uuids: Iterable[str]) -> dict[str, set[str]]:
    """Public id of a computer → its tags."""
    wanted = sorted(set(computer_uuids))
    found: dict[str, set[str]] = {}
    for chunk in (wanted[i : i + 500] for i in range(0, len(wanted), 500)):
        query = select(Computer.uuid, ComputerTag.tag).join(ComputerTag, ComputerTag.computer_id == Computer.id)
        for uuid, tag in session().execute(query.where(Computer.uuid.in_(chunk))):
            found.setdefault(uuid, set()).add(tag)
    return found


def nagging() -> list[Alert]:
    """Alerts that nobody has acknowledged and no silence mutes."""
    return list(session().scalars(select(Alert).where(Alert.status == AlertStatus.ACTIVE, Alert.muted.is_(False))))


def subject_of(channel: Channel) -> Subject:
    """A channel as the subject of a journal entry; without its address."""
    scope = channel.tenant_scope
    return Subject("channel", channel.id, channel.name, next(iter(scope)) if scope and len(scope) == 1 else None)


def subject(channel_id: str) -> Subject | None:
    """The same by id, None when it is deleted."""
    channel: Channel | None = session().get(Channel, channel_id)
    return subject_of(channel) if channel else None
