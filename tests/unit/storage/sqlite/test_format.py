"""The format of the file has a number, and a file of it that is kept: changing the format takes a step (L96).

`python -m tests.unit.storage.sqlite.golden` makes the file of a new format; those of older ones stay as they are.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import apsw
import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.sqlite.transactions import migrations
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of, value_of
from tests.unit.storage.sqlite.golden import FILES, TEXTS, content_of

pytestmark = pytest.mark.anyio


def test_the_newest_format_has_its_file() -> None:
    """There is a file of each format."""
    assert [number for number, _ in FILES] == list(range(1, len(migrations.STEPS) + 1))


def test_the_schema_is_that_of_the_file(path: Path) -> None:
    """A new file's tables and indexes are those of the file that is kept: they changed if this fails."""
    migrations.prepare(str(path), busy_timeout_ms=1000)
    kept = path.with_name("kept.db")
    kept.write_bytes(gzip.decompress(FILES[-1][1].read_bytes()))
    schemas = []
    for file in (path, kept):
        connection = apsw.Connection(str(file))
        assert value_of(connection, "PRAGMA user_version") == len(migrations.STEPS)
        schemas.append(rows_of(connection, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"))
        connection.close()
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize(("number", "file"), FILES)
async def test_L96_a_file_of_each_format_is_opened(path: Path, number: int, file: Path) -> None:
    """Everything that was written to it is there, it is in order, and one can go on."""
    path.write_bytes(gzip.decompress(file.read_bytes()))
    connection = apsw.Connection(str(path))
    assert value_of(connection, "PRAGMA user_version") == number
    connection.close()
    async with SessionRepository.open(path) as sessions:
        assert await content_of(sessions) == TEXTS
        assert (await sessions.storage.check()).ok
        await sessions.append("plain", Message.user("now"))
        await sessions.append("edited", Message.tool("late", tool_call_id="call"))
        assert [message.text for message in (await sessions.get("plain")).messages] == [*TEXTS["plain"], "now"]
        assert (await sessions.get("edited")).messages[2].text == "late"
        assert (await sessions.storage.check()).ok


async def test_the_page_shows_one_message_a_row(path: Path) -> None:
    """The view of the documentation gives any SQL client the living messages of each session, in their order."""
    path.write_bytes(gzip.decompress(FILES[-1][1].read_bytes()))
    page = Path(__file__).parents[4] / "docs/reference/storage-format.md"
    sql = page.read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    for session, texts in TEXTS.items():
        query = """
            SELECT json_extract(message, '$.content') FROM messages
            WHERE namespace = 'default' AND session_id = ? ORDER BY number"""
        assert [text or "" for (text,) in rows_of(connection, query, (session,))] == texts
    connection.close()
