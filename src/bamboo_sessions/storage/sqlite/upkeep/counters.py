"""Counters of the store, or of one namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from bamboo_sessions.storage.sqlite.transactions.connection import reading, value_of

_OF_STORE: Final = {
    "sessions": "sessions WHERE deleted_at IS NULL",
    "deleted_sessions": "sessions WHERE deleted_at IS NOT NULL",
    "messages": "messages WHERE removed_revision IS NULL",
    "message_versions": "messages",
    "changes": "changes",
    "questions": "questions",
    "records": "records",
}
_OWN: Final = "session IN (SELECT key FROM sessions WHERE namespace = ?1)"
_OF_NAMESPACE: Final = {
    "sessions": "count(*) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
    "deleted_sessions": "count(*) FROM sessions WHERE namespace = ?1 AND deleted_at IS NOT NULL",
    "messages": "coalesce(sum(message_count), 0) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
    "message_versions": f"count(*) FROM messages WHERE {_OWN}",
    "changes": f"count(*) FROM changes WHERE {_OWN}",
    "questions": f"count(*) FROM questions WHERE {_OWN}",
    "records": "count(*) FROM records WHERE namespace = ?1",
    "bytes": "coalesce(sum(message_bytes), 0) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
}


def of_store(connection: apsw.Connection, path: Path) -> dict[str, int]:
    """Counters of the store; bytes of the file and of its write-ahead log."""
    log = path.with_name(path.name + "-wal")
    with reading(connection):
        result = {name: value_of(connection, f"SELECT count(*) FROM {what}") for name, what in _OF_STORE.items()}  # noqa: S608
        pages = value_of(connection, "PRAGMA page_count") * value_of(connection, "PRAGMA page_size")
    return {**result, "bytes": pages, "wal_bytes": log.stat().st_size if log.exists() else 0}


def of_namespace(connection: apsw.Connection, namespace: str) -> dict[str, int]:
    """Counters of one namespace; bytes of its living messages."""
    with reading(connection):
        return {name: value_of(connection, f"SELECT {what}", (namespace,)) for name, what in _OF_NAMESPACE.items()}


def next_namespace(connection: apsw.Connection, after: str | None) -> str | None:
    """The first namespace behind `after`: one step in an index."""
    name: str | None = value_of(connection, "SELECT min(namespace) FROM sessions WHERE namespace > ?", (after or "",))
    return name
