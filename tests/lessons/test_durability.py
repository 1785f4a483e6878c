"""Lessons L28 to L40: crashes, ends of lives, and what is derived."""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import apsw
import pytest

from bamboo_sessions import (
    Message,
    PendingQuestion,
    Session,
    SessionDeletedError,
    SessionNotFoundError,
    SessionRepository,
    StorageError,
)
from bamboo_sessions.domain.clock import now
from tests.lessons.watched import WatchedStorage, raw, rows, texts

pytestmark = pytest.mark.anyio


async def test_L28_a_torn_file_holds_whole_commits(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """Wherever the write-ahead log ends after a crash, the file opens and holds the first commits, each whole."""
    for number in range(20):
        chat.add_message(Message.user(f"question {number}"))
        chat.add_message(Message.assistant(f"answer {number}"))
        await sessions.save(chat)
    log = path.with_name(path.name + "-wal").read_bytes()
    seen = set()
    for end in range(0, len(log) + 1, len(log) // 37):
        torn = path.with_name(f"torn-{end}.db")
        shutil.copy(path, torn)
        torn.with_name(torn.name + "-wal").write_bytes(log[:end])
        async with SessionRepository.open(torn) as repository:
            found = await repository.load("chat")
            assert (await repository.check()).ok
        count = len(found.messages) if found is not None else 0
        seen.add(count)
        assert count in {0, *range(1, 42, 2)}
        assert texts(found or Session("none")) == texts(chat)[:count]
    assert len(seen) > 10


async def test_L28_what_is_acknowledged_was_synchronised_to_disk(storage: WatchedStorage) -> None:
    """The writing connection asks the system to write through at each commit (`synchronous = FULL`)."""
    async with SessionRepository.open(storage):
        level = await storage.sqlite._engine.write(lambda c: c.execute("PRAGMA synchronous").fetchall())
        mode = await storage.sqlite._engine.write(lambda c: c.execute("PRAGMA journal_mode").fetchall())
    assert (level, mode) == ([(2,)], [("wal",)])


async def test_L29_broken_derived_data_keeps_nobody_out(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """With counters and the index of ids destroyed, the file opens, sessions load, and `check` rebuilds them."""
    await sessions.aclose()
    with raw(path) as connection:
        connection.execute("UPDATE meta SET value = 9 WHERE name = 'ids_through'")
        connection.execute("UPDATE sessions SET message_bytes = 7, open_questions = 5")
    async with SessionRepository.open(path) as reopened:
        assert texts(await reopened.get("chat")) == ["hello"]
        assert not (await reopened.check()).ok
        assert (await reopened.check(repair=True)).ok
        report = await reopened.check()
        assert not report.problems
        assert texts(await reopened.get("chat")) == ["hello"]


async def test_L30_a_commit_that_breaks_half_way_leaves_neither_body_nor_row(
    sessions: SessionRepository, path: Path
) -> None:
    """If the last row of a commit can't be written, the session is in no listing and can't be loaded either."""
    with raw(path) as connection:
        connection.execute("CREATE TRIGGER stop BEFORE INSERT ON commits BEGIN SELECT RAISE(ABORT, 'crash'); END")
    session = await sessions.load_or_create("chat")
    session.add_message(Message.user("hello"))
    with pytest.raises(StorageError):
        await sessions.save(session)
    assert await sessions.load("chat") is None
    assert (await sessions.list_sessions()).sessions == ()
    assert rows(path, "SELECT count(*) FROM commits") == [(0,)]
    with raw(path) as connection:
        connection.execute("DROP TRIGGER stop")
    await sessions.save(session)
    assert [head.id for head in (await sessions.list_sessions()).sessions] == ["chat"]
    assert texts(await sessions.get("chat")) == ["hello"]


async def test_L31_a_repair_that_breaks_half_way_is_not_taken_for_complete(
    sessions: SessionRepository, chat: Session, path: Path
) -> None:
    """A rebuild that fails leaves everything as it was, and the next check finds the same problems."""
    await sessions.append("chat", Message.user("more"))
    await sessions.aclose()
    with raw(path) as connection:
        connection.execute("UPDATE meta SET value = 9 WHERE name = 'ids_through'")
        connection.execute("UPDATE sessions SET message_bytes = 7")
        connection.execute("CREATE TRIGGER stop BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'crash'); END")
    async with SessionRepository.open(path) as reopened:
        before = {problem.kind for problem in (await reopened.check()).problems}
        with pytest.raises(StorageError):
            await reopened.check(repair=True)
        assert {problem.kind for problem in (await reopened.check()).problems} == before
        with raw(path) as connection:
            connection.execute("DROP TRIGGER stop")
        assert (await reopened.check(repair=True)).ok
        assert (await reopened.check()).problems == ()


async def test_L31_a_schema_half_made_is_made_again(path: Path) -> None:
    """A process that dies while it creates the tables leaves nothing that another one would take for a schema."""
    script = (
        "import apsw, os, sys\n"
        "connection = apsw.Connection(sys.argv[1])\n"
        "connection.execute('PRAGMA journal_mode = wal').fetchall()\n"
        "connection.execute('BEGIN IMMEDIATE; CREATE TABLE meta (name TEXT); CREATE TABLE sessions (key INTEGER)')\n"
        "os._exit(9)\n"
    )
    done = await anyio.run_process([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == 9
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("hello"), create=True)
        assert (await sessions.check()).ok


async def test_L33_what_is_acknowledged_needs_no_close(path: Path) -> None:
    """A process that ends at once after `append` returned, without closing anything, loses nothing."""
    script = (
        "import asyncio, os, sys\n"
        "from bamboo_sessions import Message, SessionRepository\n"
        "async def main():\n"
        "    sessions = await SessionRepository.open(f'sqlite:///{sys.argv[1]}')\n"
        "    await sessions.append('chat', Message.user('the last line'), create=True)\n"
        "    os._exit(9)\n"
        "asyncio.run(main())\n"
    )
    done = await anyio.run_process([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == 9
    async with SessionRepository.open(path) as sessions:
        assert texts(await sessions.get("chat")) == ["the last line"]


async def test_L35_derived_values_follow_and_cannot_be_set(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Count of messages, open question and run status are computed from the state, never stored beside it."""
    for name in ("message_count", "has_question", "run_status", "revision"):
        with pytest.raises(AttributeError):
            setattr(chat, name, 1)
    chat.run_state = {"status": "running"}
    await sessions.save(chat)
    await others.append("chat", Message.user("more"))
    await others.ask("chat", PendingQuestion("call", "ask", "Shall I?", id="q1"))
    (head,) = (await sessions.list_sessions(has_question=True, run_status="running")).sessions
    assert (head.message_count, head.has_question, head.run_status) == (2, True, "running")
    await others.answer("chat", "q1", "yes")
    await sessions.update("chat", lambda session: setattr(session, "run_state", "idle"))
    assert (await others.list_sessions(has_question=True)).sessions == ()
    (head,) = (await others.list_sessions()).sessions
    assert (head.message_count, head.has_question, head.run_status) == (3, False, "idle")


async def test_L36_a_late_save_does_not_resurrect_a_deleted_session(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """After a deletion every kind of write of the old session is refused, and it stays gone."""
    await sessions.append("chat", Message.user("warm"))
    assert await others.delete("chat")
    chat.add_message(Message.user("late"))
    for write in (
        lambda: sessions.save(chat),
        lambda: sessions.checkpoint(chat),
        lambda: sessions.save_best_effort(chat),
        lambda: sessions.save(Session("chat")),
        lambda: sessions.load_or_create("chat"),
        lambda: sessions.append("chat", Message.user("late")),
        lambda: sessions.append("chat", Message.user("late"), create=True),
        lambda: sessions.rename("chat", "late"),
        lambda: sessions.update("chat", lambda session: setattr(session, "model", "late")),
        lambda: sessions.create(chat),
    ):
        with pytest.raises(SessionDeletedError):
            await write()
    assert await sessions.load("chat") is None
    assert await sessions.load_merged("chat") is None
    assert (await others.list_sessions()).sessions == ()


async def test_L37_deleting_does_not_race_with_a_runs_last_save(
    sessions: SessionRepository, others: SessionRepository, path: Path
) -> None:
    """Whichever of a deletion and a save comes first, the session is gone and no row of it is left."""
    for number in range(20):
        session = await sessions.create(Session(f"chat-{number}"))
        session.add_message(Message.user("last words"))
        deleting = sessions if number % 2 else others
        saved, deleted = await asyncio.gather(
            sessions.save(session), deleting.delete(session.id), return_exceptions=True
        )
        assert deleted is True
        assert not isinstance(saved, BaseException) or isinstance(saved, SessionDeletedError)
        assert await sessions.load(session.id) is None
    assert rows(path, "SELECT (SELECT count(body) FROM commits), (SELECT count(*) FROM heads)") == [(0, 0)]


async def test_L38_cancelled_waiters_leave_no_lock_behind(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """When the holder of a session's lock and all who wait for it were cancelled, the lock map is empty."""
    stall = storage.stall("commit")
    chat.add_message(Message.user("first"))
    holder = asyncio.create_task(sessions.save(chat))
    await stall.reached.wait()
    waiters = [asyncio.create_task(sessions.rename("chat", f"title {number}")) for number in range(5)]
    await anyio.lowlevel.checkpoint()
    assert sessions.persistence.stats()["locks"] == 1
    for task in (holder, *waiters):
        task.cancel()
    await asyncio.gather(holder, *waiters, return_exceptions=True)
    stall.release()
    await sessions.persistence.tasks.finish()
    assert sessions.persistence.stats()["locks"] == 0
    assert (await sessions.get("chat")).title is None
    assert texts(await sessions.get("chat")) == ["hello", "first"]


async def test_L38_a_thousand_sessions_touched_once_leave_nothing_but_bounded_cache_entries(path: Path) -> None:
    """Lock map, tasks and waiting work are empty afterwards, and the cache is within its bound."""
    async with SessionRepository.open(path, cache_bytes_max=200_000, durability="relaxed") as sessions:

        async def touch(number: int) -> None:
            session = await sessions.load_or_create(f"chat-{number}")
            session.add_message(Message.user("x" * 500))
            await sessions.save(session)
            await sessions.get(session.id)

        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(touch, number)
        stats = {**sessions.persistence.stats(), **(await sessions.stats())}
        assert (stats["locks"], stats["dirty_sessions"], len(sessions.persistence.tasks)) == (0, 0, 0)
        assert stats["cache_bytes"] <= 200_000
        assert stats["cache_entries"] < 100


async def test_L39_a_pinned_grandchild_saves_its_root(sessions: SessionRepository, others: SessionRepository) -> None:
    """A clean-up that keeps what is pinned spares the whole tree of a pinned session, however deep that sits."""
    for tree in ("kept", "gone"):
        root = await sessions.create(Session(tree))
        child = await sessions.create(root.new_child(f"{tree}-child"))
        await sessions.create(child.new_child(f"{tree}-grandchild"))
    await others.pin("kept-grandchild")
    report = await sessions.cleanup("all")
    assert sorted(report.deleted) == ["gone", "gone-child", "gone-grandchild"]
    assert len((await others.list_sessions()).sessions) == 3
    report = await sessions.cleanup("children")
    assert "kept-grandchild" not in report.deleted
    assert {head.id for head in (await others.list_sessions()).sessions} >= {"kept", "kept-grandchild"}


async def test_L40_a_clean_up_that_fails_half_way_reports_what_it_deleted(
    sessions: SessionRepository, path: Path
) -> None:
    """Of three sessions, one of which can't be deleted, the two deletions and the failure are reported."""
    for name in ("a", "b", "c"):
        await sessions.create(Session(name, updated_at=now() - timedelta(hours=1)))
    with raw(path) as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE UPDATE ON sessions WHEN NEW.session_id = 'b' "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    report = await sessions.cleanup("all")
    assert sorted(report.deleted) == ["a", "c"]
    assert [failure.session_id for failure in report.failed] == ["b"]
    with pytest.raises(SessionNotFoundError):
        await sessions.get("a")
    assert [head.id for head in (await sessions.list_sessions()).sessions] == ["b"]


async def test_L28_the_file_is_never_replaced(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """Saves and closing change the file in place under SQLite's log; they don't put another file there."""
    inode = path.stat().st_ino
    chat.add_message(Message.user("more"))
    await sessions.save(chat)
    await sessions.aclose()
    assert path.stat().st_ino == inode
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
