"""The file of the search index: opening it, making it, throwing it away, and how far it has come.

It is derived data in a file of its own (`agents.db-search`): indexing never takes the main file's write lock, and an
index that is damaged, of another store, of another release, or ahead of its store (which was restored from a backup)
is made anew instead of mended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from bamboo_sessions.domain.errors import StorageUnavailableError
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.connection import Args, Row, connect, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.errors import translating

FORMAT: Final = 1
"""Of schema, folding and words; another number means that the index is made anew."""
_TABLES: Final = ("words", "parts", "head_words", "head_parts", "namespaces", "meta")
_PAUSE_SECONDS: Final = 0.01
_SETTINGS: Final = (
    "synchronous = NORMAL",
    f"cache_size = -{tuning.SEARCH_CACHE_KIB}",
    f"mmap_size = {tuning.MMAP_BYTES}",
    f"journal_size_limit = {tuning.SEARCH_LOG_BYTES_MAX}",
    "temp_store = MEMORY",
    "trusted_schema = 0",
)


class Mark(NamedTuple):
    """How far a file has come: last message row, last session key, last change and its commit id, and the epoch."""

    epoch: str
    row: int
    key: int
    position: int
    commit_id: str


class Main(NamedTuple):
    """The database that is indexed, read only. Its errors are translated here: they don't mean a damaged index."""

    connection: apsw.Connection
    path: str

    def rows(self, sql: str, args: Args = ()) -> list[Row]:
        """All rows."""
        with translating(self.path):
            return rows_of(self.connection, sql, args)

    def each(self, sql: str, args: Args = ()) -> Iterator[Row]:
        """The rows, one at a time; close it if not all are taken."""
        with translating(self.path):
            yield from self.connection.execute(sql, args)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One read transaction."""
        with translating(self.path):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")


def index_path(path: str) -> Path:
    """Where the index of the database at `path` is."""
    return Path(path + "-search")


def empty(path: Path, *, busy_timeout_ms: int) -> None:
    """Make a file that can't be used an empty database. Processes that have it open see that; else it is deleted."""
    try:
        connection = connect(str(path), busy_timeout_ms=busy_timeout_ms)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 1)
            connection.execute("VACUUM").fetchall()
        finally:
            connection.close()
    except apsw.Error:
        discard(path)


def discard(path: Path) -> None:
    """Delete the file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of the file and of its write-ahead log; 0 if there is none."""
    places = (path, path.with_name(path.name + "-wal"))
    return sum(place.stat().st_size for place in places if place.exists())


def open_index(path: str, *, busy_timeout_ms: int) -> apsw.Connection:
    """The connection to the index, whose tables are made if there are none or they are of another format.

    Args:
        path: A file that exists; an empty text: a temporary one, which goes with the connection.
        busy_timeout_ms: How long to wait for other processes, in milliseconds.

    Raises:
        apsw.ReadOnlyError: This user may not write the file.
    """
    deadline = time.monotonic() + busy_timeout_ms / 1000
    pause = threading.Event()
    while True:
        connection = connect(path, busy_timeout_ms=busy_timeout_ms)
        try:
            return _prepared(connection)
        except (apsw.BusyError, apsw.LockedError) as exc:  # the change to write-ahead logging never waits by itself
            connection.close()
            if time.monotonic() >= deadline:
                raise StorageUnavailableError(f"{path} is locked by another process.", hint="Try again.") from exc
            pause.wait(_PAUSE_SECONDS)
        except BaseException:
            connection.close()
            raise


def _prepared(connection: apsw.Connection) -> apsw.Connection:
    if connection.readonly("main"):
        raise apsw.ReadOnlyError("this user may only read it")
    if value_of(connection, "PRAGMA journal_mode") != "wal":
        value_of(connection, "PRAGMA journal_mode = wal")
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}").fetchall()
    if not _is_of_this_format(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not _is_of_this_format(connection):  # somebody may have been faster
                remake(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return connection


def _is_of_this_format(connection: apsw.Connection) -> bool:
    application, version = value_of(connection, "PRAGMA application_id"), value_of(connection, "PRAGMA user_version")
    return (application, version) == (tuning.SEARCH_APPLICATION_ID, FORMAT)


def remake(connection: apsw.Connection) -> None:
    """Empty the index, whatever is in it; inside a transaction."""
    for table in _TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}").fetchall()
    from importlib.resources import files  # here: it takes long to import, and most processes never make an index

    sql = files(__package__).joinpath("search.sql").read_text(encoding="utf-8")
    connection.execute(sql).fetchall()
    connection.execute(f"PRAGMA application_id = {tuning.SEARCH_APPLICATION_ID}").fetchall()
    connection.execute(f"PRAGMA user_version = {FORMAT}").fetchall()


# --- how far it has come


def read_mark(index: apsw.Connection) -> Mark | None:
    """How far the index has come; `None` if it is empty."""
    found: dict[str, Any] = dict(rows_of(index, "SELECT name, value FROM meta"))
    return Mark(**found) if found else None


def write_mark(index: apsw.Connection, mark: Mark) -> None:
    """Say how far the index has come, in the transaction that brings it there."""
    index.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", mark._asdict().items())


def end_of(main: Main) -> Mark:
    """How far the main file is."""
    numbers: dict[str, int] = dict(main.rows("SELECT name, seq FROM sqlite_sequence"))
    position = numbers.get("changes", 0)
    return Mark(
        epoch=main.rows("SELECT value FROM meta WHERE name = 'epoch'")[0][0],
        row=numbers.get("messages", 0),
        key=numbers.get("sessions", 0),
        position=position,
        commit_id=_commit_at(main, position) or "",
    )


def belongs(mark: Mark, main: Main, end: Mark) -> bool:
    """Whether an index with `mark` was made from this very file, and nothing is missing after it."""
    if mark == end:
        return True
    if mark.epoch != end.epoch or any(one > other for one, other in zip(mark[1:4], end[1:4], strict=True)):
        return False
    found = _commit_at(main, mark.position)
    if found is None:
        floor = main.rows("SELECT value FROM meta WHERE name = 'pruned_up_to'")
        return mark.position >= (floor[0][0] if floor else 0)
    return found == mark.commit_id


def _commit_at(main: Main, position: int) -> str | None:
    found = main.rows("SELECT commit_id FROM changes WHERE position = ?", (position,))
    return found[0][0] if found else None
