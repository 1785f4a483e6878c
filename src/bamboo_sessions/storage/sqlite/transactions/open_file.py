"""The database files that this process has open: whether paths still name them, and that no forked child opens them.

SQLite keeps its locks for the process and the file, in memory that a forked child inherits. A child that opens the
file of its parent therefore takes no locks at all, and the log that it writes to is deleted when the parent closes
(L112). So each process knows its open files by device and inode, whatever names they have, and its children refuse
them.

What a path names may also change under an open connection: the file is deleted, moved or replaced, or another process
deletes its log because closing any descriptor of the file has dropped the locks of this process. SQLite notices neither
and goes on writing to files that nobody will find again (L113, L114). So the writer compares what the paths name now
with what was opened, after each COMMIT and before it tells anybody (G1).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final, NamedTuple

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.sqlite.transactions.tuning import FILE_CHECK_SECONDS


class _Identity(NamedTuple):
    """What a file is called by the system, whatever paths lead to it."""

    device: int
    inode: int


_open: Final[dict[int, OpenFile]] = {}
"""The files that are open, by `id`: adding and taking out are single steps, which no fork can come between."""

_of_parents: Final[set[_Identity]] = set()
"""Files that this process's parents had open when they forked."""

_forks: Final[list[None]] = []
"""One entry for each fork between the first process and this one: cheaper to ask for than the process's number."""

_making: Final = [threading.Lock()]
"""Held while a file is made: closing its descriptor would drop locks that another thread has taken on it meanwhile."""


def _after_fork() -> None:
    _forks.append(None)
    _of_parents.update(identity for file in _open.values() if (identity := file.identity) is not None)
    _open.clear()
    _making[0] = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def forks() -> int:
    """How many forks lie between the first process and this one."""
    return len(_forks)


class OpenFile:
    """A database file from its opening to its closing.

    Args:
        path: The file, without links.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._log_path = path + "-wal"
        self._log: _Identity | None = None
        self._next_look = 0.0
        self.identity: _Identity | None = None
        self.is_lost = False
        """Whether the paths were found to name other files than those that are open."""

    def open(self, *, beside: str | None = None) -> None:
        """Make the file if there is none, and take note of it.

        Args:
            beside: A file whose owner and permissions a new one gets. `None`: only this user may read and write it.

        Raises:
            StorageError: It was open in the process that this one was forked from, or another connection of this
                process has it open and has lost it.
        """
        make_file(self.path, beside=beside)
        self.identity = _identity_of(self.path)
        if self.identity in _of_parents:
            raise StorageError(
                f"{self.path} was open in the process that this one was forked from, whose locks can't be told apart "
                "from those of this one.",
                hint="Close the store before the fork, or start processes with `spawn`; then open it in each of them.",
            )
        if any(file.identity == self.identity and not file.is_in_place() for file in list(_open.values())):
            raise self.error(hint="Close what has the store open in this process first.")
        _open[id(self)] = self

    def close(self) -> None:
        """Forget it: all connections are closed."""
        _open.pop(id(self), None)

    def is_in_place(self) -> bool:
        """Whether the paths still name the file that was opened, and its log."""
        if _identity_of(self.path) != self.identity:
            self.is_lost = True
        if self._log is not None and _identity_of(self._log_path) != self._log:
            self.is_lost = True
        return not self.is_lost

    def note_log(self) -> None:
        """Take note of the log: a connection of this process has read, and from now on nobody else may delete it.

        Before that, the last connection of another process may rightly delete it when it is closed.
        """
        self._log = _identity_of(self._log_path)

    def check_now_and_then(self) -> None:
        """Raise `StorageError` if the file is known to be lost. Looks once in `FILE_CHECK_SECONDS` at most."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + FILE_CHECK_SECONDS
            self.is_in_place()
        if self.is_lost:
            raise self.error()

    def error(self, *, hint: str = "", outcome_unknown: bool = False) -> StorageError:
        """What is raised once the file is lost."""
        return StorageError(
            f"{self.path} was replaced under this process: it, or its write-ahead log, was deleted, moved or "
            "overwritten by another file.",
            hint=hint
            or "Close the store and open it anew. Never move, replace or copy its files while a process has it open.",
            outcome_unknown=outcome_unknown,
        )


def make_file(path: str, *, beside: str | None = None) -> None:
    """Make an empty file, unless there is one; raises `StorageError`.

    Args:
        path: Where.
        beside: A file whose owner and permissions it gets. `None`: only this user may read and write it.
    """
    try:
        with _making[0]:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if beside is not None:
                    _resemble(descriptor, beside)
            finally:
                os.close(descriptor)
    except FileExistsError:
        return
    except OSError as exc:
        raise StorageError(
            f"{path} can't be made: {exc}", hint="Check that this user may write the folder, and that it has room."
        ) from exc


def _resemble(descriptor: int, other: str) -> None:
    """Give a file the owner and the permissions of another one: root must not lock the owner of a store out."""
    if not hasattr(os, "fchown"):  # Windows: the folder decides
        return
    found = os.stat(other)  # noqa: PTH116 - texts, as SQLite takes them
    if os.geteuid() == 0:
        os.fchown(descriptor, found.st_uid, found.st_gid)
    os.fchmod(descriptor, found.st_mode & 0o666)


def _identity_of(path: str) -> _Identity | None:
    """What `path` names now; `None` if nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast as pathlib, after each commit
    except OSError:
        return None
    return _Identity(found.st_dev, found.st_ino)
