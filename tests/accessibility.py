"""What axe finds on a page, for the browser tests. Only one of them needs a page in both themes and at both sizes."""

from typing import Any

from playwright.sync_api import Page
from serving import ROOT

AXE = (ROOT / "tests/frontend/vendor/axe.min.js").read_text(encoding="utf-8") + ";0"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SCHEMES: dict[Any, str] = {
    "light": "",
    "dark": ", runOnly: ['color-contrast', 'link-in-text-block']",
}  # dark changes colours only


def faults(page: Page, size: dict[str, int] | None = None) -> list[tuple[str, ...]]:
    """What axe finds on a page, on a wide one in light and dark, and whether it is wider than the window."""
    if size is not None:
        page.set_viewport_size(size)  # type: ignore[arg-type]
    page.evaluate(AXE)
    found: list[tuple[str, ...]] = []
    wide = page.evaluate("innerWidth") > PHONE["width"]
    for scheme, rules in SCHEMES.items():
        if scheme == "dark" and not wide:
            continue  # the colours are the same as on the desktop
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for one in page.evaluate(f"axe.run({{resultTypes: ['violations']{rules}}})")["violations"]:
            found.append((page.url, scheme, one["id"], one["nodes"][0]["html"][:200]))
    if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        found.append((page.url, "wide"))
    return found
