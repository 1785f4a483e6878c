"""How the connections of reads are set up, seen in what SQLite does."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import State
from bamboo_sessions.storage.query import ListQuery, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.history import reads, windows
from bamboo_sessions.storage.sqlite.sessions import listing
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_MESSAGES_MAX, LOOP_MMAP_BYTES, MMAP_BYTES
from tests.unit.storage.sqlite.commits import appending, key_of

pytestmark = pytest.mark.anyio


async def test_reads_do_not_compile_their_statements_anew(storage: SqliteStorage) -> None:
    """A read that was made before is made again with the same compiled statements, limits and all."""
    await storage.commit(appending("s", Message.user("x")))
    compiled: list[str | None] = []

    def compiling(_: int, name: str | None, *__: str | None) -> int:  # SQLite asks it while it compiles
        compiled.append(name)
        return apsw.SQLITE_OK

    def work(connection: apsw.Connection) -> list[int]:
        connection.authorizer = compiling
        counts = []
        for limit in (1, 2, 3):
            reads.read(connection, key_of("s"))
            windows.read_window(connection, key_of("s"), WindowQuery(limit))
            listing.list_heads(connection, ListQuery("default", limit=limit))
            counts.append(len(compiled))
        return counts

    first, second, third = storage._engine.read_on_loop(work)
    assert 0 < first == second == third


async def test_only_long_reads_map_the_file(storage: SqliteStorage) -> None:
    """The loop's connection copies the pages that it reads; the reader thread's maps the file into memory."""
    here = storage._engine.read_on_loop(lambda c: value_of(c, "PRAGMA mmap_size"))
    there = await storage._engine.read(lambda c: value_of(c, "PRAGMA mmap_size"))
    assert (here, there) == (LOOP_MMAP_BYTES, MMAP_BYTES)


@pytest.mark.parametrize("length", [1, LOOP_MESSAGES_MAX + 1])
async def test_the_first_load_finds_its_statements_compiled(path: Path, length: int) -> None:
    """What a load asks was compiled when the file was opened, on the connections of short and of long reads."""
    await _fill(path, length)
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()

    def missed(connection: apsw.Connection) -> int:
        return connection.cache_stats()["misses"]

    before = [storage._engine.read_on_loop(missed), await storage._engine.read(missed)]
    storage.still_newest(key_of("s"), 1, None)
    assert isinstance(await storage.read(key_of("s")), Snapshot)
    assert [storage._engine.read_on_loop(missed), await storage._engine.read(missed)] == before
    await storage.aclose()


async def _fill(path: Path, length: int) -> None:
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    await storage.commit(appending("s", *(Message.user("x") for _ in range(length))))
    await storage.aclose()


async def test_a_short_session_is_read_by_one_statement(storage: SqliteStorage) -> None:
    """A session of few messages costs one query, without a transaction around it."""
    await storage.commit(appending("s", Message.user("x")))
    asked: list[str] = []

    def asking(_: apsw.Cursor, sql: str, __: object) -> bool:
        asked.append(sql)
        return True

    def work(connection: apsw.Connection) -> State:
        connection.exec_trace = asking
        try:
            return reads.read(connection, key_of("s"), small=True)
        finally:
            connection.exec_trace = None

    assert storage._engine.read_on_loop(work) == await storage._engine.read(lambda c: reads.read(c, key_of("s")))
    assert len(asked) == 1


@pytest.mark.parametrize("at_once", [1, 3, 9, 10, 11])
async def test_a_history_is_the_same_however_it_is_cut_into_chunks(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A long history is read some messages at a time, each once and in order, also where the last chunk is full."""
    monkeypatch.setattr(reads, "CHUNK_MESSAGES_MAX", at_once)
    await storage.commit(appending("s", *(Message.user("x", id=f"m{number}") for number in range(10))))
    state = await storage._engine.read(lambda c: reads.read(c, key_of("s")))
    assert isinstance(state, Snapshot)
    assert [message.id for message in state.messages] == [f"m{number}" for number in range(10)]
