"""The file of a SQLite store: where it may lie, and that only one process holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from app.errors import StoreMismatch

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "9p", "davfs"}
)
"""Where SQLite's locks and its write-ahead log cannot be trusted (sqlite.org/wal.html, read 2026-11-20)."""


def file_system_of(path: Path, mounts: Iterable[str]) -> str | None:
    """The type of the file system that holds `path`, from lines in the form of /proc/mounts; None if unknown."""
    best: tuple[int, str] | None = None
    for line in mounts:
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(fields[1].replace("\\040", " "))
        # A later line for the same mount point hides the earlier one.
        if path.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), fields[2])
    return best[1] if best else None


def refuse_network_file_system(path: Path) -> None:
    """Raise when the folder of `path` is mounted over a network.

    Raises:
        StoreMismatch: It is.
    """
    table = Path("/proc/mounts")
    if not table.exists():
        return
    kind = file_system_of(path.resolve(), table.read_text(errors="replace").splitlines())
    if kind is not None and (kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.sshfs")):
        raise StoreMismatch(f"the store's folder is on a network file system ({kind}): SQLite needs a local disk")


RESERVE_BYTES = 32 * 1024 * 1024
"""What new events leave free on the disk, so that the deliveries under way can still be settled."""


def is_disk_low(folder: Path) -> bool:
    """Whether the file system of `folder` has less than the reserve left, or, on a small one, less than a tenth."""
    status = os.statvfs(folder)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    return free < min(RESERVE_BYTES, total // 10)


def is_same_file(path: Path, inode: int) -> bool:
    """Whether `path` still leads to the file with this inode, and not to another one or nowhere."""
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


class FileLock:
    """An exclusive lock beside the store's file, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise StoreMismatch(
                f"another process uses the store {path.with_suffix('')}: SQLite serves one process only"
            ) from error

    def release(self) -> None:
        """Give the lock up; calling it again does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
