"""Files of earlier schemas are brought up to date by opening them, with all that is in them (L96)."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.sqlite.transactions import migrations
from bamboo_sessions.storage.sqlite.transactions.connection import value_of

pytestmark = pytest.mark.anyio

_SESSION = """
    INSERT INTO sessions (namespace, session_id, revision, incarnation, metadata_version, updated_at, created_at,
        deleted_at, message_count, message_bytes, tail_position, reshaped_revision, head_revision, question_count,
        open_questions, kind, root_id, pinned, archived)
    VALUES ('default', ?, 7, 3, 2, 1, 1, ?, 0, 0, 0, 0, 7, 0, 0, 'root', ?, 0, 0)"""


def _file_of_the_first_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as the first schema's release made it: a living session, and a deleted one."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", migrations.STEPS[:1])
        migrations.prepare(str(path), busy_timeout_ms=1000)
    connection = apsw.Connection(str(path))
    assert value_of(connection, "PRAGMA user_version") == 1
    connection.execute(_SESSION, ("s", None, "s"))
    document = (
        '{"id":"s","root_session_id":"s","created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"}'
    )
    connection.execute("INSERT INTO heads VALUES (?, ?)", (connection.last_insert_rowid(), document.encode()))
    connection.execute(_SESSION, ("gone", 1, "gone"))
    connection.close()


async def test_L96_a_file_without_leases_gets_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the first schema keeps sessions and counters; they, and a deleted one's next life, can be leased."""
    _file_of_the_first_schema(path, monkeypatch)
    async with SessionRepository.open(path) as sessions:
        async with sessions.lease("s") as lease:
            assert (lease.token, lease.session.revision) == (1, 7)
            lease.session.add_message(Message.user("a"))
            assert (await lease.save()).revision == 8
        gone = Message.user("a")
        assert (await sessions.check()).ok
        await sessions.create(type(lease.session)("gone"))
        async with sessions.lease("gone") as lease:
            assert (await lease.append(gone)).revision == 9
    connection = apsw.Connection(str(path))
    assert value_of(connection, "PRAGMA user_version") == len(migrations.STEPS)
    connection.close()
