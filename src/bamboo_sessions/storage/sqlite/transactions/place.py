"""Whether a path can hold a database file.

A file system that several machines share is refused: SQLite's locks and the shared memory of its write-ahead log don't
reach from one machine to another, and commits would be lost (G1). The folders that a virtual machine gets from its host
are allowed, with a warning: they are safe as long as only one side has the file open, which can't be seen from here.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from bamboo_sessions.domain.errors import StorageError

_log: Final = logging.getLogger("bamboo_sessions")

_MOUNTS: Final = Path("/proc/mounts")

_BETWEEN_MACHINES: Final = (
    "nfs", "cifs", "smb", "afs", "ncp", "coda", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "orangefs", "pvfs2",
    "panfs", "sshfs", "s3fs", "rclone", "gcsfuse", "davfs", "juicefs", "goofys", "blobfuse", "seaweedfs", "moosefs",
    "mfs", "lizardfs", "curlftpfs",
)  # fmt: skip
"""How the types of network file systems begin, behind `fuse.` if they have that."""
_OF_A_HOST: Final = ("9p", "virtiofs", "fakeowner", "grpcfuse", "osxfs", "drvfs", "vboxsf", "vmhgfs", "prl_fs")
"""Likewise for what Docker Desktop, WSL, QEMU, VirtualBox, VMware and Parallels mount a host's folders with."""


def check_place(path: Path, *, create_parents: bool) -> None:
    """Raise `StorageError` if `path` can't be a database file of ours; make its folder if asked to."""
    if path.is_dir():
        raise StorageError(f"{path} is a folder.", hint="Name a file, for example one in this folder.")
    if create_parents:
        _make_folder(path.parent)
    real = Path(os.path.realpath(path))  # SQLite keeps the log there, whatever links lead to it
    if not real.parent.is_dir():
        raise StorageError(f"There is no folder {real.parent}.", hint="Make it, or choose another path.")
    for place in (real.parent, real):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise StorageError(
                f"{place} can't be read and written by this user.",
                hint="Change its permissions: SQLite writes the file, and two more beside it.",
            )
    _check_file_system(real)


def _check_file_system(real: Path) -> None:
    kind = _file_system(real)
    if kind.startswith(_BETWEEN_MACHINES):
        raise StorageError(
            f"{real} is on a file system that machines share ({kind}), where SQLite loses data.",
            hint="Keep the file on a local disk (in a container, on a volume), or use PostgreSQL.",
        )
    if kind.startswith(_OF_A_HOST):
        _log.warning(
            "%s is in a folder that this machine shares with its host (%s). Never open it on both sides at once, or "
            "commits are lost; a volume of the machine's own is safe.",
            real,
            kind,
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"The folder {folder} can't be made: {exc}", hint="Choose another path.") from exc


def _file_system(real: Path) -> str:
    """The type of the file system that a file is on, without `fuse.`; empty if nobody can tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    kinds = {fields[1].replace("\\040", " "): fields[2] for line in mounts if len(fields := line.split()) > 2}  # noqa: PLR2004 - device, place, type
    kind = next((kinds[str(place)] for place in (real, *real.parents) if str(place) in kinds), "")
    return kind.removeprefix("fuse.")
