"""Copies the pinned front-end parts into static/vendor and makes our icon sprite.

Run `python .ci/vendor.py` after changing a version in package.json (then also refresh package-lock.json with
`npm install --package-lock-only` in this folder). Versions and checksums are pinned there; the output is committed, so
nothing is fetched when Binnacle is built, tested or run. Running it twice changes nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENDOR = ROOT / "static" / "vendor"

# package file -> where it goes. Order of the second part: folder under static/vendor, name there.
FILES: dict[str, list[tuple[str, str]]] = {
    "htmx.org": [("dist/htmx.min.js", "htmx.min.js"), ("LICENSE", "LICENSE")],
    "idiomorph": [("dist/idiomorph.min.js", "idiomorph.min.js"), ("LICENSE", "LICENSE")],
    "uplot": [
        ("dist/uPlot.iife.min.js", "uPlot.iife.min.js"),
        ("dist/uPlot.min.css", "uPlot.min.css"),
        ("LICENSE", "LICENSE"),
    ],
    "@github/relative-time-element": [("dist/bundle.js", "relative-time.js"), ("LICENSE", "LICENSE")],
    "@github/hotkey": [("dist/index.js", "hotkey.js"), ("LICENSE", "LICENSE")],
    "swagger-ui-dist": [
        ("swagger-ui.css", "swagger-ui.css"),
        ("swagger-ui-bundle.js", "swagger-ui-bundle.js"),
        ("swagger-ui-bundle.js.LICENSE.txt", "swagger-ui-bundle.js.LICENSE.txt"),
        ("LICENSE", "LICENSE"),
        ("NOTICE", "NOTICE"),
    ],
    "redoc": [
        ("bundles/redoc.standalone.js", "redoc.standalone.js"),
        ("bundles/redoc.standalone.js.LICENSE.txt", "redoc.standalone.js.LICENSE.txt"),
        ("LICENSE", "LICENSE"),
    ],
}

ICONS = [
    "activity",
    "alert-triangle",
    "arrow-down",
    "arrow-up",
    "ban",
    "bell",
    "bell-off",
    "bolt",
    "book",
    "box",
    "brand-apple",
    "brand-docker",
    "brand-ubuntu",
    "brand-windows",
    "building",
    "calendar",
    "camera",
    "check",
    "checkup-list",
    "chevron-down",
    "chevron-left",
    "chevron-right",
    "chevron-up",
    "circle-check",
    "circle-dashed",
    "circle-dot",
    "circle-minus",
    "circle-x",
    "clipboard-check",
    "clock",
    "columns-3",
    "compass",
    "copy",
    "cpu",
    "database",
    "device-desktop",
    "device-desktop-analytics",
    "dots-vertical",
    "download",
    "edit",
    "external-link",
    "eye",
    "eye-off",
    "file-text",
    "filter",
    "heartbeat",
    "help-circle",
    "history",
    "info-circle",
    "key",
    "keyboard",
    "layout-dashboard",
    "list-details",
    "loader-2",
    "lock",
    "login",
    "logout",
    "menu-2",
    "messages",
    "moon",
    "network",
    "package",
    "player-pause",
    "player-play",
    "player-skip-forward",
    "player-stop",
    "plug-connected-x",
    "plus",
    "pointer",
    "refresh",
    "robot",
    "rocket",
    "rotate-clockwise",
    "route",
    "search",
    "send",
    "server",
    "settings",
    "shield",
    "star",
    "sun",
    "sun-moon",
    "tag",
    "terminal",
    "tool",
    "trash",
    "upload",
    "user",
    "users",
    "webhook",
    "world",
    "x",
]

# Families of the kit that this product does not use: parts that need the kit's JavaScript, and ornaments.
# A selector is dropped when one of its classes begins with one of these.
UNUSED = [
    "accordion",
    "animated",
    "apexcharts",
    "avatar-list",
    "bg-facebook",
    "bg-twitter",
    "bg-linkedin",
    "bg-google",
    "bg-youtube",
    "bg-vimeo",
    "bg-dribbble",
    "bg-github",
    "bg-instagram",
    "bg-pinterest",
    "bg-vk",
    "bg-rss",
    "bg-flickr",
    "bg-bitbucket",
    "bg-tabler",
    "bg-gradient",
    "bg-pattern",
    "btn-facebook",
    "btn-twitter",
    "btn-linkedin",
    "btn-google",
    "btn-youtube",
    "btn-vimeo",
    "btn-dribbble",
    "btn-github",
    "btn-instagram",
    "btn-pinterest",
    "btn-vk",
    "btn-rss",
    "btn-flickr",
    "btn-bitbucket",
    "btn-tabler",
    "btn-animate",
    "btn-floating",
    "calendar",
    "card-stacked",
    "card-rotate",
    "carousel",
    "chart",
    "chat",
    "chips",
    "clearfix",
    "collapse",
    "collapsing",
    "confetti",
    "custom-size",
    "dropdown",
    "dropend",
    "dropstart",
    "dropup",
    "dz",
    "fc-",
    "float-end",
    "float-start",
    "flatpickr",
    "form-colorinput",
    "form-file",
    "form-floating",
    "form-imagecheck",
    "form-password",
    "form-range",
    "form-selectgroup",
    "gradient",
    "hr-text",
    "hugerte",
    "img-responsive",
    "input-group-flat",
    "jvm-",
    "link-facebook",
    "link-twitter",
    "link-linkedin",
    "link-google",
    "link-youtube",
    "link-vimeo",
    "link-dribbble",
    "link-github",
    "link-instagram",
    "link-pinterest",
    "link-vk",
    "link-rss",
    "link-flickr",
    "link-bitbucket",
    "litepicker",
    "lity",
    "mention",
    "modal",
    "nav-segmented",
    "navbar",
    "noUi",
    "object-fit",
    "offcanvas",
    "otp",
    "payment",
    "pin",
    "plyr",
    "popover",
    "progressbg",
    "rating",
    "ratio",
    "ribbon",
    "row-deck",
    "sortable",
    "signal",
    "signature",
    "sparkline",
    "star",
    "stars",
    "strength",
    "swatch",
    "switch-icon",
    "tada",
    "text-facebook",
    "text-twitter",
    "text-linkedin",
    "text-google",
    "text-youtube",
    "text-vimeo",
    "text-dribbble",
    "text-github",
    "text-instagram",
    "text-pinterest",
    "text-vk",
    "text-rss",
    "text-flickr",
    "text-bitbucket",
    "text-tabler",
    "tooltip",
    "tox",
    "ts-",
    "toast",
    "typed",
    "user-",
    "wysiwyg",
    "theme-",
    "status-dot-animated",
    "layout-",
    "page-body-blank",
    "tracking",
    "dimmer",
    "placeholder",
    "legend",
    "step-",
    "steps",
    "timeline",
    "divide",
    "markdown",
    "sticky-",
    "stretched",
]

TABLER_LICENCE = """The MIT License (MIT)

Copyright 2018-2026 The Tabler Authors
Copyright 2018-2026 codecalm.net Paweł Kuna

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def install(into: Path) -> Path:
    """Installs the locked packages, without running their scripts, and returns node_modules."""
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, into / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=into, check=True)
    return into / "node_modules"


def without_source_map(text: str) -> str:
    """The maps are not shipped; a dangling reference would be a 404 in every developer console."""
    return re.sub(r"\n?/[/*][#@] ?sourceMappingURL=[^\n]*?(\*/)?\s*$", "\n", text)


def rules(css: str) -> list[tuple[str, str]]:
    """Splits a style sheet into (selector or at-rule, body); quoted text may hold braces."""
    found, depth, start, head, quote = [], 0, 0, 0, ""
    for at, char in enumerate(css):
        if quote:
            quote = "" if char == quote and css[at - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char == "{":
            depth += 1
            head = at if depth == 1 else head
        elif char == "}":
            depth -= 1
            if depth == 0:
                found.append((css[start:head], css[head + 1 : at]))
                start = at + 1
    return found


def purge(css: str) -> str:
    """Leaves out the rules of the UNUSED families, in media queries too, and of right-to-left pages."""
    kept = []
    for selector, body in rules(css):
        if selector.startswith("@keyframes"):
            name = selector.split()[-1]
            if css.count(name) > 1:
                kept.append(f"{selector}{{{body}}}")
        elif selector.startswith(("@media", "@supports")):
            inner = purge(body)
            if inner:
                kept.append(f"{selector}{{{inner}}}")
        else:
            # Commas inside :not(…) and :is(…) do not separate selectors.
            parts = re.split(r",(?![^(]*\))", selector)
            used = [part for part in parts if not is_unused(part)]
            if used:
                kept.append(f"{','.join(used)}{{{body}}}")
    return "".join(kept)


def is_unused(selector: str) -> bool:
    bare = re.sub(r":not\((?:[^()]|\([^()]*\))*\)", "", selector)
    names = re.findall(r"\.([\w-]+)", bare)
    return "[dir=rtl]" in bare or any(name.startswith(prefix) for name in names for prefix in UNUSED)


def kit(modules: Path) -> None:
    folder = VENDOR / "tabler"
    folder.mkdir(parents=True)
    css = without_source_map((modules / "@tabler/core/dist/css/tabler.min.css").read_text("utf-8"))
    css = css.removeprefix('@charset "UTF-8";')
    banner, sheet = re.match(r"(/\*!.*?\*/)(.*)", css, re.DOTALL).groups()
    sheet = purge(sheet)
    outside = re.findall(r"url\((?!\s*[\"']?data:)[^)]*\)|@import", sheet)
    if outside:
        raise SystemExit(f"the kit loads from elsewhere: {outside[:3]}")
    (folder / "tabler.min.css").write_text(f'@charset "UTF-8";{banner}\n{sheet.strip()}\n', "utf-8")
    (folder / "LICENSE").write_text(TABLER_LICENCE, "utf-8")


def sprite(modules: Path) -> None:
    """One symbol an icon, drawn by `<svg class="bn-i"><use href="…/icons.svg#name"/></svg>`."""
    symbols = []
    for name in sorted(set(ICONS)):
        svg = (modules / f"@tabler/icons/icons/outline/{name}.svg").read_text("utf-8")
        paths = re.findall(r"<(?:path|circle|rect|line|polyline)\b[^>]*/>", svg)
        drawn = "".join(path.replace(" />", "/>") for path in paths if 'stroke="none"' not in path)
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{drawn}</symbol>')
    head = "<!-- Tabler Icons, MIT licence: vendor/tabler-icons/LICENSE -->"
    text = f'<svg xmlns="http://www.w3.org/2000/svg">{head}\n' + "\n".join(symbols) + "\n</svg>\n"
    (ROOT / "static" / "icons.svg").write_text(text, "utf-8")
    (VENDOR / "tabler-icons").mkdir()
    shutil.copy(modules / "@tabler/icons/LICENSE", VENDOR / "tabler-icons" / "LICENSE")


def common_passwords(modules: Path) -> None:
    """The 3,000 commonest passwords that are long enough to be tried, commonest first."""
    package = modules / "@zxcvbn-ts/language-common"
    ranked = json.loads((package / "src/passwords.json").read_text("utf-8"))
    long_enough = list(dict.fromkeys(word.lower() for word in ranked if len(word) >= 8))[:3000]
    target = ROOT / "app" / "auth"
    target.mkdir(parents=True, exist_ok=True)
    (target / "common_passwords.txt").write_text("\n".join(long_enough) + "\n", "utf-8")
    shutil.copy(package / "LICENSE.txt", target / "common_passwords.LICENSE.txt")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        modules = install(Path(scratch))
        shutil.rmtree(VENDOR, ignore_errors=True)
        kit(modules)
        for package, files in FILES.items():
            folder = VENDOR / package.removesuffix(".org").split("/")[-1].removesuffix("-dist")
            folder.mkdir(parents=True)
            for source, name in files:
                text = (modules / package / source).read_text("utf-8")
                # The strict CSP would refuse the logo that redoc loads from its maker's CDN.
                text = re.sub(r"https://cdn\.redoc\.ly/[^\"'`]*", "data:,", without_source_map(text))
                (folder / name).write_text(text, "utf-8")
        # Our own modules import nothing, so that every script has a hashed address: hotkey is also published as a global.
        hotkey = VENDOR / "hotkey" / "hotkey.js"
        hotkey.write_text(hotkey.read_text("utf-8").rstrip() + "\nglobalThis.bnHotkey = { install, uninstall };\n", "utf-8")
        sprite(modules)
        common_passwords(modules)
        tests = ROOT / "tests" / "frontend" / "vendor"
        tests.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / "axe-core/axe.min.js", tests / "axe.min.js")
        shutil.copy(modules / "axe-core/LICENSE", tests / "axe.LICENSE")
        versions = json.loads((HERE / "package.json").read_text())["devDependencies"]
        (VENDOR / "VERSIONS.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()
