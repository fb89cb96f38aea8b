"""Rules on containers: what ran and does not run any more."""

from alerts_kit import Desk
from factories import make_computer, make_containers

from app.containers.models import ContainerState, EngineState


def test_a_container_that_stops_fires_and_is_over_when_it_runs_again(desk: Desk) -> None:
    computer = make_computer("dock-1")
    desk.rule("container_down", 0.0, for_seconds=60)
    make_containers(computer, "web")
    desk.later(5)
    make_containers(computer, "web", state=ContainerState.EXITED, exit_code=137)
    desk.later(30)
    assert desk.status() == "pending"
    desk.later(60)
    (alert,) = desk.alerts()
    assert (alert.status.value, alert.subject_kind, alert.subject_name) == ("active", "container", "web on dock-1")
    assert alert.message == "Container stopped"
    assert (alert.computer_id, alert.computer_uuid) == computer
    make_containers(computer, "web")
    desk.later(5)
    desk.later(120)
    assert desk.status() == "resolved"
    assert desk.told() == ["fired", "resolved"]


def test_a_container_that_is_removed_is_no_trouble_any_more(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("container_down", 0.0)
    make_containers(computer, "batch")
    make_containers(computer, "batch", state=ContainerState.EXITED, exit_code=1)
    desk.later(5)
    assert desk.status() == "active"
    make_containers(computer)
    desk.later(120)
    desk.later(120)
    assert desk.status() == "resolved"


def test_an_engine_that_does_not_answer_is_no_stopped_container(desk: Desk) -> None:
    computer = make_computer()
    desk.rule("container_down", 0.0)
    make_containers(computer, "web")
    desk.later(5)
    make_containers(computer, engine=EngineState.SILENT)
    desk.later(300)
    assert desk.alerts() == []


def test_a_rule_made_after_the_container_has_stopped_sees_it(desk: Desk) -> None:
    computer = make_computer()
    make_containers(computer, "web")
    make_containers(computer, "web", state=ContainerState.EXITED, exit_code=0)
    desk.later(5)
    desk.rule("container_down", 0.0)
    desk.later(2)
    desk.later(2)
    assert desk.status() == "active"
