"""Whose turn it is to write, among the processes on one file: a queue that the system keeps.

SQLite lets waiting writers poll, and whoever happens to ask at the right moment is next: under load some wait for a
hundred commits of the others. So writers queue for an advisory lock on a small file beside the database first, where
the system wakes one after the other (L45). Nothing but fairness rests on it: a writer that can't have it (another
system, a read-only folder, a process that was stopped while it held it) goes on and asks SQLite, which decides.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.sqlite.transactions.open_file import make_file

try:
    import fcntl
except ImportError:  # Windows: SQLite alone decides
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = "-turn"
"""What the name of the file beside the database ends with. It is empty, and may be deleted at any time."""


class Turn:
    """This process's place in the queue. Used by one thread at a time.

    Args:
        path: The database.
        wait_seconds: How long to wait for a turn before going on without one.
    """

    def __init__(self, path: str, wait_seconds: float) -> None:
        self._database = path
        self._path = path + SUFFIX
        self._wait_seconds = wait_seconds
        self._file: int | None = None
        self._queue: _Queue | None = None
        self._is_mine = False

    def take(self) -> None:
        """Wait until it is this process's turn, or for as long as one waits for it."""
        if self.take_at_once():
            return
        if self._queue is None:
            self._queue = _Queue(self._opened())
        self._is_mine = self._queue.wait(self._wait_seconds)

    def take_at_once(self) -> bool:
        """Whether one may write now: it is this process's turn, or turns don't matter. Never waits."""
        if self._is_mine or fcntl is None or self._is_stuck():
            return True
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._is_mine = True
        return True

    def give(self) -> None:
        """Let the next one write."""
        if self._is_mine and self._file is not None:
            self._is_mine = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave the queue for good."""
        self.give()
        file, self._file = self._file, None
        if self._queue is not None:
            self._queue.close()
        elif file is not None:
            os.close(file)

    def _opened(self) -> int:
        """The descriptor; raises `OSError` if this user can't have one."""
        if self._file is None:
            with suppress(StorageError):  # there is a reason, which opening says, too
                make_file(self._path, beside=self._database)
            self._file = os.open(self._path, os.O_RDWR)
        return self._file

    def _is_stuck(self) -> bool:
        """Whether an earlier turn is still being waited for: somebody holds it and doesn't move."""
        return self._queue is not None and self._queue.is_waiting


class _Queue:
    """Waits for the lock on a thread of its own, since that wait has no time limit. Closes the file in the end."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._wishes: SimpleQueue[_Wish | None] = SimpleQueue()
        self.is_waiting = False
        threading.Thread(target=self._main, name="bamboo-sessions turn", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether the lock was got in time; if not, it is let go as soon as it comes."""
        wish = _Wish()
        self.is_waiting = True
        self._wishes.put(wish)
        return wish.came.acquire(timeout=seconds) or not wish.give_up()

    def close(self) -> None:
        """End the thread, once it has nothing to wait for."""
        self._wishes.put(None)

    def _main(self) -> None:
        while (wish := self._wishes.get()) is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                is_ours = True
            except OSError:
                is_ours = False
            self.is_waiting = False
            if not wish.grant() and is_ours:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)


class _Wish:
    """One wait: either it is granted, or it was given up, never both."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self._open: list[None] = [None]

    def grant(self) -> bool:
        """Tell that the lock is there; `False` if nobody waits for it any more."""
        granted = self._take()
        self.came.release()
        return granted

    def give_up(self) -> bool:
        """Wait no longer; `False` if it was granted at this very moment."""
        return self._take()

    def _take(self) -> bool:
        try:
            self._open.pop()  # one atomic step: only one of the two succeeds
        except IndexError:
            return False
        return True
