"""The SQLite engine: the one part of the package that imports apsw."""

from bamboo_sessions.storage.sqlite.storage import SqliteStorage

__all__ = ["SqliteStorage"]
