"""The write-ahead log as a file: kept short, so that it is recycled, and made longer ahead of the commits that need it.

A commit that makes a file longer has to sync its size and its new blocks as well, which takes as long again as the
commit itself. So the log is filled up with zeros, a piece at a time: SQLite takes them for its end, as it does with
what is left of older commits when it begins at the start of a log again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import apsw

from bamboo_sessions.domain.limits import WAL_PAGES_CHECKPOINT, WAL_PAGES_MAX
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOG_PAGES_AHEAD,
    LOG_PAGES_GROWN_FROM,
    LOG_PAGES_GROWN_MAX,
)

_FRAME_HEADER_BYTES: Final = 24
_HEADER_BYTES: Final = 32


class Log:
    """The log of one database. Its writer's threads use it, one at a time.

    Args:
        path: The database.
        on_long: Called when a checkpoint is due.
    """

    def __init__(self, path: str, on_long: Callable[[], None]) -> None:
        self._path = path + "-wal"
        self._on_long = on_long
        self._pages = 0
        self._pages_due = WAL_PAGES_CHECKPOINT
        self._pages_there = LOG_PAGES_GROWN_FROM + LOG_PAGES_AHEAD  # who knows; a few commits aren't worth asking
        self.finish_checkpoint = False
        """Set by whoever has copied the log into the file, but for what came meanwhile."""

    def committed(self, pages: int) -> None:
        """Take note that the log has that many pages now."""
        if pages < self._pages:  # it has started over
            self._pages_due = WAL_PAGES_CHECKPOINT
            self.finish_checkpoint = False
        self._pages = pages

    @property
    def is_due(self) -> bool:
        """Whether `tend` has something to do."""
        return self.finish_checkpoint or self._pages >= self._pages_due or self._is_short

    @property
    def _is_short(self) -> bool:
        """Whether commits will soon make the file longer. A log that should be checkpointed isn't made longer still."""
        return self._pages_there < self._pages + LOG_PAGES_AHEAD and self._pages < WAL_PAGES_CHECKPOINT

    def tend(self, connection: apsw.Connection) -> None:
        """Do what is due. Not while anybody waits for an answer.

        The bulk of a checkpoint is another thread's work. What came meanwhile is done here, for only a log that is
        checkpointed to its end can start over. A reader may hold the log: then it is tried again when it has grown.
        """
        if self._is_short:
            self._grow(connection)
        elif self.finish_checkpoint:
            self.finish_checkpoint = False
            self._checkpoint(connection, apsw.SQLITE_CHECKPOINT_PASSIVE)
        elif self._pages >= self._pages_due:
            self._pages_due = self._pages + WAL_PAGES_CHECKPOINT // 2
            if self._pages > WAL_PAGES_MAX:
                self._checkpoint(connection, apsw.SQLITE_CHECKPOINT_RESTART)
            else:
                self._on_long()

    def _checkpoint(self, connection: apsw.Connection, mode: int) -> None:
        with suppress(apsw.BusyError):  # somebody is still reading from the log
            connection.wal_checkpoint(mode=mode)

    def _grow(self, connection: apsw.Connection) -> None:
        """Make the file longer than the log, unless it is so already."""
        frame_bytes = _FRAME_HEADER_BYTES + value_of(connection, "PRAGMA page_size")
        try:
            connection.execute("BEGIN IMMEDIATE")  # nobody else writes to the log meanwhile
        except apsw.BusyError:
            self._pages_there += LOG_PAGES_AHEAD  # somebody does: later
            return
        try:
            self._fill_up(frame_bytes)
        except apsw.Error:  # no space, or a broken disk: commits do without, and say what they find
            self._pages_there = sys.maxsize
        finally:
            connection.execute("ROLLBACK")

    def _fill_up(self, frame_bytes: int) -> None:
        file = apsw.VFSFile("", self._path, [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            size = file.xFileSize()
            self._pages_there = (size - _HEADER_BYTES) // frame_bytes
            if self._is_short:
                pages = min(max(self._pages, LOG_PAGES_AHEAD), LOG_PAGES_GROWN_MAX)
                for page in range(pages):  # SQLite writes short pieces only
                    file.xWrite(bytes(frame_bytes), size + page * frame_bytes)
                file.xSync(apsw.SQLITE_SYNC_NORMAL)
                self._pages_there += pages
        finally:
            file.xClose()
