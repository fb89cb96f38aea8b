"""A post office on a simulated clock."""

from typing import Any

import pytest
from alerts_kit import Desk
from flask import Flask

from app.apprise_call import Message, Told
from app.database import unit_of_work
from app.deliveries.courier import Courier, deliver
from app.deliveries.operations import carriers
from app.notifications import operations, sender


class Post:
    """The worker's part on the simulated clock. `sent` is what Apprise would have been told, as (URL, message)."""

    def __init__(self, app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.desk, self.sent = app, desk, []
        self.answer = Told(True, 1.0, 200)
        self._courier = Courier(app)
        monkeypatch.setattr(sender, "tell", self._tell)

    sent: list[tuple[str, Message]]

    def _tell(self, url: str, message: Message, *_: Any) -> Told:
        if self.answer.ok:
            self.sent.append((url, message))
        return self.answer

    def work(self) -> None:
        """Everything that is due now."""
        with unit_of_work():
            operations.repeat()
        while parcels := self._courier.take(carriers["channel"]):
            for parcel in parcels:
                deliver(self.app, carriers["channel"], parcel)

    def later(self, seconds: float, step: float = 10.0) -> None:
        """Let time pass, and alerts and channels work."""
        self.work()
        while seconds > 0:
            self.desk.later(min(step, seconds))
            self.work()
            seconds -= step

    def titles(self) -> list[str]:
        """The titles so far."""
        return [message.title for _, message in self.sent]
