"""Contract 000, "Computers" and "Error Handling", field by field."""

import pytest
from conftest import Cast
from factories import make_computer, make_samples

from app.database import unit_of_work
from app.fleet.operations import store_inventory, update_computer
from app.fleet.queries import by_ids

LIST_FIELDS = {"id", "name", "status", "tenant_id", "tenant_name", "os", "last_seen", "primary_user_id", "primary_user_name"}
FOUND = {
    "hostname": "DESKTOP-ABC123", "domain": "acme.local", "users": ["john"],
    "os": {"family": "windows", "name": "Windows 10 Pro 21H2"},
    "hardware": {"manufacturer": "Dell Inc.", "model": "Latitude 5420", "serial_number": "ABC123XYZ",
                 "processor": "Intel(R) Core(TM) i5-1135G7", "memory_bytes": 16 * 1024**3, "disk_bytes": 512 * 1024**3},
    "network": {"interfaces": [{"name": "eth0", "mac": None, "addresses": ["192.168.1.100", "fe80::1234:5678:9abc:def0"]}]},
}  # fmt: skip


@pytest.fixture
def fleet(cast: Cast) -> dict[str, str]:
    """desk (Acme, Windows, online), web (Acme, never seen), far (Globex)."""
    with cast.app.app_context():
        desk = make_computer("DESKTOP-ABC123", tenant_id=cast.acme)
        with unit_of_work():
            store_inventory(by_ids([desk[0]])[desk[0]], FOUND, [{"name": "chrome", "version": "1", "publisher": None}])
        make_samples(desk[0], 1)
        return {
            "desk": desk[1],
            "web": make_computer("web-1", tenant_id=cast.acme)[1],
            "far": make_computer("far", tenant_id=cast.globex)[1],
        }


def test_list_has_total_and_computers(cast: Cast, fleet: dict[str, str]) -> None:
    answer = cast.client("alice").get("/api/v1/computers")
    assert answer.status_code == 200
    assert answer.json.keys() == {"total", "computers"}
    assert answer.json["total"] == 3 == len(answer.json["computers"])
    desk = next(row for row in answer.json["computers"] if row["id"] == fleet["desk"])
    assert desk.keys() >= LIST_FIELDS
    assert (desk["status"], desk["tenant_name"], desk["os"]) == ("Online", "Acme", "Windows 10 Pro 21H2")
    assert desk["primary_user_name"] == "john", "taken from who is logged in"
    assert desk["primary_user_id"]
    assert desk["last_seen"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=Online", ["DESKTOP-ABC123"]),
        ("status=online", ["DESKTOP-ABC123"]),
        ("status=Offline", ["far", "web-1"]),
        ("os=Windows", ["DESKTOP-ABC123"]),
        ("os=windows%2010%20pro", ["DESKTOP-ABC123"]),
        ("os=%25", []),
        ("page=2&per_page=2", ["web-1"]),
    ],
)
def test_filters(cast: Cast, fleet: dict[str, str], query: str, names: list[str]) -> None:
    answer = cast.client("alice").get(f"/api/v1/computers?{query}")
    assert [row["name"] for row in answer.json["computers"]] == names
    if "per_page" in query:
        assert (answer.json["total"], answer.json["page"], answer.json["per_page"]) == (3, 2, 2)


def test_by_tenant(cast: Cast, fleet: dict[str, str]) -> None:
    answer = cast.client("alice").get(f"/api/v1/computers?tenant_id={cast.globex}")
    assert [row["name"] for row in answer.json["computers"]] == ["far"]


def test_details_with_hardware_and_network(cast: Cast, fleet: dict[str, str]) -> None:
    answer = cast.client("bob").get(f"/api/v1/computers/{fleet['desk']}")
    assert answer.status_code == 200
    assert answer.json.keys() >= LIST_FIELDS
    assert answer.json["hardware"] == {
        "manufacturer": "Dell Inc.", "model": "Latitude 5420", "serial_number": "ABC123XYZ",
        "processor": "Intel(R) Core(TM) i5-1135G7", "memory_gb": 16, "disk_gb": 512,
    }  # fmt: skip
    assert answer.json["network"] == {
        "hostname": "DESKTOP-ABC123", "domain": "acme.local", "ip_addresses": ["192.168.1.100", "fe80::1234:5678:9abc:def0"],
    }  # fmt: skip


def test_a_primary_user_set_by_a_technician_stays(cast: Cast, fleet: dict[str, str]) -> None:
    client = cast.client("bob")
    assert client.put(f"/api/v1/servers/{fleet['desk']}", json={"primary_user_name": "John Doe"}).status_code == 200
    with cast.app.app_context(), unit_of_work():
        from app.fleet.queries import internal_ids

        row = by_ids(internal_ids([fleet["desk"]], None))
        store_inventory(next(iter(row.values())), FOUND | {"users": ["somebody"]}, None)
    assert client.get(f"/api/v1/computers/{fleet['desk']}").json["primary_user_name"] == "John Doe"
    client.put(f"/api/v1/servers/{fleet['desk']}", json={"primary_user_name": None})
    assert client.get(f"/api/v1/computers/{fleet['desk']}").json["primary_user_name"] == "somebody"


def test_the_short_inventory_of_a_connector_that_starts_again_blanks_nothing(cast: Cast, fleet: dict[str, str]) -> None:
    client = cast.client("bob")
    before = client.get(f"/api/v1/computers/{fleet['desk']}").json
    with cast.app.app_context(), unit_of_work():
        from app.fleet.queries import internal_ids

        row = next(iter(by_ids(internal_ids([fleet["desk"]], None)).values()))
        store_inventory(row, {"hostname": "renamed", "os": FOUND["os"]}, None)
    after = client.get(f"/api/v1/computers/{fleet['desk']}").json
    assert after["hardware"] == before["hardware"]
    assert after["network"] == before["network"] | {"hostname": "renamed", "domain": after["network"]["domain"]}


def test_an_unknown_id_in_a_filter_is_the_documented_400(cast: Cast) -> None:
    answer = cast.client("alice").get("/api/v1/computers?tenant_id=t999")
    assert answer.status_code == 400
    assert answer.json == {
        "error": {
            "code": "invalid_parameter",
            "message": "The parameter 'tenant_id' is invalid",
            "details": "Tenant with ID 't999' not found",
        }
    }


def test_another_tenants_id_in_a_filter_is_unknown_too(cast: Cast) -> None:
    answer = cast.client("bob").get(f"/api/v1/computers?tenant_id={cast.globex}")
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("query", ["status=Sleeping", "page=0", "page=x", "per_page=5000"])
def test_a_parameter_that_does_not_fit_is_400(cast: Cast, query: str) -> None:
    answer = cast.client("alice").get(f"/api/v1/computers?{query}")
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "invalid_parameter"
    assert query.split("=")[0] in answer.json["error"]["message"]


def test_error_shapes(cast: Cast, fleet: dict[str, str]) -> None:
    shapes = {
        401: cast.app.test_client().get("/api/v1/computers"),
        404: cast.client("bob").get(f"/api/v1/computers/{fleet['far']}"),
        405: cast.client("alice").post("/api/v1/computers"),
    }
    codes = {401: "unauthorized", 404: "not_found", 405: "method_not_allowed"}
    for status, answer in shapes.items():
        assert answer.status_code == status
        assert answer.json["error"].keys() == {"code", "message", "details"}
        assert answer.json["error"]["code"] == codes[status]
        assert answer.headers["X-Request-ID"]


def test_sixty_a_minute_per_key_with_headers_and_the_documented_429(cast: Cast) -> None:
    from factories import make_key

    from app.actors import Role
    from app.api_keys import queries
    from app.api_keys.models import ApiKey
    from app.database import session

    with cast.app.app_context():
        key = make_key("limited", Role.READONLY)
        with unit_of_work():
            for row in session().query(ApiKey).filter_by(name="limited"):
                row.rate_limit = None
        queries.forget_cached()
    client = cast.app.test_client()
    answers = [client.get("/api/v1/computers", headers={"X-API-Key": key}) for _ in range(61)]
    assert [a.status_code for a in answers] == [200] * 60 + [429]
    assert answers[0].headers["X-RateLimit-Limit"] == "60"
    assert answers[0].headers["X-RateLimit-Remaining"] == "59"
    assert int(answers[0].headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert answers[-1].json["error"]["code"] == "rate_limit_exceeded"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert client.get("/api/v1/servers", headers={"X-API-Key": key}).status_code == 200, "002 has a budget of its own"


def test_the_name_follows_the_same_row_in_both_contracts(cast: Cast, fleet: dict[str, str]) -> None:
    with cast.app.app_context(), unit_of_work():
        from app.actors import SYSTEM
        from app.fleet.queries import internal_ids

        update_computer(by_ids(internal_ids([fleet["web"]], None)).popitem()[1], {"name": "renamed"}, actor=SYSTEM)
    client = cast.client("alice")
    assert client.get(f"/api/v1/computers/{fleet['web']}").json["name"] == "renamed"
    assert client.get(f"/api/v1/servers/{fleet['web']}").json["name"] == "renamed"
