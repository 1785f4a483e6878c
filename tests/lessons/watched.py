"""The storage below the tests of the lessons, and raw access to its file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from bamboo_sessions import Message, Session, SqliteStorage, StorageUnavailableError
from bamboo_sessions.storage.commit import Commit, Committed
from bamboo_sessions.testing.faults import Fault, FaultyStorage, Stall


class WatchedStorage(FaultyStorage):
    """A real SQLite storage that can be stopped or fail, and keeps the commits that it is asked for.

    `before_commit` runs in front of each commit: there another process can be faster.
    """

    def __init__(self, path: Path) -> None:
        self.sqlite = SqliteStorage(path)
        super().__init__(self.sqlite)
        self.commits: list[Commit] = []
        self.before_commit: Callable[[], Awaitable[object]] | None = None
        self._stalls: list[Stall] = []

    def stall(self, call: str | None, *, nth: int = 1, times: int | None = 1, after: bool = False) -> Stall:
        """Make a call hang; it goes on at the end of the test at the latest, also if that failed."""
        stall = super().stall(call, nth=nth, times=times, after=after)
        self._stalls.append(stall)
        return stall

    def let_go(self) -> None:
        """End all faults, and let go what hangs."""
        self.heal()
        for stall in self._stalls:
            stall.release()

    async def commit(self, commit: Commit) -> Committed:
        """Note it, and pass it on."""
        self.commits.append(commit)
        if self.before_commit is not None:
            await self.before_commit()
        return await super().commit(commit)

    def fail_reads(self) -> list[Fault]:
        """Let no session be read until `heal`."""
        return [
            self.fail(call, StorageUnavailableError, times=None)
            for call in ("read", "read_newer", "read_head", "read_window")
        ]

    def fail_commits(self) -> Fault:
        """Let nothing be committed until `heal`."""
        return self.fail("commit", StorageUnavailableError, times=None)


@contextmanager
def raw(path: Path) -> Iterator[apsw.Connection]:
    """A connection to the file behind the project's back."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    try:
        yield connection
    finally:
        connection.close()


def rows(path: Path, sql: str, *args: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - any SQL value
    """What a statement gives, run behind the project's back."""
    with raw(path) as connection:
        return connection.execute(sql, args).fetchall()


def texts(messages: Sequence[Message] | Session) -> list[str]:
    """The texts of some messages, or of a session's."""
    return [message.text for message in (messages.messages if isinstance(messages, Session) else messages)]
