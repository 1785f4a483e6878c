"""The SQLite engine keeps the contract of every storage."""

import asyncio
from pathlib import Path

import pytest

from bamboo_sessions import SqliteStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file as opening makes it: each test begins with a copy, which saves the syncs that make one."""

    async def make(path: Path) -> None:
        storage = SqliteStorage(path)
        await storage.open()
        await storage.aclose()

    path = tmp_path_factory.mktemp("empty") / "sessions.db"
    asyncio.run(make(path))
    return path.read_bytes()


class TestSqliteStorage(StorageConformance, RepositoryConformance):
    durable = True
    moves_clock = True

    @pytest.fixture(params=[True, False], ids=["quick disk", "slow disk"])
    def make_storage(
        self,
        tmp_path: Path,
        clock: ManualClock,
        empty_store: bytes,
        request: pytest.FixtureRequest,
        monkeypatch: pytest.MonkeyPatch,
    ) -> MakeStorage:
        """Storages on one file of the test's own, which commit on the event loop's thread, or on their own."""
        monkeypatch.setattr(LoopWriter, "is_quick", request.param)
        path = tmp_path / "sessions.db"
        path.write_bytes(empty_store)

        async def make() -> SessionStorage:
            storage = SqliteStorage(path, clock=clock)
            await storage.open()
            return storage

        return make
