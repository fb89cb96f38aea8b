"""`/api/v1/tenants`, their page, and the switch of the top bar."""

from conftest import Cast
from factories import make_computer


def test_tenants_over_the_api_look_like_contract_000(cast: Cast) -> None:
    client = cast.client("alice")
    assert client.get("/api/v1/tenants").json.keys() == {"total", "tenants"}
    made = client.post("/api/v1/tenants", json={"name": " Initech "})
    assert (made.status_code, made.json["name"]) == (201, "Initech")
    path = f"/api/v1/tenants/{made.json['id']}"
    assert client.put(path, json={"name": "Initrode"}).json["name"] == "Initrode"
    assert client.get(path).json["name"] == "Initrode"
    assert client.delete(path).status_code == 204
    assert client.get(path).json["error"]["code"] == "not_found"


def test_a_taken_name_is_a_conflict_and_a_bad_one_invalid(cast: Cast) -> None:
    client = cast.client("alice")
    assert client.post("/api/v1/tenants", json={"name": "ACME"}).status_code == 409
    for body in ({}, {"name": ""}, {"name": "  "}, {"name": 5}, {"name": "x" * 201}):
        answer = client.post("/api/v1/tenants", json=body)
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_parameter"), body


def test_a_tenant_with_computers_or_the_last_one_stays(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("pc", tenant_id=cast.acme)
    client = cast.client("alice")
    refused = client.delete(f"/api/v1/tenants/{cast.acme}")
    assert refused.status_code == 409
    assert "1 computers" in refused.json["error"]["message"]
    assert client.delete(f"/api/v1/tenants/{cast.globex}").status_code == 204
    assert client.delete(f"/api/v1/tenants/{cast.default}").status_code == 204
    assert client.delete(f"/api/v1/tenants/{cast.acme}").status_code == 409


def test_a_scoped_user_sees_only_own_tenants(cast: Cast) -> None:
    bob = cast.client("bob")
    assert [row["name"] for row in bob.get("/api/v1/tenants").json["tenants"]] == ["Acme"]
    assert bob.get(f"/api/v1/tenants/{cast.globex}").status_code == 404
    assert bob.post("/api/v1/tenants", json={"name": "x"}).status_code == 403


def test_the_switch_narrows_the_lists(cast: Cast) -> None:
    with cast.app.app_context():
        make_computer("in-acme", tenant_id=cast.acme)
        make_computer("in-globex", tenant_id=cast.globex)
    browser = cast.browser("alice")
    assert browser.post("/tenant", tenant_id=cast.acme, next="/fleet/").headers["Location"] == "/fleet/"
    page = browser.get("/fleet/").text
    assert "in-acme" in page
    assert "in-globex" not in page
    browser.post("/tenant", tenant_id="", next="/fleet/")
    assert "in-globex" in browser.get("/fleet/").text
    assert cast.browser("bob").post("/tenant", tenant_id=cast.globex).status_code == 404
