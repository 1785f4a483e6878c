"""Rows of `sessions`, and how a session's head is written: its row, its document in `heads`, its questions.

The document holds the head; the columns hold what commits count and listings filter by, and win over the document
where both have a field (counters, times). `heads` puts the two together again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, overload

import apsw

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.errors import SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.question import Questions
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import Admission, Current, SessionKey
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of
from bamboo_sessions.storage.sqlite.upkeep.damage import checksum


class SessionRow(NamedTuple):
    """The columns that reading and committing need; times in microseconds."""

    key: int
    session_id: str
    revision: int
    incarnation: int
    metadata_version: int
    updated_at: int
    created_at: int
    deleted_at: int | None
    message_count: int
    message_bytes: int
    last_id: str
    reshaped_revision: int
    head_revision: int
    question_count: int
    lease_token: int

    @property
    def is_living(self) -> bool:
        """Whether it wasn't deleted."""
        return self.deleted_at is None

    @property
    def current(self) -> Current:
        """Its counters, for admission."""
        return Current(
            self.revision,
            self.incarnation,
            self.metadata_version,
            from_micros(self.updated_at),
            not self.is_living,
            self.lease_token,
        )

    @property
    def tombstone(self) -> Tombstone:
        """What its deletion left."""
        return Tombstone(self.session_id, self.revision, self.metadata_version)


COLUMNS: Final = ", ".join(SessionRow._fields)
_FIND: Final = f"SELECT {COLUMNS} FROM sessions WHERE namespace = ? AND session_id = ?"  # noqa: S608 - constants
_AT: Final = f"SELECT namespace, {COLUMNS} FROM sessions WHERE key = ?"  # noqa: S608 - constants
_REVISION: Final = "SELECT revision FROM sessions WHERE namespace = ? AND session_id = ? AND deleted_at IS NULL"


def find(connection: apsw.Connection, key: SessionKey) -> SessionRow | None:
    """The row of a session, living or deleted, or `None`."""
    row = row_of(connection, _FIND, key)
    return None if row is None else SessionRow(*row)


def row_at(connection: apsw.Connection, session: int) -> tuple[str, SessionRow]:
    """The namespace and the row of the session with this key."""
    namespace, *columns = rows_of(connection, _AT, (session,))[0]
    return namespace, SessionRow(*columns)


def living_revision(connection: apsw.Connection, key: SessionKey) -> int | None:
    """The newest revision of a living session, or `None`."""
    row = row_of(connection, _REVISION, key)
    return None if row is None else row[0]


def require(connection: apsw.Connection, key: SessionKey) -> SessionRow:
    """The row of a living session; raises `SessionNotFoundError` or `SessionDeletedError`."""
    row = find(connection, key)
    if row is None:
        raise SessionNotFoundError(key.session_id)
    if not row.is_living:
        raise SessionDeletedError(key.session_id)
    return row


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
@overload
def storable(text: str | None) -> str | None: ...
def storable(text: str | None) -> str | None:
    """`text` for a column that only filters: lone surrogates, which SQLite's text can't hold, are escaped."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# --- writing

FILTERS: Final = "owner, kind, parent_id, root_id, pinned, archived, run_status"
"""Columns that repeat fields of the head for listings to filter by: the values are `filters_of(head)`."""
_FILTERS: Final = tuple(FILTERS.split(", "))
_KEPT: Final = f"SELECT created_at, question_count, open_questions, {FILTERS} FROM sessions WHERE key = ?"  # noqa: S608
_KEPT_NAMES: Final = ("created_at", "question_count", "open_questions", *_FILTERS)


def head_columns(head: SessionHead, admission: Admission) -> dict[str, Any]:
    """The columns that go with a head."""
    return {
        "metadata_version": max(head.metadata_version, admission.metadata_version_min),
        "created_at": to_micros(head.created_at),
        "head_revision": admission.revision,
        "question_count": len(head.questions),
        "open_questions": sum(question.is_open for question in head.questions),
        **dict(zip(_FILTERS, filters_of(head), strict=True)),
    }


def insert_row(connection: apsw.Connection, key: SessionKey, columns: Mapping[str, Any]) -> int:
    """Make the row of a session, with the head's columns among `columns`. Returns its key."""
    values = {"namespace": key.namespace, "session_id": key.session_id, "lease_token": 0, **columns}
    sql = f"INSERT INTO sessions ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"  # noqa: S608 - fixed names
    connection.execute(sql, tuple(values.values()))
    return connection.last_insert_rowid()


def update_row(connection: apsw.Connection, session: int, columns: Mapping[str, Any]) -> None:
    """Change a session's row. Of the head's columns only those that differ are named: each name costs an index."""
    changed = dict(columns)
    if "head_revision" in columns:
        kept = dict(zip(_KEPT_NAMES, rows_of(connection, _KEPT, (session,))[0], strict=True))
        changed = {name: value for name, value in changed.items() if name not in kept or kept[name] != value}
    sql = f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in changed)} WHERE key = ?"  # noqa: S608 - fixed names
    connection.execute(sql, (*changed.values(), session))


def write_head(
    connection: apsw.Connection,
    session: int,
    head: SessionHead,
    document: bytes,
    columns: Mapping[str, Any],
    *,
    has_questions: bool,
) -> None:
    """Store a head's document and its questions; `has_questions`: it has some already."""
    sealed = checksum(document, columns["metadata_version"], columns["created_at"], columns["head_revision"])
    connection.execute(
        "INSERT OR REPLACE INTO heads (session, document, checksum) VALUES (?, ?, ?)", (session, document, sealed)
    )
    if head.questions or has_questions:
        _write_questions(connection, session, head.questions)


def filters_of(head: SessionHead) -> tuple[Any, ...]:
    """The values of `FILTERS`."""
    return (
        head.owner,
        head.kind,
        head.parent_session_id,
        head.root_session_id,
        int(head.pinned),
        int(head.archived),
        storable(head.run_status),
    )


def _write_questions(connection: apsw.Connection, session: int, questions: Questions) -> None:
    """Write those that are new or changed, and forget those that the head forgets."""
    found = connection.execute("SELECT question_id, seq, document FROM questions WHERE session = ?", (session,))
    stored = {question_id: (seq, document) for question_id, seq, document in found.fetchall()}
    for question_id in stored.keys() - {question.id for question in questions}:
        connection.execute("DELETE FROM questions WHERE session = ? AND question_id = ?", (session, question_id))
    for seq, question in enumerate(questions):
        document = json.encode(question)
        if stored.get(question.id) != (seq, document):
            connection.execute(
                "INSERT OR REPLACE INTO questions (session, question_id, seq, state, document, checksum) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session,
                    question.id,
                    seq,
                    question.state,
                    document,
                    checksum(document, question.id, seq, question.state, session),
                ),
            )
