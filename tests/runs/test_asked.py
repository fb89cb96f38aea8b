"""What people may ask of runs, on pages and over the API: by state, by role, one or many; deletion, and retention."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import pytest
from conftest import Cast
from factories import make_computer, make_output, make_run
from workshop import TOGETHER, WORKSHOP, register_all, request

from app.actors import SYSTEM
from app.clock import now
from app.database import reading, session, unit_of_work
from app.factory import settings_of, vault_of
from app.live.hub import hub_of
from app.runs import artefacts, drivers, queries
from app.runs.leases import Keeper, adopt, claim, keep
from app.runs.live import FILES
from app.runs.models import Run, RunLog, RunStatus
from app.runs.operations import begin
from app.runs.retention import retain


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    register_all()
    yield
    for driver in (WORKSHOP, TOGETHER):
        drivers.forget(driver.kind)


def make_work(cast: Cast, steps: int = 3, key: str | None = None) -> str:
    with cast.app.app_context(), unit_of_work():
        return request([{}] * steps, key=key, tenant_id=cast.acme).id


def can(html: str) -> set[str]:
    return set(html.split('data-can="', 1)[1].split('"', 1)[0].split())


def test_the_page_offers_what_the_kind_and_the_state_allow(cast: Cast) -> None:
    with cast.app.app_context():
        command = make_run(make_computer("pc", tenant_id=cast.acme))
    work = make_work(cast)
    bob = cast.browser("bob")
    page = bob.get(f"/runs/{command}/").text
    assert can(page) == {"cancel"} and f"/runs/{command}/pause" not in page
    page = bob.get(f"/runs/{work}/").text
    assert can(page) == {"cancel", "pause"} and f'action="/runs/{work}/pause"' in page and "It waits for a worker." in page
    assert bob.post(f"/runs/{work}/resume").status_code == 409
    assert bob.post(f"/runs/{work}/pause").status_code == 303
    assert can(bob.get(f"/runs/{work}/").text) == {"cancel", "resume", "skip"}
    assert bob.post(f"/runs/{work}/skip").status_code == 303
    assert "Skipped by bob" in bob.get(f"/runs/{work}/targets").text
    assert bob.post(f"/runs/{work}/resume").status_code == 303
    assert cast.client("bob").get(f"/api/v1/runs/{work}").json["status"] == "queued"
    assert bob.post(f"/runs/{work}/cancel").status_code == 303
    page = bob.get(f"/runs/{work}/").text
    assert can(page) == {"again", "delete", "resume"} and "Cancelled by bob" in page
    assert cast.client("bob").post(f"/api/v1/runs/{command}/pause").status_code == 409


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "skip", "retry", "again"])
def test_who_may_ask(cast: Cast, verb: str) -> None:
    work = make_work(cast)
    assert cast.client("rita").post(f"/api/v1/runs/{work}/{verb}").status_code == 403
    assert cast.client("charlie").post(f"/api/v1/runs/{work}/{verb}").status_code == 404
    assert cast.client("bob").post(f"/api/v1/runs/nonsense/{verb}").status_code == 404
    if verb != "retry":
        assert cast.browser("rita").post(f"/runs/{work}/{verb}").status_code == 403
        assert cast.browser("charlie").post(f"/runs/{work}/{verb}").status_code == 404


def test_a_run_that_has_ended_is_deleted_after_a_question(cast: Cast) -> None:
    with cast.app.app_context():
        computer = make_computer("pc", tenant_id=cast.acme)
        run, waits, other = make_run(computer), make_run(computer), make_run(computer)
        for one in (run, other):
            make_output(one, ("stdout", "x\n"), exit_code=0)
    bob = cast.browser("bob")
    assert cast.browser("eve").get(f"/runs/{run}/delete").status_code == 403
    assert cast.browser("charlie").post(f"/runs/{run}/delete", confirmed="1").status_code == 404
    assert "Delete this run?" in bob.get(f"/runs/{run}/delete").text
    assert "Delete this run?" in bob.post(f"/runs/{run}/delete").text
    assert bob.post(f"/runs/{waits}/delete", confirmed="1").status_code == 409
    assert bob.post(f"/runs/{run}/delete", confirmed="1").headers["Location"] == "/runs/"
    assert bob.get(f"/runs/{run}/").status_code == 404
    bob.get("/runs/")
    assert "2 runs" not in bob.post("/runs/bulk/delete", ids=other).text
    assert bob.post("/runs/bulk/delete", ids=waits).status_code == 400
    assert bob.post("/runs/bulk/delete", ids=other, confirmed="1").status_code == 303
    assert cast.client("eve").delete(f"/api/v1/runs/{waits}").status_code == 403
    assert cast.client("bob").delete(f"/api/v1/runs/{waits}").status_code == 409
    with cast.app.app_context():
        assert queries.count_runs(queries.RunFilter()) == 1
        assert session().query(RunLog).count() == 0
    assert cast.client("alice").get("/api/v1/audit?type=command.deleted").text.count("command.deleted") == 2


def test_many_at_once(cast: Cast) -> None:
    works = [make_work(cast) for _ in range(3)]
    bob = cast.browser("bob")
    assert bob.client.post("/runs/bulk/pause", data={"csrf_token": bob.token, "ids": works}).status_code == 303
    with cast.app.app_context():
        assert {run.status for run in queries.by_ids(works).values()} == {RunStatus.PAUSED}
    assert bob.client.post("/runs/bulk/resume", data={"csrf_token": bob.token, "ids": works[:2]}).status_code == 303
    with cast.app.app_context():
        assert [queries.by_ids(works)[i].status.value for i in works] == ["queued", "queued", "paused"]
        one, two = make_computer("pc-1", tenant_id=cast.acme), make_computer("pc-2", tenant_id=cast.acme)
        run = make_run(one, two, command="both")
        make_output(run, exit_code=0)
        make_output(run, position=1, exit_code=3)
    asked = bob.client.post("/runs/bulk/retry", data={"csrf_token": bob.token, "ids": [run, works[0]]})
    assert "Retry this run?" in asked.text and "1 of the selected are not in a state for it" in asked.text
    assert bob.post("/runs/bulk/retry", ids=run, confirmed="1").status_code == 303
    newest = cast.client("bob").get("/api/v1/runs").json["runs"][0]
    assert (newest["retry_of"], newest["total"]) == (run, 1)
    assert cast.client("bob").post(f"/api/v1/runs/{run}/retry").json["steps"][0]["name"] == "pc-2"
    for verb in ("pause", "resume", "retry", "delete"):
        assert cast.browser("rita").post(f"/runs/bulk/{verb}", ids=run).status_code == 403


def test_a_claim_is_for_one_and_a_key_for_one(cast: Cast) -> None:
    first, second, free = make_work(cast, key="one"), make_work(cast, key="one"), make_work(cast)
    with cast.app.app_context():
        taken = []
        for owner in ("a", "b", "c"):
            with unit_of_work():
                taken.append(claim(owner, ["workshop"]))
        assert taken == [first, free, None]
        with unit_of_work():
            assert keep("b", [first, free]) == {free}
        with unit_of_work():
            run = session().get(Run, first)
            from app.runs.operations import finish_run

            finish_run(run)
        with unit_of_work():
            assert claim("c", ["workshop"]) == second


def test_of_two_workers_one_keeps_what_runs_on_computers_until_it_is_dead(cast: Cast) -> None:
    with cast.app.app_context():
        run = make_run(make_computer("pc"))
        with unit_of_work():
            begin(run, "web:1")
        first, second = (Keeper(f"worker:{name}", vault_of(cast.app)) for name in ("first", "second"))

        def owner() -> str | None:
            with reading():
                held: str | None = session().get(Run, run).lease_owner
                return held

        first.keep()
        assert owner() == "worker:first", "a web process only began it"
        second.keep()
        assert owner() == "worker:first", "it lives"
        with unit_of_work():
            session().get(Run, run).lease_until = now() + timedelta(seconds=1)
        second.keep()
        assert owner() == "worker:second", "nobody has put it ahead"
        with unit_of_work():
            assert not adopt(run, "worker:first", "worker:first"), "it has been taken over"
        assert owner() == "worker:second"


@pytest.mark.parametrize("name", ['a"b.txt', "naïve 名.html", "../../etc/passwd", "a\r\nSet-Cookie: x=y", "." * 400, "%0d%0a"])
def test_a_file_of_any_name_is_downloaded_under_one_that_is_ascii(cast: Cast, name: str) -> None:
    with cast.app.app_context(), unit_of_work():
        run = request([{}], tenant_id=cast.acme).id
        row = artefacts.store(settings_of(cast.app).data_dir, run, None, name, b"x", "text/html")
        kept, place = row.name, f"/api/v1/runs/{run}/artefacts/{row.id}"
    answer = cast.client("bob").get(place)
    assert (answer.status_code, answer.data, "Set-Cookie" in answer.headers) == (200, b"x", False)
    head = answer.headers["Content-Disposition"]
    assert head.isascii() and head.isprintable() and head == f"attachment; filename*=UTF-8''{quote(kept, safe='')}"
    assert "/" not in kept and kept.isprintable()


def test_old_runs_go_with_all_that_belongs_to_them(cast: Cast) -> None:
    root = settings_of(cast.app).data_dir
    with cast.app.app_context():
        computer = make_computer("pc", tenant_id=cast.acme)
        old, young, waits = (make_run(computer) for _ in range(3))
        for run in (old, young):
            make_output(run, *[("stdout", f"{n}\n") for n in range(20)], exit_code=0)
        with unit_of_work():
            artefacts.store(root, old, None, "../../etc/passwd", b"data", "text/plain")
            session().get(Run, old).finished_at = now() - timedelta(days=91)
        assert [a.name for a in artefacts.of_run(old)] == ["passwd"]
        (artefacts.folder_of(root, "00000000-0000-4000-8000-000000000000")).mkdir()
        assert retain(timedelta(days=90), root) == 1
        assert set(queries.by_ids([old, young, waits])) == {young, waits}
        assert not artefacts.folder_of(root, old).exists()
        assert not artefacts.folder_of(root, "00000000-0000-4000-8000-000000000000").exists()
        assert session().query(RunLog).count() == 20
        assert retain(timedelta(days=90), root) == 0
    assert cast.client("alice").get("/api/v1/audit?type=runs.purged").text.count("runs.purged") == 1


def test_files_of_a_run_are_pushed_as_they_are_made(cast: Cast) -> None:
    root, hub = settings_of(cast.app).data_dir, hub_of(cast.app)
    with cast.app.app_context():
        run = make_run(make_computer("pc", tenant_id=cast.acme))
        state = hub.snapshot(FILES, FILES.parse(f"id={run}"), None)
        assert state.keys == []
        names = [f"<b>{number}.log" for number in range(102)]
        for name in names:
            with unit_of_work():
                artefacts.store(root, run, None, name, b"data", "text/plain")
        after = hub.snapshot(FILES, f"id={run}", None)
        assert len(after.keys) == 102 and after.rev > state.rev, "the list's clock says that there is something new"
        assert hub.snapshot(FILES, f"id={run}", frozenset({cast.globex})).keys == []
    page = cast.browser("bob").get(f"/runs/{run}/").text
    assert page.count('data-id="file-') == 102 and "_b_7.log" in page and "<b>" not in page
    rows = cast.browser("rita").get(f"/runs/{run}/files")
    assert rows.text.count("<li") == 102 and int(rows.headers["X-Rev"]) >= after.rev
    assert cast.browser("charlie").get(f"/runs/{run}/files").status_code == 404


def test_lines_have_numbers_that_last(cast: Cast) -> None:
    with cast.app.app_context():
        run = make_run(make_computer("pc", tenant_id=cast.acme))
        make_output(run, ("stdout", "one\ntw"), ("stderr", "bad\n"), ("stdout", "o\n\nfour"))
        make_output(run, ("stdout", "\nfive\n"), exit_code=0)
    bob = cast.browser("bob")
    page = bob.get(f"/runs/{run}/").text
    for number, text in ((1, "one"), (2, "two"), (3, "bad"), (4, ""), (5, "four"), (6, "five")):
        assert f'id="L{number}" data-n="{number}"' in page
        assert f">{text}</div>" in page.split(f'id="L{number}"')[1].split("\n")[0]
    after = bob.get(f"/runs/{run}/steps/0/log?after=3").text
    assert 'id="L6"' in after and ">five</div>" in after
    assert bob.get(f"/runs/{run}/log").text == "one\ntwbad\no\n\nfour\nfive\n"


def test_a_kind_that_nobody_knows_is_still_shown(cast: Cast) -> None:
    work = make_work(cast)
    drivers.forget("workshop")
    bob = cast.browser("bob")
    assert "Workshop" in bob.get(f"/runs/{work}/").text and can(bob.get(f"/runs/{work}/").text) == set()
    assert cast.client("bob").get(f"/api/v1/runs/{work}").json["can"] == []
    assert cast.client("bob").get("/api/v1/runs?kind=workshop").status_code == 422
    assert bob.get("/runs/?kind=nonsense").status_code == 400
    assert SYSTEM.name in bob.get("/runs/").text
