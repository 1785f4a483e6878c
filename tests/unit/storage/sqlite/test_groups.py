"""Group commit: nobody is hurt by another's failure, nobody is told "done" too early (G1, L90, L101)."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from bamboo_sessions.domain.errors import (
    MessageIdConflictError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Committed
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.sessions.commits import apply
from bamboo_sessions.storage.sqlite.transactions import connection, migrations
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.open_file import OpenFile
from bamboo_sessions.storage.sqlite.transactions.others import Others
from bamboo_sessions.storage.sqlite.transactions.wal import Log
from bamboo_sessions.storage.sqlite.transactions.worker import Request
from bamboo_sessions.storage.sqlite.transactions.writer import Writer
from tests.unit.storage.sqlite.commits import START, appending, key_of

pytestmark = pytest.mark.anyio


async def _grouped(storage: SqliteStorage, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """The outcomes of `calls`, which the writer thread finds all waiting."""
    release = threading.Event()
    blocker = asyncio.ensure_future(storage._engine.write(lambda _: release.wait()))
    waiting = [asyncio.ensure_future(call()) for call in calls]
    await anyio.lowlevel.checkpoint()
    release.set()
    await blocker
    return await asyncio.gather(*waiting, return_exceptions=True)


async def _texts(storage: SqliteStorage, session_id: str) -> list[str]:
    state = await storage.read(key_of(session_id))
    return [message.text for message in state.messages] if isinstance(state, Snapshot) else []


async def test_a_refused_commit_hurts_nobody_else_in_its_group(storage: SqliteStorage) -> None:
    """In one group a conflict and a plan that raises fail alone; the others are stored, in order."""
    await storage.commit(appending("s", Message.user("taken", id="m")))

    def plan(state: object) -> None:
        raise LookupError(state)

    outcomes = await _grouped(
        storage,
        [
            lambda: storage.commit(appending("s", Message.user("1"))),
            lambda: storage.commit(appending("s", Message.user("other", id="m"))),
            lambda: storage.commit(appending("s", Message.user("2"))),
            lambda: storage.transact(key_of("s"), plan),
            lambda: storage.commit(appending("s", Message.user("3"))),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [
        Committed,
        MessageIdConflictError,
        Committed,
        LookupError,
        Committed,
    ]
    assert [outcomes[index].revision for index in (0, 2, 4)] == [2, 3, 4]
    assert await _texts(storage, "s") == ["taken", "1", "2", "3"]


async def test_a_plan_may_raise_anything(storage: SqliteStorage) -> None:
    """Also what no future takes: the others of the group are answered, and so is its caller."""

    def plan(state: object) -> None:
        raise StopIteration(state)

    outcomes = await _grouped(
        storage,
        [
            lambda: storage.commit(appending("s", Message.user("1"))),
            lambda: storage.transact(key_of("s"), plan),
            lambda: storage.commit(appending("s", Message.user("2"))),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, RuntimeError, Committed]


async def test_a_request_that_fails_half_way_leaves_nothing(storage: SqliteStorage) -> None:
    """What raises after it wrote something is undone alone, and the rest of the group is stored."""

    def half(connection: apsw.Connection) -> None:
        apply(connection, appending("half", Message.user("x")), START)
        raise KeyError

    outcomes = await _grouped(
        storage,
        [
            lambda: storage.commit(appending("a", Message.user("1"))),
            lambda: storage._engine.write(half),
            lambda: storage.commit(appending("b", Message.user("2"))),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, KeyError, Committed]
    assert await storage.read(key_of("half")) is None
    assert await _texts(storage, "a") + await _texts(storage, "b") == ["1", "2"]


async def _limit_pages(storage: SqliteStorage, room: int) -> None:
    pages = await storage._engine.read(lambda c: value_of(c, "PRAGMA page_count"))
    await storage._engine.write(lambda c: value_of(c, f"PRAGMA max_page_count = {pages + room}"))


async def test_L101_a_full_disk_in_a_group_confirms_nothing_that_is_not_stored(storage: SqliteStorage) -> None:
    """When one of a group fills the disk, it alone is refused; who was told "done" is stored, and nobody else."""
    await storage.commit(appending("s", Message.user("0")))
    await _limit_pages(storage, 40)
    outcomes = await _grouped(
        storage,
        [
            lambda: storage.commit(appending("s", Message.user("1"))),
            lambda: storage.commit(appending("s", Message.user("2" * 1_000_000))),
            lambda: storage.commit(appending("s", Message.user("3"))),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, StorageFullError, Committed]
    assert await _texts(storage, "s") == ["0", "1", "3"]


async def test_a_full_disk_refuses_every_commit_and_a_retry_succeeds(storage: SqliteStorage) -> None:
    """Without room all of a group are refused, reading goes on, and the same commits succeed once there is room."""
    await storage.commit(appending("s", Message.user("0")))
    await _limit_pages(storage, 0)
    commits = [appending("s", Message.user(str(number) * 10_000)) for number in range(1, 4)]
    outcomes = await _grouped(storage, [partial(storage.commit, commit) for commit in commits])
    assert [type(outcome) for outcome in outcomes] == [StorageFullError] * 3
    assert not any(outcome.outcome_unknown for outcome in outcomes)
    assert await _texts(storage, "s") == ["0"]
    await _limit_pages(storage, 1_000)
    for commit in commits:
        assert not (await storage.commit(commit)).replayed
    assert [text[:1] for text in await _texts(storage, "s")] == ["0", "1", "2", "3"]


_LOCK = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


async def test_a_file_locked_by_another_process_is_unavailable_for_a_while(path: Path) -> None:
    """A writer waits for another process's transaction no longer than its timeout, then says "try again"."""
    storage = SqliteStorage(path, busy_timeout_ms=50)
    await storage.open()
    commit = appending("s", Message.user("x"))
    async with await anyio.open_process([sys.executable, "-c", _LOCK, str(path)]) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert (await other.stdout.receive()).strip() == b"locked"
        with pytest.raises(StorageUnavailableError) as refused:
            await storage.commit(commit)
        assert refused.value.retryable
        assert not refused.value.outcome_unknown
        assert await storage.read(key_of("s")) is None
        await other.stdin.aclose()
        await other.wait()
    assert (await storage.commit(commit)).revision == 1
    await storage.aclose()


class _Faulty(apsw.Connection):
    """A connection on which some statements fail as on a broken disk."""

    fails: frozenset[str] = frozenset()

    def execute(self, statements: str, *args: Any, **kwargs: Any) -> apsw.Cursor:  # noqa: ANN401 - as apsw has it
        if statements in self.fails:
            message = f"disk I/O error in {statements}"
            raise apsw.IOError(message)
        return super().execute(statements, *args, **kwargs)


class _FaultyFile:
    """A writer whose connections are faulty, used without threads."""

    def __init__(self, path: Path) -> None:
        migrations.prepare(str(path), busy_timeout_ms=1000)
        self.path = path
        self.opened: list[_Faulty] = []
        file = OpenFile(str(path))
        file.open()
        self.kept_open = apsw.Connection(
            str(path)
        )  # as the engine's readers do: the log outlives the writer's connection
        self.kept_open.execute("SELECT 1 FROM sessions").fetchall()
        self.writer = Writer(file, self._connect, Log(str(path), lambda: None), Others(str(path), 0), 1000)

    def _connect(self) -> _Faulty:
        connection = _Faulty(str(self.path))
        connection.set_busy_timeout(0)
        self.opened.append(connection)
        return connection

    def append(self, *texts: str) -> list[Request]:
        commits = [appending("s", Message.user(text)) for text in texts]
        requests = [Request(partial(apply, commit=commit, now=START), 0, None, None) for commit in commits]
        self.writer.run(requests)
        return requests

    def texts(self) -> int:
        other = connection.connect(str(self.path), busy_timeout_ms=0)
        other.execute("BEGIN IMMEDIATE; COMMIT")  # nobody holds a lock
        count: int = value_of(other, "SELECT total(lines) FROM commits")
        other.close()
        return count


async def test_a_failing_commit_confirms_nothing_and_says_so(path: Path) -> None:
    """If the disk fails in COMMIT, all of the group are told that the outcome is unknown, and the writer goes on."""
    file = _FaultyFile(path)
    file.append("0")
    file.opened[-1].fails = frozenset({"COMMIT"})
    for request in file.append("1", "2"):
        assert isinstance(request.error, StorageError)
        assert request.error.outcome_unknown
        assert request.result is None
    assert file.texts() == 1
    assert [request.error for request in file.append("3", "4")] == [None, None]
    assert file.texts() == 3
    file.writer.close()


async def test_L90_a_connection_that_cannot_roll_back_is_thrown_away(path: Path) -> None:
    """When even ROLLBACK fails, the next group gets a new connection, and nobody is locked out."""
    file = _FaultyFile(path)
    file.append("0")
    file.opened[-1].fails = frozenset({"COMMIT", "ROLLBACK"})
    assert all(request.error is not None for request in file.append("1"))
    assert file.texts() == 1
    assert [request.error for request in file.append("2")] == [None]
    assert len(file.opened) == 2
    file.writer.close()


async def test_a_file_that_cannot_be_opened_again_fails_each_request_until_it_can(path: Path) -> None:
    """A writer that lost its connection and gets no new one answers with an error, and recovers."""
    file = _FaultyFile(path)
    file.append("0")
    file.opened[-1].fails = frozenset({"BEGIN IMMEDIATE"})
    assert all(isinstance(request.error, StorageError) for request in file.append("1", "2"))
    assert [request.error for request in file.append("3", "4")] == [None, None]
    assert file.texts() == 3
    file.writer.close()


async def test_the_log_is_recycled_while_writers_are_busy(path: Path) -> None:
    """Many commits don't let the write-ahead log grow: it is checkpointed aside and starts over."""
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    for _ in range(30):
        commits = [appending(f"s{number}", Message.user("x" * 20_000)) for number in range(60)]
        await asyncio.gather(*(storage.commit(commit) for commit in commits))
    stats = await storage.stats()
    assert stats["bytes"] > 36_000_000
    assert stats["wal_bytes"] < 33_000_000  # less than was written: the log started over
    await storage.aclose()
