"""Which alerts a channel tells, when, and in what words: real evaluation on a simulated clock, up to what Apprise is given."""

from dataclasses import replace

import pytest
from alerts_kit import Desk
from conftest import Cast
from factories import make_channel, make_computer
from post_office import Post
from sqlalchemy import delete

from app.actors import SYSTEM
from app.alerts.models import Silence
from app.alerts.operations import acknowledge, delete_silence, resolve
from app.apprise_call import Told
from app.clock import to_ms
from app.database import reading, session, unit_of_work
from app.deliveries import queries
from app.deliveries.models import Delivery, DeliveryStatus
from app.factory import vault_of
from app.fleet.models import ComputerTag
from app.metrics.operations import NewSample, store
from app.notifications.messages import Note, harmless, lasted, write
from app.notifications.models import Channel
from app.notifications.operations import update_channel


def busy(desk: Desk, post: Post, computer: tuple[int, str], cpu: float = 95.0) -> None:
    desk.later(10, work=False)
    desk.sample(computer[0], cpu)
    post.later(5, 5)


def together(desk: Desk, cpus: list[tuple[tuple[int, str], float]]) -> None:
    """Samples of many computers in one transaction."""
    with unit_of_work():
        store([NewSample(computer[0], to_ms(desk.at), cpu, memory=10.0, disk=20.0) for computer, cpu in cpus])


def rows(channel: str) -> list[Delivery]:
    with reading():
        return list(reversed(queries.list_deliveries(queries.DeliveryFilter("channel", channel), 100)))


def test_an_alert_is_told_once_with_its_severity_and_its_recovery_with_the_duration(desk: Desk, post: Post) -> None:
    make_channel()
    computer = make_computer("db-1")
    desk.rule("cpu", 80.0, critical_value=95.0)
    busy(desk, post, computer, 90.0)
    busy(desk, post, computer, 91.0)
    assert post.titles() == ["Warning: db-1: CPU 90 %, above 80 %"]
    url, message = post.sent[0]
    assert (url, message.kind) == ("ntfy://a-secret-topic", "warning")
    assert "/alerts/" in message.body
    post.later(300, 100)
    busy(desk, post, computer, 20.0)
    assert len(post.sent) == 2
    title, body, kind = post.titles()[1], post.sent[1][1].body, post.sent[1][1].kind
    assert title.startswith("Resolved: db-1: CPU")
    assert "Over after 5 min" in body
    assert kind == "success"
    post.later(3600, 600)
    assert len(post.sent) == 2


def test_a_warning_that_gets_worse_is_told_again_and_better_is_not(desk: Desk, post: Post) -> None:
    make_channel()
    computer = make_computer("db-1")
    desk.rule("cpu", 80.0, critical_value=95.0)
    for cpu in (85.0, 97.0, 97.0, 90.0):
        busy(desk, post, computer, cpu)
    assert [title.partition(":")[0] for title in post.titles()] == ["Warning", "Now critical"]
    assert post.sent[1][1].kind == "failure"


def test_a_channel_for_critical_alerts_hears_of_those_only_and_of_their_end(desk: Desk, post: Post) -> None:
    make_channel(severities=["critical"])
    one, other = make_computer("one"), make_computer("other")
    desk.rule("cpu", 80.0, critical_value=95.0)
    busy(desk, post, one, 85.0)
    busy(desk, post, other, 85.0)
    assert post.sent == []
    busy(desk, post, one, 99.0)
    assert [title.partition(":")[0] for title in post.titles()] == ["Critical"]
    busy(desk, post, one, 10.0)
    busy(desk, post, other, 10.0)
    assert [title.partition(":")[0] for title in post.titles()] == ["Critical", "Resolved"]
    assert "one" in post.titles()[1]


def test_recovery_can_be_left_untold(desk: Desk, post: Post) -> None:
    make_channel(tell_recovery=False)
    computer = make_computer()
    desk.rule()
    busy(desk, post, computer)
    busy(desk, post, computer, 10.0)
    assert len(post.sent) == 1


def test_tenants_and_tags_narrow_a_channel(cast: Cast, desk: Desk, post: Post) -> None:
    make_channel("ntfy://acme", tenant_ids=[cast.acme])
    make_channel("ntfy://prod", tag="prod")
    make_channel("ntfy://acme-prod", tenant_ids=[cast.acme], tag="prod")
    make_channel("ntfy://all")
    plain = make_computer("acme-plain", tenant_id=cast.acme)
    prod = make_computer("globex-prod", tenant_id=cast.globex, tags=["prod"])
    desk.rule()
    busy(desk, post, plain)
    busy(desk, post, prod)
    told = sorted((url.removeprefix("ntfy://"), message.title.split(":")[1].strip()) for url, message in post.sent)
    assert told == [("acme", "acme-plain"), ("all", "acme-plain"), ("all", "globex-prod"), ("prod", "globex-prod")]


def test_a_muted_alert_is_told_when_its_silence_ends_and_it_is_still_there(desk: Desk, post: Post) -> None:
    make_channel()
    stays, goes = make_computer("stays"), make_computer("goes")
    desk.rule()
    silence = desk.silence(600)
    busy(desk, post, stays)
    busy(desk, post, goes)
    busy(desk, post, goes, 10.0)
    post.later(200, 100)
    assert post.sent == []
    assert sorted(desk.told()) == ["fired", "fired", "resolved"]
    for _ in range(5):
        busy(desk, post, stays)
    with unit_of_work():
        delete_silence(session().get(Silence, silence), actor=SYSTEM)
    post.later(20)
    assert [title.split(":")[1].strip() for title in post.titles()] == ["stays"]
    busy(desk, post, stays, 10.0)
    assert post.titles()[-1].startswith("Resolved: stays")


def test_what_was_told_before_a_silence_is_not_told_again_after_it(desk: Desk, post: Post) -> None:
    make_channel()
    computer = make_computer()
    desk.rule()
    busy(desk, post, computer)
    desk.silence(120)
    for _ in range(15):
        busy(desk, post, computer)
    assert desk.told() == ["fired", "muted", "unmuted"]
    assert len(post.sent) == 1


def test_it_is_repeated_until_somebody_acknowledges_it(desk: Desk, post: Post) -> None:
    make_channel(repeat_minutes=30)
    make_channel("ntfy://never")
    computer = make_computer("db-1")
    desk.computer_rule(computer[1])
    busy(desk, post, computer)
    post.sent.clear()
    post.later(70 * 60, 600)
    assert post.titles() == ["Still warning: db-1: CPU 95 %, above 80 %"] * 2
    (alert,) = desk.alerts()
    with unit_of_work():
        acknowledge([alert.id], actor=SYSTEM)
    post.later(3600, 600)
    assert len(post.sent) == 2
    busy(desk, post, computer, 5.0)
    over = [url for url, message in post.sent if message.title.startswith("Resolved")]
    assert sorted(over) == ["ntfy://a-secret-topic", "ntfy://never"]


def test_what_a_channel_was_told_before_it_was_narrowed_is_not_repeated(cast: Cast, desk: Desk, post: Post) -> None:
    """By its tag, by its tenants, and when the computer has lost the tag."""
    moved, tagged, lost = (make_channel(f"ntfy://{name}", repeat_minutes=30, tag="prod") for name in ("moved", "tagged", "lost"))
    computer = make_computer("db-1", tenant_id=cast.acme, tags=["prod"])
    desk.computer_rule(computer[1])
    busy(desk, post, computer)
    assert len(post.sent) == 3
    post.sent.clear()
    with unit_of_work():
        for channel, change in ((moved, {"tenant_ids": [cast.globex]}), (tagged, {"tag": "other"})):
            update_channel(session().get(Channel, channel), change, actor=SYSTEM, vault=vault_of(cast.app))
    post.later(35 * 60, 600)
    assert [url for url, _ in post.sent] == ["ntfy://lost"]
    with unit_of_work():
        session().execute(delete(ComputerTag))
    post.later(70 * 60, 600)
    assert len(post.sent) == 1
    assert [row.event for row in rows(lost)] == ["alert.fired", "alert.repeated"]


@pytest.mark.parametrize("damped", [True, False])
def test_a_threshold_crossed_to_and_fro_every_minute_for_half_an_hour_gives_two_messages_at_most(
    desk: Desk, post: Post, damped: bool
) -> None:
    """Issue 5, "Numbers": by the rule's own sustain and hysteresis, and also when the rule has neither."""
    make_channel()
    computer = make_computer("flapping")
    damping = {"for_seconds": 30, "recovery_value": 70.0, "recovery_for_seconds": 300} if damped else {}
    desk.rule("cpu", 80.0, **damping)
    for minute in range(30):
        for _ in range(3):
            desk.later(20, work=False)
            desk.sample(computer[0], 95.0 if minute % 2 == 0 else 60.0)
        desk.work()
        post.work()
    post.later(30)
    assert 1 <= len(post.sent) <= 2, post.titles()
    assert len(desk.told("alert.fired")) == (1 if damped else 2), "the alert itself is damped as well (tests/alerts)"


def test_what_comes_back_and_stays_is_told_when_the_half_hour_is_over_and_at_once_when_it_is_worse(
    desk: Desk, post: Post
) -> None:
    make_channel()
    stays, worse = make_computer("stays"), make_computer("worse")
    desk.rule("cpu", 80.0, critical_value=95.0)
    for computer in (stays, worse):
        busy(desk, post, computer, 85.0)
        busy(desk, post, computer, 10.0)
        busy(desk, post, computer, 85.0)
        post.later(70, 35)
    assert [title.partition(": CPU")[0] for title in post.titles()] == [
        "Warning: stays", "Resolved: stays", "Warning: worse", "Resolved: worse"]  # fmt: skip
    busy(desk, post, worse, 99.0)
    assert post.titles()[4].startswith("Critical: worse")
    post.later(1500, 500)
    assert len(post.sent) == 5
    post.later(300, 100)
    assert [title.partition(": CPU")[0] for title in post.titles()][5:] == ["Warning: stays"], (
        "and not the stale warning of the other"
    )


def test_a_storm_is_one_message_and_a_few_alerts_are_one_each(desk: Desk, post: Post) -> None:
    make_channel()
    computers = [make_computer(f"pc-{i:02}") for i in range(30)]
    desk.rule("cpu", 80.0, critical_value=98.0)
    for number in (0, 1):
        desk.sample(computers[number][0], 95.0)
    post.later(5, 5)
    assert len(post.sent) == 2
    post.later(120, 120)
    post.sent.clear()
    together(desk, [(computer, 99.0 if number % 2 else 90.0) for number, computer in enumerate(computers[2:])])
    post.later(5, 5)
    assert len(post.sent) == 1, post.titles()
    message = post.sent[0][1]
    assert message.title == "28 alerts (14 critical)"
    assert message.kind == "failure"
    assert message.body.count("\n") == 21
    assert message.body.startswith("Critical: pc-")
    assert "and 8 more" in message.body
    desk.later(5, work=False)
    together(desk, [(computer, 5.0) for computer in computers[2:]])
    post.later(10, 5)
    assert len(post.sent) == 1, "while it storms, what follows is held a little longer and told together"
    post.later(40)
    assert [message.title for _, message in post.sent[1:]] == ["28 resolved"]


def test_a_message_that_could_not_be_sent_is_not_followed_by_its_stale_past(desk: Desk, post: Post) -> None:
    """The channel was down from the firing until after the recovery: people hear that it is over, with the duration, and no more."""
    channel = make_channel()
    computer = make_computer("db-1")
    desk.rule()
    post.answer = Told(False, 1.0, error="down")
    busy(desk, post, computer)
    post.later(60)
    assert [row.status.value for row in rows(channel)] == ["queued"]
    busy(desk, post, computer, 10.0)
    post.later(10)
    post.answer = replace(post.answer, ok=True, error=None)
    post.later(3600, 600)
    assert [title.partition(":")[0] for title in post.titles()] == ["Resolved"]
    assert [row.status for row in rows(channel)] == [DeliveryStatus.CANCELLED, DeliveryStatus.DELIVERED]


def test_a_channel_that_was_off_hears_nothing_of_that_time(desk: Desk, post: Post) -> None:
    channel = make_channel(enabled=False)
    make_channel("ntfy://other")
    first, second = make_computer("first"), make_computer("second")
    desk.rule()
    busy(desk, post, first)
    with unit_of_work():
        update_channel(session().get(Channel, channel), {"enabled": True}, actor=SYSTEM, vault=vault_of(post.app))
    busy(desk, post, second)
    busy(desk, post, first, 5.0)
    assert [message.title.split(":")[1].strip() for url, message in post.sent if url == "ntfy://a-secret-topic"] == ["second"]


def test_an_alert_that_a_person_resolved_says_so(desk: Desk, post: Post) -> None:
    make_channel()
    computer = make_computer()
    desk.rule()
    busy(desk, post, computer)
    with unit_of_work():
        resolve([desk.alerts()[0].id], actor=SYSTEM)
    post.later(5, 5)
    assert "resolved by a person" in post.sent[-1][1].body


@pytest.mark.parametrize(
    ("text", "shown"),
    [("@everyone\nurgent", "@\u200beveryone urgent"), ("<!channel> x", "<\u200b!channel> x"), ("a\tb\r\nc", "a b c")],
)
def test_a_name_cannot_wake_everyone_or_begin_a_line(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert shown in write([Note("fired", "1", "critical", text, text)], "http://x").title


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "some time"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_durations_in_words(seconds: float | None, words: str) -> None:
    assert lasted(seconds) == words
