"""A real container engine for tests: Podman behind Docker's API, with an image of its own made from a static busybox."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
events_logger = "file"
cgroup_manager = "cgroupfs"
"""
APPLETS = ("sh", "echo", "sleep", "cat", "printf", "seq", "yes", "head", "true", "date", "usleep")
IMAGE = "local/busy:1"
NEEDED = ("podman", "runc", "busybox")
TICKING = "trap 'exit 0' TERM; i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"


class NoEngine(Exception):
    """No engine can be had on this machine; the text says why."""


class PodmanEngine:
    """The service, and containers made by its command line. `host` is for `DOCKER_HOST`. Raises NoEngine."""

    def __init__(self) -> None:
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing:
            raise NoEngine(f"no {missing[0]}; on Debian, as root: apt-get install podman runc busybox-static")
        self.folder = Path(tempfile.mkdtemp(prefix="bn-engine-"))
        self.socket = self.folder / "engine.sock"
        self.host = f"unix://{self.socket}"
        self._service: subprocess.Popen[bytes] | None = None
        conf = self.folder / "containers.conf"
        conf.write_text(CONF)
        self._env = {**os.environ, "CONTAINERS_CONF": str(conf), "TMPDIR": str(self.folder)}
        self._log = (self.folder / "log").open("wb")
        try:
            self._image()
            self.serve()
            self.run("probe", "true")
            self.podman("rm", "-f", "probe")
        except (NoEngine, subprocess.SubprocessError) as error:
            self.stop()
            said = getattr(error, "stderr", None) or str(error)
            raise NoEngine(f"Podman cannot run containers here: {said.strip()[-300:]}") from None

    def podman(self, *arguments: str, timeout: float = 60) -> str:
        """Run one `podman …`; gives what it printed."""
        command = ["podman", "--storage-driver=vfs", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"),
                   "--tmpdir", str(self.folder / "tmp"), "--runtime", "runc", *arguments]  # fmt: skip
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=timeout, check=True)
        return done.stdout.strip()

    def _image(self) -> None:
        folder = self.folder / "image" / "bin"
        folder.mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "", folder / "busybox")
        for name in APPLETS:
            (folder / name).symlink_to("busybox")
        archive = shutil.make_archive(str(self.folder / "image"), "tar", folder.parent)
        self.podman("import", archive, IMAGE)

    def serve(self) -> None:
        """Start the API's service and wait until it listens."""
        command = ["podman", "--storage-driver=vfs", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"),
                   "--tmpdir", str(self.folder / "tmp"), "--runtime", "runc", "system", "service", "--time=0", self.host]  # fmt: skip
        self._service = subprocess.Popen(command, env=self._env, stdout=self._log, stderr=self._log)
        end = time.monotonic() + 15
        while not self.socket.exists():
            if time.monotonic() > end or self._service.poll() is not None:
                raise NoEngine((self.folder / "log").read_text(errors="replace") or "its service did not start")
            time.sleep(0.02)

    def unserve(self) -> None:
        """End the service; containers go on."""
        if self._service is not None:
            self._service.terminate()
            self._service.wait(10)
            self._service = None
        self.socket.unlink(missing_ok=True)

    def run(self, name: str, script: str = TICKING, *options: str) -> str:
        """A container that runs a shell script; gives its id."""
        return self.podman("run", "-d", "--name", name, *options, IMAGE, "/bin/sh", "-c", script)

    def remove(self, *names: str) -> None:
        """Remove containers, running or not, known or not."""
        self.podman("rm", "-f", "-t", "0", "--ignore", *names)

    def state(self, name: str) -> str:
        """The state of one, by the engine's command line."""
        return self.podman("inspect", "-f", "{{.State.Status}}", name)

    def stop(self) -> None:
        """End the service and every container, and leave nothing behind."""
        try:
            self.unserve()
            self.podman("rm", "-f", "-a", "-t", "0")
        except (OSError, subprocess.SubprocessError) as error:
            print(f"the engine's containers were not removed: {error}")
        self._end_leftovers()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_leftovers(self) -> None:
        """Of a container that was being started when the service ended, nobody knows but its monitor."""
        for monitor in psutil.process_iter(["cmdline"]):
            if any(str(self.folder) in word for word in monitor.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    for process in (*monitor.children(recursive=True), monitor):
                        process.kill()
