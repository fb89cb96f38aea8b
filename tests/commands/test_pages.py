"""The console and the command on a selection: who may, what is said of computers that cannot be reached, and hostile text."""

import re

import pytest
from conftest import Browser, Cast
from factories import make_computer, make_output, make_run, make_samples

from app.runs import queries
from app.runs.queries import RunFilter


@pytest.fixture
def computer(cast: Cast) -> tuple[int, str]:
    with cast.app.app_context():
        return make_computer("pc-1", tenant_id=cast.acme)


def count(cast: Cast) -> int:
    with cast.app.app_context():
        return queries.count_runs(RunFilter())


def test_a_command_waits_for_an_offline_computer_only_when_told_to(cast: Cast, computer: tuple[int, str]) -> None:
    bob, path = cast.browser("bob"), f"/fleet/{computer[1]}/console"
    assert "The computer is offline." in bob.get(path).text
    refused = bob.post(path, command="uptime", shell="", timeout="60", cwd="")
    assert refused.status_code == 503
    assert "The computer is offline. Nothing was sent." in refused.text
    assert re.search(r">\s*uptime</textarea>", refused.text)
    assert count(cast) == 0
    sent = bob.post(path, command="cd /srv\r\nls", shell="bash", timeout="90", cwd="/tmp", queue="y")
    assert sent.status_code == 303
    with cast.app.app_context():
        run = queries.by_ids([sent.headers["Location"].split("run=")[1]]).popitem()[1]
        assert '"command":"cd /srv\\nls"' in run.spec, "a shell gets the line ends that it wants"
        assert '"shell":"bash"' in run.spec and '"cwd":"/tmp"' in run.spec and run.timeout_s == 90
    page = bob.get(sent.headers["Location"]).text
    assert 'id="output"' in page and "cd /srv ls" in page
    again = bob.get(f"{path}?again={run.id}").text
    assert re.search(r">\s*cd /srv\nls</textarea>", again)
    assert 'value="90"' in again


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", ""),
        ("command", "  "),
        ("command", "x" * 70_000),
        ("timeout", "0"),
        ("timeout", "soon"),
        ("shell", "fish"),
        ("cwd", "x" * 5000),
    ],
)
def test_what_does_not_fit_is_said_in_the_form(cast: Cast, computer: tuple[int, str], field: str, value: str) -> None:
    bob = cast.browser("bob")
    fields = {"command": "true", "shell": "", "timeout": "60", "cwd": "", "queue": "y"} | {field: value}
    answer = bob.post(f"/fleet/{computer[1]}/console", **fields)
    assert answer.status_code == 422
    assert "Not run." in answer.text
    assert bob.post("/fleet/bulk/command", ids=computer[1], asked="1", confirmed="1", **fields).status_code == 422
    assert count(cast) == 0


def test_who_may_use_the_console(cast: Cast, computer: tuple[int, str]) -> None:
    path = f"/fleet/{computer[1]}/console"
    fields = {"command": "true", "shell": "", "timeout": "60", "cwd": "", "queue": "y"}
    assert cast.browser("rita").post(path, **fields).status_code == 403
    assert "You may not run commands." in cast.browser("rita").get(path).text
    assert cast.browser("charlie").get(path).status_code == 404
    assert cast.browser("charlie").post(path, **fields).status_code == 404
    assert cast.browser("bob").post(path, csrf=False, **fields).status_code == 403
    assert Browser(cast.app).get(path).headers["Location"].startswith("/login")
    assert count(cast) == 0
    for name in ("alice", "bob", "eve"):
        assert cast.browser(name).post(path, **fields).status_code == 303, name
    assert cast.browser("rita").get(path).text.count("data-command") == 3


def test_the_console_shows_only_runs_of_its_own_computer(cast: Cast, computer: tuple[int, str]) -> None:
    with cast.app.app_context():
        other = make_run(make_computer("pc-2", tenant_id=cast.acme), command="elsewhere")
        hidden = make_run(computer, make_computer("g", tenant_id=cast.globex), command="not for Acme alone")
    bob, path = cast.browser("bob"), f"/fleet/{computer[1]}/console"
    for run in (other, hidden, "nonsense"):
        for name in ("run", "again"):
            assert bob.get(f"{path}?{name}={run}").status_code == 404
    page = bob.get(path).text
    assert "elsewhere" not in page and "Acme alone" not in page


def test_hostile_text_stays_text_in_the_console(cast: Cast, computer: tuple[int, str]) -> None:
    evil = "</textarea><script>alert(1)</script>"
    with cast.app.app_context():
        run = make_run(computer, command=evil)
        make_output(run, ("stdout", evil + "\n"), outcome="failed_to_start")
    bob = cast.browser("bob")
    for query in ("", f"?run={run}", f"?again={run}"):
        assert "<script>alert" not in bob.get(f"/fleet/{computer[1]}/console{query}").text
    rows = bob.get(f"/fleet/{computer[1]}/console/past")
    assert "<script>alert" not in rows.text and rows.headers["X-Rev"]


def test_a_command_on_a_selection_asks_which_and_whether_really(cast: Cast, computer: tuple[int, str]) -> None:
    with cast.app.app_context():
        online = make_computer("pc-2", tenant_id=cast.acme)
        make_samples(online[0], 1)
    bob = cast.browser("bob")
    assert "/fleet/bulk/command" in bob.get("/fleet/").text
    chosen = {"all": "1", "query": "q=pc-", "count": "2", "back": "q=pc-"}
    form = bob.post("/fleet/bulk/command", **chosen).text
    assert "Run a command on 2 computers" in form and "1 of them is not online" in form
    fields = {"asked": "1", "command": "uptime\n-p", "shell": "", "timeout": "60", "cwd": "", "queue": "y"}
    question = bob.post("/fleet/bulk/command", **chosen, **fields).text
    assert "Run this on 2 computers?" in question and "waits for them for up to 7 days" in question
    carried = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', question))
    assert carried["command"] == "uptime\n-p" and carried["queue"] == "y" and carried["count"] == "2"
    assert count(cast) == 0
    done = bob.post("/fleet/bulk/command", **{name: value for name, value in carried.items() if name != "csrf_token"})
    assert done.status_code == 303
    assert "on 2 computers" in bob.get(done.headers["Location"]).text
    assert bob.post("/fleet/bulk/command", **(chosen | {"count": "3"})).status_code == 409


def test_over_25_computers_the_count_is_typed(cast: Cast) -> None:
    with cast.app.app_context():
        for number in range(26):
            make_computer(f"pc-{number:02}", tenant_id=cast.acme)
    bob = cast.browser("bob")
    fields = {"all": "1", "query": "", "count": "26", "asked": "1", "command": "true", "shell": "", "timeout": "60", "cwd": ""}
    assert "Type 26" in bob.post("/fleet/bulk/command", **fields).text
    assert bob.post("/fleet/bulk/command", **fields, confirmed="1", typed="62").status_code == 422
    assert count(cast) == 0
    assert bob.post("/fleet/bulk/command", **fields, confirmed="1", typed="26").status_code == 303


def test_the_bulk_bar_offers_what_the_role_allows(cast: Cast, computer: tuple[int, str]) -> None:
    offered = {
        name: re.findall(r'formaction="([^"]+)"', cast.browser(name).get("/fleet/").text) for name in ("bob", "eve", "rita")
    }
    everything = ["/fleet/bulk/command", "/fleet/bulk/tag", "/fleet/bulk/delete"]
    assert offered == {"bob": everything, "eve": everything[:1], "rita": []}
    for name, status in (("rita", 403), ("charlie", 400)):
        assert cast.browser(name).post("/fleet/bulk/command", ids=computer[1]).status_code == status
    assert cast.client("bob").get("/fleet/").text.count("formaction") == 0, "a program that reads the page gets no forms"
