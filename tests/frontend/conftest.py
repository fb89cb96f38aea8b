"""A page that asks no server: static files come from the disk, pages from the templates. The browser is in tests/conftest.py."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from frontend_kit import JINJA, ORIGIN, STATIC
from jinja2 import Environment, StrictUndefined
from playwright.sync_api import Browser, Page, Route

TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@pytest.fixture(scope="session")
def jinja() -> Environment:
    return JINJA


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose console must stay clean: `page.problems` holds errors and refusals of the policy."""
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    problems: list[str] = []
    tab.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.problems = problems  # type: ignore[attr-defined]

    def static(route: Route) -> None:
        path = STATIC / route.request.url.split("?")[0].removeprefix(f"{ORIGIN}/static/")
        route.fulfill(body=path.read_bytes(), content_type=TYPES[path.suffix])

    tab.route(f"{ORIGIN}/static/**", static)
    yield tab
    tab.close()


@pytest.fixture
def strict(jinja: Environment) -> Environment:
    """The same environment, where a name that a page does not get is an error."""
    return jinja.overlay(undefined=StrictUndefined)
