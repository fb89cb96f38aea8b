"""What the connector knows about its computer."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from binnacle_connector import hardware, inventory, software
from binnacle_connector.watch import InventoryWatch


def test_the_inventory_has_the_shape_of_the_protocol(programs) -> None:
    done = programs.run("--inventory")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(found) == {
        "hostname",
        "fqdn",
        "domain",
        "os",
        "hardware",
        "network",
        "users",
        "boot_time",
        "certificates",
        "software",
    }
    assert found["hostname"] and found["os"]["family"] == "linux" and found["os"]["kernel"]
    assert found["hardware"]["cores"] > 0 and found["hardware"]["memory_bytes"] > 0
    assert all(set(card) == {"name", "mac", "addresses"} and card["name"] != "lo" for card in found["network"]["interfaces"])
    assert all(set(item) == {"name", "version", "publisher"} and item["name"] for item in found["software"])


def test_what_dpkg_knows_is_in_the_software() -> None:
    listed = dict(line.split("\t") for line in software.lines(["dpkg-query", "-W", "-f=${Package}\t${Version}\n"]))
    found = {item["name"]: item["version"] for item in software.installed()}
    assert found if listed else not found
    assert all(listed[name] == version for name, version in found.items() if ":" not in name and name in listed)


def test_the_digest_changes_with_the_computer_and_not_with_the_clock(tmp_path: Path, monkeypatch) -> None:
    first = inventory.write(tmp_path / "inventory.json")
    monkeypatch.setattr(inventory, "boot_time", lambda: "2001-01-01T00:00:00Z")
    assert inventory.write(tmp_path / "inventory.json") == first
    monkeypatch.setattr(inventory, "users", lambda: ["somebody-new"])
    assert inventory.write(tmp_path / "inventory.json") != first
    assert json.loads((tmp_path / "inventory.json").read_text())["users"] == ["somebody-new"]
    assert stat.S_IMODE((tmp_path / "inventory.json").stat().st_mode) == 0o600


def test_a_part_that_fails_is_null_and_the_rest_is_there(monkeypatch) -> None:
    def broken() -> list[str]:
        raise PermissionError("no")

    monkeypatch.setattr(inventory, "users", broken)
    found = inventory.collect()
    assert found["users"] is None and found["hostname"]


def test_strings_are_valid_and_bounded() -> None:
    assert inventory.clean({"a": ["x" * 5000, "a\x00b", "bad\udcff", 7, None]}) == {"a": ["x" * 1000, "ab", "bad?", 7, None]}


def test_a_list_of_software_stays_below_the_frame(monkeypatch) -> None:
    monkeypatch.setattr(
        software, "_packages", lambda: ({"name": "ü" * 2000, "version": "1", "publisher": None} for _ in range(50_000))
    )
    text = "".join(inventory.chunks({"hostname": "h"}))
    assert len(text) < 5 * 1024 * 1024 and len(json.loads(text)["software"]) > 100


def test_at_most_ten_thousand_entries(monkeypatch) -> None:
    monkeypatch.setattr(
        software, "_packages", lambda: ({"name": str(n), "version": "1", "publisher": None} for n in range(10_050))
    )
    assert len(list(software.installed())) == 10_000


def test_a_program_that_hangs_is_ended_and_what_it_said_is_kept() -> None:
    command = [sys.executable, "-c", "import time; print('one', flush=True); time.sleep(600)"]
    assert list(software.lines(command, timeout=0.4)) == ["one"]
    assert hardware.run_json(command, timeout=0.1) == {}


def test_a_missing_program_and_an_answer_that_is_no_json_give_nothing() -> None:
    assert list(software.lines(["no-such-program-here"])) == []
    assert hardware.run_json(["no-such-program-here"]) == {}
    assert hardware.run_json([sys.executable, "-c", "print('[1')"]) == {}


def test_hardware_comes_from_dmi_without_the_fillers_of_boards(tmp_path: Path) -> None:
    dmi, block = tmp_path / "sys/class/dmi/id", tmp_path / "sys/block"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text("Dell Inc.\n")
    (dmi / "product_name").write_text("To Be Filled By O.E.M.\n")
    (dmi / "product_serial").write_text("7XK2\n")
    for name, sectors in (("sda", 2000), ("nvme0n1", 48), ("loop0", 999), ("dm-0", 999)):
        (block / name).mkdir(parents=True)
        (block / name / "size").write_text(f"{sectors}\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD  EPYC 7\n")
    assert hardware.linux(tmp_path) == {
        "manufacturer": "Dell Inc.",
        "model": None,
        "serial_number": "7XK2",
        "processor": "AMD EPYC 7",
        "disk_bytes": 2048 * 512,
    }


def test_a_machine_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    assert set(hardware.linux(tmp_path).values()) == {None}
    assert set(hardware.windows({}).values()) == {None}


def test_windows_facts_become_hardware() -> None:
    said = {
        "manufacturer": "LENOVO",
        "model": "20XW",
        "serial": "System Serial Number",
        "processor": "i7 ",
        "disk": 512e9,
    }
    assert hardware.windows(said) == {
        "manufacturer": "LENOVO",
        "model": "20XW",
        "serial_number": None,
        "processor": "i7",
        "disk_bytes": 512_000_000_000,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\n', ("Debian GNU/Linux 12 (bookworm)", "12")),
        ("PRETTY_NAME='Arch Linux'\n# VERSION_ID=x\nrubbish\n", ("Arch Linux", None)),
        ('PRETTY_NAME="half quoted\n', ("half quoted", None)),
    ],
)
def test_os_release_is_read_as_the_shell_would(tmp_path: Path, text: str, expected: tuple) -> None:
    (tmp_path / "os-release").write_text(text)
    fields = inventory.os_release(tmp_path / "os-release")
    assert (fields.get("PRETTY_NAME"), fields.get("VERSION_ID")) == expected


def test_the_watch_says_when_something_changed_and_keeps_the_text_on_the_disk(tmp_path: Path, monkeypatch, eventually) -> None:
    changes: list[str] = []
    watch = InventoryWatch(tmp_path / "inventory.json", lambda: changes.append("changed"), every=0.02)
    assert watch.snapshot().digest == "" and json.loads(watch.snapshot().text)["os"]["family"] == "linux"
    watch.start()
    assert watch.wait(10) and json.loads(watch.snapshot().text)["software"] is not None
    monkeypatch.setattr(inventory, "users", lambda: ["somebody-new"])
    eventually(lambda: len(changes) == 2)
    assert json.loads(watch.snapshot().text)["users"] == ["somebody-new"]
    watch.stop()
