"""A one-time token becomes a key in a private file."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from binnacle_connector import enrol as enrolment
from binnacle_connector.config import ConfigError, load

TOKEN = "enrol-canary-4711"


class Office(ThreadingHTTPServer):
    """Gives one key for one token."""

    daemon_threads = True

    def __init__(self, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Desk)
        self.key, self.unused, self.asked = key, {TOKEN}, []
        self.answer: tuple[int, bytes] | None = None
        self.location = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Desk(BaseHTTPRequestHandler):
    server: Office

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        if self.server.answer:
            status, text = self.server.answer
        elif body["token"] in self.server.unused:
            self.server.unused.discard(body["token"])
            told = {"server_id": "9b2f", "name": "web-1", "key": self.server.key, "interval": 15}
            status, text = 201, json.dumps(told).encode()
        else:
            status, text = 404, b'{"detail":"Unknown token"}'
        self.send_response(status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def office(key: str) -> Iterator[Office]:
    server = Office(key)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_token_becomes_a_key_once(programs, office, key) -> None:
    config, state = programs.folder / "new" / "config.json", programs.folder / "state"
    arguments = [
        "enrol",
        "--server",
        office.url + "/",
        "--token",
        TOKEN,
        "--config",
        str(config),
        "--state-dir",
        str(state),
    ]
    done = programs.run(*arguments)
    assert done.returncode == 0 and "web-1" in done.stdout and key not in done.stdout + done.stderr
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert json.loads(config.read_text()) == {"server": office.url, "key": key, "interval": 15}
    path, asked = office.asked[0]
    assert path == "/api/v1/agents/enrol" and set(asked) == {"token", "hostname", "connector_id", "os"}
    assert asked["os"] == "linux" and asked["connector_id"] == (state / "connector_id").read_text().strip()
    assert load({"config": str(config)}, {}).key == key

    before = config.read_bytes()
    again = programs.run(*arguments)
    assert again.returncode == 1 and "used, revoked or has expired" in again.stderr and TOKEN not in again.stderr
    assert config.read_bytes() == before and office.asked[1][1]["connector_id"] == asked["connector_id"]
    assert not list(config.parent.glob(".*.tmp"))


def test_the_token_may_come_from_the_environment(programs, office) -> None:
    env = {"BINNACLE_TOKEN": TOKEN, "BINNACLE_SERVER": office.url, "BINNACLE_STATE_DIR": str(programs.folder / "s")}
    assert programs.run("enrol", "--config", str(programs.folder / "c.json"), **env).returncode == 0


def test_enrolling_anew_keeps_the_other_settings(office, tmp_path, key) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"server": "https://old.example", "key": "chatops_old", "log_level": "debug"}))
    config.chmod(0o600)
    enrolment.enrol(office.url, TOKEN, "id", config)
    assert json.loads(config.read_text()) == {"server": office.url, "key": key, "interval": 15, "log_level": "debug"}


def test_a_file_that_cannot_be_written_costs_no_token(office, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be"):
        enrolment.enrol(office.url, TOKEN, "id", tmp_path / "file" / "config.json")
    assert not office.asked and office.unused


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"oops"),
        (404, b'{"detail":["x"]}'),
        (200, b'{"server_id":"a","name":"b","key":"chatops_x","interval":10}'),
        (201, b"not json"),
        (201, b"[]"),
        (201, b'{"server_id":"a","name":"b","key":"itk_x","interval":10}'),
        (201, b'{"server_id":"a","name":"b","key":null,"interval":10}'),
        (201, b'{"server_id":"a","name":"b","key":"chatops_x","interval":0}'),
        (201, b"[" * 60_000),
    ],
)
def test_an_odd_answer_is_refused_and_writes_nothing(office, tmp_path, answer) -> None:
    office.answer = answer
    with pytest.raises(enrolment.EnrolmentError):
        enrolment.enrol(office.url, TOKEN, "id", tmp_path / "config.json")
    assert not list(tmp_path.iterdir())


def test_the_token_follows_no_redirect(office, tmp_path) -> None:
    office.answer, office.location = (307, b""), office.url + "/elsewhere"
    with pytest.raises(enrolment.EnrolmentError, match="307"):
        enrolment.enrol(office.url, TOKEN, "id", tmp_path / "config.json")
    assert len(office.asked) == 1


def test_a_server_that_is_away_is_said_so(tmp_path) -> None:
    with pytest.raises(enrolment.EnrolmentError, match="cannot be reached"):
        enrolment.enrol("http://127.0.0.1:9", TOKEN, "id", tmp_path / "config.json")
