"""Records of adapters: bytes by `(namespace, scope, kind, key)`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import apsw

from bamboo_sessions.storage.commit import RecordScope, RecordWrite, check_record_write
from bamboo_sessions.storage.query import Record, RecordQuery
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded, bounded_rows
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of, value_of
from bamboo_sessions.storage.sqlite.upkeep.damage import checksum

_SURROGATES: Final = 0xD800
_BEHIND_SURROGATES: Final = 0xE000
_WHERE: Final = "namespace = ? AND scope_type = ? AND scope = ? AND kind = ?"
_PUT: Final = """
    INSERT INTO records (namespace, scope_type, scope, kind, key, version, value, checksum)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, scope_type, scope, kind, key)
    DO UPDATE SET version = excluded.version, value = excluded.value, checksum = excluded.checksum"""


def get(
    connection: apsw.Connection, namespace: str, scope: RecordScope, kind: str, key: str, *, small: bool = False
) -> Record | None:
    """One record, or `None`; `small` refuses a long one with `TooLong`."""
    budget = Budget() if small else None
    sql = f"SELECT version, {bounded('value', budget)} FROM records WHERE {_WHERE} AND key = ?"  # noqa: S608 - constants
    found = bounded_rows(connection, sql, (namespace, scope.type, scope.name, kind, key), budget)
    return Record(key, found[0][1], found[0][0]) if found else None


def scan(connection: apsw.Connection, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
    """Records by key prefix, in the order of their keys or backwards."""
    where = [_WHERE, "key >= ?"]
    args: list[str | int] = [namespace, scope.type, scope.name, query.kind, query.prefix]
    if (end := _behind(query.prefix)) is not None:
        where.append("key < ?")
        args.append(end)
    if query.after is not None:
        where.append("key < ?" if query.reverse else "key > ?")
        args.append(query.after)
    order = "DESC" if query.reverse else "ASC"
    sql = f"SELECT key, value, version FROM records WHERE {' AND '.join(where)} ORDER BY key {order} LIMIT ?"  # noqa: S608
    return tuple(Record(*found) for found in rows_of(connection, sql, (*args, query.limit)))


def _behind(prefix: str) -> str | None:
    """The first text that sorts behind all texts with this prefix; `None` if there is none."""
    stem = prefix.rstrip(chr(sys.maxunicode))
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_BEHIND_SURROGATES if following == _SURROGATES else following)


def check(connection: apsw.Connection, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> None:
    """Raise `PreconditionFailedError` unless every record is as its write says."""
    for write in writes:
        check_record_write(write, _version(connection, namespace, scope, write), scope)


def put(
    connection: apsw.Connection, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]
) -> tuple[int, ...]:
    """Write records that were checked; returns their versions, 0 for a deleted one."""
    return tuple(_put_one(connection, namespace, scope, write) for write in writes)


def _version(connection: apsw.Connection, namespace: str, scope: RecordScope, write: RecordWrite) -> int:
    found = value_of(
        connection,
        f"SELECT version FROM records WHERE {_WHERE} AND key = ?",  # noqa: S608 - constants
        (namespace, scope.type, scope.name, write.kind, write.key),
    )
    return found or 0


def _put_one(connection: apsw.Connection, namespace: str, scope: RecordScope, write: RecordWrite) -> int:
    key = (namespace, scope.type, scope.name, write.kind, write.key)
    if write.value is None:
        connection.execute(f"DELETE FROM records WHERE {_WHERE} AND key = ?", key)  # noqa: S608 - constants
        return 0
    version = _version(connection, namespace, scope, write) + 1
    connection.execute(_PUT, (*key, version, write.value, checksum(write.value, version)))
    return version
