"""RELIABILITY 21: who did what, from where, in order; a hash chain shows an edited or removed row."""

import threading

import pytest
from conftest import Cast
from factories import make_computer
from sqlalchemy import delete, update

from app.actors import SYSTEM
from app.database import session, unit_of_work
from app.journal import queries
from app.journal.models import JournalEntry
from app.journal.operations import Subject, record


def entries(cast: Cast, **query: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = cast.client("alice").get("/api/v1/audit", query_string=query).json["entries"]
    return rows


def test_changes_are_recorded_with_who_what_and_where(cast: Cast) -> None:
    client = cast.client("bob")
    uuid = client.post("/api/v1/servers", json={"name": "noted"}).json["id"]
    client.put(f"/api/v1/servers/{uuid}", json={"name": "renamed"})
    client.delete(f"/api/v1/servers/{uuid}")
    rows = entries(cast, type="computer.*")
    assert [row["type"] for row in rows] == ["computer.deleted", "computer.updated", "computer.added"]
    for row in rows:
        assert (row["actor_kind"], row["actor_name"], row["address"]) == ("key", "bob's key", "127.0.0.1")
        assert (row["subject_kind"], row["subject_id"], row["tenant_id"]) == ("computer", uuid, cast.acme)
        assert row["request_id"]


def test_logins_refusals_and_role_changes_are_recorded(cast: Cast) -> None:
    cast.app.test_client().post("/api/auth/login", data={"username": "bob", "password": "wrong"})
    cast.browser("bob")
    cast.client("alice").put(f"/api/v1/users/{cast.users['rita']}", json={"role": "user"})
    types = [row["type"] for row in entries(cast)]
    assert types[:3] == ["user.updated", "auth.login", "auth.refused"]
    change = entries(cast, type="user.updated")[0]
    assert change["data"] == {"before": {"role": "readonly", "is_active": True, "all_tenants": False},
                              "after": {"role": "user", "is_active": True, "all_tenants": False}}  # fmt: skip


def test_nothing_is_recorded_for_what_was_rolled_back(cast: Cast) -> None:
    with cast.app.app_context():
        before = queries.last_seq()
        session().rollback()
        with pytest.raises(RuntimeError), unit_of_work():
            record("test.happened", SYSTEM)
            raise RuntimeError
        assert queries.last_seq() == before
        session().remove()


def test_an_edited_or_removed_row_breaks_the_chain(cast: Cast) -> None:
    with cast.app.app_context():
        for i in range(5):
            with unit_of_work():
                record("test.happened", SYSTEM, Subject("test", str(i), "x"), number=i, text="é \u2028", half=0.1)
        assert queries.first_broken_link() is None
        seqs = [e.seq for e in queries.after(0, ("test.happened",))]
        session().rollback()
        with unit_of_work():
            session().execute(update(JournalEntry).where(JournalEntry.seq == seqs[1]).values(actor_name="somebody else"))
        assert queries.first_broken_link() == seqs[1]
        session().rollback()
        with unit_of_work():
            session().execute(update(JournalEntry).where(JournalEntry.seq == seqs[1]).values(actor_name="system"))
            session().execute(delete(JournalEntry).where(JournalEntry.seq == seqs[3]))
        assert queries.first_broken_link() == seqs[4]
        session().remove()


def test_writers_at_the_same_time_keep_one_chain(cast: Cast) -> None:
    def write() -> None:
        with cast.app.app_context():
            for _ in range(10):
                with unit_of_work():
                    record("test.happened", SYSTEM)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with cast.app.app_context():
        assert len(queries.after(0, ("test.happened",))) == 60
        assert queries.first_broken_link() is None
        session().remove()


def test_control_characters_are_inert(cast: Cast) -> None:
    cast.client("alice").post("/api/v1/servers", json={"name": "a\u001b[31mred\nforged line\u202e"})
    name = str(entries(cast, type="computer.added")[0]["subject_name"])
    assert not {"\u001b", "\n", "\u202e"} & set(name)


def test_the_audit_is_filtered_paged_and_for_admins_only(cast: Cast) -> None:
    with cast.app.app_context():
        for i in range(5):
            make_computer(f"pc-{i}", tenant_id=cast.acme)
    page = cast.client("alice").get("/api/v1/audit?type=computer.added&page=2&per_page=2").json
    assert (page["total"], page["page"], len(page["entries"])) == (5, 2, 2)
    assert page["entries"][0]["subject_name"] == "pc-2"
    assert len(entries(cast, q="pc-4")) == 1
    mine = cast.client("alice").post("/api/v1/tenants", json={"name": "Initech"}).json["id"]
    assert [entry["subject_id"] for entry in entries(cast, by="programs")] == [mine], "what a key did, without what Binnacle did"
    assert mine not in [entry["subject_id"] for entry in entries(cast, by="binnacle")]
    assert cast.client("alice").get("/api/v1/audit?by=nobody").status_code == 400
    assert cast.client("bob").get("/api/v1/audit").status_code == 403
    assert cast.client("alice").get("/api/v1/audit?start=yesterday").status_code == 400


def test_the_audit_page_and_its_csv_show_the_same(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("=cmd()", tenant_id=cast.acme)
    browser = cast.browser("alice")
    assert "=cmd()" in browser.get("/settings/audit?type=computer.added").text
    csv = browser.get("/settings/audit.csv?type=computer.added")
    assert csv.headers["Content-Disposition"].startswith('attachment; filename="audit_')
    assert "'=cmd()" in csv.text, "a formula is made inert"
    assert "The chain is whole" in browser.get("/settings/audit?verify=1").text
