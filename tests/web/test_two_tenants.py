"""RELIABILITY 9: two tenants, and every id of the one put into every address of the map by the other: 404, and nothing said."""

from dataclasses import replace

import pytest
from conftest import Cast
from factories import make_computer, make_output, make_run, make_samples

from app.actors import SYSTEM
from app.connectors.operations import create_token
from app.database import unit_of_work
from app.fleet.operations import store_inventory
from app.fleet.queries import by_ids

CANARY = "acmecanary"
FOUND = {"hostname": CANARY, "os": {"family": "linux", "name": CANARY}, "hardware": {"serial_number": CANARY}, "users": [CANARY]}


@pytest.fixture
def theirs(cast: Cast) -> dict[str, str]:
    """What Acme has, each with the canary in its name; ids by the argument of an address."""
    with cast.app.app_context():
        computer = make_computer(CANARY, tenant_id=cast.acme, tags=[CANARY], host=f"{CANARY}.example", primary_user=CANARY)
        make_samples(computer[0], 3, disks=[[f"/{CANARY}", 1, 1, 0, 99.0]])
        with unit_of_work():
            store_inventory(by_ids([computer[0]])[computer[0]], FOUND, [{"name": CANARY, "version": CANARY, "publisher": CANARY}])
        run = make_run(computer, command=f"echo {CANARY}", actor=replace(SYSTEM, user_id=cast.users["bob"], name="bob"))
        make_output(run, ("stdout", f"{CANARY}\n"), exit_code=1)
        with unit_of_work():
            token, _ = create_token(cast.acme, [CANARY], actor=replace(SYSTEM, name="bob"))
        token_id = token.id
    key = cast.client("bob").post("/api/v1/api-keys", json={"server_id": computer[1], "name": CANARY}).json["id"]
    bob = cast.browser("bob")
    bob.post(f"/fleet/views/new?q={CANARY}", name=CANARY, shared="")
    view = next(
        part.split("/delete", 1)[0]
        for part in bob.get("/fleet/views/new?q=x").text.split("/fleet/views/")[1:]
        if "/delete" in part[:60]
    )
    return {"uuid": computer[1], "run_id": run, "key_id": key, "token_id": token_id, "view_id": view, "tenant_id": cast.acme,
            "user_id": cast.users["bob"], "position": "0"}  # fmt: skip


def path_of(rule: str, ids: dict[str, str]) -> str | None:
    """The address with Acme's ids, or None when it takes none."""
    path = rule
    for name, value in ids.items():
        path = path.replace(f"<{name}>", value).replace(f"<int:{name}>", value)
    return None if path == rule or "<" in path else path


def test_an_address_with_another_tenants_id_is_404(cast: Cast, theirs: dict[str, str]) -> None:
    client, browser, wrong, asked = cast.client("charlie"), cast.browser("charlie"), [], 0
    for rule in sorted(cast.app.url_map.iter_rules(), key=str):
        path = path_of(rule.rule, theirs)
        if path is None or rule.websocket:
            continue
        for method in (rule.methods or set()) & {"GET", "POST", "PUT", "DELETE"}:
            asked += 1
            if path.startswith("/api/"):
                answer = client.open(
                    path,
                    method=method,
                    json={"name": "mine", "enabled": True, "command": "id", "cpu_percent": 1, "memory_percent": 1},
                )
            elif method == "GET":
                answer = browser.get(path)
            else:
                answer = browser.post(path, name="mine", command="id", confirmed="1")
            # A route that Charlie's role does not open at all says so before it looks for anything.
            if answer.status_code not in (404, 403) or CANARY.encode() in answer.data:
                wrong.append((method, path, answer.status_code))
    assert not wrong
    assert asked > 40


def test_no_list_search_or_csv_knows_of_another_tenant(cast: Cast, theirs: dict[str, str]) -> None:
    client, browser, said = cast.client("charlie"), cast.browser("charlie"), []
    for rule in cast.app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.websocket or "<" in rule.rule:
            continue
        for query in (
            "",
            f"?tenant={theirs['tenant_id']}&tenant_id={theirs['tenant_id']}&computer={theirs['uuid']}",
            f"?tag={CANARY[:-1]}",
        ):
            answer = (client if rule.rule.startswith("/api/") else browser).get(rule.rule + query)
            if CANARY.encode() in answer.data.replace(query[1:].encode(), b""):
                said.append(rule.rule + query)
    assert not said
    assert CANARY in cast.browser("bob").get("/fleet/").text, "the canary sings for its own"


def test_another_tenants_ids_in_a_body_are_unknown(cast: Cast, theirs: dict[str, str]) -> None:
    with cast.app.app_context():
        own = make_computer("globex-1", tenant_id=cast.globex)[1]
    client, browser = cast.client("charlie"), cast.browser("charlie")
    acme, uuid = theirs["tenant_id"], theirs["uuid"]
    for method, path, body in (("POST", "/api/v1/servers", {"name": "x", "tenant_id": acme}), ("PUT", f"/api/v1/servers/{own}", {"tenant_id": acme}),
                               ("POST", "/api/v1/api-keys", {"name": "x", "server_id": uuid}),
                               ("POST", "/api/v1/api-keys", {"name": "x", "tenant_ids": [acme]})):  # fmt: skip
        assert client.open(path, method=method, json=body).status_code == 404, (path, body)
    for path, fields in (("/fleet/new", {"tenant_id": acme, "tags": ""}), (f"/fleet/{own}/edit", {"name": "x", "tenant_id": acme, "kind": "server", "tags": ""}),
                         ("/settings/api-keys", {"name": "x", "role": "readonly", "tenants": acme, "expires": ""})):  # fmt: skip
        answer = browser.post(path, **fields)
        assert answer.status_code == 422, (path, answer.status_code)
        assert CANARY not in answer.text
    for action in ("tag", "delete", "command"):
        browser.post(f"/fleet/bulk/{action}", ids=uuid, confirmed="1", add="stolen", command="id", typed="1")
    assert browser.post("/tenant", tenant_id=acme, next="/fleet/").status_code in (303, 404)
    assert CANARY not in browser.get("/fleet/").text
    mine = cast.client("bob").get(f"/api/v1/servers/{uuid}").json
    assert (mine["name"], mine["tags"]) == (CANARY, [CANARY])
