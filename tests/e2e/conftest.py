"""The real product, for tests that drive it as a person does."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from launched import Launched


@pytest.fixture(scope="module")
def product() -> Iterator[Launched]:
    """The product as `make run` starts it, for the tests of one file."""
    launched = Launched()
    yield launched
    launched.stop()
