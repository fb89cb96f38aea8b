"""A server with its worker and a real connector of this machine, for tests that run commands on it or kill some of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving import ROOT, Server, eventually


class Real:
    """A server with its worker, and a connector of this machine."""

    def __init__(self, state: Path) -> None:
        self.server = Server("sqlite", worker=True, BINNACLE_LOG_LEVEL="warning")
        self.uuid, self.key = self.server.computer("this-machine")
        self.state = state
        self.connector: subprocess.Popen[bytes] | None = None
        self.start()

    def launch(self) -> None:
        """Start the connector, without waiting for it."""
        command = [
            sys.executable,
            "-m",
            "binnacle_connector",
            "--server",
            self.server.url,
            "--key",
            self.key,
            "--state-dir",
            str(self.state),
            "--interval",
            "1",
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.state), "PYTHONPATH": str(ROOT / "connector")}
        self.connector = subprocess.Popen(command, env=environment, stdout=self.server.log, stderr=self.server.log)

    def start(self) -> None:
        """Start the connector and wait until it takes commands."""
        self.launch()
        eventually(lambda: self.post("true").status_code == 200, 20, "the connector did not connect")

    def kill_connector(self) -> None:
        assert self.connector is not None
        self.connector.kill()
        self.connector.wait()

    def post(self, command: str, **body: Any) -> Any:
        return self.server.http.post(f"/api/v1/commands/{self.uuid}", json={"command": command} | body, timeout=60)

    def begin(self, command: str, **body: Any) -> str:
        answer = self.post(command, wait=False, **body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.http.get(f"/api/v1/runs/{run_id}").json()
        return found

    def ended(self, run_id: str, seconds: float = 45) -> dict[str, Any]:
        found: dict[str, Any] = eventually(lambda: (r := self.run(run_id))["finished_at"] and r, seconds, "the run did not end")
        return found

    def text(self, run_id: str) -> str:
        return "".join(line["text"] for line in self.server.http.get(f"/api/v1/runs/{run_id}/log").json()["lines"])

    def stop(self) -> None:
        if self.connector is not None and self.connector.poll() is None:
            self.connector.send_signal(signal.SIGTERM)
            self.connector.wait(10)
        self.server.stop()
