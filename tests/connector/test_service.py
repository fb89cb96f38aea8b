"""The systemd service."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from binnacle_connector import service
from binnacle_connector.config import ConfigError

CONFIG = Path("/etc/binnacle-connector/config.json")
STATE = Path("/var/lib/binnacle-connector")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_unit_names_the_config_file_and_never_the_key() -> None:
    text = service.unit(CONFIG, STATE)
    (start,) = [line for line in lines(text) if line.startswith("ExecStart=")]
    assert start == f"ExecStart={sys.executable} -m binnacle_connector --config {CONFIG} --state-dir {STATE}"
    assert f"{start} --no-commands" in lines(service.unit(CONFIG, STATE, commands=False))
    assert "chatops_" not in text and "StateDirectory=binnacle-connector" in lines(text)


@pytest.mark.parametrize(
    "line",
    [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "RestrictSUIDSGID=yes",
        "RestrictNamespaces=yes",
        "ProtectKernelModules=yes",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        "UMask=0077",
        "Restart=always",
        "RestartPreventExitStatus=2",
        "WantedBy=multi-user.target",
    ],
)
def test_the_unit_of_a_connector_without_commands_is_hardened_and_restarts(line: str) -> None:
    assert line in lines(service.unit(CONFIG, STATE, commands=False))


def test_the_unit_of_a_connector_with_commands_keeps_an_administrator_from_nothing() -> None:
    settings = dict(line.split("=", 1) for line in lines(service.unit(CONFIG, STATE)) if "=" in line)
    hindering = ("Protect", "Restrict", "Private", "NoNew", "Capability", "SystemCall", "Memory", "Lock", "ReadOnly")
    assert not [name for name in settings if name.startswith(hindering)] and settings["TasksMax"] == "infinity"
    assert settings["Restart"] == "always" and settings["UMask"] == "0077" and settings["OOMPolicy"] == "continue"
    assert settings["KillMode"] == "mixed"


def test_the_unit_hides_nothing_that_metrics_need() -> None:
    settings = dict(line.split("=", 1) for line in lines(service.unit(CONFIG, STATE, commands=False)) if "=" in line)
    assert settings["ProtectHome"] == "read-only"
    assert not {"ProtectProc", "ProcSubset", "PrivateDevices", "PrivateNetwork", "PrivateUsers", "User"} & set(settings)
    assert "AF_NETLINK" in settings["RestrictAddressFamilies"]


def test_a_path_with_odd_characters_is_quoted_for_systemd() -> None:
    text = service.unit(Path('/etc/a b/100%/"$HOME".json'), Path("/srv/state"))
    assert '--config "/etc/a b/100%%/\\"$$HOME\\".json"' in text and "ReadWritePaths=/srv/state" in lines(text)
    with pytest.raises(ConfigError):
        service.unit(Path("/etc/a\nUser=x"), STATE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("commands", [True, False])
def test_systemd_accepts_the_unit(tmp_path: Path, commands: bool) -> None:
    path = tmp_path / "binnacle-connector.service"
    path.write_text(service.unit(CONFIG, STATE, commands))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert path.name not in done.stderr and "Unknown" not in done.stderr


def test_install_writes_the_unit_and_uninstall_removes_it(programs, console) -> None:
    config, units = programs.config(console), programs.folder / "units"
    units.mkdir()
    where = ["--unit-dir", str(units), "--no-start"]
    done = programs.run("install", "--config", str(config), "--state-dir", str(programs.folder / "state"), *where)
    assert done.returncode == 0, done.stderr
    text = (units / "binnacle-connector.service").read_text()
    assert str(config) in text and "chatops_" not in text
    assert programs.run("uninstall", *where).returncode == 0
    assert not list(units.iterdir()) and config.exists()
    again = programs.run("uninstall", *where)
    assert again.returncode == 2 and "There is no unit" in again.stderr


def test_install_refuses_settings_that_would_not_start(programs, tmp_path) -> None:
    done = programs.run("install", "--config", str(tmp_path / "none.json"), "--unit-dir", str(tmp_path), "--no-start")
    assert done.returncode == 2 and "does not exist" in done.stderr and not list(tmp_path.glob("*.service"))


def test_install_without_commands_writes_the_sandboxed_unit(programs, console) -> None:
    where = ["--state-dir", str(programs.folder / "state"), "--unit-dir", str(programs.folder), "--no-start"]
    path = programs.folder / "binnacle-connector.service"
    for arguments, more, sandboxed in (([], {}, False), (["--no-commands"], {}, True), ([], {"commands": False}, True)):
        config = programs.config(console, **more)
        done = programs.run("install", "--config", str(config), *arguments, *where)
        assert done.returncode == 0, done.stderr
        assert ("NoNewPrivileges=yes" in path.read_text()) is sandboxed
        assert ("as root" in done.stdout) is not sandboxed
        printed = programs.run("install", "--print", "--config", str(config), *arguments, *where[:2])
        assert printed.stdout == path.read_text()


def test_install_can_only_print(programs) -> None:
    done = programs.run("install", "--print", "--config", "/etc/x.json")
    assert done.returncode == 0 and "--config /etc/x.json" in done.stdout
