"""A real SQLite storage that a test can stop, or let fail, before or after any of its calls; and raw access to files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import apsw

from bamboo_sessions import Message, Session, SqliteStorage
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey, State
from bamboo_sessions.storage.port import Plan

Stage = Callable[[], Awaitable[None]]


class StagedStorage(SqliteStorage):
    """`stages["before commit"]` runs before each commit, `stages["after read"]` after each read, and so on.

    `calls` counts the calls by name; `commits` keeps what was asked for.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.calls: Counter[str] = Counter()
        self.commits: list[Commit] = []
        self.stages: dict[str, Stage] = {}

    async def _stage(self, name: str) -> None:
        stage = self.stages.get(name)
        if stage is not None:
            await stage()

    async def commit(self, commit: Commit) -> Committed:
        self.calls["commit"] += 1
        self.commits.append(commit)
        await self._stage("before commit")
        committed = await super().commit(commit)
        await self._stage("after commit")
        return committed

    async def transact(self, key: SessionKey, plan: Plan) -> Committed | None:
        self.calls["transact"] += 1
        return await super().transact(key, plan)

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        self.calls["find_commit"] += 1
        await self._stage("before find_commit")
        return await super().find_commit(key, commit_id)

    async def read(self, key: SessionKey) -> State:
        self.calls["read"] += 1
        await self._stage("before read")
        state = await super().read(key)
        await self._stage("after read")
        return state

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        self.calls["read_newer"] += 1
        await self._stage("before read")
        state = await super().read_newer(key, known)
        await self._stage("after read")
        return state


def failing(error: BaseException) -> Stage:
    """A stage at which storage fails."""

    async def fail() -> None:
        raise error

    return fail


class Gate:
    """A stage that waits: `reached` is set once a call is there, `open` lets it (and all later ones) pass."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.opened = anyio.Event()

    async def __call__(self) -> None:
        """Wait to be opened."""
        self.reached.set()
        await self.opened.wait()

    def open(self) -> None:
        """Let the call go on."""
        self.opened.set()


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
