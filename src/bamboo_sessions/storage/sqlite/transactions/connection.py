"""Connections to a database file: their settings, how they wait for locks, and how they are closed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

import apsw

from bamboo_sessions.storage.sqlite.transactions import tuning

Durability = Literal["full", "relaxed"]
Row = tuple[Any, ...]

DATA_VERSION: Final = "PRAGMA data_version"
"""A number of 32 bits that changes once another connection has committed anything; means nothing to other ones."""


def library_version() -> str:
    """Which SQLite this is: apsw brings its own."""
    return apsw.sqlite_lib_version()


def connect(path: str, *, busy_timeout_ms: int) -> apsw.Connection:
    """A connection without further settings: what the schema is made with. Makes no file."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=tuning.STATEMENTS_MAX)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else `LIMIT ?` compiles its statement anew at each call
    wait_for_locks(connection, busy_timeout_ms)
    return connection


def close(connection: apsw.Connection, *, checkpoint: bool = True) -> None:
    """Close, whatever happens: what is committed is in the log already, which the next opening reads (G1).

    Args:
        connection: May be in any state.
        checkpoint: Whether the last connection copies the log into the file, as SQLite does. Not if the paths name
            other files by now, which that would damage.
    """
    with suppress(apsw.Error):
        if not checkpoint:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
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
