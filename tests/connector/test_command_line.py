"""The program as people and supervisors run it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from binnacle_connector import __version__, log
from binnacle_connector.config import ConfigError, check_server, load


def command_line(process: subprocess.Popen[str]) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_the_version(programs) -> None:
    assert programs.run("--version").stdout == f"binnacle-connector {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "No server is set"),
        (["--server", "https://b.example"], "No key is set"),
        (["--server", "ftp://b.example", "--key", "KEY"], "must be a URL"),
        (["--server", "https://b.example", "--key", "itk_123"], "must be a host key"),
        (["--server", "https://b.example", "--key", "KEY", "--interval", "0"], "from 1 to 3600"),
        (["--server", "https://b.example", "--key", "KEY", "--interval", "ten"], "from 1 to 3600"),
        (["--server", "https://b.example", "--key", "KEY", "--ca-file", "/nowhere.pem"], "CA file"),
        (["--config", "/nowhere.json"], "does not exist"),
        (["--server", "https://b.example", "--key", "KEY", "--state-dir", "/proc/nothing"], "state folder"),
        (["--server", "https://b.example", "KEY"], "invalid choice"),
        (["--sever=KEY"], "not known"),
    ],
)
def test_a_wrong_setting_ends_with_2_and_a_sentence_without_the_key(programs, key, arguments, words) -> None:
    done = programs.run(*[key if argument == "KEY" else argument for argument in arguments])
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert key not in done.stderr and "itk_123" not in done.stderr and "Traceback" not in done.stderr


def test_the_key_is_in_no_log_and_no_argument_when_it_comes_from_a_file(programs, console, key, eventually) -> None:
    config = programs.config(console, interval=1, log_level="debug")
    process = programs.start("--config", str(config))
    eventually(lambda: console.stored)
    assert key not in command_line(process)
    console.accepts_key = False
    for peer in list(console.peers):
        peer.send({"type": "error", "message": f"your key is {key}"})
        peer.send({"type": key})
        peer.close(1008, f"no {key[:60]}")
    eventually(lambda: console.attempts >= 2)
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and out == "" and key not in err and "chatops_***" in err
    lines = [json.loads(line) for line in err.splitlines()]
    assert all(set(line) == {"time", "level", "message"} for line in lines) and lines[-1]["message"] == "stopped"


def test_the_key_may_come_from_the_environment(programs, console, key, eventually) -> None:
    process = programs.start(BINNACLE_SERVER=console.url, BINNACLE_KEY=key, BINNACLE_STATE_DIR=str(programs.folder))
    eventually(lambda: console.stored)
    assert key not in command_line(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("server", ["connected", "silent", "away"])
def test_a_signal_ends_it_whatever_the_server_does(programs, console, eventually, number, server) -> None:
    if server == "silent":
        console.on_auth = lambda peer: peer.ws.event.wait(30)
    if server == "away":
        console.shut()
    process = programs.start("--config", str(programs.config(console)))
    eventually(lambda: (programs.folder / "state" / "inventory.json").exists())
    if server != "away":
        eventually(lambda: console.attempts)
    process.send_signal(number)
    assert process.wait(timeout=20) == 0


def test_kill_9_in_the_middle_leaves_no_gap_and_no_duplicate(programs, console, eventually) -> None:
    config = programs.config(console, interval=1)
    for round_ in range(3):
        process = programs.start("--config", str(config))
        newest = max(console.stored, default=0)
        if round_ == 1:
            console.on_samples = lambda peer, message: console.keep(message["samples"])  # stored, never acknowledged
        eventually(lambda newest=newest: max(console.stored, default=0) > newest)
        process.kill()
        process.wait(timeout=20)
        console.on_samples = console.store
    assert sorted(console.stored) == list(range(1, max(console.stored) + 1)) and not console.duplicates


def test_two_connectors_do_not_share_a_state_folder(programs, console, eventually) -> None:
    config = programs.config(console)
    programs.start("--config", str(config))
    eventually(lambda: console.attempts)
    second = programs.run("--config", str(config))
    assert second.returncode == 2 and "Another connector is running" in second.stderr


def test_what_it_leaves_on_the_disk_is_private(programs, console, eventually) -> None:
    old = os.umask(0)
    try:
        programs.start("--config", str(programs.config(console)))
        eventually(lambda: console.stored)
    finally:
        os.umask(old)
    state = programs.folder / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for name in ("spool.db", "spool.db-wal", "inventory.json", "connector_id"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name


def test_a_config_file_that_others_can_read_is_refused(programs, console) -> None:
    config = programs.config(console)
    config.chmod(0o640)
    done = programs.run("--config", str(config))
    assert done.returncode == 2 and f"chmod 600 {config}" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        '{{"server": "https://b.example", "key": "{key}", "interval": 30}}',
        "[connector]\nserver = https://b.example\nkey = {key}\ninterval = 30\n",
        "server = https://b.example\nkey = {key}\ninterval = 30\n",
    ],
)
def test_a_config_file_is_json_or_ini_and_the_command_line_wins(tmp_path, key, text) -> None:
    path = tmp_path / "config"
    path.write_text(text.format(key=key))
    path.chmod(0o600)
    settings = load({"config": str(path)}, {})
    assert (settings.server, settings.key, settings.interval) == ("https://b.example", key, 30)
    assert load({"config": str(path)}, {"BINNACLE_INTERVAL": "40"}).interval == 40
    assert load({"config": str(path), "interval": "50"}, {"BINNACLE_INTERVAL": "40"}).interval == 50


@pytest.mark.parametrize("text", ["{", '{"sever": 1}', "[other]\na = 1", "just words", '{"server": 5, "key": "chatops_x"}', ""])
def test_a_config_file_that_says_nothing_sensible_is_refused(tmp_path, text) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        load({"config": str(path)}, {})


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://b.example/", "https://b.example"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("wss://b.example/console/", "https://b.example/console"),
        ("ws://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_server_is_named_in_many_ways(given, base) -> None:
    assert check_server(given) == base


@pytest.mark.parametrize(
    "given", ["", "b.example", "https://", "https://u:p@b.example", "https://b.example?x=1", "http://b:99999"]
)
def test_a_server_that_is_none_is_refused(given) -> None:
    with pytest.raises(ConfigError):
        check_server(given)


def test_http_becomes_ws_and_https_wss(tmp_path, key) -> None:
    common = {"key": key, "state_dir": str(tmp_path)}
    assert load({"server": "http://h:1", **common}, {}).socket_url == "ws://h:1/api/v1/agents/ws"
    assert load({"server": "https://h/p", **common}, {}).socket_url == "wss://h/p/api/v1/agents/ws"


def test_a_log_line_is_one_line_without_keys_and_control_characters(key) -> None:
    assert log.redact(f"a\nb\x1b[31m {key}\u2028") == "a\\x0ab\\x1b[31m chatops_***\\x2028"
