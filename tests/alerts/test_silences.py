"""Silences and windows mute without hiding; what is still wrong at their end is told then."""

from datetime import UTC, datetime, timedelta

import pytest
from alerts_kit import Desk, ScopeKind
from factories import make_computer, make_tenant
from sqlalchemy import func, select

from app.actors import SYSTEM
from app.alerts import operations
from app.alerts.models import Alert, Repeat, Silence, Threshold
from app.alerts.operations import create_silences, delete_silence, forget_resolved
from app.alerts.undoing import end_silences
from app.database import session, unit_of_work
from app.errors import Invalid
from app.fleet.models import Computer
from app.fleet.operations import PLACEMENT, change_tags, delete_computers, update_computer
from app.journal.models import JournalEntry
from app.journal.queries import after, clock, last_seq
from app.tenants.models import Tenant
from app.tenants.operations import delete_tenant


def test_an_alert_that_fires_in_a_silence_is_muted_and_told_when_the_silence_ends(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    desk.silence(600, scope=ScopeKind.COMPUTER, scope_id=computer[1])
    desk.sample(computer[0], 99)
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.muted) == ("active", True)
    assert desk.entries()[0].data["muted"] is True
    with desk.reading():
        assert session().get(Computer, computer[0]).health == "warning", "muted, not hidden"
    desk.later(599)
    assert desk.told() == ["fired"]
    desk.later(1)
    assert desk.told() == ["fired", "unmuted"]
    assert desk.entries()[1].data["muted"] is False
    assert desk.alerts()[0].muted is False


def test_what_is_over_before_the_silence_is_told_as_muted_alone(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    desk.silence(600)
    desk.sample(computer[0], 99)
    desk.later(10)
    desk.sample(computer[0], 9)
    desk.later(600)
    assert [(e.type, e.data["muted"]) for e in desk.entries()] == [("alert.fired", True), ("alert.resolved", True)]


def test_a_window_mutes_what_is_open_when_it_begins_and_each_day_anew(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    desk.sample(computer[0], 99)
    desk.silence(
        3600, start=desk.at + timedelta(seconds=100), repeat="daily", repeat_until=desk.at + timedelta(days=2, seconds=50)
    )
    desk.later(99)
    assert desk.told() == ["fired"]
    desk.later(1)
    assert desk.told() == ["fired", "muted"]
    desk.later(3600)
    desk.later(86_400 - 3600)
    assert desk.told() == ["fired", "muted", "unmuted", "muted"]
    desk.later(3600)
    desk.later(86_400)
    assert desk.told() == ["fired", "muted", "unmuted", "muted", "unmuted"], "until the window's last day"


def test_ending_a_silence_early_tells_what_is_still_wrong(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    silence = desk.silence(600)
    desk.sample(computer[0], 99)
    with unit_of_work():
        delete_silence(session().get(Silence, silence), actor=SYSTEM)
    assert desk.told() == ["fired", "unmuted"]


def test_a_silence_reaches_only_its_scope(desk: Desk) -> None:
    acme = make_tenant("Acme")
    first, second, third = make_computer("first", tags=["web"]), make_computer("second", tenant_id=acme), make_computer("third")
    rule = desk.rule()
    for scope, scope_id, muted in ((ScopeKind.TAG, "web", {"first"}), (ScopeKind.TENANT, acme, {"second"}),
                                   (ScopeKind.COMPUTER, third[1], {"third"}), (ScopeKind.THRESHOLD, rule, {"first", "second", "third"}),
                                   (ScopeKind.ALL, None, {"first", "second", "third"})):  # fmt: skip
        silence = desk.silence(600, scope=scope, scope_id=scope_id)
        for computer in (first, second, third):
            desk.later(1, work=False)
            desk.sample(computer[0], 99)
        assert {a.subject_name for a in desk.alerts() if a.muted} == muted
        with unit_of_work():
            delete_silence(session().get(Silence, silence), actor=SYSTEM)
        assert not [a for a in desk.alerts() if a.muted]


def test_when_a_window_is_on_and_when_it_changes_next() -> None:
    start = datetime(2026, 3, 1, 22, tzinfo=UTC)
    window = Silence(
        starts_at=start, ends_at=start + timedelta(hours=2), repeat=Repeat.WEEKLY, repeat_until=start + timedelta(days=15)
    )
    hours = timedelta(hours=1)
    assert not window.is_on(start - hours)
    assert window.next_change(start - hours) == start
    for week in (0, 7, 14):
        begins = start + timedelta(days=week)
        assert window.is_on(begins)
        assert window.is_on(begins + hours)
        assert not window.is_on(begins + 2 * hours)
        assert window.next_change(begins + hours) == begins + 2 * hours
    assert window.next_change(start + 3 * hours) == start + timedelta(days=7)
    assert window.next_change(start + timedelta(days=14) + 3 * hours) is None
    assert not window.is_on(start + timedelta(days=21) + hours)


# -- rules and subjects that change ------------------------------------------------------------------------------------


def test_an_alert_ends_when_its_computer_leaves_the_rules_scope(desk: Desk) -> None:
    computer, acme = make_computer(tags=["web"]), make_tenant("Acme")
    desk.rule(scope=ScopeKind.TAG, scope_id="web")
    desk.rule("memory", 5.0, name="everywhere")
    desk.sample(computer[0], 99)
    assert len(desk.alerts(status="active")) == 2
    with unit_of_work():
        change_tags([computer[0]], remove=["web"], actor=SYSTEM)
    desk.later(1)
    assert [(a.threshold_name, a.resolve_reason) for a in desk.alerts(status="resolved")] == [("CPU > 80 %", "subject_gone")]
    desk.later(1)
    desk.sample(computer[0], 99)
    assert len(desk.alerts(status="active")) == 1, "nor does it come again"
    with unit_of_work():
        update_computer(session().get(Computer, computer[0]), {"tenant_id": acme}, actor=SYSTEM)
    desk.later(1)
    assert [a.tenant_id for a in desk.alerts(status="active")] == [acme], "an alert moves with its computer"


def test_a_deleted_computer_leaves_a_history_and_no_open_alert(desk: Desk) -> None:
    computer = make_computer()
    desk.computer_rule(computer[1])
    desk.rule("memory", 5.0, for_seconds=60)
    desk.sample(computer[0], 99)
    assert sorted(a.status.value for a in desk.alerts()) == ["active", "pending"]
    with unit_of_work():
        delete_computers([computer[0]], actor=SYSTEM)
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.resolve_reason, alert.computer_id) == ("resolved", "subject_gone", None)


def test_old_resolved_alerts_are_removed_and_the_journal_says_so(desk: Desk) -> None:
    computers = [make_computer(f"c{i}") for i in range(3)]
    desk.rule()
    for computer in computers:
        desk.sample(computer[0], 99)
    desk.later(10)
    for computer in computers[:2]:
        desk.sample(computer[0], 9)
    desk.later(86_400 * 5, work=False)
    assert forget_resolved(timedelta(days=7), limit=1) == 0
    desk.later(86_400 * 3, work=False)
    assert forget_resolved(timedelta(days=7), limit=1) == 2
    assert [a.status.value for a in desk.alerts()] == ["active"]
    with desk.reading():
        purged = select(func.count()).select_from(JournalEntry).where(JournalEntry.type == "alerts.purged")
        assert session().scalar(purged) == 2
        assert session().scalar(select(func.count()).select_from(Alert)) == 1


def test_a_tenants_rules_and_silences_end_with_it_and_every_process_hears_of_it(desk: Desk) -> None:
    acme = make_tenant("Acme")
    computer = make_computer(tenant_id=acme)
    rule = desk.rule(scope=ScopeKind.TENANT, scope_id=acme)
    desk.silence(600, scope=ScopeKind.TENANT, scope_id=acme, reason="holiday")
    kept, silence = desk.rule("memory", 90.0, name="everywhere"), desk.silence(600, scope=ScopeKind.THRESHOLD, scope_id=rule)
    desk.sample(computer[0], 99)
    with unit_of_work():
        delete_computers([computer[0]], actor=SYSTEM)
    before, seen = clock(PLACEMENT), last_seq()
    session().rollback()
    with unit_of_work():
        delete_tenant(session().get(Tenant, acme), actor=SYSTEM)
    with desk.reading():
        assert clock(PLACEMENT) > before, "what other processes keep of rules is old"
        assert list(session().scalars(select(Threshold.id))) == [kept]
        assert list(session().scalars(select(Silence.id))) == []
        said = [(e.type, e.subject_name) for e in after(seen)]
    assert sorted(said[:-1]) == [
        ("silence.deleted", "holiday"),
        ("silence.deleted", "silence"),
        ("threshold.deleted", "CPU > 80 %"),
    ]
    assert said[-1] == ("tenant.deleted", "Acme") and silence


def test_several_silences_mute_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    computers = [make_computer(f"c{i}") for i in range(4)]
    desk.rule()
    for computer in computers:
        desk.sample(computer[0], 99)
    looks: list[int] = []
    real = operations.mute_anew
    monkeypatch.setattr(operations, "mute_anew", lambda book: (looks.append(1), real(book)))
    ends = {"ends_at": desk.at + timedelta(hours=1)}
    with unit_of_work():
        made = create_silences([ends | {"scope": ScopeKind.COMPUTER, "scope_id": c[1]} for c in computers[:3]], actor=SYSTEM)
        ids = [row.id for row in made]
    assert [a.muted for a in sorted(desk.alerts(), key=lambda a: a.subject_name)] == [True, True, True, False]
    assert desk.told("alert.muted") == ["muted"] * 3 and looks == [1]
    with unit_of_work():
        assert end_silences([*ids, "gone"], actor=SYSTEM) == 3
    assert not any(a.muted for a in desk.alerts()) and looks == [1, 1]
    with pytest.raises(Invalid), unit_of_work():
        create_silences([ends, {"ends_at": desk.at - timedelta(hours=1)}], actor=SYSTEM)
    with desk.reading():
        assert session().scalar(select(func.count()).select_from(Silence)) == 0, "all or none"
