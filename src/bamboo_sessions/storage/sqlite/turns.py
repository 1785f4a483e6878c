"""Who writes next, among the processes on one file: whoever comes, until somebody has waited too long.

SQLite lets waiting writers poll, and whoever happens to ask at the right moment is next. That is quick, for the one
that has just written has its pages in memory; but under load some wait for a hundred commits of the others (L45).
So a writer that has waited for long locks a small file beside the database, and whoever begins to write while it is
locked stands back. Nothing but fairness rests on it: who can't have the file (another system, a read-only folder), or
has stood back for long (the process ahead may have been stopped), asks SQLite all the same, which decides.
"""

from __future__ import annotations

import os
import time
from typing import Final

from bamboo_sessions.storage.sqlite.tuning import CLAIM_SECONDS, LOCK_POLL_SECONDS

try:
    import fcntl
except ImportError:  # Windows: SQLite alone decides
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = "-turn"
"""What the name of the file beside the database ends with. It is empty, and may be deleted at any time."""


class Turn:
    """This process's part in it. Used by one thread at a time.

    Args:
        path: The database.
        wait_seconds: How long to stand back before asking SQLite all the same.
    """

    def __init__(self, path: str, wait_seconds: float) -> None:
        self._path = path + SUFFIX
        self._wait_seconds = wait_seconds
        self._file: int | None = None
        self._is_mine = False
        self._is_stuck = False

    def is_anothers(self) -> bool:
        """Whether another process asks to go first. Never waits."""
        if self._is_mine or fcntl is None:
            return False
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        fcntl.flock(self._opened(), fcntl.LOCK_UN)
        self._is_stuck = False
        return False

    def stand_back(self) -> None:
        """Wait as long as another process asks to go first; not again for one that doesn't move."""
        end = time.monotonic() + self._wait_seconds
        while self.is_anothers() and not self._is_stuck:
            self._is_stuck = time.monotonic() >= end
            time.sleep(LOCK_POLL_SECONDS)

    def claim_after(self, seconds: float) -> None:
        """Ask to go first if `seconds` of waiting are long; nothing happens if another process does so. Never waits."""
        if seconds < CLAIM_SECONDS or self._is_mine or fcntl is None:
            return
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        self._is_mine = True

    def give(self) -> None:
        """Ask no longer."""
        if self._is_mine:
            self._is_mine = False
            fcntl.flock(self._opened(), fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file for good."""
        self.give()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._file
