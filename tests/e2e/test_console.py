"""A person runs commands: the console shows lines as they come, a command is cancelled, and one goes to a selection."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Queue
from typing import Any
from uuid import uuid4

import httpx
import pytest
from conftest import PASSWORD
from e2e_desk import Desk
from launched import Launched
from playwright.sync_api import Browser, Page, expect
from serving import Agent
from websocket import WebSocketException

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(240)]


class Machine:
    """A computer whose connector does with commands what the test says."""

    def __init__(self, product: Launched, programs: httpx.Client, name: str) -> None:
        self.name = name
        self.id = programs.post("/api/v1/servers", json={"name": name, "tags": ["rack"]}).raise_for_status().json()["id"]
        key = programs.post("/api/v1/api-keys", json={"name": name, "server_id": self.id}).raise_for_status().json()["key"]
        self.agent = Agent(product, key)  # type: ignore[arg-type]
        self.agent.send(type="hello", connector_id=str(uuid4()), version="t", interval=10, capabilities=["metrics", "commands"])
        self.agent.read("hello_ok")
        self.agent.ws.settimeout(None)
        self._heard: Queue[dict[str, Any]] = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Hear all the time, as a connector does: who does not answer pings is cut, however slow the browser is."""
        with suppress(OSError, WebSocketException):
            while said := self.agent.ws.recv():
                self._heard.put(json.loads(said))

    def read(self, kind: str) -> dict[str, Any]:
        """The next message, which must be of the kind."""
        message = self._heard.get(timeout=60)
        assert message["type"] == kind, message
        return message

    def command(self, kind: str = "execute_command") -> dict[str, Any]:
        """The next command, begun."""
        asked = self.read(kind)
        if kind == "execute_command":
            self.agent.send(type="command_started", request_id=asked["request_id"], pid=1)
        return asked

    def prints(self, asked: dict[str, Any], seq: int, text: str, stream: str = "stdout") -> None:
        """One piece of output."""
        self.agent.send(type="command_output", request_id=asked["request_id"], seq=seq, stream=stream, data=text)
        self.read("output_ack")

    def ends(self, asked: dict[str, Any], exit_code: int | None = 0, **data: Any) -> None:
        """The result."""
        self.agent.send(
            type="command_result", request_id=asked["request_id"], data={"exit_code": exit_code, "duration_ms": 5} | data
        )
        self.read("command_ack")


@pytest.fixture(scope="module")
def machines(product: Launched) -> Iterator[list[Machine]]:
    """Two computers that are connected."""
    with product.programs() as programs:
        made = [Machine(product, programs, f"rack-{number}") for number in range(2)]
        yield made
    for machine in made:
        machine.agent.ws.shutdown()


@pytest.fixture(scope="module")
def desk(browser: Browser, product: Launched, machines: list[Machine]) -> Iterator[Desk]:
    """A technician's browser."""
    made = Desk(browser, product)
    page = made.tab(product.link)
    page.fill("input[name=username]", "tess")
    page.fill("input[name=password]", PASSWORD)
    page.fill("input[name=confirm]", PASSWORD)
    page.click("text=Create and sign in")
    page.wait_for_url("**/")
    page.close()
    yield made
    made.context.close()


@pytest.fixture
def tab(desk: Desk) -> Iterator[Page]:
    """A tab. Whatever its console says fails the test."""
    desk.problems.clear()
    page = desk.tab()
    yield page
    page.close()
    assert desk.problems == []


def test_output_arrives_line_by_line_without_a_reload(tab: Page, machines: list[Machine]) -> None:
    machine = machines[0]
    tab.goto(f"/fleet/{machine.id}/")
    tab.click("nav[aria-label=Sections] >> text=Console")
    expect(tab.locator("textarea[name=command]")).to_be_focused()
    tab.keyboard.type("make all")
    tab.keyboard.press("Control+Enter")
    tab.wait_for_url("**/console?run=*")
    asked = machine.command()
    assert (asked["command"], asked["timeout"]) == ("make all", 60)
    expect(tab.locator("#run-head")).to_contain_text("Running")
    tab.evaluate("window.sameDocument = true")
    lines = tab.locator("#output .bn-l")
    for number in range(1, 4):
        machine.prints(asked, number, f"line {number}\n")
        expect(lines).to_have_count(number, timeout=2_000)
    expect(lines.last).to_have_text("line 3")
    machine.prints(asked, 4, "10%\r")
    expect(lines.last).to_have_text("10%")
    machine.prints(asked, 5, "<b>99%</b>")
    expect(lines.last).to_have_text("<b>99%</b>")
    machine.prints(asked, 6, " done\n")
    machine.prints(asked, 7, "\x1b[31mwarning\x1b[0m: x\n", "stderr")
    expect(tab.locator("#output .bn-l-err")).to_have_text("warning: x")
    expect(lines).to_have_count(5)
    tab.fill("[data-log-search]", "LINE")
    expect(tab.locator("#output .bn-l:visible")).to_have_count(3)
    tab.fill("[data-log-search]", "")
    machine.ends(asked, 0)
    expect(tab.locator("#run-head")).to_contain_text("Succeeded")
    expect(tab.locator("#past tr").first).to_contain_text("Succeeded")
    expect(tab.locator("button:has-text('Run again')")).to_be_visible()
    expect(tab.locator("button:has-text('Cancel')")).to_be_hidden()
    assert tab.evaluate("window.sameDocument") is True
    with tab.expect_download() as download:
        tab.click("#output >> text=Download")
    assert download.value.path().read_bytes() == b"line 1\nline 2\nline 3\n10%\r<b>99%</b> done\n\x1b[31mwarning\x1b[0m: x\n"


def test_following_stops_when_the_person_scrolls_up(tab: Page, machines: list[Machine]) -> None:
    machine = machines[0]
    tab.goto(f"/fleet/{machine.id}/console")
    tab.fill("textarea[name=command]", "seq")
    tab.click("button:has-text('Run'):not(:has-text('again'))")
    asked = machine.command()
    machine.prints(asked, 1, "".join(f"{n}\n" for n in range(200)))
    box = tab.locator("[data-log-lines]")
    expect(tab.locator("#output .bn-l")).to_have_count(200)
    at_end = "box => box.scrollHeight - box.scrollTop - box.clientHeight < 24"
    assert box.evaluate(at_end)
    box.hover()
    tab.mouse.wheel(0, -600)
    expect(tab.locator("[data-log-follow]")).to_have_attribute("aria-pressed", "false")
    machine.prints(asked, 2, "new\n")
    expect(tab.locator("[data-log-follow]")).to_contain_text("1 new")
    assert not box.evaluate(at_end)
    tab.click("[data-log-follow]")
    expect(tab.locator("[data-log-follow]")).to_have_attribute("aria-pressed", "true")
    assert box.evaluate(at_end)
    machine.ends(asked, 0)
    expect(tab.locator("#run-head")).to_contain_text("Succeeded")
    tab.click("[data-log-times]")
    tab.click("[data-log-wrap]")
    tab.goto(f"{tab.url.split('#')[0]}#L120")
    tab.reload()
    expect(tab.locator("#L120")).to_have_text("119")
    expect(tab.locator("#L120")).to_be_in_viewport()
    expect(tab.locator("[data-log-follow]")).to_have_attribute("aria-pressed", "false")
    for name, pressed in (("times", "true"), ("wrap", "false")):
        expect(tab.locator(f"[data-log-{name}]")).to_have_attribute("aria-pressed", pressed)
    tab.locator("#L121").click(position={"x": 20, "y": 5})
    assert tab.url.endswith("#L121")
    tab.click("[data-log-times]")
    tab.click("[data-log-wrap]")


def test_a_link_to_any_line_of_a_long_output_opens_it_there(tab: Page, machines: list[Machine]) -> None:
    machine = machines[0]
    tab.goto(f"/fleet/{machine.id}/console")
    tab.fill("textarea[name=command]", "seq 12000")
    tab.click("summary:has-text('Options')")
    tab.fill("[name=secrets-0-name]", "DEPLOY_KEY")
    tab.fill("[name=secrets-0-value]", "kestrel-991")
    expect(tab.locator("[name=secrets-1-name]")).to_be_visible()
    expect(tab.locator("[name=secrets-2-name]")).to_be_hidden()
    tab.click("button:has-text('Run'):not(:has-text('again'))")
    asked = machine.command()
    assert asked["env"] == {"DEPLOY_KEY": "kestrel-991"}
    machine.prints(asked, 1, "".join(f"line {n}\n" for n in range(1, 12_001)))
    expect(tab.locator("#L12000")).to_be_visible()
    tab.goto(f"{tab.locator('text=Open the run').get_attribute('href')}#L50")
    line = tab.locator("#L50")
    expect(line).to_be_in_viewport()
    assert line.evaluate("line => line.matches(':target')") and tab.url.endswith("line=50#L50")
    expect(tab.locator("[data-log-earlier]")).to_contain_text("Lines 1 to")
    tab.fill("#log-line", "6,000")
    tab.keyboard.press("Enter")
    expect(tab.locator("#L6000")).to_be_in_viewport()
    tab.fill("[data-log-search]", "LINE 777")
    tab.keyboard.press("Enter")
    expect(tab.locator("[data-log-earlier]")).to_contain_text("11 of 12,000 lines have")
    tab.click(".bn-l >> text=7775")
    expect(tab.locator("#L7775")).to_be_in_viewport()
    machine.prints(asked, 2, "the end\n")
    tab.click("[data-log-follow]")
    expect(tab.locator("#L12001")).to_be_in_viewport()
    machine.prints(asked, 3, "really\n")
    expect(tab.locator("#L12002")).to_be_in_viewport()
    machine.ends(asked, 0)
    expect(tab.locator("#run-head")).to_contain_text("Succeeded")


def test_a_command_is_cancelled(tab: Page, product: Launched, machines: list[Machine]) -> None:
    machine = machines[0]
    with product.programs() as programs:
        programs.post(f"/api/v1/commands/{machine.id}", json={"command": "make all", "wait": False}).raise_for_status()
    machine.ends(machine.command(), 0)
    tab.goto(f"/fleet/{machine.id}/console")
    tab.locator("#past a[data-command] >> text=make all").first.click()
    expect(tab.locator("textarea[name=command]")).to_have_value("make all")
    tab.fill("textarea[name=command]", "sleep 1000")
    tab.click("main form button.btn-primary")
    asked = machine.command()
    expect(tab.locator("#run-head")).to_contain_text("Running")
    tab.click("button:has-text('Cancel')")
    assert machine.command("cancel_command")["request_id"] == asked["request_id"]
    expect(tab.locator("#run-head")).to_contain_text("Cancelling")
    machine.ends(asked, None, reason="cancelled")
    expect(tab.locator("#run-head")).to_contain_text("Cancelled")


def test_a_command_goes_to_a_selection_and_what_failed_is_retried(tab: Page, machines: list[Machine]) -> None:
    tab.goto("/fleet/?tag=rack")
    tab.click("[data-select-page]")
    tab.click("#bulk button:has-text('Run command')")
    expect(tab.locator("h1")).to_have_text("Run a command on 2 computers")
    tab.fill("textarea[name=command]", "uptime")
    tab.click("main button.btn-primary")
    expect(tab.locator("h1")).to_have_text("Run this on 2 computers?")
    tab.click("main button:has-text('Run on 2 computers')")
    tab.wait_for_url("**/runs/*/")
    asked = [machine.command() for machine in machines]
    machines[0].prints(asked[0], 1, "good\n")
    machines[1].prints(asked[1], 1, "bad\n", "stderr")
    tab.click("#targets >> text=rack-1")
    expect(tab.locator("#output .bn-l-err")).to_have_text("bad")
    ends = [threading.Thread(target=machines[n].ends, args=(asked[n], n)) for n in range(2)]
    for thread in ends:
        thread.start()
    for thread in ends:
        thread.join()
    expect(tab.locator("#run-head")).to_contain_text("1 of 2 failed")
    expect(tab.locator("#targets tr", has_text="rack-0")).to_contain_text("Succeeded")
    expect(tab.locator("[data-count=steps-failed]")).to_have_text("1")
    tab.click("button:has-text('Retry failed only')")
    expect(tab.locator("h1")).to_have_text("Command on rack-1")
    again = machines[1].command()
    machines[1].ends(again, 0)
    expect(tab.locator("#run-head")).to_contain_text("Succeeded")
    tab.goto("/runs/")
    expect(tab.locator("#rows tr").first).to_contain_text("uptime")
    expect(tab.locator("#rows tr").first).to_contain_text("Succeeded")
