"""Records of adapters: bytes by `(namespace, scope, kind, key)`.

A record's version comes from one counter, so that a version that somebody has seen can only be met by that very write
(L121). Scopes and kinds are numbers, and the rows lie in the order of their keys: a scan reads neighbours.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.errors import SessionDeletedError
from bamboo_sessions.domain.limits import RECORD_BYTES_MAX
from bamboo_sessions.storage.commit import HistorySource, RecordCommit, RecordScope, RecordWrite, SessionKey
from bamboo_sessions.storage.query import Record, RecordQuery, page_of_records
from bamboo_sessions.storage.record_plan import (
    NO_RECORDS,
    RecordChange,
    RecordId,
    RecordPlan,
    other_sessions,
    plan_records,
)
from bamboo_sessions.storage.sqlite.sessions.rows import require
from bamboo_sessions.storage.sqlite.transactions.budget import TooLong
from bamboo_sessions.storage.sqlite.transactions.connection import reading, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_BYTES_MAX, LOOP_MESSAGES_MAX
from bamboo_sessions.storage.sqlite.upkeep.damage import checksum

_SURROGATES: Final = 0xD800
_BEHIND_SURROGATES: Final = 0xE000
_SCOPE: Final = {
    "session": "(SELECT sessions.key FROM sessions WHERE namespace = ? AND session_id = ?)",
    "shared": "(SELECT -number FROM shared_scopes WHERE namespace = ? AND name = ?)",
}
_OF: Final = "scope = {scope} AND kind = (SELECT number FROM record_kinds WHERE name = ?)"
_GET: Final = f"""
    SELECT key, CASE WHEN length(value) <= ? THEN value END, version FROM records WHERE {_OF} AND key = ?"""  # noqa: S608
_VERSION: Final = f"SELECT version FROM records WHERE {_OF} AND key = ?"  # noqa: S608 - constants
_DELETE: Final = f"DELETE FROM records WHERE {_OF} AND key = ?"  # noqa: S608 - constants
_NEWEST: Final = "SELECT value FROM meta WHERE name = 'record_version'"
_GIVEN: Final = "UPDATE meta SET value = ? WHERE name = 'record_version'"
_PUT: Final = """
    INSERT OR REPLACE INTO records (scope, kind, key, version, checksum, value)
    VALUES ({scope}, (SELECT number FROM record_kinds WHERE name = ?), ?, ?, ?, ?)"""
_ADD_SCOPE: Final = "INSERT OR IGNORE INTO shared_scopes (namespace, name) VALUES (?, ?)"
_ADD_KIND: Final = "INSERT OR IGNORE INTO record_kinds (name) VALUES (?)"
_THEIRS: Final = """
    SELECT name, key, value FROM records AS theirs JOIN record_kinds ON number = kind WHERE scope = ?1 AND NOT EXISTS (
        SELECT 1 FROM records AS own WHERE own.scope = ?2 AND own.kind = theirs.kind AND own.key = theirs.key)
    AND (?3 IS NULL OR name IN (SELECT value FROM json_each(?3))) ORDER BY name, key"""
_LOGGED: Final = "SELECT versions FROM record_commits WHERE namespace = ? AND commit_id = ?"
_LOG: Final = "INSERT INTO record_commits (namespace, commit_id, at, versions) VALUES (?, ?, ?, ?)"
_PRUNE: Final = """
    DELETE FROM record_commits WHERE (namespace, commit_id) IN
    (SELECT namespace, commit_id FROM record_commits WHERE at < ? ORDER BY at LIMIT ?)"""


# --- reading


def get(
    connection: apsw.Connection,
    namespace: str,
    scope: RecordScope,
    kind: str,
    keys: Sequence[str],
    *,
    small: bool = False,
) -> tuple[Record, ...]:
    """The records with these keys, those that there are; `small` refuses long reads (`TooLong`)."""
    of, sql = (namespace, scope.name, kind), _GET.format(scope=_SCOPE[scope.type])
    longest = LOOP_BYTES_MAX // max(1, len(keys)) if small else RECORD_BYTES_MAX
    if small and len(keys) > LOOP_MESSAGES_MAX:
        raise TooLong
    with reading(connection) if len(keys) > 1 else nullcontext():
        found = [row for key in keys for row in rows_of(connection, sql, (longest, *of, key))]
    if any(value is None for _, value, _ in found):
        raise TooLong
    return tuple(Record(*row) for row in found)


def scan(connection: apsw.Connection, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
    """Records by their keys, in the order of the keys or backwards."""
    sql, args = _scanning("key, value, version", namespace, scope, query)
    cursor = connection.execute(sql, args)
    try:
        return page_of_records(Record(*found) for found in cursor)
    finally:
        cursor.close(force=True)  # the page may have ended before the rows


def scan_keys(connection: apsw.Connection, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
    """The keys alone, from the index."""
    return tuple(key for (key,) in rows_of(connection, *_scanning("key", namespace, scope, query)))


def _scanning(
    columns: str, namespace: str, scope: RecordScope, query: RecordQuery
) -> tuple[str, tuple[str | int, ...]]:
    """The statement of a scan and its arguments."""
    order, behind = ("DESC", "key < ?") if query.reverse else ("ASC", "key > ?")
    borders = (
        ("key >= ?", max(query.prefix, query.start or "")),
        ("key < ?", _lower(_behind(query.prefix), query.end)),
        (behind, query.after),
    )
    where = [_OF.format(scope=_SCOPE[scope.type]), *(condition for condition, key in borders if key is not None)]
    keys = [key for _, key in borders if key is not None]
    sql = f"SELECT {columns} FROM records WHERE {' AND '.join(where)} ORDER BY key {order} LIMIT ?"  # noqa: S608
    return sql, (namespace, scope.name, query.kind, *keys, query.limit)


def _lower(one: str | None, other: str | None) -> str | None:
    return min(one, other) if one is not None and other is not None else one if other is None else other


def _behind(prefix: str) -> str | None:
    """The first text that sorts behind all texts with this prefix; `None` if there is none."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_BEHIND_SURROGATES if following == _SURROGATES else following)


# --- writing


def write(connection: apsw.Connection, commit: RecordCommit, now: datetime) -> tuple[int, ...]:
    """Write records as one unit, outside a session's commit; their versions."""
    asked = (commit.namespace, commit.commit_id)
    logged: str | None = value_of(connection, _LOGGED, asked)
    if logged is not None:
        return from_text(logged)
    if commit.scope.type == "session":
        row = require(connection, SessionKey(commit.namespace, commit.scope.name))
        if commit.incarnation not in {None, row.incarnation}:
            raise SessionDeletedError(commit.scope.name)
    plan = planned(connection, commit.namespace, commit.scope, commit.writes)
    apply(connection, commit.namespace, plan.changes)
    connection.execute(_LOG, (*asked, to_micros(now), to_text(plan.versions)))
    return plan.versions


def planned(
    connection: apsw.Connection, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]
) -> RecordPlan:
    """What `writes` do; raises if one of them is refused. Other sessions that they name have to live."""
    if not writes:
        return NO_RECORDS
    for key in other_sessions(namespace, writes, scope):
        require(connection, key)

    def version_of(record: RecordId) -> int:
        return value_of(connection, _VERSION.format(scope=_SCOPE[record.scope.type]), _columns(namespace, record)) or 0

    return plan_records(writes, scope, version_of, value_of(connection, _NEWEST))


def _columns(namespace: str, record: RecordId) -> tuple[str, ...]:
    return (namespace, record.scope.name, record.kind, record.key)


def apply(connection: apsw.Connection, namespace: str, changes: Sequence[RecordChange]) -> None:
    """Do what was planned."""
    for record, value, version in changes:
        scope, columns = _SCOPE[record.scope.type], _columns(namespace, record)
        if value is None:
            connection.execute(_DELETE.format(scope=scope), columns)
            continue
        connection.execute(_ADD_KIND, (record.kind,))
        if record.scope.type == "shared":
            connection.execute(_ADD_SCOPE, (namespace, record.scope.name))
        sealed = checksum(value, record.kind, record.key, version, namespace, record.scope.type, record.scope.name)
        connection.execute(_PUT.format(scope=scope), (*columns, version, sealed, value))
    if given := max((change.version for change in changes), default=0):
        connection.execute(_GIVEN, (given,))


def copy(connection: apsw.Connection, source: HistorySource, to: SessionKey, session: int) -> bool:
    """Give a fork, the session with the key `session`, the records of its source, of the kinds that were asked for.

    Those that the fork's own commit wrote stay. Returns whether there were any.
    """
    theirs = require(connection, SessionKey(to.namespace, source.session_id)).key
    kinds = None if source.record_kinds is None else json.encode(source.record_kinds).decode()
    newest, scope = value_of(connection, _NEWEST), RecordScope("session", to.session_id)
    found = rows_of(connection, _THEIRS, (theirs, session, kinds))
    copies = [
        RecordChange(RecordId(scope, kind, key), value, version)
        for version, (kind, key, value) in enumerate(found, newest + 1)
    ]
    apply(connection, to.namespace, copies)
    return bool(copies)


def to_text(versions: Iterable[int]) -> str:
    """Versions as the log keeps them."""
    return ",".join(map(str, versions))


def from_text(versions: str) -> tuple[int, ...]:
    """Versions that the log has kept."""
    return tuple(map(int, versions.split(","))) if versions else ()


def prune(connection: apsw.Connection, before: int, limit: int) -> None:
    """Forget what became of writes of before this time, in microseconds; `limit` of them at most."""
    connection.execute(_PRUNE, (before, limit))
