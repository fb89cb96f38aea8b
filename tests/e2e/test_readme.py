"""README tells of every setting, command and make target, and of none that does not exist."""

import re

import click
import pytest
from serving import ROOT

from app.cli import main
from app.config import FILE_SETTINGS, Settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = {str(field.alias) for field in Settings.model_fields.values()}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_is_in_the_table(name: str) -> None:
    assert re.search(rf"^\| .*`{name}`.* \| ", README, re.MULTILINE)


def test_no_setting_is_told_of_that_does_not_exist() -> None:
    known = SETTINGS | {f"{name}_FILE" for name in FILE_SETTINGS} | {"BINNACLE_NEW_PASSWORD"}
    assert set(re.findall(r"BINNACLE_[A-Z_0-9]*[A-Z0-9]", README)) <= known


def test_every_command_is_there() -> None:
    for name, command in main.commands.items():
        below = command.commands if isinstance(command, click.Group) else {"": None}
        for sub in below:
            assert re.search(rf"`{name} {sub}".rstrip(), README), f"{name} {sub}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([a-z]+)`", told)) <= targets


def test_every_link_leads_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "docs/decisions.md"):
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        heads = {
            re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert target[1:] in heads if target.startswith("#") else (page.parent / target).exists(), f"{name}: {target}"
