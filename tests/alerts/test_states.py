"""Each change of state of an alert, on a simulated clock."""

import pytest
from alerts_kit import Desk
from factories import make_computer

from app.actors import SYSTEM
from app.alerts.operations import acknowledge, resolve
from app.database import session, unit_of_work
from app.fleet.models import Computer

DAMPED = {"for_seconds": 60, "recovery_value": 70.0, "recovery_for_seconds": 120}


def counts(desk: Desk, computer: int) -> tuple[int, int, int, str]:
    with desk.reading():
        row = session().get(Computer, computer)
        return row.alerts_open, row.alerts_warning, row.alerts_critical, row.health


def minute(desk: Desk, computer: int, *values: float, every: float = 10) -> None:
    """One sample every ten seconds; the worker is heard from before the last one."""
    for value in values[:-1]:
        desk.later(every, work=False)
        desk.sample(computer, value)
    desk.later(every)
    desk.sample(computer, values[-1])


def test_a_rule_without_for_fires_at_the_first_sample_and_recovers_at_its_own_value(desk: Desk) -> None:
    computer = make_computer()
    desk.computer_rule(computer[1])
    desk.sample(computer[0], 80.0)
    assert desk.alerts() == []
    desk.later(10)
    desk.sample(computer[0], 80.1)
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.severity.value, alert.value, alert.limit) == ("active", "warning", 80.1, 80.0)
    assert alert.fired_at == alert.pending_since == desk.at
    assert (alert.subject_kind, alert.subject_id, alert.computer_id) == ("computer", computer[1], computer[0])
    desk.later(10)
    desk.sample(computer[0], 80.0)
    assert desk.status() == "resolved"
    (entry_fired, entry_resolved) = desk.entries()
    assert (entry_fired.type, entry_resolved.type) == ("alert.fired", "alert.resolved")
    assert entry_fired.subject_id == alert.id
    assert entry_fired.data["metric"] == "cpu"
    assert entry_fired.data["subject"] == {"kind": "computer", "id": computer[1], "name": "web-1"}
    assert entry_fired.data["computer"] == computer[1]
    assert (entry_fired.data["value"], entry_fired.data["limit"], entry_fired.data["muted"]) == (80.1, 80.0, False)
    assert (entry_resolved.data["duration_s"], entry_resolved.data["reason"]) == (10.0, "recovered")


def test_a_limit_must_be_crossed_for_as_long_as_the_rule_says(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(**DAMPED)
    minute(desk, computer[0], 90, 90, 90)
    assert desk.status() == "pending"
    assert counts(desk, computer[0])[1:] == (0, 0, "healthy")
    minute(desk, computer[0], 79)
    assert desk.status() == ""
    assert counts(desk, computer[0])[0] == 0
    minute(desk, computer[0], 90, 90, 90, 90, 90, 90)
    assert desk.status() == "pending"
    minute(desk, computer[0], 90)
    assert desk.status() == "active"
    assert desk.told() == ["fired"]
    assert counts(desk, computer[0]) == (1, 1, 0, "warning")


def test_it_recovers_past_the_recovery_value_and_only_after_a_while(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(**DAMPED)
    minute(desk, computer[0], *[90] * 7)
    minute(desk, computer[0], *[75] * 30)
    assert desk.status() == "active", "between the limit and the recovery value nothing is well yet"
    minute(desk, computer[0], *[69] * 12)
    assert desk.status() == "active"
    minute(desk, computer[0], 71)
    minute(desk, computer[0], *[69] * 12)
    assert desk.status() == "active", "the quiet time begins anew"
    minute(desk, computer[0], 69)
    assert desk.status() == "resolved"
    assert desk.told() == ["fired", "resolved"]
    assert counts(desk, computer[0]) == (0, 0, 0, "healthy")


def test_a_threshold_crossed_to_and_fro_every_minute_for_half_an_hour_is_told_at_most_twice(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(recovery_for_seconds=120)
    for number in range(30):
        minute(desk, computer[0], *[95 if number % 2 == 0 else 20] * 3, every=20)
    minute(desk, computer[0], *[20] * 8, every=20)
    assert desk.told() == ["fired", "resolved"]


def test_what_flaps_at_a_slower_pace_must_be_quiet_for_longer_each_time(desk: Desk) -> None:
    """Three minutes bad, three good: once it fired again soon after it was resolved, it stays until ten quiet minutes."""
    computer = make_computer()
    desk.rule(recovery_for_seconds=120)
    for number in range(12):
        minute(desk, computer[0], *[95 if number % 2 == 0 else 20] * 6, every=30)
    assert desk.told() == ["fired", "resolved", "fired"]
    minute(desk, computer[0], *[20] * 21, every=30)
    assert desk.told() == ["fired", "resolved", "fired", "resolved"]


def test_warning_becomes_critical_and_back_without_noise(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(critical_value=95.0, **DAMPED)
    minute(desk, computer[0], *[90] * 7)
    minute(desk, computer[0], 99, 99, 90, 99, 99)
    assert desk.alerts()[0].severity.value == "warning", "the critical limit must hold as well"
    minute(desk, computer[0], *[99] * 5)
    (alert,) = desk.alerts()
    assert (alert.severity.value, alert.limit, alert.value) == ("critical", 95.0, 99.0)
    assert counts(desk, computer[0]) == (1, 0, 1, "critical")
    minute(desk, computer[0], *[90, 99] * 6)
    assert desk.told() == ["fired", "escalated"]
    minute(desk, computer[0], *[90] * 13)
    assert desk.alerts()[0].severity.value == "warning"
    assert desk.told() == ["fired", "escalated", "deescalated"]
    assert counts(desk, computer[0]) == (1, 1, 0, "warning")


def test_what_is_critical_from_the_beginning_fires_once(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(critical_value=95.0, **DAMPED)
    minute(desk, computer[0], *[99] * 7)
    assert desk.alerts()[0].severity.value == "critical"
    assert desk.told() == ["fired"]
    assert desk.entries()[0].data["severity"] == "critical"


def test_an_acknowledged_one_is_kept_and_reopened_when_it_gets_worse(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(critical_value=95.0)
    minute(desk, computer[0], 90)
    (alert,) = desk.alerts()
    with unit_of_work():
        assert acknowledge([alert.id], actor=SYSTEM, note="on it") == [alert.id]
    minute(desk, computer[0], 91, 92)
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.note, alert.acknowledged_by) == ("acknowledged", "on it", "system")
    assert counts(desk, computer[0]) == (1, 1, 0, "warning")
    minute(desk, computer[0], 96)
    assert desk.status() == "active"
    assert desk.told() == ["fired", "acknowledged", "escalated"]
    assert desk.entries()[-1].data["reopened"] is True


def test_an_acknowledged_one_resolves_by_itself(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    minute(desk, computer[0], 90)
    with unit_of_work():
        acknowledge([desk.alerts()[0].id], actor=SYSTEM)
    minute(desk, computer[0], 20)
    assert desk.told() == ["fired", "acknowledged", "resolved"]


def test_what_a_person_resolved_does_not_come_again_while_nothing_has_changed(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(critical_value=95.0)
    minute(desk, computer[0], 90)
    with unit_of_work():
        resolve([desk.alerts()[0].id], actor=SYSTEM)
    minute(desk, computer[0], 90, 91)
    assert [a.status.value for a in desk.alerts()] == ["resolved"]
    assert counts(desk, computer[0])[1:] == (0, 0, "healthy")
    minute(desk, computer[0], 20, 90)
    assert [a.status.value for a in desk.alerts()] == ["resolved", "active"], "well again, and crossed anew"


@pytest.mark.parametrize(("values", "passed"), [((96,), 0), ((90,), 3600)], ids=["worse", "an hour later"])
def test_what_a_person_resolved_comes_again_when_it_is_worse_or_after_an_hour(
    desk: Desk, values: tuple[float, ...], passed: int
) -> None:
    computer = make_computer()
    desk.rule(critical_value=95.0)
    minute(desk, computer[0], 90)
    with unit_of_work():
        resolve([desk.alerts()[0].id], actor=SYSTEM)
    desk.later(passed)
    minute(desk, computer[0], *values)
    assert sorted(a.status.value for a in desk.alerts()) == ["active", "resolved"]


def test_a_duration_that_runs_out_between_two_samples_is_not_missed(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(for_seconds=30)
    desk.sample(computer[0], 90)
    desk.later(29)
    assert desk.status() == "pending"
    desk.later(1)
    assert desk.status() == "active"
    assert desk.told() == ["fired"]


def test_a_computer_that_falls_silent_raises_nothing_but_that(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(for_seconds=90)
    desk.rule("offline", None, critical_value=0.0, for_seconds=120)
    desk.sample(computer[0], 90)
    desk.later(60)
    desk.later(60)
    assert [a.metric for a in desk.alerts()] == ["offline"]
    assert desk.told() == ["fired"]
    (alert,) = desk.alerts()
    assert (alert.severity.value, alert.message) == ("critical", "Offline")


def test_offline_ends_with_the_next_contact(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("offline", None, critical_value=0.0, for_seconds=300, recovery_for_seconds=60)
    desk.sample(computer[0], 20)
    desk.later(120)
    assert desk.status() == "pending"
    desk.sample(computer[0], 20)
    desk.later(1)
    assert desk.status() == "", "it was away for less than five minutes"
    desk.later(300)
    desk.later(60)
    assert desk.status() == "active"
    assert counts(desk, computer[0]) == (1, 0, 1, "critical")
    desk.sample(computer[0], 20)
    desk.later(1)
    assert desk.status() == "active"
    minute(desk, computer[0], *[20] * 7)
    assert desk.status() == "resolved"
    assert desk.told() == ["fired", "resolved"]


def test_an_ephemeral_computer_may_be_offline(desk: Desk) -> None:
    lasting, passing = make_computer("lasting"), make_computer("passing")
    with unit_of_work():
        session().get(Computer, passing[0]).ephemeral = True
    desk.rule("offline", None, critical_value=0.0)
    desk.sample(lasting[0], 1)
    desk.sample(passing[0], 1)
    desk.later(60)
    desk.later(1)
    assert [a.subject_name for a in desk.alerts()] == ["lasting"]


def test_a_rule_made_while_a_computer_is_offline_sees_it(desk: Desk) -> None:
    computer = make_computer()
    desk.sample(computer[0], 1)
    desk.later(600)
    desk.rule("offline", None, critical_value=0.0, for_seconds=300)
    desk.later(1)
    desk.later(1)
    assert desk.status() == "active"


def test_an_hour_of_spooled_samples_raises_nothing_false(desk: Desk) -> None:
    """Full for half an hour while nobody could hear it, and well again since."""
    computer = make_computer()
    desk.rule(for_seconds=60)
    desk.rule("clock_skew", 30.0)
    desk.sample(computer[0], 20)
    desk.later(3600, work=False)
    times = [float(s) for s in range(3590, -1, -10)]
    values = [(ago, 99.0 if 900 < ago < 2700 else 20.0) for ago in times]
    for start in range(0, len(values), 100):
        desk.samples(computer[0], *values[start : start + 100])
        desk.work()
    assert desk.alerts() == []
    assert desk.told() == []


def test_a_spool_that_ends_badly_fires_once_with_the_time_it_began(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(for_seconds=600)
    desk.sample(computer[0], 20)
    desk.later(3600, work=False)
    desk.samples(computer[0], *((float(ago), 99.0 if ago <= 1800 else 20.0) for ago in range(3590, 5, -10)))
    desk.later(0)
    desk.sample(computer[0], 99)
    (alert,) = desk.alerts()
    assert alert.status.value == "active"
    assert (desk.at - alert.pending_since).total_seconds() == 1800
    assert desk.told() == ["fired"]


def test_a_sample_older_than_the_newest_says_nothing(desk: Desk) -> None:
    computer = make_computer()
    desk.rule()
    desk.sample(computer[0], 20)
    desk.sample(computer[0], 99, ago=30)
    assert desk.alerts() == []


def test_after_a_gap_the_duration_begins_anew(desk: Desk) -> None:
    computer = make_computer()
    desk.rule(for_seconds=300)
    desk.sample(computer[0], 99)
    desk.later(290, work=False)
    desk.sample(computer[0], 99)
    desk.later(20)
    assert desk.status() == "pending"


def test_a_run_that_failed_is_told_and_expires(desk: Desk) -> None:
    from factories import make_output, make_run

    computer = make_computer()
    desk.rule("run_failed", 0.0)
    good, bad = make_run(computer), make_run(computer, command="false")
    make_output(good, ("stdout", "fine"), exit_code=0)
    make_output(bad, ("stderr", "no"), exit_code=3)
    desk.later(1)
    (alert,) = desk.alerts()
    assert (alert.subject_kind, alert.subject_id, alert.status.value) == ("run", bad, "active")
    assert "Exit code 3" in alert.message
    assert alert.computer_uuid == computer[1]
    desk.later(86_400)
    assert desk.alerts()[0].resolve_reason == "expired"


def test_a_proxy_that_burns_is_told_but_not_one_that_a_person_switched_off(desk: Desk) -> None:
    from app.journal.operations import record
    from app.proxies.models import Proxy, ProxyStatus
    from app.proxies.operations import change_enabled, subject_of
    from app.tenants.queries import list_tenants

    def turn(status: ProxyStatus) -> None:
        with unit_of_work():
            proxy = session().get(Proxy, proxy_id)
            before, proxy.status = proxy.status, status
            record("proxy.status_changed", SYSTEM, subject_of(proxy), before=before.value, after=status.value)
        desk.later(1)

    with unit_of_work():
        proxy = Proxy(tenant_id=list_tenants(None)[0].id, fingerprint="f", address="http://exit:1")
        session().add(proxy)
        session().flush()
        proxy_id, uuid = proxy.id, proxy.uuid
    desk.rule("proxy_health", 1.0, comparison="gte", critical_value=2.0)
    turn(ProxyStatus.FLAGGED)
    (alert,) = desk.alerts()
    assert (alert.subject_kind, alert.subject_id, alert.severity.value) == ("proxy", uuid, "warning")
    assert alert.message == "Proxy flagged"
    turn(ProxyStatus.BLACKLISTED)
    assert desk.alerts()[0].severity.value == "critical"
    with unit_of_work():
        change_enabled([proxy_id], False, actor=SYSTEM)
    desk.later(1)
    assert desk.told() == ["fired", "escalated", "resolved"]


def test_sessions_that_fail_are_told_by_tenant(desk: Desk) -> None:
    from factories import make_tenant

    from app.clock import to_ms
    from app.sessions.models import HOUR_MS, SessionHour, SessionStatus

    acme, globex = make_tenant("Acme"), make_tenant("Globex")
    hour = to_ms(desk.at) // HOUR_MS
    with unit_of_work():
        for tenant, done, failed in ((acme, 4, 6), (globex, 1, 3)):
            for status, number in ((SessionStatus.COMPLETED, done), (SessionStatus.FAILED, failed)):
                session().add(SessionHour(tenant_id=tenant, hour=hour, kind="", value="", status=status, n=number))
    desk.rule("session_failures", 50.0)
    desk.later(2)
    (alert,) = desk.alerts()
    assert (alert.subject_kind, alert.subject_name, alert.value) == ("sessions", "Sessions of Acme", 60.0)
    assert alert.tenant_id == acme, "four sessions of Globex are too few to say anything"
    with unit_of_work():
        session().query(SessionHour).filter_by(tenant_id=acme, status=SessionStatus.COMPLETED).update({"n": 40})
    desk.later(61)
    assert desk.told() == ["fired", "resolved"]


def test_another_room_can_offer_a_metric_and_tell_its_values(desk: Desk) -> None:
    from app.alerts.catalogue import forget
    from app.alerts.operations import About, Metric, Observation, Source, observe, offer
    from app.clock import to_ms
    from app.tenants.queries import list_tenants

    computer = make_computer()
    tenant = list_tenants(None)[0].id
    about = About("container", "c1", "db on web-1", tenant, computer[0], computer[1])
    is_down = {"c1": 1.0}
    offer(Metric("service_down", "Container", Source.STATE, subject="container", highest=1, limit=0, words=("up", "down"),
                 current=lambda ids: {(i, None): (is_down[i], "") for i in ids}))  # fmt: skip
    try:
        desk.computer_rule(computer[1], "service_down", 0.0, for_seconds=30)
        with unit_of_work():
            assert observe([Observation("service_down", about, 1.0, to_ms(desk.at))]) == 1
        desk.later(29)
        assert desk.status() == "pending"
        desk.later(1)
        assert desk.status() == "active"
        is_down["c1"] = 0.0
        with unit_of_work():
            observe([Observation("service_down", about, 0.0, to_ms(desk.at))])
        assert desk.told() == ["fired", "resolved"]
    finally:
        forget("service_down")


def test_an_alert_that_only_goes_on_costs_no_question(desk: Desk) -> None:
    from sqlalchemy import event

    from app.extensions import db

    computer, calm = make_computer("bad"), make_computer("good")
    desk.rule(critical_value=95.0)
    for _ in range(3):
        desk.later(10, work=False)
        desk.sample(computer[0], 90)
        desk.sample(calm[0], 10)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        desk.later(10, work=False)
        desk.sample(computer[0], 91)
        desk.sample(calm[0], 10)
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert asked
    assert not [s for s in asked if " alerts " in s or "thresholds" in s or "silences" in s]
    assert desk.told() == ["fired"]


def test_a_disk_may_be_named_by_its_path(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("disk", 90.0, argument="/data")
    disks = [["/", 100, 95, 5, 95.0], ["/data", 100, 50, 50, 50.0]]
    desk.sample(computer[0], 5, disk=95.0, disks=disks)
    assert desk.alerts() == []
    desk.later(10)
    desk.sample(computer[0], 5, disk=95.0, disks=[disks[0], ["/data", 100, 91, 9, 91.0]])
    assert desk.alerts()[0].message == "Disk /data 91 %, above 90 %"


def test_a_clock_that_is_off_is_told_by_arrival_and_only_when_it_stays_so(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("clock_skew", 30.0)
    for _ in range(13):
        desk.later(10, work=False)
        desk.sample(computer[0], 5, ago=-100)
    assert desk.alerts()[0].message == "Clock off by 100 s, above 30 s"
