"""The scripts in a real browser, under the strict policy, without a server: live rows, selection, keys."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from frontend_kit import CSP, ORIGIN, ROOT, STATIC, VIEWS, computer, row_html, shown
from jinja2 import Environment
from playwright.sync_api import Page, WebSocketRoute

ORDER = "() => [...document.querySelectorAll('#rows > tr')].map(row => row.dataset.id)"


class Hub:
    """The server's end of /ws/live, and its list."""

    def __init__(self, page: Page, jinja: Environment) -> None:
        self.page, self.jinja, self.rev = page, jinja, 7
        self.rows = [computer(i) for i in range(50)]
        self.heard: list[dict[str, Any]] = []
        self.sockets: list[WebSocketRoute] = []
        page.route(f"{ORIGIN}/fleet/**", self._list)
        page.route_web_socket("ws://binnacle.test/ws/live", self._connect)

    def _list(self, route: Any) -> None:
        template = "fleet/_table.html" if route.request.headers.get("hx-request") else "fleet/index.html"
        html = self.jinja.get_template(template).render(saved_views=VIEWS, page_title="Computers", **shown(self.rows, self.rev))
        route.fulfill(
            body=html, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": CSP, "X-Rev": str(self.rev)}
        )

    def _connect(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self.heard.append(json.loads(text)))

    def push(self, *rows: Any, **more: Any) -> None:
        message = {
            "op": "patch",
            "view": "fleet?",
            "from": self.rev,
            "rev": self.rev + 1,
            "up": [[r.uuid, row_html(r)] for r in rows],
            **more,
        }
        self.rev += 1
        self.sockets[-1].send(json.dumps(message))

    def ids(self) -> list[str]:
        return [row.uuid for row in self.rows]


def wait_for(page: Page, true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        page.wait_for_timeout(20)


@pytest.fixture
def hub(page: Page, jinja: Environment) -> Hub:
    hub = Hub(page, jinja)
    page.goto(f"{ORIGIN}/fleet/")
    wait_for(page, lambda: bool(hub.heard))
    return hub


def test_the_tab_subscribes_with_its_revision(page: Page, hub: Hub) -> None:
    assert hub.heard == [{"op": "sub", "view": "fleet?", "rev": 7}]
    assert page.locator("[data-live-state]").inner_text() == "Live"
    assert page.problems == []  # type: ignore[attr-defined]


def test_values_change_in_place_and_keep_tick_and_focus(page: Page, hub: Hub) -> None:
    tick = page.locator("input.bn-select").nth(2)
    tick.click()
    hub.rows[2].cpu = 99.6
    hub.push(hub.rows[2], counts={"online": 1199})
    page.wait_for_function("document.querySelectorAll('#rows tr')[2].querySelector('.bn-m-fig b').textContent === '100%'")
    assert tick.is_checked() and tick.evaluate("el => el === document.activeElement")
    assert page.locator("[data-count=online]").inner_text() == "1,199"


def test_rows_move_only_when_nobody_works_in_the_table(page: Page, hub: Hub) -> None:
    page.locator("input.bn-select").nth(2).click()
    before = page.evaluate(ORDER)
    gone, fresh = hub.rows.pop(5), computer(900)
    hub.rows.insert(0, fresh)
    hub.push(fresh, rm=[gone.uuid], order=hub.ids())
    note = page.locator("[data-live-note]")
    note.wait_for()
    assert page.evaluate(ORDER) == before
    page.keyboard.press(".")
    wait_for(page, lambda: page.evaluate(ORDER) == hub.ids())
    assert note.is_hidden() and page.locator("input.bn-select:checked").count() == 1


def test_rows_that_nothing_offers_to_move_come_when_the_pointer_has_left(page: Page, hub: Hub) -> None:
    page.evaluate("document.querySelector('[data-live-note]').remove()")
    page.hover("#rows tr")
    before = page.evaluate(ORDER)
    hub.rows.reverse()
    hub.push(order=hub.ids())
    wait_for(page, lambda: page.evaluate("bnLive.views.get('fleet?').rev") == hub.rev)
    page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate(ORDER) == before
    page.mouse.move(2, 2)
    wait_for(page, lambda: page.evaluate(ORDER) == hub.ids())


def test_rows_move_at_once_in_a_table_at_rest(page: Page, hub: Hub) -> None:
    hub.rows.reverse()
    hub.push(order=hub.ids())
    wait_for(page, lambda: page.evaluate(ORDER) == hub.ids())


@pytest.mark.parametrize("how", ["gap", "stale"])
def test_a_missed_patch_is_made_good(page: Page, hub: Hub, how: str) -> None:
    hub.rows = [computer(i) for i in (900, *range(10, 40))]
    hub.rev = 50
    message = (
        {"op": "stale", "view": "fleet?", "rev": 50}
        if how == "stale"
        else {"op": "patch", "view": "fleet?", "from": 49, "rev": 50, "up": []}
    )
    hub.sockets[-1].send(json.dumps(message))
    wait_for(page, lambda: page.evaluate(ORDER) == hub.ids())
    wait_for(page, lambda: hub.heard[-1] == {"op": "sub", "view": "fleet?", "rev": 50})
    assert page.evaluate("bnLive.refetches") == 1


def test_an_old_patch_is_ignored(page: Page, hub: Hub) -> None:
    hub.push()
    hub.sockets[-1].send(json.dumps({"op": "patch", "view": "fleet?", "from": 6, "rev": 7, "up": []}))
    hub.push()
    wait_for(page, lambda: page.evaluate("document.getElementById('rows').dataset.rev") == "9")
    assert page.evaluate("bnLive.refetches") == 0


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
def test_it_comes_back_after_every_close(page: Page, hub: Hub, code: int) -> None:
    hub.sockets[-1].close(code=code, reason="away")
    wait_for(page, lambda: len(hub.sockets) == 2 and len(hub.heard) == 2)
    assert hub.heard[-1]["rev"] == hub.rev


def test_it_stops_when_signed_out(page: Page, hub: Hub) -> None:
    hub.sockets[-1].close(code=1008, reason="signed out")
    page.wait_for_function("document.querySelector('[data-live-state]').textContent === 'Signed out'")
    page.wait_for_timeout(700)
    assert len(hub.sockets) == 1


def test_a_new_build_offers_a_reload(page: Page, hub: Hub) -> None:
    hub.sockets[-1].send(json.dumps({"op": "build", "hash": "b2"}))
    page.locator("[data-build-note]").wait_for()


def test_churn_and_disconnects_end_with_the_servers_rows(page: Page, hub: Hub) -> None:
    for turn in range(40):
        row = hub.rows[turn % len(hub.rows)]
        row.cpu = float(turn)
        if turn % 3 == 0:
            hub.rows.pop(turn % len(hub.rows))
            hub.rows.insert(turn % 7, computer(1000 + turn))
            hub.push(hub.rows[turn % 7], row, rm=[i for i in page.evaluate(ORDER) if i not in hub.ids()], order=hub.ids())
        else:
            hub.push(row)
        if turn % 9 == 8:
            hub.rev += 1  # a frame that the tab never gets
            hub.sockets[-1].close(code=1011)
            count = len(hub.sockets)
            wait_for(page, lambda seen=count: len(hub.sockets) > seen)  # type: ignore[misc]
            hub.sockets[-1].send(json.dumps({"op": "stale", "view": "fleet?", "rev": hub.rev}))
    wait_for(page, lambda: page.evaluate(ORDER) == hub.ids(), 10)
    shown = page.evaluate("() => [...document.querySelectorAll('#rows .bn-m-fig b')].map(b => b.textContent)")
    assert shown == [f"{round(row.cpu)}%" for row in hub.rows]


def test_the_page_then_everything_can_be_selected(page: Page, hub: Hub) -> None:
    form = "() => Object.fromEntries(new FormData(document.getElementById('bulk')))"
    page.locator("input.bn-select").nth(1).click()
    page.locator("input.bn-select").nth(4).click(modifiers=["Shift"])
    assert page.locator("[data-chosen]").inner_text() == "4 selected"
    assert "all" not in page.evaluate(form)
    page.locator("[data-select-page]").click()
    page.locator("[data-select-all]").click()
    assert page.locator("[data-chosen]").inner_text() == "1,243 selected"
    sent = page.evaluate(form)
    assert (sent["all"], sent["count"], sent["query"]) == ("1", "1243", "sort=-cpu")
    page.locator("input.bn-select").nth(4).click()
    assert "all" not in page.evaluate(form)


def test_keys(page: Page, hub: Hub) -> None:
    for key in "jjx":
        page.keyboard.press(key)
    assert page.locator("input.bn-select").nth(1).is_checked()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter-q"
    page.keyboard.type("jx?")
    assert page.locator("#filter-q").input_value() == "jx?"
    page.locator("h1").click()
    page.keyboard.press("?")
    assert page.locator("#bn-help").is_visible()
    page.keyboard.press("Escape")
    page.route(f"{ORIGIN}/search**", lambda route: route.fulfill(body="", content_type="text/html"))
    page.keyboard.press("Control+k")
    assert page.locator("#bn-palette").is_visible()
    page.keyboard.type("x")
    page.keyboard.press("Escape")
    assert page.locator("#bn-palette").is_hidden()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, hub: Hub, width: int, height: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate((ROOT / "tests/frontend/vendor/axe.min.js").read_text() + ";0")
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.problems == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", sorted((STATIC / "js").glob("*.js")), ids=lambda path: path.name)
def test_a_script_alone_on_a_blank_page_raises_nothing(page: Page, path: Any) -> None:
    kind = "" if path.stem in ("theme", "docs") else ' type="module"'
    parts = ("js/live-view.js", "vendor/hotkey/hotkey.js")
    needs = "".join(f'<script type="module" src="/static/{part}"></script>' for part in parts)
    html = f'<!doctype html><html lang="en"><title>x</title>{needs}<script{kind} src="/static/js/{path.name}"></script><p>blank'
    page.route(
        f"{ORIGIN}/blank",
        lambda route: route.fulfill(body=html, content_type="text/html", headers={"Content-Security-Policy": CSP}),
    )
    page.goto(f"{ORIGIN}/blank")
    page.wait_for_load_state("load")
    assert page.problems == []  # type: ignore[attr-defined]
