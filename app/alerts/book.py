"""The alerts that one transaction touches: read first, changed in memory, written at the end with their journal entries.

Whoever changes alerts takes the fleet's change clock first (`open_book`), as whoever stores samples does; its lock orders them
all, on every process. The database holds that there is one open alert for each (threshold, subject), and each update names the
revision that it saw.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, select, tuple_, update

from app.actors import SYSTEM, Actor
from app.alerts.catalogue import About
from app.alerts.entries import Entry, describe, happening_of, pending
from app.alerts.models import ACTIVE, Alert, AlertStatus, Severity
from app.alerts.rules import Rule, State, severity_at
from app.alerts.silencing import Muter
from app.clock import now
from app.database import insert_ignore, session, upsert
from app.fleet.operations import CLOCK as FLEET
from app.fleet.operations import set_alert_counts
from app.journal.operations import record_all, tick

CLOCK = "alerts"
FLAP_WINDOW = timedelta(minutes=15)
FLAP_HOLD_S = 600
MAX_HOLD_S = 3600
LATCH = timedelta(hours=1)
_ALERTS: Any = Alert.__table__
_READ = select(*(column for column in _ALERTS.c))


@dataclass
class Book:
    """See above. `moment` is the time now."""

    moment: datetime
    entries: dict[tuple[str, str, str], Entry] = field(default_factory=dict)
    past: list[Entry] = field(default_factory=list)

    def load(self, where: Any) -> list[Entry]:
        """The live alerts that match, and keep them for changing."""
        return self.adopt(session().execute(_READ.where(_ALERTS.c.live, where)).mappings())

    def adopt(self, rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
        """Rows that were read in this transaction, or are known to be the same."""
        found = []
        for row in rows:
            key = row["threshold_id"], row["subject_kind"], row["subject_id"]
            known = self.entries.get(key)
            if known is None or known.status is AlertStatus.RESOLVED:
                known = self.entries[key] = Entry(row)
            found.append(known)
        return found

    def load_about(self, kind: str, ids: Sequence[str]) -> None:
        """The live alerts about these subjects."""
        if ids:
            self.load((_ALERTS.c.subject_kind == kind) & _ALERTS.c.subject_id.in_(ids))

    def find(self, rule: Rule, about: About) -> Entry | None:
        """What was loaded for a rule and a subject."""
        return self.entries.get((rule.id, about.kind, about.id))

    def begin(self, rule: Rule, about: About, state: State, value: float, said: str = "") -> Entry:
        """A limit is crossed: a pending alert."""
        entry = pending(rule, about, state, value, said, self.moment)
        if (latched := self.find(rule, about)) is not None:
            self.past.append(latched)
        self.entries[rule.id, about.kind, about.id] = entry
        return entry

    def fire(self, entry: Entry, rule: Rule, state: State, at: int, value: float | None, said: str = "") -> None:
        """It has held for long enough: active."""
        entry.status, entry.fired_at = AlertStatus.ACTIVE, self.moment
        entry.severity = severity_at(rule, state, at)
        entry.limit_value, entry.calm_since, entry.shift_since = rule.limit_of(entry.severity), None, None
        entry.hold_s = rule.hold_ms // 1000
        self._measured(entry, rule, value, said)
        entry.tell("alert.fired")

    def escalate(self, entry: Entry, rule: Rule, value: float | None, said: str = "") -> None:
        """A warning has become critical; one that somebody had acknowledged is active again."""
        reopened = entry.status is AlertStatus.ACKNOWLEDGED
        entry.status, entry.severity, entry.shift_since = AlertStatus.ACTIVE, Severity.CRITICAL, None
        entry.limit_value = rule.limit_of(Severity.CRITICAL)
        self._measured(entry, rule, value, said)
        entry.tell("alert.escalated", before="warning", reopened=reopened)

    def deescalate(self, entry: Entry, rule: Rule, value: float | None) -> None:
        """A critical one is only a warning now; nobody needs to be told."""
        entry.severity, entry.shift_since, entry.limit_value = Severity.WARNING, None, rule.limit_of(Severity.WARNING)
        self._measured(entry, rule, value, "")
        entry.tell("alert.deescalated", before="critical")

    @staticmethod
    def _measured(entry: Entry, rule: Rule, value: float | None, said: str) -> None:
        if value is not None:
            entry.value = value
            entry.message = (said or describe(rule.metric, rule.argument, rule.comparison, value, entry.limit_value))[:500]

    def resolve(self, entry: Entry, reason: str, *, actor: Actor = SYSTEM, latch: bool = False) -> None:
        """It is over. With `latch` (a person says so, while the limit may still be crossed) it does not come again at once."""
        if entry.status is AlertStatus.PENDING:
            self.drop(entry)
            return
        if entry.status is AlertStatus.RESOLVED:
            entry.latched_until, entry.live, entry.due_at = None, False, None
            return
        fired_at = entry.fired_at or self.moment
        entry.status, entry.resolved_at, entry.resolved_by = AlertStatus.RESOLVED, self.moment, actor.name[:200]
        entry.resolve_reason, entry.calm_since, entry.shift_since = reason, None, None
        entry.latched_until = self.moment + LATCH if latch else None
        entry.live, entry.due_at = latch, entry.latched_until
        entry.tell("alert.resolved", actor, by=actor.name, reason=reason,
                   duration_s=round((self.moment - fired_at).total_seconds(), 1))  # fmt: skip

    @staticmethod
    def drop(entry: Entry) -> None:
        """It was pending, and nothing came of it."""
        entry.dropped = True

    # -- writing --------------------------------------------------------------------------------------------------

    def save(self) -> list[Entry]:
        """Write what has changed and journal it; returns the entries that this transaction really changed."""
        every = [*self.past, *self.entries.values()]
        fired = [e for e in every if any(told[0] == "alert.fired" for told in e.told)]
        if fired:
            self._mute(fired)
            self._damp(fired)
        touched = [e for e in every if (e.new and not e.dropped) or (not e.new and (e.dropped or e.changes()))]
        if not touched:
            return []
        version = tick(CLOCK)  # for what does not show, too: see `shelf`
        done = self._insert([e for e in touched if e.new], version) + self._update([e for e in touched if not e.new], version)
        record_all([happening_of(entry, *told) for entry in done for told in entry.told])
        count_for({e.computer_id for e in done if e.computer_id is not None and (e.shows or e.dropped or "live" in e.changes())})
        return done

    @staticmethod
    def _mute(fired: Sequence[Entry]) -> None:
        muter = Muter(now())
        for entry, muted in zip(fired, muter.verdicts(fired), strict=True):
            entry.muted = muted

    def _damp(self, fired: Sequence[Entry]) -> None:
        """What was resolved only a while ago and fires again must be well for longer, twice as long each time."""
        pairs = [(e.threshold_id, e.subject_kind, e.subject_id) for e in fired]
        named = tuple_(_ALERTS.c.threshold_id, _ALERTS.c.subject_kind, _ALERTS.c.subject_id)
        query = select(named.clauses[0], named.clauses[2], func.max(_ALERTS.c.hold_s)).where(
            named.in_(pairs), _ALERTS.c.status == AlertStatus.RESOLVED, _ALERTS.c.resolved_at > self.moment - FLAP_WINDOW,
            _ALERTS.c.resolve_reason == "recovered",
        ).group_by(named.clauses[0], named.clauses[2])  # fmt: skip
        lately = {(row[0], row[1]): int(row[2]) for row in session().execute(query)}
        for entry in fired:
            before = lately.get((entry.threshold_id, entry.subject_id))
            if before is not None:
                entry.hold_s = min(MAX_HOLD_S, max(entry.hold_s, FLAP_HOLD_S, 2 * before))

    def _insert(self, entries: Sequence[Entry], version: int) -> list[Entry]:
        if not entries:
            return []
        rows = []
        for entry in entries:
            entry.version = version
            rows.append({column.name: getattr(entry, column.name) for column in _ALERTS.c})
        made: set[str] = set()
        for start in range(0, len(rows), 200):  # SQLite takes so many parameters
            statement = insert_ignore(upsert(_ALERTS, session().get_bind().dialect.name).values(rows[start : start + 200]))
            made |= set(session().scalars(statement.returning(_ALERTS.c.id)))
        return [entry for entry in entries if entry.id in made]

    def _update(self, entries: Sequence[Entry], version: int) -> list[Entry]:
        done = []
        for entry in entries:
            seen = (_ALERTS.c.id == entry.id) & (_ALERTS.c.revision == entry.revision)
            if entry.dropped:
                statement: Any = delete(_ALERTS).where(seen)
            else:
                changed = entry.changes() | {"revision": entry.revision + 1, "version": version}
                if entry.shows:
                    changed["updated_at"] = self.moment
                statement = update(_ALERTS).where(seen).values(**changed)
            if session().execute(statement).rowcount:
                done.append(entry)
        return done


def open_book() -> Book:
    """Begin to change alerts: from here to the commit nobody else does."""
    tick(FLEET)
    return Book(now())


def count_for(computer_ids: Iterable[int]) -> None:
    """Count the alerts of computers anew and keep the numbers on their rows."""
    ids = list(computer_ids)
    for start in range(0, len(ids), 1000):
        part = ids[start : start + 1000]
        active = _ALERTS.c.status.in_(ACTIVE)
        columns = [func.count(), *(func.sum(case((active & (_ALERTS.c.severity == s), 1), else_=0)) for s in Severity)]
        query = select(_ALERTS.c.computer_id, *columns).where(_ALERTS.c.computer_id.in_(part), _ALERTS.c.live)
        found = {
            row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in session().execute(query.group_by(_ALERTS.c.computer_id))
        }
        set_alert_counts({i: found.get(i, (0, 0, 0)) for i in part})
