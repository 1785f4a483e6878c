"""Opening a database file: checks that the place can hold one, and the settings of a connection.

A network file system is refused: SQLite's locks and the shared memory of its write-ahead log don't work there, and
commits would be lost (G1).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import apsw

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.sqlite.transactions import tuning

Durability = Literal["full", "relaxed"]
Row = tuple[Any, ...]

DATA_VERSION: Final = "PRAGMA data_version"
"""A number of 32 bits that changes once another connection has committed anything; means nothing to other ones."""

_MOUNTS: Final = Path("/proc/mounts")
_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "ncpfs", "lustre", "beegfs"}
)
_NETWORK_FUSE: Final = ("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "fuse.gcsfuse", "fuse.davfs")


def check_place(path: Path, *, create_parents: bool) -> None:
    """Raise `StorageError` if `path` can't be a database file of ours; make its folder if asked to."""
    if path.is_dir():
        raise StorageError(f"{path} is a folder.", hint="Name a file, for example one in this folder.")
    folder = path.parent
    if create_parents:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"The folder {folder} can't be made: {exc}", hint="Choose another path.") from exc
    if not folder.is_dir():
        raise StorageError(f"There is no folder {folder}.", hint="Make it, or choose another path.")
    for place in (folder, path):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise StorageError(
                f"{place} can't be read and written by this user.",
                hint="Change its permissions: SQLite writes the file, and two more beside it.",
            )
    if kind := _network_file_system(folder):
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite loses data.",
            hint="Keep the file on a local disk, or use PostgreSQL.",
        )


def _network_file_system(folder: Path) -> str | None:
    """The type of the network file system that `folder` is on; `None` for a local one, or if nobody can tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    kinds = {fields[1].replace("\\040", " "): fields[2] for line in mounts if len(fields := line.split()) > 2}  # noqa: PLR2004 - device, place, type
    where = folder.resolve()
    kind = next((kinds[str(place)] for place in (where, *where.parents) if str(place) in kinds), "")
    return kind if kind in _NETWORK or kind.startswith(_NETWORK_FUSE) else None


def connect(path: str, *, busy_timeout_ms: int) -> apsw.Connection:
    """A connection without further settings: what the schema is made with."""
    connection = apsw.Connection(path, statementcachesize=tuning.STATEMENTS_MAX)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else `LIMIT ?` compiles its statement anew at each call
    wait_for_locks(connection, busy_timeout_ms)
    return connection


def close(connection: apsw.Connection) -> None:
    """Close, whatever happens: what is committed is in the log already, which the next opening reads (G1)."""
    with suppress(apsw.Error):
        connection.close(True)  # also with statements open


class Patience:
    """A connection's busy handler: asks again every half millisecond.

    SQLite's own waiting takes longer and longer naps, up to a tenth of a second: whoever commits without a pause would
    starve all others (L45).

    Args:
        seconds: For how long; 0: never wait. May be set anew.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = 0.0

    def __call__(self, attempt: int) -> bool:
        """Whether to ask again, after a nap."""
        now = time.monotonic()
        if attempt == 0:
            self._since = now
        if now - self._since >= self.seconds:
            return False
        time.sleep(tuning.LOCK_POLL_SECONDS)
        return True


def wait_for_locks(connection: apsw.Connection, timeout_ms: int) -> None:
    """Ask again for `timeout_ms` at most (0: never wait)."""
    connection.set_busy_handler(Patience(timeout_ms / 1000))


def connect_writer(path: str, durability: Durability, *, busy_timeout_ms: int) -> apsw.Connection:
    """The writer's connection. It leaves checkpoints of the write-ahead log to others."""
    connection = connect(path, busy_timeout_ms=busy_timeout_ms)
    with _closed_on_failure(connection):
        connection.wal_autocheckpoint(0)
        _set(connection, durability, cache_kib=tuning.PAGE_CACHE_KIB, mmap_bytes=0)
    return connection


def connect_reader(
    path: str, *, busy_timeout_ms: int, cache_kib: int, mmap_bytes: int = tuning.MMAP_BYTES
) -> apsw.Connection:
    """A connection that can't change anything."""
    connection = connect(path, busy_timeout_ms=busy_timeout_ms)
    with _closed_on_failure(connection):
        _set(connection, "full", cache_kib=cache_kib, mmap_bytes=mmap_bytes)
        connection.execute("PRAGMA query_only = 1").fetchall()
    return connection


@contextmanager
def _closed_on_failure(connection: apsw.Connection) -> Iterator[None]:
    """Close a connection that can't be set up at once: the error's traceback would keep it, and its locks, alive."""
    try:
        yield
    except BaseException:
        close(connection)
        raise


def _set(connection: apsw.Connection, durability: Durability, *, cache_kib: int, mmap_bytes: int) -> None:
    synchronous = "FULL" if durability == "full" else "NORMAL"
    for pragma in (
        f"synchronous = {synchronous}",
        f"fullfsync = {int(durability == 'full')}",  # macOS: a plain fsync there leaves data in the drive's cache
        f"checkpoint_fullfsync = {int(durability == 'full')}",
        f"cache_size = -{cache_kib}",
        f"mmap_size = {mmap_bytes}",
        "temp_store = MEMORY",
        "trusted_schema = 0",
        "cell_size_check = 1",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


Args = tuple[Any, ...] | Mapping[str, Any]


def rows_of(connection: apsw.Connection, sql: str, args: Args = ()) -> list[Row]:
    """All rows. Reads to the end, so that no statement stays open and holds an old snapshot."""
    return connection.execute(sql, args).fetchall()


def row_of(connection: apsw.Connection, sql: str, args: Args = ()) -> Row | None:
    """The only row, or `None`."""
    rows = connection.execute(sql, args).fetchall()
    return rows[0] if rows else None


def value_of(connection: apsw.Connection, sql: str, args: Args = ()) -> Any:  # noqa: ANN401 - any SQL value
    """The first column of the only row, or `None`."""
    rows = connection.execute(sql, args).fetchall()
    return rows[0][0] if rows else None


@contextmanager
def reading(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """One read transaction: all its statements see the same commit."""
    if connection.in_transaction:  # inside the writer's transaction already
        yield connection
        return
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # nothing was written; unlike COMMIT it works on a damaged file, too
