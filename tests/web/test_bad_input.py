"""RELIABILITY 11, 12: bodies of every bad kind get the contract's own 400, 413 or 422; never a 500; the same on both databases."""

import pytest
from conftest import Cast
from factories import make_computer, make_host_key

BAD_JSON = {
    "nothing": b"",
    "not json": b"hello",
    "cut off": b'{"name": "x"',
    "NaN": b'{"name": "x", "port": NaN}',
    "Infinity": b'{"name": "x", "port": -Infinity}',
    "1e400": b'{"name": "x", "port": 1e400}',
    "past 64 bits": b'{"name": "x", "port": 9223372036854775808}',
    "far past 64 bits": b'{"name": "x", "port": 123456789012345678901234567890}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "NUL escaped": b'{"name": "a\\u0000b"}',
    "NUL raw": b'{"name": "a\x00b"}',
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "array": b'[{"name": "x"}]',
    "string": b'"x"',
    "number": b"5",
    "null": b"null",
    "deep": b'{"name": "x", "metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41,
    "deep arrays": b'{"name": "x", "metadata": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "BOM": b'\xef\xbb\xbf{"name": "x"}',
}


@pytest.mark.parametrize("what", BAD_JSON)
@pytest.mark.parametrize(
    ("path", "shape"), [("/api/v1/servers", "detail"), ("/api/v1/tenants", "error"), ("/api/auth/register", "detail")]
)
def test_a_body_that_cannot_be_read_is_400_in_the_contracts_shape(cast: Cast, what: str, path: str, shape: str) -> None:
    answer = cast.client("alice").post(path, data=BAD_JSON[what], content_type="application/json")
    assert answer.status_code == 400, (answer.status_code, answer.text)
    assert shape in answer.json
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("what", BAD_JSON)
def test_ingest_refuses_the_same(cast: Cast, what: str) -> None:
    with cast.app.app_context():
        key = make_host_key(make_computer("h"), cast.default)
    answer = cast.app.test_client().post("/api/v1/metrics", data=BAD_JSON[what], headers={"X-API-Key": key})
    assert answer.status_code == 400, answer.text


def test_a_bracket_in_a_string_is_not_depth(cast: Cast) -> None:
    answer = cast.client("alice").post("/api/v1/servers", json={"name": "[" * 100 + '"{'})
    assert answer.status_code == 201


def test_a_large_body_is_413_before_it_is_read(cast: Cast) -> None:
    client = cast.client("alice")
    answer = client.post("/api/v1/servers", data=b" " * (1 << 20) + b"{}", content_type="application/json")
    assert answer.status_code == 413
    assert answer.json == {"detail": "The request body is too large"}
    with cast.app.app_context():
        key = make_host_key(make_computer("h"), cast.default)
    host = {"X-API-Key": key}
    big = b'{"cpu_percent": 1, "memory_percent": 1, "x": "' + b"x" * (2 << 20) + b'"}'
    assert cast.app.test_client().post("/api/v1/metrics", data=big, headers=host).status_code == 201, "ingest takes 5 MiB"
    assert cast.app.test_client().post("/api/v1/metrics", data=big * 3, headers=host).status_code == 413


@pytest.mark.parametrize("path", ["/api/v1/servers/%00", "/api/v1/servers/..%2f..", "/api/v1/servers/" + "x" * 3000, "/api/v1/servers/'--",
                                  "/api/v1/servers?q=%00", "/fleet/?q=%00", "/fleet/?sort=evil", "/fleet/?page=99999999999", "/fleet/?status=x",
                                  "/fleet/?cols=password", "/search?q=%25%5f%00", "/api/v1/audit?start=yesterday", "/fleet/?q=tag:",
                                  "/fleet/?tenant=%F0%9F%92%A9", "/settings/audit?type=%25"])  # fmt: skip
def test_hostile_addresses_are_answered(cast: Cast, path: str) -> None:
    for answer in (cast.client("alice").get(path), cast.browser("alice").get(path)):
        assert answer.status_code < 500, answer.text


def test_wildcards_in_a_search_are_literal(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("a_b")
        make_computer("axb")
        make_computer("50%")
    page = cast.browser("alice")
    assert page.get("/fleet/?q=a_b").text.count('<tr id="r-') == 1
    assert page.get("/fleet/?q=%25").text.count('<tr id="r-') == 1


def test_a_script_in_every_string_is_text_on_every_page(cast: Cast) -> None:
    """RELIABILITY 13."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    client = cast.client("alice")
    assert client.post("/api/v1/tenants", json={"name": evil}).status_code == 201
    made = client.post("/api/v1/servers", json={"name": evil, "host": evil, "primary_user_name": evil, "metadata": {evil: evil}})
    assert made.status_code == 201
    uuid = made.json["id"]
    page = cast.browser("alice")
    for path in ("/", "/fleet/", f"/fleet/{uuid}/", f"/fleet/{uuid}/metrics", f"/fleet/{uuid}/software", f"/fleet/{uuid}/events", f"/fleet/{uuid}/edit",
                 f"/fleet/{uuid}/delete", "/settings/audit", "/settings/tenants", "/search?q=script", "/fleet/?q=%3Cscript%3E"):  # fmt: skip
        answer = page.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/servers", b'{"name": "by curl"}', 201),
        ("/api/v1/tenants", b'{"name": "by curl"}', 201),
        ("/api/sessions/register", b'{"session_id": "s1", "profile_id": "p1"}', 200),
        ("/api/v1/metrics", b'{"cpu_percent": 1, "memory_percent": 1}', 201),
    ],
)
def test_curl_that_calls_json_a_form_is_understood_at_its_first_call(cast: Cast, path: str, body: bytes, status: int) -> None:
    """`curl -d` says application/x-www-form-urlencoded, and a key's first call does not take the express lane."""
    key = cast.client("alice").post("/api/v1/api-keys", json={"name": "fresh", "role": "admin"}).json["key"]
    if path == "/api/v1/metrics":
        with cast.app.app_context():
            key = make_host_key(make_computer("h"), cast.default)
    form = "application/x-www-form-urlencoded"
    answer = cast.app.test_client().post(path, data=body, headers={"X-API-Key": key}, content_type=form)
    assert answer.status_code == status, answer.text
