"""The file of the search index: opening it, making it, throwing it away, and how far it has come.

It is derived data in a file of its own (`agents.db-search`): indexing never takes the main file's write lock, and an
index that is damaged, of another store, of another release, or ahead of its store (which was restored from a backup)
is made anew instead of mended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from bamboo_sessions.domain.errors import StorageUnavailableError
from bamboo_sessions.storage.sqlite.history.lines import Line, text_of
from bamboo_sessions.storage.sqlite.history.log import Log, log_of
from bamboo_sessions.storage.sqlite.sessions.rows import row_at
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.connection import Args, Row, connect, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.errors import translating

FORMAT: Final = 2
"""Of schema, folding and words; another number means that the index is made anew."""
_TABLES: Final = ("words", "parts", "head_words", "head_parts", "namespaces", "meta")
_PAUSE_SECONDS: Final = 0.01
_END: Final = """
    SELECT value, (SELECT max(key) FROM sessions), (SELECT max(position) FROM commits) FROM meta WHERE name = 'epoch'"""
_SETTINGS: Final = (
    "synchronous = NORMAL",
    f"cache_size = -{tuning.SEARCH_CACHE_KIB}",
    f"mmap_size = {tuning.MMAP_BYTES}",
    f"journal_size_limit = {tuning.SEARCH_LOG_BYTES_MAX}",
    "temp_store = MEMORY",
    "trusted_schema = 0",
)


class Mark(NamedTuple):
    """How far a file has come: last session key, last commit and its id, and the epoch."""

    epoch: str
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

    def each(self, sql: str, args: Args = ()) -> Generator[Row]:
        """The rows, one at a time; close it if not all are taken."""
        with translating(self.path):
            yield from self.connection.execute(sql, args)

    def log(self, session: int) -> Log:
        """The history of a session."""
        with translating(self.path):
            return log_of(self.connection, row_at(self.connection, session)[1])

    def lines(self, log: Log) -> Iterator[Line]:
        """Its living lines."""
        with translating(self.path):
            yield from log.lines(log.order.living())

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
    epoch, key, position = main.rows(_END)[0]
    return Mark(epoch, key or 0, position or 0, _commit_at(main, position or 0) or "")


def belongs(mark: Mark, main: Main, end: Mark) -> bool:
    """Whether an index with `mark` was made from this very file, and nothing is missing after it."""
    if mark == end:
        return True
    if mark.epoch != end.epoch or any(one > other for one, other in zip(mark[1:3], end[1:3], strict=True)):
        return False
    found = _commit_at(main, mark.position)
    if found is None:
        floor = main.rows("SELECT value FROM meta WHERE name = 'pruned_up_to'")
        return mark.position >= (floor[0][0] if floor else 0)
    return found == mark.commit_id


def _commit_at(main: Main, position: int) -> str | None:
    found = main.rows("SELECT commit_id FROM commits WHERE position = ?", (position,))
    return text_of(found[0][0]) if found else None
