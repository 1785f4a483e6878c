"""The schema version of a store, without opening it (which would migrate it)."""

from __future__ import annotations

from bamboo_sessions.cli.store import Store
from bamboo_sessions.domain.limits import BUSY_TIMEOUT_MS
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.connection import connect, value_of
from bamboo_sessions.storage.sqlite.transactions.errors import translating


def schema_version(store: Store) -> int | None:
    """The version; `None` if there is no store yet, or it is of a kind that has no schema."""
    storage = store.storage()
    if not isinstance(storage, SqliteStorage) or not storage.path.is_file() or not storage.path.stat().st_size:
        return None
    with translating(str(storage.path)):
        connection = connect(str(storage.path), busy_timeout_ms=BUSY_TIMEOUT_MS)
        try:
            version: int = value_of(connection, "PRAGMA user_version")
        finally:
            connection.close()
    return version
