"""Whether a path can hold a database file.

A file system that several machines share is refused, also if the other one is a virtual machine's host: SQLite's locks
and the shared memory of its write-ahead log don't work there, and commits would be lost (G1).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from bamboo_sessions.domain.errors import StorageError

_MOUNTS: Final = Path("/proc/mounts")

_NETWORK: Final = (
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ncpfs", "ncp", "coda", "9p", "ceph", "glusterfs",
    "lustre", "gpfs", "beegfs", "orangefs", "pvfs2", "panfs",
)  # fmt: skip
_OF_A_HOST: Final = ("fakeowner", "grpcfuse", "virtiofs", "osxfs", "drvfs", "vboxsf", "vmhgfs", "prl_fs")
"""What Docker Desktop, WSL, VirtualBox, VMware and Parallels mount a host's folders with."""
_FUSE: Final = (
    "sshfs", "s3fs", "rclone", "glusterfs", "ceph", "gcsfuse", "davfs", "juicefs", "goofys", "blobfuse", "seaweedfs",
    "moosefs", "mfs", "lizardfs", "curlftpfs", "smb", "grpcfuse", "osxfs", "vmhgfs", "prl_fs",
)  # fmt: skip
"""How names of such file systems in user space begin, behind `fuse.`."""


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
    if kind := _shared_file_system(real):
        raise StorageError(
            f"{real} is on a file system that machines share ({kind}), where SQLite loses data.",
            hint="Keep the file on a local disk (in a container, on a volume), or use PostgreSQL.",
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(f"The folder {folder} can't be made: {exc}", hint="Choose another path.") from exc


def _shared_file_system(real: Path) -> str | None:
    """The type of the shared file system that a file is on; `None` for a local one, or if nobody can tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds = {fields[1].replace("\\040", " "): fields[2] for line in mounts if len(fields := line.split()) > 2}  # noqa: PLR2004 - device, place, type
    kind = next((kinds[str(place)] for place in (real, *real.parents) if str(place) in kinds), "")
    in_user_space = kind.startswith("fuse.") and kind.removeprefix("fuse.").startswith(_FUSE)
    return kind if in_user_space or kind in _NETWORK or kind in _OF_A_HOST else None
