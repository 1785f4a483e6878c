"""Whose turn it is to write, among the processes on one file: an advisory lock on a small file beside the database.

SQLite lets waiting writers poll, and whoever happens to ask at the right moment is next: under load some wait for a
hundred commits of the others (L45). Whoever has the turn commits for all who wait (see `slots`), so it matters little
who is next.

Only speed and fairness rest on it: a writer that can't have its turn (another system, a read-only folder, a process
that was stopped while it had it) goes on and asks SQLite, which decides.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.sqlite.transactions.open_file import make_file
from bamboo_sessions.storage.sqlite.transactions.tuning import TURN_POLL_SECONDS, TURN_POLLS

try:
    import fcntl
except ImportError:  # Windows: SQLite alone decides
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = "-turn"
"""What the name of the file beside the database ends with. It may be deleted at any time."""


class Turn:
    """This process's turn. Used by one thread at a time.

    Args:
        path: The database.
    """

    def __init__(self, path: str) -> None:
        self._database = path
        self._path = path + SUFFIX
        self._file: int | None = None
        self._may_be_mine = False
        self._is_stuck = False

    def take_at_once(self) -> bool:
        """Whether one may write now: it is this process's turn, or turns don't matter. Never waits."""
        self._may_be_mine = True  # first: a signal's handler may raise in between
        try:
            file = self.file()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._may_be_mine = False
            return self._is_stuck
        except OSError:
            self._may_be_mine = False
            return True
        self._is_stuck = False
        return True

    def wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait until it is this process's turn, or `is_over`, or for `seconds`: then turns don't matter for a while.

        The longer it has waited, the less often it looks.
        """
        start = time.monotonic()
        while (waited := time.monotonic() - start) < seconds:
            time.sleep(min(max(TURN_POLL_SECONDS, waited / TURN_POLLS), seconds - waited))
            if is_over() or self.take_at_once():
                return
        self._is_stuck = True

    def give(self) -> None:
        """Let the next one write."""
        if self._may_be_mine:
            fcntl.flock(self.file(), fcntl.LOCK_UN)
            self._may_be_mine = False

    def close(self) -> None:
        """Give the turn away, and leave the file empty: it may hold what was to be written (`slots`)."""
        self.give()  # closing isn't enough: a forked child may have the file open, too
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                os.ftruncate(file, 0)
            os.close(file)

    def file(self) -> int:
        """The descriptor; raises `OSError` if this user can't have one."""
        if fcntl is None:
            raise OSError(errno.ENOSYS, "There are no locks of files here.")
        if self._file is None:
            with suppress(StorageError):  # there is a reason, which opening says, too
                make_file(self._path, beside=self._database)
            self._file = os.open(self._path, os.O_RDWR)
        return self._file
