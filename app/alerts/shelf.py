"""The live alerts on computers as this process has read them, so that an alert that only goes on costs no question.

Every change of an alert takes the change clock `alerts` and stores it as the row's version. So what is kept is right as long as
the clock stands still, and else only what is newer has to be read. A row that is gone leaves no version: it is noticed because
the computer's own row counts its live alerts.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, select

from app.alerts.models import Alert
from app.database import session

_ALERTS: Any = Alert.__table__
_NEWER = select(*_ALERTS.c).where(_ALERTS.c.version > bindparam("seen"), _ALERTS.c.computer_id.is_not(None))
_OF = select(*_ALERTS.c).where(_ALERTS.c.live, _ALERTS.c.computer_id.in_(bindparam("ids", expanding=True)))
MOST_NEW = 2_000


class Shelf:
    """See above. Rows are mappings that nobody changes."""

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self._of: dict[int, dict[str, Mapping[str, Any]]] = {}

    def catch_up(self, now_at: int) -> None:
        """The clock stands at `now_at`: read what has changed since."""
        if now_at == self.seen:
            return
        newer = session().execute(_NEWER.limit(MOST_NEW + 1), {"seen": self.seen}).mappings().all() if self._of else []
        if len(newer) > MOST_NEW:
            self._of.clear()
            newer = []
        for row in newer:
            known = self._of.get(row["computer_id"])
            if known is not None:
                known.pop(row["id"], None)
                if row["live"]:
                    known[row["id"]] = dict(row)
        self.seen = now_at

    def rows(self, counts: Mapping[int, int]) -> Iterable[Mapping[str, Any]]:
        """The live alerts on computers (also those about runs there) of which this many are there, by internal id."""
        missing = [i for i, number in counts.items() if len(self._of.get(i, ())) != number]
        if missing:
            self._read(missing)
        return [row for i in counts for row in self._of[i].values()]

    def _read(self, ids: Collection[int]) -> None:
        for computer_id in ids:
            self._of[computer_id] = {}
        for row in session().execute(_OF, {"ids": list(ids)}).mappings():
            self._of[row["computer_id"]][row["id"]] = dict(row)


_kept: list[Shelf] = []


def shelf(now_at: int) -> Shelf:
    """This process's, up to date."""
    if not _kept:
        _kept.append(Shelf(now_at))
    _kept[0].catch_up(now_at)
    return _kept[0]


def forget_alerts() -> None:
    """Make this process read alerts anew."""
    _kept.clear()
