"""Mends what `check` found and what is derived, after a backup. Truth is never dropped (G8)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import apsw

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.history.versions import add_tool_calls
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import FILTERS, SessionRow, filters_of, find
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.upkeep.check import COUNTED, COUNTED_QUESTIONS, DELETED, versions_of


def backup_path(path: Path, moment: datetime) -> Path:
    """A name beside the file that isn't taken."""
    stem = f"{path.name}.backup-{moment:%Y%m%dT%H%M%SZ}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1_000)))
    return next(place for name in names if not (place := path.with_name(name)).exists())


def remove_leftovers(connection: apsw.Connection, table: str) -> bool:
    """Remove what a table still has of one deleted session; whether there was any."""
    session = value_of(connection, f"SELECT session FROM {table} WHERE {DELETED} LIMIT 1")  # noqa: S608 - constants
    if session is None:
        return False
    connection.execute(f"DELETE FROM {table} WHERE session = ?", (session,))  # noqa: S608 - constants
    return True


def mend_session(connection: apsw.Connection, namespace: str, session_id: str) -> None:
    """Work out anew what is derived of a session, if it lives."""
    row = find(connection, SessionKey(namespace, session_id))
    if row is not None and row.is_living:
        _mend(connection, row)


def _mend(connection: apsw.Connection, row: SessionRow) -> None:
    """Work out anew what is derived from a session's messages, questions and head."""
    connection.execute(
        f"UPDATE sessions SET (message_count, message_bytes, tail_position) = ({COUNTED}), "  # noqa: S608 - constants
        f"(question_count, open_questions) = ({COUNTED_QUESTIONS}) WHERE key = ?1",
        (row.key,),
    )
    connection.execute("DELETE FROM tool_calls WHERE session = ?", (row.key,))
    for version in versions_of(connection, row.key):
        if version.message is not None:
            add_tool_calls(connection, row.key, version.row, version.message)
    try:
        head = read_head(connection, row)
    except StorageCorruptError:  # reported, and left
        return
    marks = ", ".join("?" * len(filters_of(head)))
    sql = f"UPDATE sessions SET ({FILTERS}) = ({marks}) WHERE key = ?"  # noqa: S608 - constants
    connection.execute(sql, (*filters_of(head), row.key))
