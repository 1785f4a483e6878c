"""Google ADK, `SqliteSessionService`: rollback journal, synchronous = FULL (SQLite's defaults); see `adk_database`."""

from __future__ import annotations

from typing import Any

from google.adk.sessions.sqlite_session_service import SqliteSessionService

from benchmarks.stores.adk_database import AdkDatabase


class AdkSqlite(AdkDatabase):
    """The same calls on the other service."""

    def _make(self) -> Any:
        return SqliteSessionService(str(self.path))


STORE = AdkSqlite
