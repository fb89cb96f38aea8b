"""The import rules of DESIGN.md, "The house", read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.rooms import ROOMS

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
# A file of a room may import what stands in its own layer or to the left of it. Files beyond DESIGN.md's table have a subject
# of their own and a layer: see CONTRIBUTING.md, "The files of a room".
LAYERS = ("models", "queries", "operations", "schemas", "entrance")
FILES = {
    "models": """
        models catalogue counters events health masking messages pieces rules signing terminal words
    """,
    "queries": """
        queries drivers figures matching rollups sessions/events shelf silencing statistics
    """,
    "operations": """
        operations artefacts book checker checks courier deadlines entries evaluation histories leases output partitions preview
        readings replay reports requests retention saved sender sources undoing writer
    """,
    "schemas": """
        schemas authenticator bell conversation desk dispatcher driver engine execution export feed forms hub live
        registry rows rule_schemas shown story viewer work
    """,
    "entrance": """
        api asked bootstrap bulk session silences thresholds users views watch ws
    """,
}
LAYER_OF = {name: layer for layer, names in FILES.items() for name in names.split()}


def layer_of(room: str, stem: str) -> str:
    """The layer of a file; where two rooms mean different things by a name, it is listed with its room."""
    return LAYER_OF.get(f"{room}/{stem}") or LAYER_OF[stem]


PURE = {
    "models",
    "queries",
    "operations",
    "schemas",
    "rollups",
    "partitions",
    "catalogue",
    "rules",
    "matching",
    "silencing",
    "preview",
    "histories",
    "replay",
    "entries",
    "book",
    "checks",
    "evaluation",
    "sources",
    "deadlines",
}
SHARED = {"models", "queries", "operations"}
# What a room offers to every later one beside its domain, with the reason.
OFFERED = {
    "runs.drivers": "a kind of run is registered there",
    "runs.work": "what a step that a worker executes is given",
    "runs.requests": "what can be asked of a run",
    "runs.output": "what a run has printed, and its secrets",
    "runs.masking": "how long a secret must be",
    "runs.artefacts": "files that runs have made",
    "runs.shown": "the one log viewer",
    "runs.terminal": "what anything printed, as lines and colours",
    "connectors.bell": "who has work to do for the connections of this process",
    "connectors.registry": "steps and questions travel over the connectors' sockets",
    "connectors.dispatcher": "likewise; whether a computer can be reached",
    "connectors.writer": "how a connector's message is read",
    "connectors.conversation": "an answer ends a step, whoever gave it",
}
# Each exception with its reason.
MAY = {
    ("api_keys/__init__", "auth.authenticator"): "a registry of auth: how keys become actors",
    ("connectors/session", "auth.authenticator"): "the one authenticator also reads the first message of a socket",
    ("live/api", "auth.authenticator"): "likewise",
    ("sessions/ws", "auth.authenticator"): "likewise",
    ("sessions/api", "proxies.schemas"): "contract 003 shows proxies in its statistics",
    ("sessions/schemas", "proxies.schemas"): "likewise",
    ("webhooks/api", "deliveries.schemas"): "one shape of deliveries for both kinds of receiver",
    ("webhooks/schemas", "deliveries.schemas"): "likewise",
    ("webhooks/views", "deliveries.shown"): "and one page",
    ("notifications/api", "deliveries.schemas"): "likewise",
    ("notifications/schemas", "deliveries.schemas"): "likewise",
    ("notifications/views", "deliveries.shown"): "likewise",
    ("sessions/retention", "proxies.retention"): "one chore: a proxy goes after the last session that names it",
    ("overview/queries", "sessions.statistics"): "how the sessions of a day went, from the counters",
    ("containers/conversation", "connectors.conversation"): "an `error` that is about no log is about a step of a run",
    ("connectors/session", "metrics.schemas"): "the socket and the HTTP push take the same sample",
    ("connectors/session", "metrics.writer"): "the process's one writer of samples",
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((APP / room).glob("*.py"))]


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(APP)) for path in paths]


def test_every_room_is_a_folder_and_every_folder_a_room() -> None:
    folders = {path.name for path in APP.iterdir() if (path / "__init__.py").exists()}
    assert folders - {"web", "simulator"} == set(ROOMS)


@pytest.mark.parametrize("path", room_files(), ids=ids(room_files()))
def test_a_file_of_a_room_has_a_known_name(path: Path) -> None:
    assert path.stem == "__init__" or path.stem in LAYER_OF


@pytest.mark.parametrize("path", room_files(), ids=ids(room_files()))
def test_a_file_imports_only_to_its_left(path: Path) -> None:
    if path.stem == "__init__":
        return
    own = LAYERS.index(layer_of(path.parent.name, path.stem))
    for name in imports(path):
        parts = name.split(".")
        if parts[:2] == ["app", path.parent.name] and len(parts) > 2 and parts[2] in LAYER_OF:
            assert LAYERS.index(layer_of(parts[1], parts[2])) <= own, f"{path.stem} imports {name}"
            assert {path.stem, parts[2]} != {"views", "api"}, "views and api never import each other"


@pytest.mark.parametrize("path", room_files(), ids=ids(room_files()))
def test_the_domain_knows_no_flask(path: Path) -> None:
    if path.stem in PURE:
        forbidden = {name for name in imports(path) if name.split(".")[0].startswith(("flask", "werkzeug"))}
        assert not forbidden
        assert not {name for name in imports(path) if name.split(".")[:2] == ["app", "web"]}


@pytest.mark.parametrize("path", room_files(), ids=ids(room_files()))
def test_other_rooms_are_used_only_through_their_domain_and_only_earlier_ones(path: Path) -> None:
    own = path.parent.name
    where = f"{own}/{path.stem}"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "app" or len(parts) < 2 or parts[1] not in ROOMS or parts[1] == own:
            continue
        assert ROOMS.index(parts[1]) < ROOMS.index(own), f"{where} imports {name}, a later room"
        if len(parts) > 2:
            allowed = parts[2] in SHARED or ".".join(parts[1:3]) in OFFERED or (where, f"{parts[1]}.{parts[2]}") in MAY
            allowed = allowed or (parts[2] in ("authenticator", "rollups", "writer") and path.stem == "__init__")
            allowed = allowed or (own == "metrics" and parts[2] == "rollups")
            assert allowed, f"{where} imports {name}"
        if len(parts) > 3:
            assert not parts[3].startswith("_"), f"{where} imports the private {name}"


def test_the_web_tools_import_no_room() -> None:
    for path in (APP / "web").glob("*.py"):
        rooms = {
            name
            for name in imports(path)
            if name.split(".")[:1] == ["app"] and name.split(".")[1:2] and name.split(".")[1] in ROOMS
        }
        assert not rooms, f"{path.name} imports {rooms}"


def test_the_connector_and_the_app_import_nothing_of_each_other() -> None:
    for path in (ROOT / "connector").rglob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] == "app"}, path
    for path in APP.rglob("*.py"):
        assert not {name for name in imports(path) if name.split(".")[0] == "binnacle_connector"}, path


def test_the_launcher_needs_the_standard_library_only() -> None:
    outside = {name for name in imports(APP / "launcher.py") if name.split(".")[0] in ("app", "flask", "sqlalchemy", "click")}
    assert not outside


def test_only_the_commit_points_commit() -> None:
    """Import rule 5: requests commit in the routing, workers and sockets in `unit_of_work`; nobody else does."""
    allowed = {"web/routing.py", "database.py", "system/bootstrap.py", "cli.py"}
    for path in APP.rglob("*.py"):
        where = str(path.relative_to(APP))
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
                 and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"]  # fmt: skip
        assert not calls or where in allowed, where


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=ids(sorted(APP.rglob("*.py"))))
def test_files_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 330, "split the room, not the layer"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, f"{node.name} is too long"


def test_no_file_has_a_name_that_tells_nothing() -> None:
    assert not [p for p in ROOT.rglob("*.py") if p.stem in ("utils", "helpers", "misc", "common") and ".venv" not in p.parts]
