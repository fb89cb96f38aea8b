"""What is kept of pages: equal values give the same part, and nothing that is not among the values can get into one."""

import re

import pytest
from conftest import Cast
from factories import make_computer
from flask import Flask
from jinja2 import DictLoader, UndefinedError
from markupsafe import Markup

from app.web.parts import Parts

REACHED = (
    "{{ csrf_token() }}",
    "{{ session.get('csrf_token') }}",
    "{{ request.path }}",
    "{{ g.actor.name }}",
    "{{ url_for('fleet.index') }}",
)


def parts(app: Flask, **templates: str) -> Parts:
    return Parts(app.jinja_env.overlay(loader=DictLoader(templates)))


@pytest.mark.parametrize("template", REACHED)
def test_a_part_cannot_reach_the_request_or_its_session(app: Flask, template: str) -> None:
    with app.test_request_context("/fleet/"), pytest.raises(UndefinedError):
        parts(app, part=template)("part")


def test_a_part_is_rendered_once_for_equal_values(app: Flask) -> None:
    part = parts(app, **{"part.html": "{{ name }}"})
    assert part("part.html", name="<Ann>") == Markup("&lt;Ann&gt;")
    assert part("part.html", name="<Ann>") is part("part.html", name="<Ann>")
    assert part("part.html", name="Bob") == "Bob"


def test_a_part_takes_no_value_that_could_change_or_is_escaped_already(app: Flask) -> None:
    part = parts(app, **{"part.html": "{{ name }}"})
    for value in (["Ann"], {"name": "Ann"}, Markup("<b>")):
        with pytest.raises(TypeError):
            part("part.html", name=value)  # type: ignore[arg-type]


def tokens(html: str) -> set[str]:
    return set(re.findall(r'name="csrf_token" value="([^"]+)"|name="csrf-token" content="([^"]+)"', html)[0]) - {""}


def test_what_one_person_sees_does_not_reach_another(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("pc", tenant_id=cast.acme)
    seen = {name: cast.browser(name).get("/fleet/").text for name in ("alice", "bob", "rita", "charlie", "alice", "rita")}
    assert all(f'name="bn-user" content="{name}"' in html for name, html in seen.items())
    every = [token for html in seen.values() for token in tokens(html)]
    assert len(every) == len(set(every)) == len(seen)
    assert {name for name, html in seen.items() if "data-bulk" in html} == {"alice", "bob", "charlie"}
    assert cast.app.config["BUILD"] in seen["rita"]


def test_a_login_of_its_own_has_a_token_of_its_own(cast: Cast) -> None:
    here, there = cast.browser("alice"), cast.browser("alice")
    first, second, other = here.get("/fleet/").text, here.get("/fleet/").text, there.get("/fleet/").text
    assert tokens(first) == tokens(second) != tokens(other)


def test_a_program_that_reads_the_page_gets_no_form_and_no_cookie(cast: Cast) -> None:
    answer = cast.client("alice").get("/fleet/")
    assert answer.status_code == 200
    assert "csrf" not in answer.text.replace("js/csrf.js", "")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(("path", "query"), [
    ("/fleet/", "status=offline"), ("/sessions/", "status=failed"), ("/proxies/", "status=flagged"), ("/runs/", "status=open"),
    ("/containers/", "state=stopped"), ("/alerts/", "status=resolved"),
])  # fmt: skip
def test_a_saved_view_comes_and_goes_at_once(cast: Cast, path: str, query: str) -> None:
    bob, rita = cast.browser("bob"), cast.browser("rita")
    for browser in (bob, rita):
        assert ">Dark ones</a>" not in browser.get(path).text
    saved = bob.post(f"{path}views/new?{query}", name="Dark ones", shared="y")
    assert (saved.status_code, saved.headers["Location"]) == (303, f"{path}?{query}")
    for browser in (bob, rita):
        assert f'<a href="{path}?{query}">Dark ones</a>' in browser.get(path).text
        assert f'<a href="{path}?{query}" aria-current="page">Dark ones</a>' in browser.get(f"{path}?{query}").text
    assert bob.post(f"{path}views/new?{query}", name="").status_code == 422
    delete = re.search(rf'action="{path}views/([^"]+)/delete"', bob.get(f"{path}views/new").text)
    assert delete
    elsewhere = "/runs/" if path != "/runs/" else "/fleet/"
    assert "Dark ones" not in bob.get(f"{elsewhere}views/new").text
    assert bob.post(f"{elsewhere}views/{delete[1]}/delete").status_code == 404
    assert rita.post(f"{path}views/{delete[1]}/delete").status_code == 404
    assert bob.post(f"{path}views/{delete[1]}/delete").status_code == 303
    for browser in (bob, rita):
        assert ">Dark ones</a>" not in browser.get(path).text


def test_a_shared_view_stays_among_people_with_a_tenant_in_common(cast: Cast) -> None:
    cast.browser("bob").post("/fleet/views/new?q=secret-of-acme", name="Ours", shared="y")
    for name, sees in (("alice", True), ("rita", True), ("charlie", False)):
        assert ("secret-of-acme" in cast.browser(name).get("/fleet/").text) is sees
