"""Which rows of containers are pushed: the list over the fleet, the head of one container's page, the engine of a computer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from flask import current_app
from markupsafe import Markup
from pydantic import Field

from app.actors import Permission
from app.containers import queries
from app.containers.models import Container, ContainerState, EngineState
from app.containers.queries import ContainerFilter, Scope
from app.containers.reports import CLOCK
from app.containers.schemas import port_words
from app.errors import Invalid
from app.fleet.models import Computer
from app.fleet.queries import by_ids as computers_by_ids
from app.web import live
from app.web.listing import Column, ListQuery

COLUMNS = (
    Column("name", "Container"),
    Column("state", "State"),
    Column("computer", "Computer"),
    Column("image", "Image"),
    Column("cpu", "CPU", align="end"),
    Column("memory", "Memory"),
    Column("uptime", "Uptime"),
    Column("project", "Project", default=False),
    Column("ports", "Ports", sortable=False, default=False),
    Column("tenant", "Tenant", default=False),
)
CHIPS = (("", "All"), ("running", "Running"), ("stopped", "Stopped"), ("attention", "Need attention"))
STATES = "|".join(("stopped", "attention", *ContainerState))


class ContainerQuery(ListQuery):
    """The Containers page's URL."""

    COLUMNS: ClassVar[tuple[Column, ...]] = COLUMNS
    DEFAULT_SORT: ClassVar[str] = "name"

    state: str = Field("", pattern=f"^(|{STATES})$")
    computer: str = Field("", max_length=36)
    tenant: str = Field("", max_length=36)
    image: str = Field("", max_length=300)

    def filter(self, scope: Scope) -> ContainerFilter:
        """As the domain takes it."""
        return ContainerFilter(scope=scope, tenant=self.tenant, state=self.state, computer=self.computer.lower(),
                               image=self.image, q=self.q)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What `containers/_row.html` shows. `pill` is (kind, word, icon, tone) of the state, `memory_percent` of what it may use."""

    one: Container
    computer: Computer
    online: bool
    pill: tuple[str, str, str, str]
    note: str
    memory_percent: float | None
    ports: list[str]


PILLS = {
    ContainerState.RUNNING: ("Running", "player-play", "ok"),
    ContainerState.PAUSED: ("Paused", "player-pause", "warn"),
    ContainerState.RESTARTING: ("Restarting", "refresh", "warn"),
    ContainerState.CREATED: ("Created", "circle-dashed", ""),
    ContainerState.REMOVING: ("Being removed", "trash", ""),
    ContainerState.EXITED: ("Exited", "player-stop", ""),
    ContainerState.DEAD: ("Dead", "circle-x", "bad"),
    ContainerState.UNKNOWN: ("Unknown", "help-circle", ""),
}


def _pill(one: Container) -> tuple[str, str, str, str]:
    word, icon, tone = PILLS[one.state]
    if one.state is ContainerState.RUNNING and one.health == "unhealthy":
        word, icon, tone = "Unhealthy", "heartbeat", "warn"
    if one.state is ContainerState.EXITED and one.exit_code:
        tone = "bad"
    return one.state.value, word, icon, tone


def _note(one: Container) -> str:
    if one.state is ContainerState.EXITED and one.exit_code is not None:
        return f"code {one.exit_code}, out of memory" if one.oom_killed else f"code {one.exit_code}"
    if one.state is ContainerState.RUNNING and one.health in ("healthy", "starting"):
        return one.health
    return "the engine does not answer" if one.state is ContainerState.UNKNOWN else ""


def row_of(one: Container) -> Row:
    """A container as a row."""
    percent = 100 * one.memory / one.memory_limit if one.memory is not None and one.memory_limit else None
    online = one.computer.status.value == "online"
    return Row(one, one.computer, online, _pill(one), _note(one), percent, list(port_words(one.ports)))


def render_rows(ids: Sequence[int]) -> Mapping[int, str]:
    """Rows by internal id as HTML; the same for every viewer."""
    template = current_app.jinja_env.get_template("containers/_row.html")
    found = queries.by_ids(ids).items()
    return {i: Markup(template.render(row=row_of(one)).strip()) for i, one in found}  # noqa: S704 (rendered with autoescape)


parse = ContainerQuery.parse


def _canonical(query_string: str) -> str:
    return parse(query_string).view()


def _keys(query_string: str, scope: Scope) -> list[live.Key]:
    query = parse(query_string)
    return queries.versions(query.filter(scope), query.sort_key, query.per_page, query.offset)


def counts_of(wanted: ContainerFilter, *, fresh: bool = False) -> dict[str, int]:
    """The counts of the list's header and chips, and the navigation's: `containers-attention`, whatever is filtered."""
    hot = queries.state_counts(ContainerFilter(scope=wanted.scope), fresh=fresh)["attention"]
    return queries.state_counts(wanted, fresh=fresh) | {"containers-attention": hot}


def _counts(query_string: str, scope: Scope) -> dict[str, int]:
    return counts_of(parse(query_string).filter(scope), fresh=True)


CONTAINERS = live.LiveList("containers", CLOCK, Permission.FLEET_READ, _canonical, _keys, render_rows, _counts)
live.register(CONTAINERS)


def _one(query_string: str) -> str:
    uuid = parse_qs(query_string).get("id", [""])[0]
    if len(uuid) != 36:
        raise Invalid("id=<uuid>")
    return f"id={uuid.lower()}"


def _one_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.version_of(query_string.removeprefix("id="), scope)


def _render_heads(ids: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("containers/_now.html")
    found = queries.by_ids(ids).items()
    return {i: Markup(template.render(row=row_of(one)).strip()) for i, one in found}  # noqa: S704 (rendered with autoescape)


def _nothing(_query: str, _scope: Scope) -> dict[str, Any]:
    return {}


CONTAINER = live.LiveList("container", CLOCK, Permission.FLEET_READ, _one, _one_key, _render_heads, _nothing, switched=False)
live.register(CONTAINER)

# Why a computer shows no containers, in words: (what is so, what to do about it).
ENGINES: dict[EngineState, tuple[str, str]] = {
    EngineState.OK: ("", ""),
    EngineState.AGENT: ("", ""),
    EngineState.NONE: ("No Docker and no Podman on this computer", "When one is installed and started, its containers show up."),
    EngineState.SILENT: ("The container engine does not answer", "It may be stopped. It is looked for every few seconds."),
    EngineState.DENIED: ("The connector may not use the container engine", "Let it run as root or as a member of group docker."),
    EngineState.OFF: ("Containers are switched off in the connector's settings", "Set containers to auto there to see them."),
    EngineState.UNSUPPORTED: ("The connector cannot speak to container engines", "Install its Python package docker."),
}  # fmt: skip


def _engine_key(query_string: str, scope: Scope) -> list[live.Key]:
    return queries.engine_version_of(query_string.removeprefix("id="), scope)


def _render_engines(ids: Sequence[int]) -> Mapping[int, str]:
    template = current_app.jinja_env.get_template("containers/_engine.html")
    computers = computers_by_ids(ids)
    return {
        i: Markup(template.render(engine=engine, computer=computers[i], words=ENGINES[engine.state]).strip())  # noqa: S704
        for i, engine in queries.engines(ids).items() if i in computers
    }  # fmt: skip


ENGINE = live.LiveList("engine", CLOCK, Permission.FLEET_READ, _one, _engine_key, _render_engines, _nothing, switched=False)
live.register(ENGINE)
