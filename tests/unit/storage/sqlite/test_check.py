"""The check finds what is wrong, and repairs only what is derived (G8, L29)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.query import ListQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.history.ids import fill
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of
from bamboo_sessions.storage.sqlite.upkeep import check
from tests.unit.storage.sqlite.commits import START, appending, head_of, insertion, key_of

pytestmark = pytest.mark.anyio


class _Noon:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    """An open storage with two sessions; tests damage it, so that it isn't checked in the end."""
    storage = SqliteStorage(path, durability="relaxed", clock=_Noon())
    await storage.open()
    call = Message.assistant("", [ToolCall("call", "f")], id="call")
    head = head_of("s", owner="o", pinned=True, questions=(PendingQuestion("call", "f", "?"),))
    await storage.commit(appending("s", Message.user("a", id="a"), call, Message.user("b", id="b"), initial_head=head))
    await storage.commit(appending("sound", Message.user("c")))
    usage = (TokenUsageRecord(id="u", at=START, input_tokens=3),)
    await storage.commit(appending("s", usage=usage, records=(RecordWrite("kind", "key", b"value"),)))
    await storage.commit(appending("s", records=(RecordWrite("kind", "key", b"another"),)))
    await storage.commit(appending("s", insertions=(insertion([Message.user("d")], "a"),)))
    await storage._engine.write(fill)
    yield storage
    await storage.aclose()


async def _damage(storage: SqliteStorage, sql: str) -> None:
    await storage._engine.write(lambda c: rows_of(c, sql))


_DERIVED = [
    ("UPDATE sessions SET message_count = 7", "count"),
    ("UPDATE sessions SET message_bytes = 1", "count"),
    ("UPDATE sessions SET last_id = ''", "ids"),
    ("DELETE FROM ids WHERE session = 1", "ids"),
    ("UPDATE ids SET id = 'other' WHERE kind = 1", "ids"),
    ("UPDATE shapes SET runs = CAST('[[0,2305843009213693952,true]]' AS BLOB)", "order"),
    ("UPDATE sessions SET open_questions = 5", "questions"),
    ("UPDATE sessions SET owner = 'somebody else'", "columns"),
    ("UPDATE sessions SET pinned = 0", "columns"),
]


@pytest.mark.parametrize(("sql", "kind"), _DERIVED)
async def test_derived_data_is_found_and_rebuilt(storage: SqliteStorage, path: Path, sql: str, kind: str) -> None:
    """What can be worked out anew is reported, and repaired after a backup; messages and heads stay as they were."""
    before = await storage.read(key_of("s"))
    await _damage(storage, sql + (" WHERE session_id = 's'" if "sessions" in sql else ""))
    report = await storage.check()
    assert [(problem.kind, problem.session_id) for problem in report.problems] == [(kind, "s")]
    assert not report.ok
    repaired = await storage.check(repair=True)
    assert repaired.ok
    assert repaired.backup == str(path) + ".backup-20260102T120000Z"
    assert (await storage.check()).problems == ()
    assert await storage.read(key_of("s")) == before
    page = await storage.list_heads(ListQuery("default", owner="o", pinned=True, has_question=True))
    assert [head.id for head in page.heads] == ["s"]
    committed = await storage.commit(appending("s", Message.tool("", tool_call_id="call", id="r")))
    assert committed.placed[0].after == "call"


async def test_a_backup_never_overwrites_another(storage: SqliteStorage, path: Path) -> None:
    """Two repairs in one second leave two backups, and each can be opened."""
    for _ in range(2):
        await _damage(storage, "UPDATE sessions SET message_count = 7")
        report = await storage.check(repair=True)
        assert report.backup is not None
        copy = SqliteStorage(report.backup)
        await copy.open()
        assert {problem.kind for problem in (await copy.check()).problems} == {"count"}
        await copy.aclose()
    assert len(list(path.parent.glob("*.backup-*"))) == 2


_TRUTH = [
    ("UPDATE commits SET body = x'7b' WHERE position = 1", "undecodable"),
    ("UPDATE commits SET body = CAST(replace(body, '\"b\"}', '\"z\"}') AS BLOB) WHERE position = 1", "checksum"),
    ("UPDATE heads SET document = x'00' WHERE session = 1", "undecodable"),
    ("DELETE FROM heads WHERE session = 1", "head_missing"),
    ("UPDATE commits SET kinds = 1 WHERE position = 1", "checksum"),
    ("UPDATE commits SET at = at + 1 WHERE position = 3", "checksum"),
    ("DELETE FROM sessions WHERE session_id = 's'", "orphans"),
    ('UPDATE commits SET body = CAST(replace(body, \'"created_at":"2\', \'"created_at":"1\') AS BLOB)', "checksum"),
    ("UPDATE commits SET shape = CAST(replace(shape, '[', '[ ') AS BLOB) WHERE shape IS NOT NULL", "checksum"),
    ("UPDATE heads SET document = CAST(replace(document, '\"pinned\":true', '\"pinned\": true') AS BLOB)", "checksum"),
    ("UPDATE sessions SET metadata_version = 7 WHERE session_id = 's'", "checksum"),
    ("UPDATE questions SET document = CAST(replace(document, '?', '!') AS BLOB)", "checksum"),
    ("UPDATE token_usage SET input_tokens = 8", "checksum"),
    ("UPDATE records SET value = x'00'", "checksum"),
    ("UPDATE records SET key = 'other'", "checksum"),
    ("UPDATE records SET scope = 2", "checksum"),
    ("UPDATE token_usage SET session = 2", "checksum"),
    ("UPDATE sessions SET revision = 9 WHERE session_id = 's'", "counters"),
    ("UPDATE sessions SET incarnation = 3 WHERE session_id = 's'", "counters"),
    ("UPDATE sessions SET reshaped_revision = 9 WHERE session_id = 's'", "counters"),
    ("DELETE FROM commits WHERE position = 3", "counters"),
]


@pytest.mark.parametrize(("sql", "kind"), _TRUTH)
async def test_what_cannot_be_worked_out_is_reported_and_left(storage: SqliteStorage, sql: str, kind: str) -> None:
    """An unreadable body or head, or a lost row, is named; a repair drops none of it and says that it stays."""
    await _damage(storage, sql)
    kinds = {problem.kind for problem in (await storage.check()).problems}
    assert kind in kinds
    count = await storage._engine.read(lambda c: rows_of(c, "SELECT count(*), total(length(body)) FROM commits"))
    report = await storage.check(repair=True)
    assert kind in {problem.kind for problem in report.problems if not problem.repaired}
    assert (
        await storage._engine.read(lambda c: rows_of(c, "SELECT count(*), total(length(body)) FROM commits")) == count
    )
    assert isinstance(await storage.read(key_of("sound")), Snapshot)


async def test_a_corrupt_body_is_an_error_that_names_the_session(storage: SqliteStorage) -> None:
    """Reading a session with an unreadable message raises; it is never read as absence or left out (G8)."""
    await _damage(storage, "UPDATE commits SET body = x'7b7d2c7b' WHERE position = 1")
    with pytest.raises(StorageCorruptError, match="'s'"):
        await storage.read(key_of("s"))
    assert await storage.read_head(key_of("s"))


async def test_a_missing_message_row_is_an_error(storage: SqliteStorage) -> None:
    """A session that has fewer messages than are counted raises, in place of showing a shorter history."""
    await _damage(storage, "DELETE FROM commits WHERE position = 1")
    with pytest.raises(StorageCorruptError, match="counted"):
        await storage.read(key_of("s"))


async def test_a_damaged_file_is_reported_and_not_a_crash(storage: SqliteStorage, path: Path) -> None:
    """Pages full of rubbish give problems of kind `integrity`, or a clear error."""
    await storage.commit(appending("s", *(Message.user("x" * 500) for _ in range(500))))
    await storage.aclose()
    data = bytearray(path.read_bytes())
    data[60 * 4096 : 100 * 4096] = b"\x5a" * (40 * 4096)
    path.write_bytes(data)
    await storage.open()
    report = await storage.check()
    assert "integrity" in {problem.kind for problem in report.problems}
    with pytest.raises(StorageCorruptError):
        await storage.read(key_of("s"))


async def test_rows_left_behind_by_a_deleted_session_are_removed(storage: SqliteStorage) -> None:
    """Rows of a deleted session are found and cleared away."""
    await _damage(storage, "UPDATE sessions SET deleted_at = 1 WHERE session_id = 's'")
    assert {problem.kind for problem in (await storage.check()).problems} == {"leftovers"}
    assert (await storage.check(repair=True)).ok
    assert (await storage.stats())["messages"] == 1


async def test_a_row_that_makes_no_sense_is_corrupt(storage: SqliteStorage) -> None:
    """A value that no such row can have is `StorageCorruptError`, for readers and writers; a check goes on past it."""
    await _damage(storage, "UPDATE sessions SET created_at = 9e18 WHERE session_id = 's'")
    with pytest.raises(StorageCorruptError, match="understood"):
        await storage.read(key_of("s"))
    with pytest.raises(StorageCorruptError, match="understood"):
        await storage.transact(key_of("s"), lambda _: None)
    report = await storage.check()
    assert {problem.session_id for problem in report.problems} == {"s"}
    assert isinstance(await storage.read(key_of("sound")), Snapshot)


async def test_damage_of_another_namespace_is_not_told(storage: SqliteStorage) -> None:
    """L130: a namespace's check names no session of another one, nor mends it, whatever is wrong with it there."""
    await _damage(storage, "UPDATE sessions SET message_count = 7 WHERE session_id = 's'")
    assert (await storage.check("other")).problems == ()
    assert (await storage.check("other", repair=True)).sessions == 0
    assert {problem.kind for problem in (await storage.check("default")).problems} == {"count"}
    assert (await storage.check("default", repair=True)).ok


@pytest.mark.parametrize("repair", [False, True])
async def test_a_check_and_a_repair_are_in_nobodys_way(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    """In every slice of them another process can write at once, and the log can start over between two slices."""
    monkeypatch.setattr(check, "CHECK_SESSIONS", 1)
    other = apsw.Connection(str(path))
    look, slices = check.look, []

    def looked(connection: apsw.Connection, part: check.Part) -> check.Found:
        _, left = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][1:]
        found = look(connection, lambda c: _writing(other, part(c)))
        slices.append((left, other.execute("SELECT max(revision) FROM sessions").fetchall()))
        return found

    monkeypatch.setattr(check, "look", looked)
    await _damage(storage, "UPDATE sessions SET message_count = 7")
    report = await storage.check(repair=repair)
    assert report.ok is repair
    assert len(slices) >= (24 if repair else 12)
    assert {left for left, _ in slices} == {0}
    other.close()


def _writing(other: apsw.Connection, problems: Iterator[Problem]) -> Iterator[Problem]:
    """`problems`, looked for while another process writes."""
    yield from problems
    other.execute("BEGIN IMMEDIATE; UPDATE sessions SET revision = revision; COMMIT")


async def test_other_reads_do_not_wait_for_a_check(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a slice of a check takes long, the reader thread answers others, and small reads are answered anyhow."""
    going, done = threading.Event(), threading.Event()
    look = check.look

    def looked(connection: apsw.Connection, part: check.Part) -> check.Found:
        going.set()
        assert done.wait(10)
        return look(connection, part)

    monkeypatch.setattr(check, "look", looked)
    checking = asyncio.ensure_future(storage.check())
    try:
        assert await asyncio.to_thread(going.wait, 10)
        async with asyncio.timeout(60):
            assert await storage.usage_totals("default", None, include_children=False)
            assert await storage.read(key_of("s"))
    finally:
        done.set()
    assert (await checking).ok
