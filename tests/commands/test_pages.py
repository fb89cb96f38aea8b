"""The console and the command on a selection: who may, what is said of computers that cannot be reached, secrets, hostile text."""

import re
from datetime import timedelta

import pytest
from conftest import Browser, Cast
from factories import make_computer, make_output, make_run, make_samples

from app.actors import SYSTEM
from app.clock import now
from app.commands import operations
from app.errors import Invalid
from app.factory import vault_of
from app.runs import queries
from app.runs.output import secrets_of
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


CANARY = "kestrel-7f3a/Qz"
FORM = {"command": "deploy", "shell": "", "timeout": "60", "cwd": "", "queue": "y"}


def secret(number: int, name: str, value: str) -> dict[str, str]:
    return {f"secrets-{number}-name": name, f"secrets-{number}-value": value}


def secrets_in(cast: Cast, location: str) -> dict[str, str]:
    run_id = re.search(r"[0-9a-f-]{36}(?=/?$)", location)
    assert run_id
    with cast.app.app_context():
        return secrets_of(queries.by_ids([run_id[0]])[run_id[0]], vault_of(cast.app))


def test_the_console_takes_secrets_that_no_page_shows_again(cast: Cast, computer: tuple[int, str]) -> None:
    bob, path = cast.browser("bob"), f"/fleet/{computer[1]}/console"
    given = secret(0, "DEPLOY_KEY", CANARY) | secret(3, " TOKEN ", "  keeps its spaces ")
    refused = bob.post(path, **FORM | given | {"queue": ""})
    assert refused.status_code == 503 and 'value="DEPLOY_KEY"' in refused.text and "Type their values again" in refused.text
    sent = bob.post(path, **FORM | given)
    assert secrets_in(cast, sent.headers["Location"]) == {"DEPLOY_KEY": CANARY, "TOKEN": "  keeps its spaces "}
    run = sent.headers["Location"].split("run=")[1]
    again = bob.get(f"{path}?again={run}").text
    assert 'value="DEPLOY_KEY"' in again and 'value="TOKEN"' in again and "Type their values again" in again
    pages = [refused.text, again, bob.get(sent.headers["Location"]).text, bob.get(f"/runs/{run}/").text, bob.get("/events/").text,
             cast.client("alice").get("/api/v1/audit").text]  # fmt: skip
    assert all("kestrel" not in page for page in pages)
    assert "DEPLOY_KEY" in pages[-1], "the journal names it"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (secret(0, "KEY", "abc"), "KEY: a secret has 4 to"),
        (secret(0, "KEY", ""), "KEY: type its value"),
        (secret(0, "", CANARY), "Name the environment variable"),
        (secret(0, "A B", CANARY), "A name is that of an environment variable"),
        (secret(0, "KEY", CANARY) | secret(1, "KEY", "another"), "Two secrets have the same name"),
        (secret(0, "KEY", "deploy"), "A secret stands in the command itself"),
        (secret(0, "KEY", "x" * 9000), "KEY: a secret has 4 to"),
    ],
)
def test_secrets_that_cannot_be_kept_are_said_in_the_form(
    cast: Cast, computer: tuple[int, str], given: dict[str, str], says: str
) -> None:
    bob = cast.browser("bob")
    for path, more in ((f"/fleet/{computer[1]}/console", {}), ("/fleet/bulk/command", {"ids": computer[1], "asked": "1"})):
        answer = bob.post(path, **FORM | given | more)
        assert answer.status_code == 422
        assert says in answer.text and "kestrel" not in answer.text
    assert count(cast) == 0


def test_a_selection_is_given_secrets_over_the_question(cast: Cast, computer: tuple[int, str]) -> None:
    bob, chosen = cast.browser("bob"), {"ids": computer[1], "asked": "1"}
    question = bob.post("/fleet/bulk/command", **FORM | secret(0, "DEPLOY_KEY", CANARY) | chosen).text
    assert "Its secrets: DEPLOY_KEY." in question and "kestrel" not in question
    carried = re.search(r'name="carried" value="([^"]+)"', question)
    assert carried
    sure = FORM | chosen | {"confirmed": "1"}
    done = bob.post("/fleet/bulk/command", **sure | {"carried": carried[1]})
    assert secrets_in(cast, done.headers["Location"]) == {"DEPLOY_KEY": CANARY}
    for who, text in (("alice", carried[1]), ("bob", "nonsense"), ("bob", vault_of(cast.app).encrypt("[]"))):
        answer = cast.browser(who).post("/fleet/bulk/command", **sure | {"carried": text})
        assert answer.status_code == 422 and "Type the secrets again" in answer.text, who
    assert count(cast) == 1


def test_secrets_on_a_page_that_was_open_for_too_long_are_typed_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = vault_of(cast.app)
    text = operations.carry_secrets({"KEY": CANARY}, actor=SYSTEM, vault=vault)
    assert operations.carried_secrets(text, actor=SYSTEM, vault=vault) == {"KEY": CANARY}
    monkeypatch.setattr(operations, "now", lambda: now() + timedelta(minutes=61))
    with pytest.raises(Invalid, match="more than an hour"):
        operations.carried_secrets(text, actor=SYSTEM, vault=vault)
