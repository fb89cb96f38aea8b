"""`binnacle simulate` against a real server: nothing is lost, a second run re-uses the fleet, no server is a sentence."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import ROOT, Server, free_port

pytestmark = pytest.mark.e2e


def simulate(server: Server, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "app.cli", "simulate", "--computers", "12", "--interval", "1", "--duration", "4", *more]
    done = subprocess.run(command, cwd=ROOT, env=server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def count(server: Server, table: str) -> int:
    connection = sqlite3.connect(server.data / "binnacle.db")
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


def test_a_simulated_fleet_delivers_every_sample_and_is_found_again():
    server = Server()
    try:
        first = simulate(server, "--history", "1")
        assert first["computers"] == 12 and first["refused"] == 0 and first["errors"] == {}
        assert first["sent"] == first["acked"] == count(server, "samples") > 12 * 55
        second = simulate(server)
        assert second["sent"] == second["acked"] > 0
        assert count(server, "computers") == 12
        assert count(server, "samples") == first["acked"] + second["acked"]
    finally:
        server.stop()


def test_without_a_server_it_says_so(tmp_path: Path):
    env = {"PATH": os.environ["PATH"], "BINNACLE_BIND": f"127.0.0.1:{free_port()}", "BINNACLE_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "app.cli", "simulate", "--computers", "1"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no server answers" in done.stderr
