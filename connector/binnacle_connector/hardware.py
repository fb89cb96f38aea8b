"""What the machine is made of, from DMI on Linux, CIM on Windows and system_profiler on macOS; unknown is None."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from .log import logger

_FILLERS = (
    "none|n/a|na|unknown|default string|to be filled by o.e.m|system manufacturer|system product name|not specified|"
    "system serial number|not applicable|invalid|oem|0|00000000|123456789|0123456789|empty|undefined"
)
_PLACEHOLDERS = frozenset(_FILLERS.split("|"))
_CIM = (
    "$ErrorActionPreference='SilentlyContinue';[Console]::OutputEncoding=[Text.Encoding]::UTF8;"
    "$c=Get-CimInstance Win32_ComputerSystem;$o=Get-CimInstance Win32_OperatingSystem;"
    "@{manufacturer=$c.Manufacturer;model=$c.Model;domain=$(if($c.PartOfDomain){$c.Domain});caption=$o.Caption;"
    "serial=(Get-CimInstance Win32_BIOS).SerialNumber;processor=@(Get-CimInstance Win32_Processor)[0].Name;"
    "disk=(Get-CimInstance Win32_DiskDrive|Measure-Object Size -Sum).Sum}|ConvertTo-Json -Compress"
)


def meaningful(text: Any) -> str | None:
    """A maker's text, or none when it is one of the fillers that boards ship with."""
    stripped = " ".join(str(text).replace("\x00", " ").split()) if text is not None else ""
    return (
        None if not stripped or stripped.lower().strip(". ") in _PLACEHOLDERS or stripped in _PLACEHOLDERS else stripped
    )


def run_json(command: list[str], timeout: float = 45.0) -> dict[str, Any]:
    """The JSON object that a program prints; empty when it is missing, fails, hangs or prints something else."""
    import subprocess

    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL, check=True)
        value = json.loads(done.stdout.decode("utf-8", "replace"))
    except (OSError, subprocess.SubprocessError, ValueError, RecursionError) as error:
        logger.warning("%s gave nothing: %s", command[0], type(error).__name__)
        return {}
    return value if isinstance(value, dict) else {}


def windows_facts() -> dict[str, Any]:
    """Everything that one PowerShell start can tell: manufacturer, model, serial, processor, disk, domain, caption."""
    return run_json(["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _CIM])


def read_text(path: Path) -> str | None:
    """A small system file's meaningful text, or none."""
    try:
        return meaningful(path.read_text("utf-8", "replace")[:1000])
    except OSError:
        return None


def linux(root: Path = Path("/")) -> dict[str, Any]:
    """Maker, model, serial number (root only), processor and the disks' bytes, from /sys and /proc below `root`."""
    dmi, tree = root / "sys/class/dmi/id", root / "proc/device-tree"
    return {
        "manufacturer": read_text(dmi / "sys_vendor"),
        "model": read_text(dmi / "product_name") or read_text(tree / "model"),
        "serial_number": read_text(dmi / "product_serial") or read_text(tree / "serial-number"),
        "processor": _linux_processor(root / "proc/cpuinfo"),
        "disk_bytes": _linux_disks(root / "sys/block"),
    }


def _linux_processor(path: Path) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip().lower() in ("model name", "cpu model", "hardware", "cpu"):
                    return meaningful(value)
    except OSError:
        return None
    return None


def _linux_disks(folder: Path) -> int | None:
    """Bytes of all physical disks; the kernel counts sectors of 512 bytes whatever the disk does."""
    total = 0
    try:
        for name in os.listdir(folder):
            if not name.startswith(("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd")):
                total += int((folder / name / "size").read_text("ascii")) * 512
    except (OSError, ValueError):
        return total or None
    return total or None


def macos() -> dict[str, Any]:
    """Maker, model, serial number and processor as system_profiler tells them."""
    found = run_json(["system_profiler", "-json", "SPHardwareDataType"]).get("SPHardwareDataType")
    facts = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    return {
        "manufacturer": "Apple Inc.",
        "model": meaningful(facts.get("machine_model") or facts.get("machine_name")),
        "serial_number": meaningful(facts.get("serial_number")),
        "processor": meaningful(facts.get("chip_type") or facts.get("cpu_type")),
        "disk_bytes": None,
    }


def windows(facts: dict[str, Any]) -> dict[str, Any]:
    """Maker, model, serial number, processor and the disks' bytes out of `windows_facts()`."""
    disk = facts.get("disk")
    return {
        "manufacturer": meaningful(facts.get("manufacturer")),
        "model": meaningful(facts.get("model")),
        "serial_number": meaningful(facts.get("serial")),
        "processor": meaningful(facts.get("processor")),
        "disk_bytes": int(disk) if isinstance(disk, (int, float)) and disk > 0 else None,
    }


def hardware(windows_said: dict[str, Any]) -> dict[str, Any]:
    """The protocol's `hardware` object; sizes in bytes, `cores` are logical ones."""
    import psutil

    if sys.platform == "win32":
        found = windows(windows_said)
    elif sys.platform == "darwin":
        found = macos()
    elif sys.platform.startswith("linux"):
        found = linux()
    else:
        found = {}
    return {**found, "cores": psutil.cpu_count(), "memory_bytes": psutil.virtual_memory().total}
