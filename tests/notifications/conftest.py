"""A simulated installation with its alerts (tests/alerts/kit.py), and a post office that carries on the same clock."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

for folder in ("alerts", "notifications"):
    sys.path.append(str(Path(__file__).parent.parent / folder))

from kit import Desk  # noqa: E402 (after the path is set)
from post import Post  # noqa: E402


@pytest.fixture
def desk(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A simulated installation without rules."""
    with app.app_context():
        yield Desk(app, monkeypatch)


@pytest.fixture
def post(app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Its post office."""
    return Post(app, desk, monkeypatch)
