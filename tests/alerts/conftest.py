"""See kit.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

sys.path.insert(0, str(Path(__file__).parent))

from kit import Desk


@pytest.fixture
def desk(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A simulated installation without rules."""
    with app.app_context():
        yield Desk(app, monkeypatch)
