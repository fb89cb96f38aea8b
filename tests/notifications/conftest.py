"""A post office that carries on the clock of the simulated installation (`desk`)."""

import pytest
from alerts_kit import Desk
from flask import Flask
from post_office import Post


@pytest.fixture
def post(app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Its post office."""
    return Post(app, desk, monkeypatch)
