"""Which file systems count as this computer's disks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Protocol

MAX_DISKS = 100

_PSEUDO_NAMES = """
autofs bpf binfmt_misc cgroup cgroup2 configfs debugfs devfs devpts devtmpfs efivarfs fdescfs fusectl hugetlbfs mqueue
nsfs proc procfs pstore ramfs rpc_pipefs securityfs squashfs sysfs tmpfs tracefs iso9660 udf erofs cramfs nullfs
overlay aufs fuse.lxcfs fuse.snapfuse fuse.gvfsd-fuse fuse.portal
"""
_REMOTE_NAMES = """
nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs afs ceph glusterfs 9p virtiofs afpfs webdav davfs ncpfs lustre gpfs fuse
fuse.sshfs fuse.glusterfs fuse.ceph fuse.rclone fuse.s3fs fuse.davfs2 fuse.cephfs
"""
_LEFT_OUT = frozenset(_PSEUDO_NAMES.split()) | frozenset(_REMOTE_NAMES.split())
_HIDDEN_MACOS = ("/System/Volumes/", "/private/var/vm", "/Library/Developer/CoreSimulator/")


class Partition(Protocol):
    """The part of psutil's partition that is read here."""

    @property
    def device(self) -> str: ...
    @property
    def mountpoint(self) -> str: ...
    @property
    def fstype(self) -> str: ...
    @property
    def opts(self) -> str: ...


def choose(partitions: Iterable[Partition]) -> list[str]:
    """The mount points of real local file systems, one for each device, at most 100, sorted.

    Left out: pseudo file systems, images (snap), empty drives, and remote ones, whose server may hang whoever asks. Of
    several mounts of one device (bind mounts, subvolumes) the shortest path stays. The root stays whatever it is.
    """
    by_device: dict[str, str] = {}
    for part in sorted(partitions, key=lambda p: (len(p.mountpoint), p.mountpoint)):
        if _counts(part):
            root = part.mountpoint == "/"
            by_device.setdefault("/" if root and not part.device.startswith("/") else part.device, part.mountpoint)
    return sorted(by_device.values())[:MAX_DISKS]


def _counts(part: Partition) -> bool:
    kind, path = part.fstype.lower(), part.mountpoint
    if path == "/":
        return kind != "rootfs"
    if not kind or kind in _LEFT_OUT:
        return False
    if part.device.startswith("/dev/loop") and path.startswith(("/snap/", "/var/lib/snapd/", "/run/")):
        return False
    if sys.platform == "win32":
        return "cdrom" not in part.opts and "remote" not in part.opts
    return not (sys.platform == "darwin" and path.startswith(_HIDDEN_MACOS))


def usage() -> list[dict[str, Any]]:
    """Each disk's path, total, used and free bytes and percent, as `df` counts it (free is what a user may fill)."""
    import psutil

    found: list[dict[str, Any]] = []
    for path in choose(psutil.disk_partitions(all=sys.platform.startswith("linux"))):
        try:
            if not os.path.isdir(path):
                continue  # a single file bound over another, as containers do
            disk = psutil.disk_usage(path)
        except OSError:
            continue
        if disk.total > 0:
            sizes = {"total": disk.total, "used": disk.used, "free": disk.free}
            found.append({"path": path[:1000], **sizes, "percent": min(max(disk.percent, 0.0), 100.0)})
    return found
