"""A clock to turn, and what the tests of alerts ask of the database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select

from app import clock
from app.actors import SYSTEM, Actor
from app.alerts.deadlines import Reconciler, settle_due, turn_silences
from app.alerts.models import Alert, AlertStatus, Comparison, ScopeKind, Threshold
from app.alerts.operations import create_silence, create_threshold
from app.alerts.sources import follow
from app.clock import to_ms
from app.database import session, unit_of_work
from app.fleet.operations import sweep_offline
from app.journal.models import JournalEntry
from app.metrics.operations import NewSample, store


class Desk:
    """A simulated installation: `at` is the time now, which only `later` moves."""

    def __init__(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.at = app, clock.now().replace(microsecond=0)
        real = clock.now
        for name, module in list(sys.modules.items()):
            if name.startswith(("app.", "factories")) and getattr(module, "now", None) is real:
                monkeypatch.setattr(module, "now", lambda: self.at)
        self.reconciler = Reconciler()
        with unit_of_work():
            session().execute(delete(Threshold))
            session().execute(delete(JournalEntry).where(JournalEntry.type.like("threshold.%")))
        follow()

    def later(self, seconds: float = 0, *, work: bool = True) -> None:
        """Let time pass, and the worker do its chores."""
        self.at += timedelta(seconds=seconds)
        if work:
            self.work()

    def work(self) -> None:
        """The chores of the worker that have to do with alerts."""
        with unit_of_work():
            sweep_offline()
        follow()
        settle_due()
        turn_silences()
        self.reconciler.run()

    def rule(self, metric: str = "cpu", warning: float | None = 80.0, *, actor: Actor = SYSTEM, **values: Any) -> str:
        """A threshold; returns its id."""
        with unit_of_work():
            row = create_threshold({"metric": metric, "warning_value": warning} | values, actor=actor)
            return row.id

    def computer_rule(self, uuid: str, metric: str = "cpu", warning: float | None = 80.0, **values: Any) -> str:
        """A threshold of one computer."""
        return self.rule(metric, warning, scope=ScopeKind.COMPUTER, scope_id=uuid, **values)

    def silence(self, seconds: float, *, start: datetime | None = None, **values: Any) -> str:
        """A silence from now (or `start`) for so long; returns its id."""
        begins = start or self.at
        with unit_of_work():
            window = {"starts_at": begins, "ends_at": begins + timedelta(seconds=seconds)}
            return create_silence(window | values, actor=SYSTEM).id

    def sample(self, computer: int, cpu: float, *, ago: float = 0, **fields: Any) -> None:
        """A sample of now, or of so many seconds ago."""
        self.samples(computer, (ago, cpu), **fields)

    def samples(self, computer: int, *values: tuple[float, float], **fields: Any) -> None:
        """Samples that arrive together: (seconds ago, cpu)."""
        given = {"memory": 10.0, "disk": 20.0} | fields
        made = [NewSample(computer, to_ms(self.at) - round(ago * 1000), cpu, **given) for ago, cpu in values]
        with unit_of_work():
            store(made)

    def alerts(self, **where: Any) -> list[Alert]:
        """Alerts, oldest first."""
        with self.reading():
            found = list(session().scalars(select(Alert).filter_by(**where).order_by(Alert.pending_since, Alert.number)))
            session().expunge_all()
            return found

    def status(self) -> str:
        """The status of the only alert; "" when there is none."""
        found = self.alerts()
        assert len(found) <= 1
        return found[0].status.value if found else ""

    def told(self, *types: str) -> list[str]:
        """The journal's entries on alerts, in order, without their prefix."""
        return [entry.type.removeprefix("alert.") for entry in self.entries() if not types or entry.type in types]

    def entries(self) -> list[JournalEntry]:
        """The journal's entries on alerts, in order."""
        with self.reading():
            query = select(JournalEntry).where(JournalEntry.type.like("alert.%")).order_by(JournalEntry.seq)
            found = list(session().scalars(query))
            session().expunge_all()
            return found

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A fresh look at the database."""
        session().rollback()
        session().expire_all()
        yield
        session().rollback()


__all__ = ["Alert", "AlertStatus", "Comparison", "Desk", "ScopeKind"]
