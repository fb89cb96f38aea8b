"""The Computers templates and the frame, rendered without the app."""

import gzip
import re
import time

from frontend_kit import VIEWS, computer, shown
from jinja2 import Environment

from app.fleet.live import FleetQuery
from app.shapes import Fixed


def test_a_row_is_the_same_for_every_viewer(strict: Environment) -> None:
    row = strict.get_template("fleet/_row.html")
    html = row.render(row=computer(1))
    assert html.count("<tr ") == 1 and html.startswith("<tr ")
    assert "csrf" not in html and "style=" not in html


def test_what_a_computer_reports_is_inert(strict: Environment) -> None:
    bad = "<script>alert(1)</script>\"'"
    html = strict.get_template("fleet/_row.html").render(
        row=computer(1, name=bad, os_name=bad, tags=[bad], address=bad, tenant_name=bad)
    )
    assert "<script" not in html and "alert(1)</" not in html


def test_a_computer_that_never_reported_is_never_now(strict: Environment) -> None:
    row = computer(1, status="unknown", cpu=None, memory=None, disk=None, spark_points="", last_seen=None, alerts=0)
    html = strict.get_template("fleet/_row.html").render(row=row)
    assert "Never seen" in html and ">Never<" in html and "relative-time" not in html and "None" not in html


def test_rows_render_fast_enough_for_the_live_hub(jinja: Environment) -> None:
    row, rows = jinja.get_template("fleet/_row.html"), [computer(i) for i in range(50)]
    start = time.process_time()
    for _ in range(10):
        for one in rows:
            row.render(row=one)
    assert 500 / (time.process_time() - start) > 2_000  # rows a second; the hub needs about 1,000


def test_a_page_of_50_rows_fits_the_budget(jinja: Environment) -> None:
    rows = [computer(i) for i in range(50)]
    html = jinja.get_template("fleet/index.html").render(saved_views=VIEWS, page_title="Computers", **shown(rows))
    assert html.count("<tr id=") == 50
    assert len(gzip.compress(html.encode(), 9)) <= 16_000
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_hidden_column_is_hidden_by_a_class_not_by_the_row(jinja: Environment) -> None:
    html = jinja.get_template("fleet/_table.html").render(shown([computer(1)]))
    assert re.search(r'<table class="[^"]*\bbn-h11\b', html)
    heads, cells = html.count("<th "), html.count("<td")
    assert heads == cells == 12


def test_no_match_and_first_use_are_different(jinja: Environment) -> None:
    table = jinja.get_template("fleet/_table.html")
    assert "No computers match" in table.render(shown([], total=0))
    nothing = Fixed(total=0, online=0, offline=0, unknown=0, attention=0, alerts=0)
    assert "/fleet/new" in table.render(shown([], total=0, counts=nothing))
    searched = table.render(shown([], total=0, counts=nothing, query_model=FleetQuery(q="zzz")))
    assert "No computers match" in searched and "/fleet/new" not in searched
    assert "/fleet/new" not in table.render(shown([], may_write=False, total=0, counts=nothing))


def test_whoever_may_only_read_sees_no_action(jinja: Environment) -> None:
    reader = type(
        "Reader", (), {"name": "Charlie", "role": "readonly", "can": lambda self, permission: permission.endswith(":read")}
    )()
    listed = shown([computer(1)], may_write=False)
    html = jinja.get_template("fleet/index.html").render(saved_views=VIEWS, principal=reader, **listed)
    assert "data-bulk" not in html and "/fleet/new" not in html and "delete" not in html.lower()


def test_the_error_page_needs_nothing(jinja: Environment) -> None:
    html = jinja.get_template("errors/error.html").render(
        status=503, message="Busy", details=None, errors=[], request_id="r1", principal=None
    )
    assert "Request <code>r1</code>" in html and "Try again" in html
