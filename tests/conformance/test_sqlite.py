"""The SQLite engine keeps the contract of every storage."""

from pathlib import Path

import pytest

from bamboo_sessions import SqliteStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


class TestSqliteStorage(StorageConformance, RepositoryConformance):
    durable = True

    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> MakeStorage:
        """Storages on one file of the test's own."""

        async def make() -> SessionStorage:
            storage = SqliteStorage(tmp_path / "sessions.db")
            await storage.open()
            return storage

        return make
