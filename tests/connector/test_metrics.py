"""What a sample says."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from binnacle_connector import disks, metrics
from binnacle_connector.metrics import Rates, Sampler, Traffic, counted, is_loopback
from binnacle_connector.sampler import Schedule


def check_shape(sample: dict) -> None:
    taken = datetime.fromisoformat(sample["timestamp"].replace("Z", "+00:00"))
    assert sample["timestamp"].endswith("Z") and taken.tzinfo == UTC
    for name in ("cpu_percent", "memory_percent", "swap_percent"):
        assert 0 <= sample[name] <= 100
    assert 0 < sample["memory_used"] <= sample["memory_total"]
    assert len(sample["load"]) == 3 and sample["uptime_seconds"] > 0 and sample["process_count"] > 0
    assert any(disk["path"] == "/" for disk in sample["disk_usage"])
    for disk in sample["disk_usage"]:
        assert set(disk) == {"path", "total", "used", "free", "percent"} and disk["total"] > 0 and 0 <= disk["percent"] <= 100
    for network in sample["network"]:
        assert set(network) == {"interface", "bytes_sent", "bytes_recv"} and network["interface"] != "lo"
    assert "seq" not in sample
    json.dumps(sample, allow_nan=False)


def test_a_sample_has_the_shape_of_the_protocol() -> None:
    sampler = Sampler()
    sample = sampler.sample()
    check_shape(sample)
    assert set(sample["network_rates"]) == {"sent_per_s", "recv_per_s"}


def test_once_prints_one_sample_and_needs_no_server(programs) -> None:
    done = programs.run("--once")
    assert done.returncode == 0 and done.stderr == ""
    check_shape(json.loads(done.stdout))


def test_rates_are_bytes_a_second_over_all_interfaces() -> None:
    rates = Rates()
    assert rates.update({"a": Traffic(100, 1000), "b": Traffic(0, 0)}, 10.0) is None
    assert rates.update({"a": Traffic(300, 1000), "b": Traffic(50, 500)}, 15.0) == {
        "sent_per_s": 50.0,
        "recv_per_s": 100.0,
    }


def test_a_reset_counter_counts_from_zero_and_a_new_interface_adds_nothing_yet() -> None:
    rates = Rates()
    rates.update({"a": Traffic(10**9, 10**9)}, 0.0)
    assert rates.update({"a": Traffic(20, 0), "vpn": Traffic(10**12, 10**12)}, 2.0) == {
        "sent_per_s": 10.0,
        "recv_per_s": 0.0,
    }
    assert rates.update({"vpn": Traffic(10**12 + 4, 10**12)}, 4.0) == {"sent_per_s": 2.0, "recv_per_s": 0.0}
    assert rates.update({"a": Traffic(10**6, 0)}, 6.0) == {"sent_per_s": 0.0, "recv_per_s": 0.0}


def test_a_clock_that_stands_still_gives_no_rate() -> None:
    rates = Rates()
    rates.update({"a": Traffic(1, 1)}, 5.0)
    assert rates.update({"a": Traffic(9, 9)}, 5.0) is None


@pytest.mark.parametrize(("name", "loopback"), [("lo", True), ("lo0", True), ("eth0", False), ("longhorn", False)])
def test_loopback_is_told_by_its_name(name: str, loopback: bool) -> None:
    assert is_loopback(name) is loopback


class Part(NamedTuple):
    device: str
    mountpoint: str
    fstype: str
    opts: str = "rw"


def test_only_real_local_file_systems_are_disks_and_each_device_counts_once() -> None:
    mounts = [
        Part("proc", "/proc", "proc"),
        Part("tmpfs", "/run", "tmpfs"),
        Part("/dev/sda1", "/var/lib/docker/bind", "ext4"),
        Part("/dev/sda1", "/", "ext4"),
        Part("/dev/sda2", "/home", "xfs"),
        Part("/dev/loop3", "/snap/core/1", "squashfs"),
        Part("/dev/loop4", "/snap/other/2", "ext4"),
        Part("overlay", "/var/lib/docker/overlay2/x/merged", "overlay"),
        Part("nas:/export", "/mnt/nas", "nfs4"),
        Part("tank/data", "/tank/data", "zfs"),
        Part("tank/logs", "/tank/logs", "zfs"),
    ]
    assert disks.choose(mounts) == ["/", "/home", "/tank/data", "/tank/logs"]


def test_a_containers_overlay_root_is_a_disk() -> None:
    assert disks.choose([Part("overlay", "/", "overlay"), Part("/dev/vda", "/etc/hosts", "ext4")]) == [
        "/",
        "/etc/hosts",
    ]
    assert all(disk["path"] != "/etc/hosts" for disk in disks.usage())


def test_the_beat_does_not_drift_and_skips_what_it_missed() -> None:
    beat = Schedule(100.0, 10.0)
    assert [beat.advance(now) for now in (100.0, 113.7, 120.2)] == [110.0, 120.0, 130.0]
    assert beat.advance(1234.5) == 1240.0
    beat.change(3.0, 1250.0)
    assert beat.advance(1253.1) == 1256.0


def test_timestamps_are_those_of_the_moment() -> None:
    before = time.time()
    taken = datetime.fromisoformat(Sampler().sample()["timestamp"].replace("Z", "+00:00")).timestamp()
    assert before - 0.001 <= taken <= time.time()


CARDS = {"eth0": "", "eth1": "bond0", "eth2": "bond0", "wlan0": "", "enp3": "br0", "vf0": "eth0"}  # each with its master
OTHERS = ("bond0", "br0", "docker0", "br-1a2b", "veth1a2b", "virbr0", "eth0.10", "wg0", "tun0", "dummy0")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /sys as Linux has it")
def test_what_goes_over_a_card_counts_once(tmp_path) -> None:
    for name in (*CARDS, *OTHERS):
        (tmp_path / name).mkdir()
    for name, master in CARDS.items():
        (tmp_path / name / "device").mkdir()
        if master:
            (tmp_path / name / "master").symlink_to(tmp_path / master)
    assert counted([*CARDS, *OTHERS], tmp_path) == {"eth0", "eth1", "eth2", "wlan0", "enp3"}
    assert counted(["eth0", "docker0"], tmp_path / "nothing") == {"eth0", "docker0"}, "a container has no card"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /sys as Linux has it")
def test_a_bridge_is_listed_and_not_counted(tmp_path, monkeypatch) -> None:
    for name in ("eth0", "docker0"):
        (tmp_path / name).mkdir()
    (tmp_path / "eth0" / "device").mkdir()
    monkeypatch.setattr(metrics.counted, "__defaults__", (tmp_path,))
    shown = {"docker0": Traffic(0, 0), "eth0": Traffic(0, 0)}
    monkeypatch.setattr(metrics, "traffic", lambda: dict(shown))
    sampler = Sampler()
    shown |= {"docker0": Traffic(10**9, 10**9), "eth0": Traffic(1000, 500)}
    sample = sampler.sample()
    assert [one["interface"] for one in sample["network"]] == ["docker0", "eth0"]
    assert 0 < sample["network_rates"]["recv_per_s"] < sample["network_rates"]["sent_per_s"]
    assert sample["network_rates"]["sent_per_s"] == pytest.approx(2 * sample["network_rates"]["recv_per_s"], rel=0.01)
