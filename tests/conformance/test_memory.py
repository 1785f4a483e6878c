"""The reference engine keeps the contract of every storage."""

import pytest

from bamboo_sessions import MemoryStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


class TestMemoryStorage(StorageConformance, RepositoryConformance):
    moves_clock = True

    @pytest.fixture
    def make_storage(self, clock: ManualClock) -> MakeStorage:
        """Memory needs no opening."""

        async def make() -> SessionStorage:
            return MemoryStorage(clock=clock)

        return make
