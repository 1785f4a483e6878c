"""Counters of the store, or of one namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from bamboo_sessions.storage.sqlite.transactions.connection import reading, value_of

_KEPT: Final = "kinds <> 0 AND position > (SELECT value FROM meta WHERE name = 'pruned_up_to')"
_OF_STORE: Final = {
    "sessions": "count(*) FROM sessions WHERE deleted_at IS NULL",
    "deleted_sessions": "count(*) FROM sessions WHERE deleted_at IS NOT NULL",
    "messages": "coalesce(sum(message_count), 0) FROM sessions WHERE deleted_at IS NULL",
    "message_versions": "coalesce(sum(lines), 0) FROM commits",
    "changes": f"count(*) FROM commits WHERE {_KEPT}",
    "questions": "count(*) FROM questions",
    "records": "count(*) FROM records",
}
_OWN: Final = "session IN (SELECT key FROM sessions WHERE namespace = ?1)"
_OF_NAMESPACE: Final = {
    "sessions": "count(*) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
    "deleted_sessions": "count(*) FROM sessions WHERE namespace = ?1 AND deleted_at IS NOT NULL",
    "messages": "coalesce(sum(message_count), 0) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
    "message_versions": f"coalesce(sum(lines), 0) FROM commits WHERE {_OWN} AND lines > 0",
    "changes": f"count(*) FROM commits WHERE {_OWN} AND {_KEPT}",
    "questions": f"count(*) FROM questions WHERE {_OWN}",
    "records": """count(*) FROM records WHERE scope IN (SELECT key FROM sessions WHERE namespace = ?1
        UNION ALL SELECT -number FROM shared_scopes WHERE namespace = ?1)""",
    "bytes": "coalesce(sum(message_bytes), 0) FROM sessions WHERE namespace = ?1 AND deleted_at IS NULL",
}


def of_store(connection: apsw.Connection, path: Path) -> dict[str, int]:
    """Counters of the store; bytes of the file and of its write-ahead log."""
    log = path.with_name(path.name + "-wal")
    with reading(connection):
        result = {name: value_of(connection, f"SELECT {what}") for name, what in _OF_STORE.items()}
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
