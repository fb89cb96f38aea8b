"""RELIABILITY 30 and the contracts' headers."""

from conftest import Cast

from app.web.headers import CSP


def test_pages_carry_the_strict_policy_and_are_not_stored(cast: Cast) -> None:
    browser = cast.browser("alice")
    for path in ("/fleet/", "/nothing-here", "/fleet.csv"):
        headers = browser.get(path).headers
        assert headers["Content-Security-Policy"] == CSP, path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "HX-Request" in headers["Vary"]


def test_every_answer_has_a_request_id_and_takes_a_given_one(cast: Cast) -> None:
    client = cast.client("alice")
    given = client.get("/api/v1/servers", headers={"X-Request-ID": "my-request-1234"})
    assert given.headers["X-Request-ID"] == "my-request-1234"
    forged = client.get("/api/v1/servers", headers={"X-Request-ID": "a b <script>"})
    assert forged.headers["X-Request-ID"] != "a b <script>"
    assert len(forged.headers["X-Request-ID"]) == 32


def test_the_build_hash_is_in_the_address_of_static_files(cast: Cast) -> None:
    page = cast.browser("alice").get("/fleet/").text
    build = cast.app.config["BUILD"]
    answer = cast.app.test_client().get(f"/static/{build}/css/app.css")
    assert f"/static/{build}/css/app.css" in page
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert cast.app.test_client().get(f"/static/{build}/../app/config.py").status_code == 404


def test_an_unknown_path_answers_as_its_contract(cast: Cast) -> None:
    client = cast.client("alice")
    assert client.get("/api/v1/nothing").json == {
        "error": {"code": "not_found", "message": "Resource not found", "details": None}
    }
    assert client.get("/api/nothing").json["detail"] == "Resource not found"
    assert client.get("/nothing").mimetype == "text/html"


def test_an_error_page_shows_the_request_id_and_no_internals(cast: Cast) -> None:
    answer = cast.browser("alice").get("/fleet/?sort=evil")
    assert answer.status_code == 400
    assert answer.headers["X-Request-ID"] in answer.text
    assert "Traceback" not in answer.text
