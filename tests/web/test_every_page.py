"""A client that audits every page: one title, no duplicate id, every label and every hx-target leads somewhere, and the four
representations of the Computers list agree."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from conftest import Browser, Cast
from factories import make_channel, make_computer, make_delivery, make_run, make_samples, make_webhook

PAGES = ["/", "/fleet/", "/fleet/?q=nothing-matches", "/fleet/new", "/fleet/views/new?status=online", "/fleet/{uuid}/", "/fleet/{uuid}/metrics",
         "/fleet/{uuid}/software", "/fleet/{uuid}/events", "/fleet/{uuid}/edit", "/fleet/{uuid}/delete",
         "/fleet/{uuid}/console", "/fleet/{uuid}/console?run={run}", "/runs/", "/runs/?q=nothing-matches", "/runs/{run}/", "/settings/account", "/settings/users",
         "/settings/users/new", "/settings/users/{user}", "/settings/tenants", "/settings/tenants/{tenant}/edit", "/settings/api-keys",
         "/settings/audit", "/settings/audit?verify=1", "/sessions/", "/sessions/?q=nothing-matches", "/sessions/charts", "/events/",
         "/sessions/errors", "/sessions/views/new?status=failed",
         "/settings/webhooks", "/settings/webhooks/new", "/settings/webhooks/{hook}", "/settings/webhooks/{hook}?status=failed", "/settings/webhooks/{hook}/edit",
         "/settings/webhooks/{hook}/rotate", "/settings/webhooks/{hook}/delete", "/settings/webhooks/{hook}/deliveries/{delivery}",
         "/settings/channels", "/settings/channels/new", "/settings/channels/{channel}", "/settings/channels/{channel}/edit", "/settings/channels/{channel}/delete",
                  "/proxies/", "/proxies/?q=nothing-matches", "/alerts/", "/alerts/?q=nothing-matches", "/alerts/thresholds/", "/alerts/thresholds/new",
         "/alerts/silences/", "/alerts/silences/new", "/fleet/{uuid}/alerts", "/nothing"]  # fmt: skip


class Audit(HTMLParser):
    """Collects what must be so on every page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.labels: list[str] = []
        self.titles = self.headings = 0
        self.posts_without_token: list[str] = []
        self._form: str | None = None
        self._drawings = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if values.get("hx-target"):
            self.targets.append(values["hx-target"] or "")
        if tag == "label" and values.get("for"):
            self.labels.append(values["for"] or "")
        self._drawings += tag == "svg"
        self.titles += tag == "title" and not self._drawings  # a drawing has a title of its own
        self.headings += tag == "h1"
        if tag == "form":
            self._form = values.get("action", "") if (values.get("method") or "").lower() == "post" else None
        if tag == "input" and values.get("name") == "csrf_token":
            self._form = None
        assert "style" not in values, f"<{tag} style>"
        assert not [name for name in values if name.startswith("on")], f"<{tag}> has an inline handler"

    def handle_endtag(self, tag: str) -> None:
        self._drawings -= tag == "svg"
        if tag == "form" and self._form is not None:
            self.posts_without_token.append(self._form)
            self._form = None


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound(cast: Cast, path: str) -> None:
    with cast.app.app_context():
        computer = make_computer("sound", tenant_id=cast.acme, tags=["a"])
        make_samples(computer[0], 3)
        run = make_run(computer, make_computer("second", tenant_id=cast.acme))
        hook, channel = make_webhook(), make_channel()
        delivery = make_delivery(hook)
    ids = {"hook": hook, "channel": channel, "delivery": delivery, "user": cast.users["bob"], "tenant": cast.acme}
    page = cast.browser("alice").get(path.format(uuid=computer[1], run=run, **ids))
    assert page.status_code == (404 if path == "/nothing" else 200), page.text
    audit = Audit(page.text)
    assert audit.titles == 1
    assert audit.headings == 1
    assert len(audit.ids) == len(set(audit.ids)), [i for i in audit.ids if audit.ids.count(i) > 1]
    assert not set(audit.labels) - set(audit.ids)
    for target in audit.targets:
        assert target == "this" or target.removeprefix("#") in audit.ids, target
    assert not audit.posts_without_token


def names(html: str) -> list[str]:
    return re.findall(r'class="bn-name" href="/fleet/[^"]+">([^<]+)<', html)


@pytest.mark.parametrize("who", ["alice", "bob", "rita", "charlie"])
@pytest.mark.parametrize(
    "query", ["", "?status=online", "?tag=prod&sort=-name", "?q=pc-0", "?os=debian", "?sort=-cpu", "?q=tag:prod"]
)
def test_page_fragment_csv_and_api_say_the_same(cast: Cast, who: str, query: str) -> None:
    with cast.app.app_context():
        for i in range(6):
            tenant = cast.acme if i % 2 else cast.globex
            computer = make_computer(f"pc-{i}", tenant_id=tenant, tags=["prod"] if i < 3 else [])
            if i % 3:
                make_samples(computer[0], 1, cpu=10.0 * i)
    browser = cast.browser(who)
    page, fragment = browser.get(f"/fleet/{query}"), browser.get(f"/fleet/{query}", headers={"HX-Request": "true"})
    table = list(csv.DictReader(io.StringIO(browser.get(f"/fleet.csv{query}").text)))
    assert "<html" in page.text
    assert "<html" not in fragment.text
    assert names(page.text) == names(fragment.text) == [row["name"] for row in table]
    if query in ("", "?status=online"):
        api = cast.client(who).get(f"/api/v1/servers{query}").json
        assert sorted(row["name"] for row in api) == sorted(names(page.text))


def test_select_all_that_match_refuses_when_the_count_has_drifted(cast: Cast) -> None:
    with cast.app.app_context():
        for i in range(3):
            make_computer(f"pc-{i}", tenant_id=cast.acme)
    browser = cast.browser("bob")
    fields = {"all": "1", "query": "q=pc-", "count": "3", "confirmed": "1", "add": "new", "remove": ""}
    assert browser.post("/fleet/bulk/tag", **(fields | {"count": "2"})).status_code == 409
    done = browser.post("/fleet/bulk/tag", **fields, back="q=pc-")
    assert (done.status_code, done.headers["Location"]) == (303, "/fleet/?q=pc-"), "back to the list as it was filtered"
    assert len(names(browser.get("/fleet/?tag=new").text)) == 3


def test_over_25_computers_the_count_is_typed(cast: Cast) -> None:
    with cast.app.app_context():
        for i in range(26):
            make_computer(f"pc-{i:02}", tenant_id=cast.acme)
    browser = cast.browser("bob")
    fields = {"all": "1", "query": "", "count": "26"}
    asked = browser.post("/fleet/bulk/delete", **fields)
    assert "Type 26" in asked.text
    assert browser.post("/fleet/bulk/delete", **fields, confirmed="1", typed="25").status_code == 422
    assert browser.post("/fleet/bulk/delete", **fields, confirmed="1", typed="26").status_code == 303
    assert not names(browser.get("/fleet/").text)


def test_a_change_of_tags_can_be_undone_exactly(cast: Cast) -> None:
    with cast.app.app_context():
        had, got = make_computer("had", tenant_id=cast.acme, tags=["x"])[1], make_computer("got", tenant_id=cast.acme)[1]
    browser = cast.browser("bob")
    browser.client.post("/fleet/bulk/tag", data={"csrf_token": browser.token, "ids": [had, got], "confirmed": "1", "add": "x"})
    page = browser.get("/fleet/").text
    assert "/fleet/bulk/untag" in page
    assert names(browser.get("/fleet/?tag=x").text) == ["got", "had"]
    fields = dict(
        re.findall(r'name="(ids|add|remove)" value="([^"]*)"', page.split("/fleet/bulk/untag", 1)[1].split("</form>", 1)[0])
    )
    browser.post("/fleet/bulk/untag", **fields)
    assert names(browser.get("/fleet/?tag=x").text) == ["had"], "the one that had it before keeps it"


def test_saved_views_are_private_or_shared(cast: Cast) -> None:
    bob, rita = cast.browser("bob"), cast.browser("rita")
    assert bob.post("/fleet/views/new?status=offline", name="Dark ones", shared="").status_code == 303
    assert bob.post("/fleet/views/new?tag=prod", name="Production", shared="y").status_code == 303
    assert {"Dark ones", "Production"} <= set(re.findall(r">(Dark ones|Production)<", bob.get("/fleet/").text))
    seen = rita.get("/fleet/").text
    assert "Production" in seen
    assert "Dark ones" not in seen


def test_a_stranger_gets_no_page(cast: Cast) -> None:
    with cast.app.app_context():
        computer, hook = make_computer("hidden", tenant_id=cast.acme), make_webhook()
        ids = {
            "uuid": computer[1],
            "run": make_run(computer),
            "hook": hook,
            "channel": make_channel(),
            "delivery": make_delivery(hook),
        }
    for path in PAGES:
        if path != "/nothing":
            answer = Browser(cast.app).get(path.format(user=cast.users["bob"], tenant=cast.acme, **ids))
            assert answer.status_code == 303, path
            assert answer.headers["Location"].startswith("/login")
