"""What is installed, one entry at a time, so that a long list never sits in memory."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .log import logger

MAX_ENTRIES = 10_000
TIMEOUT = 60.0

_DPKG = ["dpkg-query", "-W", "-f=${db:Status-Abbrev}\t${Package}\t${Version}\t\n"]
_RPM = ["rpm", "-qa", "--qf", r"ii\t%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{VENDOR}\n"]
_BREW = ["brew", "list", "--versions"]
_UNINSTALL = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"


def entry(name: str, version: str, publisher: str | None = None) -> dict[str, str | None]:
    """The protocol's software entry; empty and `(none)` are null."""
    return {"name": name, "version": _known(version), "publisher": _known(publisher)}


def _known(text: str | None) -> str | None:
    stripped = (text or "").strip()
    return None if stripped in ("", "(none)", "(null)") else stripped


def installed() -> Iterator[dict[str, str | None]]:
    """The installed software, at most 10,000 entries; nothing where the system cannot tell."""
    if sys.platform == "win32":
        found = _windows()
    elif sys.platform == "darwin":
        found = itertools.chain(_applications(), _brew())
    else:
        found = _packages()
    return itertools.islice(found, MAX_ENTRIES)


def lines(command: list[str], timeout: float = TIMEOUT) -> Iterator[str]:
    """The lines a program prints, as it prints them. It is killed after `timeout` seconds; its failure is logged."""
    program = shutil.which(command[0])
    if program is None:
        return
    process = subprocess.Popen(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    alarm = threading.Timer(timeout, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\r\n")
    finally:
        if not alarm.is_alive():
            logger.warning("%s took longer than %d s and was ended", command[0], timeout)
        alarm.cancel()
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        process.wait()


def _packages() -> Iterator[dict[str, str | None]]:
    for command in (_DPKG, _RPM):
        for line in lines(command):
            status, name, version, publisher = (line.split("\t") + ["", "", "", ""])[:4]
            if status.strip().endswith("i") and name and name != "gpg-pubkey":
                yield entry(name, version, publisher)


def _brew() -> Iterator[dict[str, str | None]]:
    for line in lines(_BREW):
        name, _, versions = line.partition(" ")
        if name:
            yield entry(name, versions.split(" ")[-1], "Homebrew")


def _applications(folder: Path = Path("/Applications")) -> Iterator[dict[str, str | None]]:
    import plistlib

    for bundle in sorted(folder.glob("*.app")) + sorted(folder.glob("*/*.app")):
        version = ""
        try:
            with open(bundle / "Contents" / "Info.plist", "rb") as file:
                version = str(plistlib.load(file).get("CFBundleShortVersionString", ""))
        except Exception as error:
            logger.debug("no version of %s: %s", bundle.name, error)
        yield entry(bundle.stem, version)


def _windows() -> Iterator[dict[str, str | None]]:
    """The uninstall keys of the machine (64 and 32 bit) and of the user, without updates and system parts."""
    import importlib

    registry: Any = importlib.import_module("winreg")
    seen: set[tuple[str, str | None]] = set()
    views = (
        (registry.HKEY_LOCAL_MACHINE, 0x0100),
        (registry.HKEY_LOCAL_MACHINE, 0x0200),
        (registry.HKEY_CURRENT_USER, 0),
    )
    for hive, view in views:
        try:
            parent = registry.OpenKey(hive, _UNINSTALL, 0, registry.KEY_READ | view)
        except OSError:
            continue
        with parent:
            for index in range(registry.QueryInfoKey(parent)[0]):
                found = _windows_entry(registry, parent, index)
                if found and (found["name"] or "", found["version"]) not in seen:
                    seen.add((found["name"] or "", found["version"]))
                    yield found


def _windows_entry(registry: Any, parent: Any, index: int) -> dict[str, str | None] | None:
    def value(key: Any, name: str) -> str:
        try:
            return str(registry.QueryValueEx(key, name)[0])
        except OSError:
            return ""

    try:
        with registry.OpenKey(parent, registry.EnumKey(parent, index)) as key:
            name = value(key, "DisplayName").strip()
            if not name or value(key, "SystemComponent") == "1" or value(key, "ParentKeyName"):
                return None
            return entry(name, value(key, "DisplayVersion"), value(key, "Publisher"))
    except OSError:
        return None
