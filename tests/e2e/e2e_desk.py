"""A person's browser on the real product."""

from typing import Any

from launched import Launched
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

_logins: dict[tuple[str, str], Any] = {}


class Desk:
    """A person's browser on the product. Every tab's console must stay clean: `problems` holds what was not."""

    def __init__(self, browser: Browser, product: Launched, **options: Any) -> None:
        self.product = product
        self.context: BrowserContext = browser.new_context(
            **{"base_url": product.url, "viewport": {"width": 1440, "height": 900}} | options
        )
        self.context.set_default_timeout(20_000)
        self.problems: list[str] = []
        self.found: list[tuple[str, ...]] = []  # what axe found on pages that are there only once

    def tab(self, path: str | None = None) -> Page:
        """A new tab."""
        page = self.context.new_page()
        page.on("console", lambda line: self._hear(page, line))
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        if path is not None:
            page.goto(path)
        return page

    def _hear(self, page: Page, line: ConsoleMessage) -> None:
        """Leaving a page whose socket is just being opened is no problem, though Chromium calls it one."""
        if line.type in ("error", "warning") and "closed before the connection is established" not in line.text:
            self.problems.append(f"{page.url}: {line.text}")

    def sign_in(self, name: str, password: str) -> Page:
        """Through the login form, once for each server and person: signing in is limited to so many times a minute."""
        known = _logins.get((self.product.url, name))
        if known is not None:
            self.context.add_cookies(known)
            page = self.tab("/")
            if not page.url.partition("?")[0].endswith("/login"):
                return page
            page.close()  # that login has ended
        page = self.tab("/login")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", password)
        page.click("main button.btn-primary")
        page.wait_for_url("**/")
        _logins[self.product.url, name] = self.context.cookies()
        return page
