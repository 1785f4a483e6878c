"""Copies a database file into another one, in one read transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.port import Progress
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.open_file import make_file
from bamboo_sessions.storage.sqlite.transactions.tuning import BACKUP_STEPS


class Copying:
    """A copy under way: how far it is, and whether anybody still waits for it.

    Args:
        on_progress: Is called on the event loop with the bytes that are written, and those that there will be.
    """

    def __init__(self, on_progress: Progress | None) -> None:
        self.is_over = False
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()

    def tell(self, done: int, total: int) -> None:
        """On the thread that copies."""
        if self._on_progress is not None and not self.is_over:
            self._loop.call_soon_threadsafe(self._report, min(done, total), total)

    def _report(self, done: int, total: int) -> None:
        if self._on_progress is not None and not self.is_over:
            self._on_progress(done, total)


def copy(connection: apsw.Connection, target: Path, copying: Copying | None = None) -> None:
    """Write the file as it is now into another, compacted; leaves no half copy. Writers go on meanwhile.

    Raises:
        StorageError: The file exists already, or it can't be made.
    """
    if target.exists():
        raise StorageError(f"{target} exists already.", hint="Try again.")
    make_file(str(target), beside=connection.filename)
    connection.execute("PRAGMA query_only = 0").fetchall()  # a reader's setting; only the copy is written
    try:
        with _watched(connection, target, copying):
            connection.execute("VACUUM INTO ?", (str(target),)).fetchall()
    except BaseException:
        remove_half(target)
        raise
    finally:
        connection.execute("PRAGMA query_only = 1").fetchall()


@contextmanager
def _watched(connection: apsw.Connection, target: Path, copying: Copying | None) -> Iterator[None]:
    """Tell how much is written, and stop if nobody waits any more."""
    if copying is None:
        yield
        return
    total = value_of(connection, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")

    def look() -> bool:
        copying.tell(target.stat().st_size, total)
        return copying.is_over

    connection.set_progress_handler(look, BACKUP_STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)
    copying.tell(total, total)


def remove_half(half: Path) -> None:
    """What is no backup must not look like one, nor fill the disk."""
    for suffix in ("", "-journal", "-wal", "-shm", "-turn", "-search"):
        with suppress(OSError):
            half.with_name(half.name + suffix).unlink(missing_ok=True)
