"""Which alerts a silence mutes. A muted alert is raised, shown and counted as any other; only nobody is told of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from app.alerts.matching import tags_of
from app.alerts.models import ScopeKind, Silence
from app.database import session


class Muter:
    """The silences that are on at a moment."""

    def __init__(self, moment: datetime) -> None:
        query = select(Silence).where(Silence.due_at.is_not(None), Silence.starts_at <= moment)
        self.silences = [row for row in session().scalars(query) if row.is_on(moment)]

    def verdicts(self, alerts: Sequence[Any]) -> list[bool]:
        """For each alert whether it is muted."""
        if not self.silences:
            return [False] * len(alerts)
        tagged = any(silence.scope is ScopeKind.TAG for silence in self.silences)
        tags = tags_of([alert.computer_id for alert in alerts if alert.computer_id is not None]) if tagged else {}
        return [any(covers(s, alert, tags.get(alert.computer_id, ())) for s in self.silences) for alert in alerts]


def covers(silence: Silence, alert: Any, tags: Any) -> bool:
    """Whether the alert is within the silence's scope."""
    if silence.tenant_id is not None and silence.tenant_id != alert.tenant_id:
        return False
    match silence.scope:
        case ScopeKind.ALL:
            return True
        case ScopeKind.TENANT:
            return bool(silence.scope_id == alert.tenant_id)
        case ScopeKind.TAG:
            return silence.scope_id in tags
        case ScopeKind.COMPUTER:
            return bool(silence.scope_id == alert.computer_uuid)
        case ScopeKind.THRESHOLD:
            return bool(silence.scope_id == alert.threshold_id)
