"""What is promised of the repository holds through the synchronous facade, from eight threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bamboo_sessions import (
    MemoryStorage,
    SessionRepository,
    SqliteStorage,
    StoreAdmin,
    SyncSessionRepository,
    SyncStoreAdmin,
)
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.sync import Portal
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance
from tests.sync.threads import THREADS, InThreads

CANCELLING = {
    "test_a_cancelled_beginning_gives_back",
    "test_a_cancelled_block_gives_back",
    "test_a_cancelled_iteration_can_be_resumed",
    "test_a_cancelled_waiter_blocks_nobody",
    "test_several_subscribers",
}


class ThroughTheFacade(RepositoryConformance):
    """The loop behind the facade is the test's own, on which its storage lives, too."""

    moves_clock = True

    @pytest.fixture(autouse=True)
    def _not_cancelled(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in CANCELLING:
            pytest.skip("cancels a task; a thread that waits can't be cancelled by others")

    @pytest.fixture
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        """Who makes the calls."""
        with ThreadPoolExecutor(THREADS) as threads:
            yield threads

    @pytest.fixture
    async def sessions(
        self, faults: FaultyStorage, clock: ManualClock, threads: ThreadPoolExecutor
    ) -> AsyncIterator[InThreads]:
        """A repository, through the facade."""
        repository = await SessionRepository.open(faults, clock=clock)
        yield InThreads(SyncSessionRepository(repository, Portal()), threads, repository)
        faults.heal()
        await repository.aclose()

    @pytest.fixture
    async def others(
        self, sessions: InThreads, faults: FaultyStorage, clock: ManualClock, threads: ThreadPoolExecutor
    ) -> AsyncIterator[InThreads]:
        """Another one on the same storage."""
        repository = await SessionRepository.open(faults, clock=clock)
        yield InThreads(SyncSessionRepository(repository, Portal()), threads, repository)
        faults.heal()
        await repository.persistence.tasks.finish()

    @pytest.fixture
    async def owner(self, faults: FaultyStorage, clock: ManualClock, threads: ThreadPoolExecutor) -> InThreads:
        """The handle of the store's owner, likewise."""
        return InThreads(SyncStoreAdmin(StoreAdmin(faults, clock=clock), Portal()), threads)


class TestMemory(ThroughTheFacade):
    @pytest.fixture
    def make_storage(self, clock: ManualClock) -> MakeStorage:
        """Memory needs no opening."""

        async def make() -> SessionStorage:
            return MemoryStorage(clock=clock)

        return make


@pytest.mark.long
class TestSqlite(ThroughTheFacade):
    durable = True

    @pytest.fixture
    def make_storage(self, tmp_path: Path, clock: ManualClock) -> MakeStorage:
        """Storages on one file of the test's own."""

        async def make() -> SessionStorage:
            storage = SqliteStorage(tmp_path / "sessions.db", clock=clock)
            await storage.open()
            return storage

        return make
