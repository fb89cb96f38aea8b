"""The commands of one computer, newest first, as its console shows them."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from flask import current_app
from markupsafe import Markup

from app.actors import Permission
from app.commands.operations import KIND
from app.errors import Invalid
from app.runs import queries
from app.runs.operations import CLOCK
from app.runs.queries import RunFilter
from app.web import live

SHOWN = 20


def _canonical(query_string: str) -> str:
    uuid = parse_qs(query_string).get("id", [""])[0]
    if len(uuid) != 36:
        raise Invalid("console?id=<the computer's id>")
    return f"id={uuid.lower()}"


def _keys(query_string: str, scope: live.Scope) -> list[live.Key]:
    wanted = RunFilter(scope=scope, kind=KIND, computer=query_string.removeprefix("id="))
    return [(number, f"past-{run_id}", version) for number, run_id, version in queries.versions(wanted, SHOWN, 0)]


def _render(numbers: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("commands/_past.html")
    found = queries.by_numbers(numbers).items()
    return {i: Markup(template.render(run=run).strip()) for i, run in found}  # noqa: S704 (rendered with autoescape)


def _nothing(_query: str, _scope: live.Scope) -> dict[str, Any]:
    return {}


CONSOLE = live.LiveList("console", CLOCK, Permission.FLEET_READ, _canonical, _keys, _render, _nothing, switched=False)
live.register(CONSOLE)
