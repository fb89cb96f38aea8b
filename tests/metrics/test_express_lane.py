"""The express lane of `app.web.lane` and Flask answer the same: what is stored, refused, counted, and the headers."""

from typing import Any

import pytest
from conftest import Cast
from factories import make_computer, make_host_key
from flask.testing import FlaskClient

from app.actors import SYSTEM
from app.api_keys import operations
from app.api_keys.models import ApiKey
from app.api_keys.operations import revoke_key
from app.api_keys.queries import forget_cached
from app.database import session, unit_of_work
from app.errors import Unavailable
from app.metrics import writer as writer_module
from app.metrics.models import Sample
from app.web import lane

SAMPLE = {"cpu_percent": 10.0, "memory_percent": 20.0}


@pytest.fixture
def client(cast: Cast) -> FlaskClient:
    """A host whose key this process has just seen to be good."""
    with cast.app.app_context():
        computer = make_computer("web-1")
        key = make_host_key(computer, cast.default)
    client = cast.app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = key
    assert client.get("/api/v1/api-keys/me").status_code == 200
    return client


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each request that reached the lane's routes: whether the lane answered it."""
    real, seen = lane.Lane._serve, []

    def serve(self: lane.Lane, *args: Any) -> Any:
        answer = real(self, *args)
        seen.append(answer is not None)
        return answer

    monkeypatch.setattr(lane.Lane, "_serve", serve)
    return seen


def rows(cast: Cast) -> int:
    with cast.app.app_context():
        found = session().query(Sample).count()
        session().remove()
        return found


def limit_to(cast: Cast, amount: int) -> None:
    with cast.app.app_context(), unit_of_work():
        session().query(ApiKey).filter(ApiKey.computer_id.is_not(None)).update({"rate_limit": amount})
    forget_cached()


def test_both_ways_answer_with_the_same_fields_and_headers(cast: Cast, client: FlaskClient, taken: list[bool]) -> None:
    quick = client.post("/api/v1/metrics", json=SAMPLE)
    slow = client.post(
        "/api/v1/metrics", json=SAMPLE, headers={"Authorization": "Bearer " + client.environ_base["HTTP_X_API_KEY"]}
    )
    assert taken == [True]
    assert quick.status_code == slow.status_code == 201
    assert quick.json.keys() == slow.json.keys()
    assert set(quick.headers.keys()) == set(slow.headers.keys()) - {"Vary"}  # Flask asked for a cookie; here there was none
    assert quick.json["server_id"] == slow.json["server_id"]
    assert rows(cast) == 2


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"cpu_percent": NaN}', b'{"cpu_percent": 101, "memory_percent": 1}'])
def test_what_does_not_fit_gets_the_contracts_error_from_flask(
    cast: Cast, client: FlaskClient, taken: list[bool], body: bytes
) -> None:
    quick = client.post("/api/v1/metrics", data=body, content_type="application/json")
    forget_cached()
    slow = client.post("/api/v1/metrics", data=body, content_type="application/json")
    assert taken == [False]
    assert quick.status_code == slow.status_code in (400, 422)
    assert quick.json == slow.json
    assert rows(cast) == 0


def test_a_revoked_key_is_refused_at_once(cast: Cast, client: FlaskClient) -> None:
    assert client.post("/api/v1/metrics", json=SAMPLE).status_code == 201
    with cast.app.app_context(), unit_of_work():
        for key in session().query(ApiKey).filter(ApiKey.computer_id.is_not(None)):
            revoke_key(key, actor=SYSTEM)
    assert client.post("/api/v1/metrics", json=SAMPLE).status_code == 401


def test_a_key_that_another_process_revoked_is_dead_after_the_next_look_at_the_clock(
    cast: Cast, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations.queries, "forget_cached", lambda: None)  # the other process forgets, this one does not
    with cast.app.app_context(), unit_of_work():
        for key in session().query(ApiKey).filter(ApiKey.computer_id.is_not(None)):
            revoke_key(key, actor=SYSTEM)
    assert client.post("/api/v1/metrics", json=SAMPLE).status_code == 201  # for at most CHECK_S
    monkeypatch.setattr(operations.queries, "CHECK_S", 0.0)
    assert client.post("/api/v1/metrics", json=SAMPLE).status_code == 401


def test_both_ways_count_against_one_limit(cast: Cast, client: FlaskClient, taken: list[bool]) -> None:
    limit_to(cast, 4)
    answers = [client.post("/api/v1/metrics", json=SAMPLE) for _ in range(6)]
    assert [a.status_code for a in answers] == [201] * 4 + [429] * 2
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["3", "2", "1", "0", "0", "0"]
    assert answers[-1].headers["Retry-After"]
    assert taken[:3] == [True] * 3
    assert rows(cast) == 4


def test_a_failure_while_storing_is_tried_once_and_counted_once(
    cast: Cast, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(samples: Any) -> set[int]:
        tried.append(len(samples))
        raise Unavailable("The database is not available right now; nothing was stored")

    limit_to(cast, 10)
    monkeypatch.setattr(writer_module, "store", fails)
    first = client.post("/api/v1/metrics", json=SAMPLE)
    second = client.post("/api/v1/metrics", json=SAMPLE)
    assert first.status_code == second.status_code == 503
    assert second.headers["Retry-After"]
    assert tried == [1, 1]
    assert second.headers["X-RateLimit-Remaining"] == "8"


def test_a_cookie_a_query_or_another_address_goes_to_flask(client: FlaskClient, taken: list[bool]) -> None:
    assert client.post("/api/v1/metrics/", json=SAMPLE).status_code == 201
    assert client.post("/api/v1/metrics?x=1", json=SAMPLE).status_code == 201
    assert client.get("/api/v1/metrics").status_code == 405
    assert client.post("/api/v1/metrics", data=b"").status_code == 400
    client.set_cookie("some", "thing")
    assert client.post("/api/v1/metrics", json=SAMPLE).status_code == 201
    assert taken == []
