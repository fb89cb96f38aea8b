"""Everything that `make run` starts, for tests: the launcher with its children, on a free port over a temporary folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
from serving import ROOT, eventually, free_port

WEB, WORKER, CONNECTOR = "gunicorn", "app.cli", "binnacle_connector"


class Launched:
    """`python -m app.launcher`, ready, unless `wait` is false."""

    def __init__(self, *, wait: bool = True, **environment: str) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="binnacle-e2e-"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.data), "BINNACLE_BIND": f"127.0.0.1:{self.port}",
            "BINNACLE_DATA_DIR": str(self.data / "data"),
        } | environment  # fmt: skip
        with (self.data / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.launcher"], cwd=ROOT, env=self.env, stdout=log, stderr=log
            )
        if wait:
            try:
                eventually(self.has_greeted, 60, "it did not greet within a minute")
            except BaseException:
                self.stop()
                raise

    def words(self) -> str:
        """Everything that it and its children have said."""
        return (self.data / "log").read_text(errors="replace")

    def has_greeted(self) -> bool:
        """Whether it says that it is ready."""
        assert self.process.poll() is None, self.words()[-3000:]
        return "Ctrl-C ends it" in self.words()

    @property
    def link(self) -> str:
        """The one-time link that it printed."""
        found = re.search(r"http://\S+/setup\?token=\S+", self.words())
        assert found, self.words()
        return found[0]

    def is_ready(self) -> bool:
        """Whether the web process answers so."""
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def children(self) -> list[psutil.Process]:
        """Every process below the launcher."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, name: str) -> psutil.Process | None:
        """The launcher's own child of this name (WEB, WORKER, CONNECTOR), if it runs."""
        for one in psutil.Process(self.process.pid).children():
            try:
                if name in one.cmdline():
                    return one
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return None

    def command(self, *arguments: str, **environment: str) -> str:
        """Run `binnacle …` over the same data; returns what it printed."""
        done = subprocess.run([sys.executable, "-m", "app.cli", *arguments], cwd=ROOT, env=self.env | environment, capture_output=True,
                              text=True, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def programs(self) -> httpx.Client:
        """A program's client, with an admin's key."""
        key = self.command("keys", "create", "--role", "admin", "--name", "tests", "--rate-limit", "1000000").strip()
        return httpx.Client(base_url=self.url, headers={"X-API-Key": key}, timeout=30)

    def stop(self) -> None:
        """SIGTERM to the launcher, and after 40 s SIGKILL to what is left; the folder goes, too."""
        left = self.children() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for one in left:
            if one.is_running():
                one.kill()
        shutil.rmtree(self.data, ignore_errors=True)


class SecondComputer:
    """Another connector process, with a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT / "connector")}
        self.places = ["--config", str(folder / "config.json"), "--state-dir", str(folder / "state")]
        self.process: subprocess.Popen[bytes] | None = None

    def enrol(self, server: str, token: str) -> None:
        """Trade the one-time token for a key, as the installer does."""
        done = subprocess.run([sys.executable, "-m", "binnacle_connector", "enrol", "--server", server, *self.places],
                              env=self.env | {"BINNACLE_TOKEN": token}, capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stderr

    def configure(self, **settings: object) -> None:
        """Write its config file, as enrolling does."""
        path = self.folder / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings), encoding="utf-8")

    def start(self) -> None:
        """Run it."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "binnacle_connector", *self.places], env=self.env, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
