"""Rules on certificates: what ends soon fires when the inventory says so and when time passes, and is over when it is renewed."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from alerts_kit import Desk
from conftest import Cast
from factories import make_computer
from sqlalchemy import func, select

from app.alerts.deadlines import Reconciler
from app.alerts.models import Threshold
from app.alerts.operations import create_threshold
from app.clock import now
from app.connectors.schemas import InventoryFound
from app.database import session, unit_of_work
from app.fleet import operations as fleet
from app.fleet.models import Computer

SHOP = "/etc/letsencrypt/live/shop/fullchain.pem"
MAIL = "/etc/letsencrypt/live/mail/fullchain.pem"
DAY = 86_400


def told(computer: tuple[int, str], *certificates: dict[str, Any], **inventory: Any) -> None:
    """The computer's connector tells its inventory."""
    parts = InventoryFound.model_validate(
        {"hostname": "web-1", "certificates": list(certificates)} | inventory, strict=False
    ).parts()
    with unit_of_work():
        fleet.store_inventory(session().get(Computer, computer[0]), *parts)


def cert(ends: datetime, path: str = SHOP, subject: str = "shop.example.com") -> dict[str, Any]:
    return {"path": path, "subject": subject, "issuer": "Let's Encrypt, R11", "not_after": ends}


def unreadable(path: str = SHOP) -> dict[str, Any]:
    return {"path": path, "error": "Permission denied"}


def days(desk: Desk, number: float) -> datetime:
    return desk.at + timedelta(days=number)


def test_one_that_ends_soon_fires_with_the_inventory_and_is_over_when_it_is_renewed(desk: Desk) -> None:
    computer = make_computer("web-1")
    desk.rule("certificate", 14.0)
    told(computer, cert(days(desk, 80)), cert(days(desk, 13.5), MAIL, "mail.example.com"))
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.severity.value, alert.value, alert.threshold_name) == (
        "active",
        "warning",
        13.5,
        "Certificate ends in < 14 days",
    )
    assert alert.message == f"Certificate of mail.example.com ends in 13.5 days ({MAIL})"
    assert (alert.subject_kind, alert.subject_name, alert.computer_uuid) == ("computer", "web-1", computer[1])
    desk.later(600)
    told(computer, cert(days(desk, 80)), cert(days(desk, 90), MAIL, "mail.example.com"))
    assert desk.told() == ["fired", "resolved"] and desk.entries()[1].data["reason"] == "recovered"


def test_time_alone_brings_it_near_makes_it_worse_and_ends_it(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("certificate", 14.0, critical_value=3.0)
    told(computer, cert(days(desk, 15)))
    desk.later(DAY - 3600)
    assert desk.alerts() == []
    desk.later(2 * 3600)
    desk.later(3600)
    assert [a.status.value for a in desk.alerts()] == ["active"], "within an hour, though nothing was heard"
    desk.later(11.5 * DAY)
    desk.later(60)
    (alert,) = desk.alerts()
    assert alert.severity.value == "critical" and desk.told() == ["fired", "escalated"]
    assert alert.message.startswith("Certificate of shop.example.com ends in 2.")
    desk.reconciler = Reconciler()  # the worker was started anew
    desk.later(10 * DAY)
    told(computer, cert(days(desk, -7)))
    assert desk.told() == ["fired", "escalated"], "what has ended is no news while it is open"
    told(computer, cert(days(desk, 90)))
    assert desk.told() == ["fired", "escalated", "resolved"]


def test_one_that_has_ended_says_so(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("certificate", None, critical_value=0.0)
    told(computer, cert(days(desk, 0.5)))
    assert desk.alerts() == []
    told(computer, cert(days(desk, -1)))
    assert [a.message for a in desk.alerts(status="active")] == [f"Certificate of shop.example.com ended 1 day ago ({SHOP})"]


def test_a_rule_about_one_file_looks_at_that_file(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("certificate", 14.0, argument=MAIL)
    told(computer, cert(days(desk, 2)), cert(days(desk, 80), MAIL))
    desk.later(60)
    assert desk.alerts() == []
    told(computer, cert(days(desk, 2)), cert(days(desk, 5), MAIL, "mail.example.com"))
    (alert,) = desk.alerts()
    assert (alert.value, alert.argument, alert.threshold_name) == (5.0, MAIL, f"Certificate {MAIL} ends in < 14 days")
    told(computer, cert(days(desk, 2)))
    desk.later(61)
    assert [(e.type, e.data.get("reason")) for e in desk.entries()][1:] == [("alert.resolved", "subject_gone")]


def test_a_file_that_cannot_be_read_counts_as_it_was_read_last(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("certificate", 14.0)
    told(computer, unreadable())
    desk.later(61)
    assert desk.alerts() == [], "nobody knows"
    told(computer, cert(days(desk, 5)))
    assert desk.status() == "active"
    told(computer, unreadable())
    told(computer, hostname="web-1", certificates=None)  # a connector that has just started tells little
    desk.later(61)
    desk.later(3600)
    assert desk.status() == "active" and desk.told() == ["fired"], "silence is no recovery"
    told(computer, cert(days(desk, 90)))
    assert desk.told() == ["fired", "resolved"]
    told(computer, cert(days(desk, 5)))
    told(computer)
    desk.later(61)
    assert desk.told()[2:] == ["fired", "resolved"] and desk.entries()[-1].data["reason"] == "subject_gone"


def test_it_must_hold_for_as_long_as_the_rule_says(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("certificate", 14.0, for_seconds=7200)
    told(computer, cert(days(desk, 13)))
    assert desk.status() == "pending"
    desk.later(3600)
    assert desk.status() == "pending"
    desk.later(3600)
    (alert,) = desk.alerts()
    assert alert.status.value == "active" and alert.message.startswith("Certificate of shop.example.com ends in 12.9 days")


@pytest.mark.parametrize("of_one", [False, True])
def test_a_rule_made_later_sees_it_soon_and_an_idle_worker_reads_no_inventory(
    desk: Desk, of_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer = make_computer()
    told(computer, cert(days(desk, 5)))
    reads: list[int] = []
    real = fleet.queries.certificates_of
    monkeypatch.setattr("app.alerts.sources.certificates_of", lambda *args: (reads.append(1), real(*args))[1])
    for _ in range(3):
        desk.later(3600)
    assert reads == [], "no rule is about certificates"
    (desk.computer_rule(computer[1], "certificate", 14.0) if of_one else desk.rule("certificate", 14.0))
    desk.later(2)
    assert desk.status() == "active"
    with unit_of_work():
        fleet.change_tags([computer[0]], add=["web"], actor=fleet.SYSTEM)
    reads.clear()
    desk.later(60)
    assert len(reads) == 1, "the open alert alone is looked up"
    desk.later(3600)
    assert len(reads) == 4, "and once an hour what may be bad is searched for"


def test_the_page_and_the_api_show_them_and_rules_are_made_of_them(cast: Cast) -> None:
    with cast.app.app_context():
        computer, bare = make_computer("web-1", tenant_id=cast.acme), make_computer("old", tenant_id=cast.acme)
        hostile = "<script>alert(1)</script>"
        told(computer, cert(now() + timedelta(days=10, hours=3)), cert(now() - timedelta(days=1), MAIL, hostile),
             cert(datetime.fromisoformat("9999-12-31T23:59:59+00:00"), "/never.pem"), unreadable("/shut.pem"))  # fmt: skip
        session().remove()
    page = cast.browser("rita").get(f"/fleet/{computer[1]}/").text
    part = page[page.index('id="certificates"') :]
    assert part.index(MAIL) < part.index(SHOP) < part.index("/never.pem") < part.index("/shut.pem")
    assert "10 days" in part and "Ended" in part and "Permission denied" in part and hostile not in part and "9998-12-31" in part
    assert "certificates" not in cast.browser("rita").get(f"/fleet/{bare[1]}/").text
    found = cast.client("rita").get(f"/api/v1/computers/{computer[1]}").json["certificates"]
    assert [(one["path"], one["error"]) for one in found][1::2] == [(SHOP, None), ("/shut.pem", unreadable()["error"])]
    assert found[1]["days_left"] == pytest.approx(10.12, abs=0.02) and found[3]["days_left"] is None
    assert cast.client("rita").get(f"/api/v1/computers/{bare[1]}").json["certificates"] is None
    metric = {m["metric_type"]: m for m in cast.client("rita").get("/api/v1/alerts/metrics").json}["certificate"]
    assert (metric["unit"], metric["argument"]) == ("days", "path")
    bob, rules = cast.client("bob"), "/api/v1/alerts/thresholds"
    made = bob.post(rules, json={"metric_type": "certificate", "threshold_value": 14, "argument": SHOP})
    assert (made.json["comparison"], made.json["name"]) == ("lt", f"Certificate {SHOP} ends in < 14 days")
    for wrong in ({"threshold_value": -1}, {"threshold_value": 14, "recovery_value": 7}, {"threshold_value": 14, "argument": "a\nb"},
                  {"threshold_value": 3, "severity": "warning", "critical_value": 9}):  # fmt: skip
        assert bob.post(rules, json={"metric_type": "certificate"} | wrong).status_code == 422, wrong
    tried = bob.post(f"{rules}/preview", json={"metric_type": "certificate", "threshold_value": 14}).json
    assert tried["would_have_fired"] is None and tried["reason"] == "No history is kept of certificates"


def test_the_editor_speaks_of_certificates(cast: Cast) -> None:
    alice = cast.browser("alice")
    fields = alice.get("/alerts/thresholds/new?metric=certificate&comparison=gt&warning_value=90",
                       headers={"HX-Request": "true", "HX-Trigger-Name": "metric"}).text  # fmt: skip
    assert (
        "The path of its file" in fields and re.search('<option selected[^>]* value="lt">', fields) and "Warning, days" in fields
    )
    assert 'value="14"' in fields and 'value="90"' not in fields
    typed = {"metric": "certificate", "comparison": "lt", "warning_value": "14 days", "critical_value": "3", "path": SHOP, "scope": "all",
             "for_n": "", "for_unit": "min", "back_n": "", "back_unit": "min", "enabled": "y", "name": "Ends"}  # fmt: skip
    alice.token = re.findall('name="csrf_token" value="([^"]+)"', alice.get("/alerts/thresholds/new").text)[0]
    answer = alice.client.post("/alerts/thresholds/new", data=typed | {"csrf_token": alice.token})
    assert answer.status_code == 303
    page = alice.get(answer.headers["Location"]).text
    assert f"Certificate {SHOP} ends in under 14 days, critical under 3 days" in page
    assert "No history is kept of certificates" in alice.get(f"{answer.headers['Location']}trial").text
    stale = {"csrf_token": alice.token, "fields_of": "cpu", "comparison": "gt", "warning_value": "90"}
    for button, status in (({"turn": "1"}, 200), ({"check": "1"}, 422), ({}, 422)):
        answer = alice.client.post("/alerts/thresholds/new", data=typed | stale | button)
        assert answer.status_code == status, "without a script the fields are still those of the metric before"
        assert (
            'name="fields_of" value="certificate"' in answer.text
            and 'value="14"' in answer.text
            and 'value="90"' not in answer.text
        )
        assert "fill in the fields of Certificate first" in answer.text
    with cast.app.app_context(), unit_of_work():
        assert session().scalar(select(func.count()).select_from(Threshold).where(Threshold.metric == "certificate")) == 1
        assert create_threshold({"metric": "certificate", "critical_value": 0.0}, actor=fleet.SYSTEM).comparison.value == "lt"
