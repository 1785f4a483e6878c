"""How the connections of reads are set up, seen in what SQLite does."""

from __future__ import annotations

import apsw
import pytest

from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.query import ListQuery, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage, listing, reads, windows
from bamboo_sessions.storage.sqlite.connection import value_of
from bamboo_sessions.storage.sqlite.tuning import LOOP_MMAP_BYTES, MMAP_BYTES
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

    first, second, third = storage._engine.read_here(work)
    assert 0 < first == second == third


async def test_only_long_reads_map_the_file(storage: SqliteStorage) -> None:
    """The loop's connection copies the pages that it reads; the reader thread's maps the file into memory."""
    here = storage._engine.read_here(lambda c: value_of(c, "PRAGMA mmap_size"))
    there = await storage._engine.read(lambda c: value_of(c, "PRAGMA mmap_size"))
    assert (here, there) == (LOOP_MMAP_BYTES, MMAP_BYTES)
