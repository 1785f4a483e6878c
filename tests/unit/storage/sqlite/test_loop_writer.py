"""Short commits on the event loop's thread: when, in what groups, and what becomes of them if it can't be (G1, G10)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import anyio
import apsw
import pytest

from bamboo_sessions.domain.errors import MessageIdConflictError, StorageUnavailableError
from bamboo_sessions.domain.limits import WAL_PAGES_CHECKPOINT
from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.sessions import commits
from bamboo_sessions.storage.sqlite.transactions import worker
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from bamboo_sessions.storage.sqlite.transactions.others import Guests, Others
from bamboo_sessions.storage.sqlite.transactions.pace import Pace
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOOP_COMMIT_BYTES_MAX,
    LOOP_GROUP_BYTES_MAX,
    LOOP_GROUP_COMMITS_MAX,
    LOOP_ROW_BYTES,
    LOOP_SYNC_SECONDS_MAX,
)
from bamboo_sessions.storage.sqlite.transactions.turns import Turn
from bamboo_sessions.storage.sqlite.transactions.wal import Log
from bamboo_sessions.storage.sqlite.transactions.worker import Request
from bamboo_sessions.storage.sqlite.transactions.writer import Writer
from tests.unit.storage.sqlite.commits import appending, insertion, key_of

pytestmark = pytest.mark.anyio


class Watched:
    """Where commits are applied, and how many requests each transaction has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: list[str] = []
        self.groups: list[int] = []
        apply, run_in = commits.apply, Writer._run_in
        here = threading.get_ident()

        def applied(connection: apsw.Connection, commit: Commit, now: datetime) -> Committed:
            self.places.append("here" if threading.get_ident() == here else "elsewhere")
            return apply(connection, commit, now)

        def run(
            writer: Writer,
            connection: apsw.Connection,
            requests: Sequence[Request],
            guests: Sequence[Guests],
            outcomes: type[BaseException],
        ) -> bool:
            self.groups.append(len(requests))
            return run_in(writer, connection, requests, guests, outcomes=outcomes)

        monkeypatch.setattr(commits, "apply", applied)
        monkeypatch.setattr(Writer, "_run_in", run)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """What commits do on a disk that is quick, while no log takes the writer's time."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    monkeypatch.setattr(Log, "is_due", False)
    return Watched(monkeypatch)


def _append(storage: SqliteStorage, text: str, session_id: str = "s") -> asyncio.Task[Committed]:
    return asyncio.ensure_future(storage.commit(appending(session_id, Message.user(text))))


# --- when


async def test_the_first_commit_learns_how_quick_the_disk_is(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows at first, so it is made by the writer thread; from then on the disk's pace decides."""
    watched = Watched(monkeypatch)
    await _append(storage, "1")
    pace = storage._engine._writer.pace = Pace()
    for seconds in (LOOP_SYNC_SECONDS_MAX, LOOP_SYNC_SECONDS_MAX * 10):
        pace.learn(seconds)
        await _append(storage, "2")
    assert watched.places == ["elsewhere", "here", "elsewhere"]


async def test_what_takes_long_is_not_made_here(storage: SqliteStorage, watched: Watched) -> None:
    """Many messages, many bytes, places inside a history, and plans of callers don't hold up the event loop."""
    many = [Message.user("x") for _ in range(LOOP_COMMIT_BYTES_MAX // LOOP_ROW_BYTES)]
    first = Message.user("first")
    await storage.commit(appending("s", first, *many[len(many) // 2 :]))
    await storage.commit(appending("t", *many))
    await storage.commit(appending("t", Message.user("x" * LOOP_COMMIT_BYTES_MAX)))
    inside = (insertion([Message.user("inside")], after=first.id),)
    await storage.commit(appending("s", expected=1, insertions=inside))
    await storage.transact(key_of("t"), lambda _: appending("t", Message.user("y")))
    assert watched.places == ["here", "elsewhere", "elsewhere", "elsewhere", "elsewhere"]


# --- groups


async def test_one_after_another_each_is_committed_at_once(storage: SqliteStorage, watched: Watched) -> None:
    """A single task waits for nobody."""
    for number in range(3):
        await _append(storage, str(number))
    assert watched.groups == [1, 1, 1]
    assert watched.places == ["here"] * 3


async def test_many_at_once_share_transactions(storage: SqliteStorage, watched: Watched) -> None:
    """What comes in one turn of the event loop is committed together, but for the very first one."""
    await asyncio.gather(*(_append(storage, "x", f"s{number}") for number in range(10)))
    await asyncio.gather(*(_append(storage, "x", f"s{number}") for number in range(10)))
    assert watched.groups == [1, 9, 10]
    await _append(storage, "alone")
    await _append(storage, "alone")
    await asyncio.gather(_append(storage, "first"), _append(storage, "second"))
    assert watched.groups[3:] == [1, 1, 1, 1]  # alone again: nobody waits for others any more
    assert set(watched.places) == {"here"}


async def test_tasks_out_of_step_come_together(storage: SqliteStorage, watched: Watched) -> None:
    """Tasks that write without a pause end up in one transaction, whenever each of them began."""

    async def write(session_id: str) -> None:
        for number in range(20):
            await _append(storage, str(number), session_id)

    await asyncio.gather(*(write(f"s{number}") for number in range(4)))
    assert watched.groups[-11:-1] == [4] * 10  # the first one was alone, so that the last one is three


async def test_a_group_is_bounded(storage: SqliteStorage, watched: Watched) -> None:
    """More than what a few milliseconds take is committed in several turns of the event loop (G13)."""
    count = 2 * LOOP_GROUP_COMMITS_MAX + 2
    await asyncio.gather(*(_append(storage, "x", f"s{number}") for number in range(count)))
    assert watched.groups == [1, LOOP_GROUP_COMMITS_MAX, LOOP_GROUP_COMMITS_MAX, 1]


async def test_a_group_is_bounded_in_bytes(storage: SqliteStorage, watched: Watched) -> None:
    """Long messages make small groups (G13)."""
    text = "x" * (LOOP_GROUP_BYTES_MAX // 8)
    await asyncio.gather(*(_append(storage, text, f"s{number}") for number in range(16)))
    assert watched.groups == [1, 7, 7, 1]
    assert set(watched.places) == {"here"}


async def test_too_many_waiting_are_refused(
    storage: SqliteStorage, path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has a limit, whether commits wait here or, behind another process, for the thread (G13)."""
    monkeypatch.setattr(worker, "WAITING_CALLS_MAX", 10)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    tasks: list[asyncio.Task[Committed]] = []
    for number in range(10):
        tasks += [_append(storage, "x", f"s{number}-{each}") for each in range(10)]
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
    refused = [task for task in tasks if task.done()]
    assert len(refused) >= 80
    assert all(isinstance(task.exception(), StorageUnavailableError) for task in refused)
    other.execute("COMMIT")
    other.close()
    for task in tasks:
        if task not in refused:
            assert (await task).revision == 1


async def test_a_refused_one_hurts_nobody_else(storage: SqliteStorage, watched: Watched) -> None:
    """In a group made here a conflict fails alone; the others are stored, in one transaction."""
    await storage.commit(appending("s", Message.user("taken", id="m")))
    tasks = [
        _append(storage, "1"),
        _append(storage, "2"),
        asyncio.ensure_future(storage.commit(appending("s", Message.user("other", id="m")))),
        _append(storage, "3"),
    ]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed, MessageIdConflictError, Committed]
    assert watched.groups == [1, 1, 3]


# --- if it can't be


async def test_L45_the_event_loop_waits_for_no_lock(storage: SqliteStorage, path: Path, watched: Watched) -> None:
    """What finds the file locked by another process goes to the writer thread, and the event loop goes on."""
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    tasks = [_append(storage, str(number)) for number in range(3)]
    for _ in range(100):
        await anyio.lowlevel.checkpoint()  # hangs here if the loop's thread waits
    assert not any(task.done() for task in tasks)
    assert watched.places == []
    other.execute("COMMIT")
    other.close()
    assert sorted([(await task).revision for task in tasks]) == [1, 2, 3]
    assert watched.places == ["elsewhere"] * 3


async def test_L45_the_event_loop_does_not_push_in(storage: SqliteStorage, watched: Watched) -> None:
    """While it is another process's turn, commits are left to the writer thread, which queues."""
    turn = Turn(storage._engine.path)
    assert turn.take_at_once()
    waiting = _append(storage, "1")
    while storage._engine._writing.is_idle:
        await anyio.lowlevel.checkpoint()
    assert not waiting.done()
    turn.close()
    assert (await waiting).revision == 1
    assert watched.places == ["elsewhere"]


async def test_a_failing_disk_is_told_by_the_writer_thread(storage: SqliteStorage, watched: Watched) -> None:
    """What fails here is rolled back and made again by the thread, which tells what is wrong."""
    failing = True

    def work(connection: apsw.Connection) -> str:
        nonlocal failing
        connection.execute("CREATE TABLE IF NOT EXISTS spoiled (x)")
        if failing:
            failing = False
            raise apsw.FullError("no space")
        return "done"

    assert await storage._engine.write(work, is_short=True) == "done"
    assert watched.groups == [1]
    await storage._engine.write(lambda c: c.execute("DROP TABLE spoiled"))


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit, TimeoutError])
@pytest.mark.parametrize("place", ["take_turn_at_once", "guests", "_begin", "_run_in", "_commit"])
@pytest.mark.parametrize("is_over", [True, False])
async def test_a_signal_leaves_nothing_locked(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, place: str, signal: type[BaseException], *, is_over: bool
) -> None:
    """A handler that raises, before or after any step, ends the commit; nothing stays locked, for nobody (L90)."""
    writer = storage._engine._writer
    owner = Writer if hasattr(Writer, place) else Others
    step = getattr(owner, place)

    def interrupted(self: object, *args: object, **options: object) -> None:
        if is_over:
            step(self, *args, **options)
        raise signal

    request = Request(lambda c: c.execute("INSERT INTO meta VALUES ('x', 1)"), 0, None, None)
    with monkeypatch.context() as patch:
        patch.setattr(owner, place, interrupted)
        with pytest.raises(signal):
            writer.run_at_once([request])
    monkeypatch.setattr(LoopWriter, "is_quick", False)
    assert (await _append(storage, "by the thread")).revision == 1
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    assert (await _append(storage, "here")).revision == 2


async def test_a_signal_inside_a_request_is_no_outcome(storage: SqliteStorage, watched: Watched) -> None:
    """Ctrl-C or SIGTERM in the middle of a commit isn't taken for its failure: the process is told."""

    def interrupted(connection: apsw.Connection) -> None:
        connection.execute("CREATE TABLE spoiled (x)")
        raise SystemExit

    engine = storage._engine
    with pytest.raises(SystemExit):
        engine._writer.run_at_once([Request(interrupted, 0, None, None)])
    assert (await _append(storage, "1")).revision == 1
    assert not await engine.read(lambda c: c.execute("SELECT 1 FROM sqlite_schema WHERE name = 'spoiled'").fetchall())


async def test_a_signal_in_a_group_leaves_its_commits_to_the_thread(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits in a group that was interrupted gets an answer all the same."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    here = storage._engine._loop_writer
    here._is_crowded = True
    tasks = [_append(storage, str(number)) for number in range(3)]
    await anyio.lowlevel.checkpoint()

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "run_at_once", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here._commit_gathered()
    assert sorted([(await task).revision for task in tasks]) == [1, 2, 3]


async def test_a_signal_after_a_group_was_committed_makes_nothing_twice(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been committed when a handler raised is looked for, before the thread would make it anew (G4)."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    here = storage._engine._loop_writer
    here._is_crowded = True
    write = RecordWrite("kind", "key", b"value")
    commit = appending("s", records=(write,), is_first_try=True)
    task = asyncio.ensure_future(storage.commit(commit))
    await anyio.lowlevel.checkpoint()
    run = Writer.run_at_once

    def interrupted(writer: Writer, requests: Sequence[Request]) -> bool:
        assert run(writer, requests)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "run_at_once", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here._commit_gathered()
    done = await task
    assert (done.revision, done.replayed) == (1, True)


def test_a_task_of_a_closed_loop_is_nobody_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that ended in mid-turn doesn't keep the single tasks of the next one waiting for others."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    storage = SqliteStorage(path)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(storage.open())
    here = storage._engine._loop_writer
    task = first.create_task(storage.commit(appending("s", Message.user("1"))))
    first.call_soon(first.stop)
    first.run_forever()
    assert task.result().revision == 1
    assert here._first is not None  # it ended before its turn did
    first.close()
    watched = Watched(monkeypatch)

    async def go_on() -> None:
        await storage.commit(appending("s", Message.user("2")))
        await anyio.lowlevel.checkpoint()
        assert here._first is None
        await storage.aclose()

    second.run_until_complete(go_on())
    second.close()
    assert watched.places == ["here"]


async def test_an_interrupt_at_the_beginning_leaves_no_transaction(storage: SqliteStorage, watched: Watched) -> None:
    """Ctrl-C just after a transaction was begun doesn't refuse the next commit."""
    storage._engine._writer._begin()
    assert (await _append(storage, "1")).revision == 1
    assert watched.places == ["here"]


async def test_a_connection_that_was_thrown_away_is_opened_elsewhere(storage: SqliteStorage, watched: Watched) -> None:
    """Opening a file may wait, so it isn't done here; afterwards commits are made here again."""
    storage._engine._writer.close()
    await _append(storage, "1")
    await _append(storage, "2")
    assert watched.places == ["elsewhere", "here"]


async def test_closing_commits_what_was_gathered(path: Path, watched: Watched) -> None:
    """A commit that was begun before `aclose` is made, whichever thread makes it."""
    storage = SqliteStorage(path)
    await storage.open()
    tasks = [_append(storage, str(number)) for number in range(3)]
    await anyio.lowlevel.checkpoint()
    await storage.aclose()
    assert [(await task).revision for task in tasks] == [1, 2, 3]


def test_the_next_event_loop_takes_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was gathered for a loop that was closed is committed, and doesn't keep the next loop's waiting."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    storage = SqliteStorage(path)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(storage.open())
    storage._engine._loop_writer._is_crowded = True
    left = first.create_task(storage.commit(appending("s", Message.user("left"))))
    first.run_until_complete(anyio.lowlevel.checkpoint())
    left.cancel()  # as if it had never come to its end
    first.run_until_complete(asyncio.wait({left}))
    first.close()

    async def go_on() -> list[int]:
        tasks = [_append(storage, str(number)) for number in range(3)]
        revisions = sorted([(await task).revision for task in tasks])
        await storage.aclose()
        return revisions

    assert second.run_until_complete(go_on())[-1] == 4
    second.close()


async def test_the_log_is_kept_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When commits made here have let the write-ahead log grow, it is copied into the file, off the event loop."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    watched = Watched(monkeypatch)
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    due = threading.Event()
    storage._engine._writer.log._on_long = due.set
    for number in range(WAL_PAGES_CHECKPOINT * 4096 // LOOP_COMMIT_BYTES_MAX + 2):
        await storage.commit(appending(f"s{number}", Message.user("x" * (LOOP_COMMIT_BYTES_MAX - 3_000))))
    assert "here" in watched.places
    assert await asyncio.to_thread(due.wait, 10)
    await storage.aclose()
