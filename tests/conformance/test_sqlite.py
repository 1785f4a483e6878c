"""The SQLite engine keeps the contract of every storage."""

from pathlib import Path

import pytest

from bamboo_sessions import SqliteStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


class TestSqliteStorage(StorageConformance, RepositoryConformance):
    durable = True
    moves_clock = True

    @pytest.fixture(params=[True, False], ids=["quick disk", "slow disk"])
    def make_storage(
        self, tmp_path: Path, clock: ManualClock, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> MakeStorage:
        """Storages on one file of the test's own, which commit on the event loop's thread, or on their own."""
        monkeypatch.setattr(LoopWriter, "is_quick", request.param)

        async def make() -> SessionStorage:
            storage = SqliteStorage(tmp_path / "sessions.db", clock=clock)
            await storage.open()
            return storage

        return make
