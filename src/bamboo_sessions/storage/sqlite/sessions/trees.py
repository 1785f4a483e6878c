"""Deletes a session and all below it, in one transaction, and leaves tombstones (G9)."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import apsw

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.errors import PreconditionFailedError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.storage.commit import SessionKey, taken
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import bits_of, stored_id
from bamboo_sessions.storage.sqlite.history.writing import CommitRow, write_commit
from bamboo_sessions.storage.sqlite.sessions import leases
from bamboo_sessions.storage.sqlite.sessions.made import find_made
from bamboo_sessions.storage.sqlite.sessions.rows import SessionRow, find
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of, value_of

TREE: Final = """
    WITH RECURSIVE tree (key, namespace, session_id) AS (
        SELECT key, namespace, session_id FROM sessions WHERE key = ?
        UNION
        SELECT child.key, child.namespace, child.session_id FROM tree JOIN sessions AS child
        ON child.namespace = tree.namespace AND child.parent_id = tree.session_id AND child.deleted_at IS NULL
    )"""
"""The keys of a session, given by its key, and of all living sessions below it, parents first."""

_MEMBERS: Final = f"""{TREE}
    SELECT sessions.key, sessions.session_id, revision, incarnation, updated_at, message_count
    FROM tree JOIN sessions ON sessions.key = tree.key"""  # noqa: S608 - constants
_PINNED: Final = """
    SELECT 1 FROM sessions WHERE namespace = ? AND deleted_at IS NULL AND pinned = 1
    AND root_id = (SELECT root_id FROM sessions WHERE key = ?) LIMIT 1"""
"""Whether any session of the whole tree is pinned, above and beside the given one too (L39)."""

_BURY: Final = """
    UPDATE sessions SET revision = ?, updated_at = ?, deleted_at = ?, message_count = 0, message_bytes = 0,
    last_id = '', reshaped_revision = 0, question_count = 0, open_questions = 0, pinned = 0, run_status = NULL
    WHERE key = ?"""
_BELOW: Final = """
    SELECT session_id FROM commits JOIN sessions ON sessions.key = commits.session
    WHERE position = ? AND commit_id = ? AND kinds <> 0"""
_LINES: Final = "SELECT position, kinds, commit_id, body FROM commits WHERE session = ? AND lines > 0"
_EMPTY: Final = """
    UPDATE commits SET body = NULL, shape = NULL, lines = 0, ended = 0, checksum = NULL
    WHERE session = ? AND {condition}"""
_OWNED: Final = ("heads", "shapes", "questions", "token_usage", "leases")
_DELETED: Final = bits_of(("deleted",))


class _Member(NamedTuple):
    key: int
    session_id: str
    revision: int
    incarnation: int
    updated_at: int
    message_count: int


def delete_tree(connection: apsw.Connection, key: SessionKey, query: DeleteQuery, now: datetime) -> tuple[str, ...]:
    """Delete `key` and all below it, unless one of them spares all; returns the ids.

    Raises `PreconditionFailedError` if it is at another revision, `SessionBusyError` if a run holds one of them.
    """
    row = find(connection, key)
    if row is None:
        return ()
    if (done := _replayed(connection, row, query.commit_id)) is not None:
        return done
    if not row.is_living:
        return ()
    if query.if_revision is not None and query.if_revision != row.revision:
        raise PreconditionFailedError(query.if_revision, row.revision, session_id=key.session_id)
    members = [_Member(*found) for found in rows_of(connection, _MEMBERS, (row.key,))]
    if query.keep_pinned and row_of(connection, _PINNED, (key.namespace, row.key)) is not None:
        return ()
    if any(_spares(member, query) for member in members):
        return ()
    if not query.force:
        leases.check_free(connection, (SessionKey(key.namespace, member.session_id) for member in members), now)
    commit_id = query.commit_id or new_id()
    for member in members:
        its = commit_id if member.key == row.key else _id_below(commit_id, row)
        _bury(connection, member, its, to_micros(query.at), to_micros(now))
    return tuple(member.session_id for member in members)


def _replayed(connection: apsw.Connection, row: SessionRow, commit_id: str | None) -> tuple[str, ...] | None:
    """What was deleted if this very call was made before (G4)."""
    made = None if commit_id is None else find_made(connection, row.key, commit_id)
    if commit_id is None or made is None:
        return None
    if not made.is_deletion:
        raise taken(row.session_id, commit_id)
    its = _id_below(commit_id, row)
    below = (
        value_of(connection, _BELOW, (position, stored_id(its)))
        for position in ids.positions_of_commit(connection, its)
    )
    return (row.session_id, *(session_id for session_id in below if session_id is not None))


def _id_below(commit_id: str, row: SessionRow) -> str:
    """The commit id of those that go with a session: none of a caller's, which have no line breaks."""
    return f"{commit_id}\n{row.key}"


def _spares(member: _Member, query: DeleteQuery) -> bool:
    if query.only_empty and member.message_count:
        return True
    return query.updated_before is not None and member.updated_at >= to_micros(query.updated_before)


def _bury(connection: apsw.Connection, member: _Member, commit_id: str, at: int, now: int) -> None:
    """Empty a session, and log that; times in microseconds."""
    for row in connection.execute(_LINES, (member.key,)):
        ids.remove(connection, [entry for entry in ids.entries_of(member.key, *row) if entry[0] != ids.COMMIT])
    for condition in ("lines > 0", "shape IS NOT NULL"):  # one index each
        connection.execute(_EMPTY.format(condition=condition), (member.key,))
    for table in _OWNED:
        connection.execute(f"DELETE FROM {table} WHERE session = ?", (member.key,))  # noqa: S608 - constants
    connection.execute("DELETE FROM records WHERE scope = ?", (member.key,))
    row = CommitRow(
        session=member.key,
        revision=member.revision + 1,
        incarnation=member.incarnation,
        commit_id=stored_id(commit_id),
        kinds=_DELETED,
        at=at,
        logged_at=now,
        updated_at=max(at, member.updated_at + 1),
        message_count=0,
    )
    connection.execute(_BURY, (row.revision, row.updated_at, at, member.key))
    write_commit(connection, row, None)
