"""Mends what `check` found and what is derived, after a backup. Truth is never dropped (G8)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.log import write_runs
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import FILTERS, SessionRow, filters_of, find
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.upkeep.check import COUNTED_QUESTIONS, DELETED, counted

_COUNT: Final = "UPDATE sessions SET message_count = ?, message_bytes = ?, last_id = max(last_id, ?) WHERE key = ?"


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
    """Work out anew what is derived from a session's log, questions and head."""
    connection.execute(
        f"UPDATE sessions SET (question_count, open_questions) = ({COUNTED_QUESTIONS}) WHERE key = ?1",  # noqa: S608
        (row.key,),
    )
    with suppress(StorageCorruptError):  # reported, and left
        found = counted(connection, row)
        connection.execute(_COUNT, (found.message_count, found.message_bytes, found.last_id, row.key))
        if row.reshaped_revision:
            write_runs(connection, row.key, found.runs)
    ids.rebuild(connection, row.key)
    try:
        head = read_head(connection, row)
    except StorageCorruptError:  # reported, and left
        return
    marks = ", ".join("?" * len(filters_of(head)))
    sql = f"UPDATE sessions SET ({FILTERS}) = ({marks}) WHERE key = ?"  # noqa: S608 - constants
    connection.execute(sql, (*filters_of(head), row.key))
