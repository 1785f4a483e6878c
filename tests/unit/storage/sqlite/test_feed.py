"""What is the SQLite engine's own about the feed: that it is the history, too, its plans, and where it reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from bamboo_sessions import (
    Message,
    PositionExpiredError,
    Session,
    SessionRepository,
    SqliteStorage,
    StorageCorruptError,
    StoreAdmin,
    ToolCall,
)
from bamboo_sessions.storage.feed_position import parse_position
from bamboo_sessions.storage.sqlite.sessions import feed
from bamboo_sessions.storage.sqlite.sessions.commits import apply
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_HEADS_MAX, LOOP_MESSAGES_MAX
from bamboo_sessions.testing import FaultyStorage, ManualClock
from tests.unit.storage.sqlite.commits import START, appending

pytestmark = pytest.mark.anyio


async def _history(sessions: SessionRepository) -> None:
    """Commits of every shape that writes rows of messages."""
    session = await sessions.create(Session("s"))
    session.add_message(Message.user("x", id="a"))
    session.add_message(Message.assistant("", [ToolCall("1", "f")], id="b"))
    await sessions.save(session)
    session.messages[0] = Message.user("edited", id="a")
    session.messages.insert(1, Message.user("inside", id="c"))
    session.add_message(Message.user("x", id="d"))
    await sessions.save(session)
    await sessions.append("s", Message.user("x", id="e"), Message.tool("r", tool_call_id="1", id="f"))
    await sessions.remove_last("s")
    await sessions.fork("s", new_id="fork")
    await sessions.append("fork", Message.user("\ud800", id="g"))
    await sessions.update("fork", lambda session: session.metadata.update(odd="\ud800"))
    await sessions.replace_history("s", [Message.user("x", id="a"), Message.user("x", id="h")])
    await sessions.rename("s", "T")
    await sessions.append("gone", Message.user("x", id="i"), create=True)
    await sessions.delete("gone")


async def _told(path: Path) -> list[tuple[str, int, tuple[str, ...]]]:
    async with SessionRepository.open(path) as sessions:
        return [
            (change.session_id, change.revision, change.message_ids)
            async for change in sessions.changes(live=False)
            if change.session_id != "gone"
        ]


async def test_L123_a_position_at_the_floor_of_a_restored_and_pruned_store_is_refused(path: Path) -> None:
    """G11: a subscriber read a commit that the backup lacks; another one has its number now, and was pruned."""
    clock = ManualClock()
    backup = path.with_name("backup.db")
    async with SessionRepository.open(path, clock=clock) as sessions:
        await sessions.append("s", Message.user("kept"), create=True)
    shutil.copy(path, backup)
    async with SessionRepository.open(path, clock=clock) as sessions:
        await sessions.append("s", Message.user("lost with the disk"))
        position = await sessions.feed_position()
    shutil.copy(backup, path)
    async with SessionRepository.open(path, clock=clock) as sessions, StoreAdmin.open(path, clock=clock) as admin:
        await sessions.append("s", Message.user("never told to the subscriber"))
        clock.move(timedelta(days=2))
        assert await admin.prune_changes(older_than=timedelta(days=1)) == 2
        await sessions.append("s", Message.user("newest"))
        with pytest.raises(PositionExpiredError) as refused:
            [change async for change in sessions.changes(after=position, live=False)]
    assert refused.value.reason == "restored"


async def test_a_change_tells_what_its_commit_added(path: Path) -> None:
    """Ids of new messages in the order of the conversation; versions of edits, and what a fork copied, aren't new."""
    async with SessionRepository.open(path) as sessions:
        await _history(sessions)
    told = await _told(path)
    assert [ids for _, _, ids in told if ids] == [("a", "b"), ("c", "d"), ("f", "e"), ("g",), ("h",)]


async def test_pruning_keeps_what_is_history(path: Path) -> None:
    """Pruned commits are forgotten, their messages and old revisions are read as before, and no number comes twice."""
    async with SessionRepository.open(path) as sessions:
        await _history(sessions)
        before = (await sessions.get("s")).messages
        old = await sessions.history("s", at_revision=2)
        assert await sessions.storage.prune_changes(timedelta(0)) == 12
        assert (await sessions.load("s", fresh=True)).messages == before  # type: ignore[union-attr]
        assert await sessions.history("s", at_revision=2) == old
        assert [change async for change in sessions.changes(live=False)] == []
        assert (await sessions.check()).ok
        await sessions.rename("s", "U")
        assert len([change async for change in sessions.changes(live=False)]) == 1
    connection = apsw.Connection(str(path))
    assert value_of(connection, "SELECT max(position) FROM commits") == 14
    connection.close()


async def test_reading_and_pruning_seek(storage: SqliteStorage) -> None:
    """A page of the feed, its bounds and a batch of pruning touch what they give or take, and nothing else."""
    for number in range(3):
        await storage.commit(appending("s", Message.user("x", id=f"m{number}")))
    steps: list[str] = []

    def trace(cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        connection = cursor.connection
        connection.exec_trace = None
        if sql.lstrip().startswith(("SELECT", "DELETE")):
            found = connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings).fetchall()  # type: ignore[arg-type]
            steps.extend(str(step[3]) for step in found)
        connection.exec_trace = trace
        return True

    def work(connection: apsw.Connection) -> None:
        connection.exec_trace = trace
        first = feed.read_changes(connection, "default", None, 1).through
        feed.read_changes(connection, "default", first, 10)
        feed.prune(connection, timedelta(0), 1, START + timedelta(days=365_000))
        connection.exec_trace = None

    await storage._engine.write(work)
    assert any("INTEGER PRIMARY KEY (rowid>?" in step for step in steps)
    scans = [step for step in steps if step.startswith("SCAN") and step not in {"SCAN commits", "SCAN CONSTANT ROW"}]
    assert not scans, steps
    assert steps.count("SCAN commits") == 2  # one row from the back of the table


async def test_a_usual_commit_is_two_statements(storage: SqliteStorage) -> None:
    """Admission is in the UPDATE of the session's row, and the commit is one INSERT: nothing is read."""
    await storage.commit(appending("s", Message.user("x")))
    statements: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        statements.append(sql)
        return True

    def work(connection: apsw.Connection) -> None:
        connection.exec_trace = trace
        apply(connection, appending("s", Message.user("y"), is_first_try=True), START)
        connection.exec_trace = None

    await storage._engine.write(work)
    assert [" ".join(sql.split()[:3]) for sql in statements] == ["UPDATE sessions SET", "INSERT INTO commits"]


@pytest.mark.parametrize("long", ["commits", "messages"])
async def test_long_reads_leave_the_event_loop(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, long: str
) -> None:
    """A page of many commits, or of many messages, is read on the reader thread; the newest few here."""
    messages = LOOP_MESSAGES_MAX + 1 if long == "messages" else 1
    for number in range(LOOP_HEADS_MAX + 1 if long == "commits" else 1):
        await storage.commit(appending("s", *(Message.user("x", id=f"m{number}-{n}") for n in range(messages))))
    threaded: list[Callable[[apsw.Connection], object]] = []
    read = storage._engine.read

    async def noted(work: Callable[[apsw.Connection], object]) -> object:
        threaded.append(work)
        return await read(work)

    monkeypatch.setattr(storage._engine, "read", noted)
    page = await storage.read_changes("default", None, 500)
    assert (len(threaded), page.is_end) == (1, True)
    await storage.commit(appending("s", Message.user("y")))
    assert len((await storage.read_changes("default", page.through, 500)).changes) == 1
    assert len(threaded) == 1


async def test_a_change_of_no_session_is_no_gap_but_damage(storage: SqliteStorage) -> None:
    """G8: a logged commit whose session's row is lost is told as damage, never left out; a check finds it."""
    await storage.commit(appending("s", Message.user("x")))

    def point_at(session: int) -> Callable[[apsw.Connection], None]:
        def work(connection: apsw.Connection) -> None:
            connection.execute("UPDATE commits SET session = ?", (session,))

        return work

    await storage._engine.write(point_at(99))
    with pytest.raises(StorageCorruptError):
        await storage.read_changes("default", None, 10)
    assert "orphans" in {problem.kind for problem in (await storage.check()).problems}
    await storage._engine.write(point_at(1))


async def test_L109_positions_survive_an_emptied_log_and_a_new_start(path: Path) -> None:
    """After pruning to empty and opening anew the feed ends where it ended."""
    async with SessionRepository.open(path) as sessions:
        await sessions.create(Session("s"))
        before = await sessions.feed_position()
        assert await sessions.storage.prune_changes(timedelta(0)) == 1
    async with SessionRepository.open(path) as sessions:
        assert parse_position(await sessions.feed_position())[:2] == parse_position(before)[:2]
        await sessions.rename("s", "T")
        assert [change.revision async for change in sessions.changes(after=before, live=False)] == [2]
    connection = apsw.Connection(str(path))
    assert value_of(connection, "SELECT value FROM meta WHERE name = 'pruned_up_to'") == 1
    connection.close()


async def test_L56_a_restored_store_is_not_taken_for_the_lost_one(path: Path) -> None:
    """Where a backup took a store's place and went on, who saw lost commits is refused; others miss nothing."""
    backup = path.with_name("backup.db")
    async with SessionRepository.open(path) as sessions:
        await sessions.create(Session("s"))
        before = await sessions.feed_position()
        connection = apsw.Connection(str(path))
        connection.execute("VACUUM INTO ?", (str(backup),))
        connection.close()
        await sessions.append("s", Message.user("lost"))
        lost = await sessions.feed_position()
    async with SessionRepository.open(backup) as restored:
        for length in range(3):
            with pytest.raises(PositionExpiredError) as refused:
                await anext(restored.changes(after=lost))
            assert refused.value.reason == "restored"
            assert len([change async for change in restored.changes(after=before, live=False)]) == length
            await restored.append("s", Message.user("x"))


async def test_pruning_goes_in_short_transactions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is old, one transaction takes a bounded part, so that writers get in between."""
    monkeypatch.setattr("bamboo_sessions.repository.admin.FEED_PRUNE_ROWS_MAX", 2)
    clock = ManualClock()
    watched = FaultyStorage(SqliteStorage(path, clock=clock))
    sessions = await SessionRepository.open(watched, clock=clock)
    for number in range(7):
        await sessions.append("s", Message.user(str(number)), create=True)
    clock.move(timedelta(days=2))
    assert await StoreAdmin(watched, clock=clock).prune_changes(older_than=timedelta(days=1)) == 7
    assert watched.calls["prune_changes"] == 4
    await sessions.aclose()
