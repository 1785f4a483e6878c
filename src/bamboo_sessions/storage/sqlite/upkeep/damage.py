"""Finds bytes that changed on the disk: checksums of what is stored once, and counters that two tables have (G8).

A disk that gives back other bytes than it got says nothing. SQLite's own check sees its structures and each column
that an index repeats. The rest is compared here. Loading compares nothing: that would slow down everybody. What nothing
repeats, and nothing loads, stays unseen: the log of deleted sessions, their `metadata_version`, leases, and `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

import apsw

from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.usage import COUNTS
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of, value_of

_HEAD: Final = """
    SELECT heads.checksum, document, metadata_version, created_at, head_revision
    FROM heads JOIN sessions ON sessions.key = heads.session WHERE session = ?"""
_USAGE: Final = f"checksum, document, record_id, at, {', '.join(COUNTS)}, session"
_OWNED: Final = {
    "question": "SELECT checksum, document, question_id, seq, state, session FROM questions WHERE session = ?",
    "token usage": f"SELECT {_USAGE} FROM token_usage WHERE session = ?",  # noqa: S608 - constants
}
_RECORDS: Final = """
    SELECT records.checksum, value, record_kinds.name, records.key, records.version,
        ifnull(shared_scopes.namespace, sessions.namespace), iif(scope > 0, 'session', 'shared'),
        ifnull(shared_scopes.name, sessions.session_id)
    FROM records LEFT JOIN record_kinds ON record_kinds.number = records.kind
    LEFT JOIN sessions ON sessions.key = records.scope LEFT JOIN shared_scopes ON shared_scopes.number = -records.scope
    WHERE ?1 IS NULL OR ?1 IN (sessions.namespace, shared_scopes.namespace)"""
_RESHAPED: Final = """
    SELECT ifnull((SELECT max(revision) FROM commits WHERE session = key AND shape IS NOT NULL), 0), reshaped_revision
    FROM sessions WHERE key = ?"""
_NEWEST: Final = """
    SELECT namespace, session_id FROM sessions
    JOIN (SELECT session AS of, max(position) AS newest FROM commits GROUP BY session) ON of = key
    JOIN commits ON commits.position = newest
    WHERE newest > (SELECT value FROM meta WHERE name = 'pruned_up_to') AND (?1 IS NULL OR namespace = ?1)
        AND (sessions.revision, sessions.incarnation, sessions.updated_at)
        IS NOT (commits.revision, commits.incarnation, commits.updated_at)"""
_GAPS: Final = """
    SELECT count(*) FROM (SELECT revision, lag(revision) OVER (PARTITION BY session ORDER BY position) AS before
    FROM commits WHERE kinds <> 0 AND position > (SELECT value FROM meta WHERE name = 'pruned_up_to'))
    WHERE revision <> before + 1"""


def checksum(document: bytes, *columns: str | int | None) -> int:
    """A number that goes with a document and the columns beside it."""
    return crc32(document, crc32(repr(columns).encode()) if columns else 0)


def changed_in_session(connection: apsw.Connection, session: int) -> Iterator[Problem]:
    """Documents and counters of one living session that aren't what was written."""
    head = row_of(connection, _HEAD, (session,))
    if head is not None and _differs(*head):
        yield Problem(kind="checksum", detail="The head isn't what was written.")
    for what, sql in _OWNED.items():
        for row in connection.execute(sql, (session,)):
            if _differs(*row):
                yield Problem(kind="checksum", detail=f"A {what}, {row[2]!r}, isn't what was written.")
    for newest, reshaped in rows_of(connection, _RESHAPED, (session,)):
        if newest != reshaped:
            yield Problem(kind="counters", detail="The revision that last changed the history's shape can't be right.")


def changed_records(connection: apsw.Connection, namespace: str | None) -> Iterator[Problem]:
    """Records that aren't what was written, of one namespace or of all (`None`)."""
    for row in connection.execute(_RECORDS, (namespace,)):
        if _differs(*row):
            kind, key, _, owner, _, scope = row[2:]
            detail = f"Record {kind!r}, {key!r} of {scope!r} isn't what was written."
            yield Problem(kind="checksum", detail=detail, namespace=owner)


def changed_counters(connection: apsw.Connection, namespace: str | None) -> Iterator[Problem]:
    """Sessions whose counters aren't those of their newest commit, of one namespace or of all (`None`)."""
    for owner, session_id in connection.execute(_NEWEST, (namespace,)):
        detail = "Its counters aren't those of its newest commit."
        yield Problem(kind="counters", detail=detail, namespace=owner, session_id=session_id)


def gaps(connection: apsw.Connection) -> Iterator[Problem]:
    """Commits that are missing between two others of a session."""
    if value_of(connection, _GAPS):
        yield Problem(kind="counters", detail="The commits don't follow one another.")


def _differs(expected: int, document: bytes, *columns: str | int | None) -> bool:
    return checksum(document, *columns) != expected
