"""What may stand in templates, scripts and style sheets: nothing that the strict policy refuses, nothing from elsewhere."""

import gzip
import json
import re
from pathlib import Path

import pytest
from frontend_kit import ROOT, STATIC, TEMPLATES
from jinja2 import Environment

PAGES = sorted(TEMPLATES.rglob("*.html"))
SCRIPTS = sorted((STATIC / "js").glob("*.js"))
OWN = [*PAGES, *SCRIPTS, *(STATIC / "css").glob("*.css"), *STATIC.glob("*.svg")]
FORBIDDEN = {
    "style attribute": r"<[^>]*\sstyle\s*=",
    "style element": r"<style\b",
    "inline handler": r"<[^>]*\son\w+\s*=",
    "inline script": r"<script(?![^>]*\bsrc=)[^>]*>",
    "hx-on": r"\bhx-on\b|\bdata-hx-on\b",
    "evaluated values": r"hx-(?:vals|headers|vars)\s*=\s*[\"'](?:js|javascript):|\bhx-vars\b",
    "trigger filter": r"hx-trigger\s*=\s*\"[^\"]*\[",
    "javascript: address": r"javascript:",
    # Rows come rendered from their own _row.html, which escapes; nothing else may be trusted.
    "unescaped output": r"(?<!\{\{ html)\|\s*safe\b",
}
NOT_IN_SCRIPTS = {
    "eval": r"\beval\s*\(|new Function\b|setTimeout\(\s*[\"'`]",
    "style attribute": r"setAttribute\(\s*[\"']style|cssText",
    "import": r"^\s*import\b|\bimport\(",
    "document.write": r"document\.write",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_template_parses_and_holds_nothing_that_the_policy_refuses(path: Path, jinja: Environment) -> None:
    text = path.read_text("utf-8")
    jinja.parse(text)
    plain = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
    found = {what for what, pattern in FORBIDDEN.items() if re.search(pattern, plain, re.IGNORECASE)}
    assert not found


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_is_small_and_evaluates_nothing(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not {what for what, pattern in NOT_IN_SCRIPTS.items() if re.search(pattern, text, re.MULTILINE)}
    assert text.count("\n") < 200


@pytest.mark.parametrize("path", OWN, ids=name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = re.sub(r"xmlns(:\w+)?=\"[^\"]*\"|\{#.*?#\}", "", path.read_text("utf-8"), flags=re.DOTALL)
    assert not re.findall(r"(?:https?:)?//[\w-]+\.[a-z]{2,}[^\s\"')]*", text)


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    used: set[str] = set()
    for path in PAGES:
        text = path.read_text("utf-8")
        used |= set(re.findall(r"icon\(\"([\w-]+)\"", text))
        used |= set(re.findall(r"icons(?:\.svg'\))? \}\}#([\w-]+)", text))
        used |= set(re.findall(r"\"icon\": \"([\w-]+)\"", text))
    kinds = re.sub(r"\{#.*?#\}", "", (TEMPLATES / "_macros" / "status.html").read_text(), flags=re.DOTALL)
    used |= set(re.findall(r"\(\"(?:ok|bad|warn|info|)\", \"([\w-]+)\"", kinds))
    assert used - sprite == set()


def test_every_vendored_part_has_its_licence_and_a_pinned_version() -> None:
    parts = [folder for folder in (STATIC / "vendor").iterdir() if folder.is_dir()]
    assert parts and all((folder / "LICENSE").stat().st_size > 500 for folder in parts)
    pinned = json.loads((ROOT / ".ci" / "package.json").read_text())["devDependencies"]
    assert json.loads((STATIC / "vendor" / "VERSIONS.json").read_text()) == pinned
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
    assert pinned["htmx.org"].startswith("2.0.") and pinned["redoc"].startswith("2.5.")


def test_vendored_style_sheets_and_scripts_point_nowhere() -> None:
    for path in (STATIC / "vendor").rglob("*.css"):
        assert not re.search(r"@import|url\((?!\s*[\"']?data:)", path.read_text("utf-8")), path.name
    for path in (STATIC / "vendor").rglob("*.js"):
        assert not re.search(r"^//# sourceMappingURL", path.read_text("utf-8"), re.MULTILINE), path.name


def test_lock_file_names_no_registry() -> None:
    assert "://" not in (ROOT / ".ci" / "package-lock.json").read_text()


def test_own_classes_are_prefixed() -> None:
    css = re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", (STATIC / "css" / "app.css").read_text(), flags=re.DOTALL)
    ours = set(re.findall(r"\.([a-z][\w-]*)", re.sub(r"\{[^{}]*\}", "{}", css)))
    kit = (STATIC / "vendor" / "tabler" / "tabler.min.css").read_text()
    stray = {c for c in ours if not c.startswith(("bn-", "u-", "htmx-")) and f".{c}" not in kit}
    assert stray == set()


def test_first_load_fits_the_budget() -> None:
    sizes = {name(path): len(gzip.compress(path.read_bytes(), 9)) for path in [
        STATIC / "vendor/tabler/tabler.min.css", STATIC / "vendor/htmx/htmx.min.js", STATIC / "vendor/idiomorph/idiomorph.min.js",
        STATIC / "vendor/hotkey/hotkey.js", STATIC / "vendor/relative-time-element/relative-time.js", STATIC / "icons.svg",
        STATIC / "favicon.svg", STATIC / "css/app.css", *(p for p in SCRIPTS if p.stem not in ("charts", "docs")),
    ]}  # fmt: skip
    assert sizes["static/css/app.css"] < 13_000
    assert sum(sizes.values()) + 16_000 < 140_000, sizes
