"""The reference engine keeps the contract of every storage."""

import pytest

from bamboo_sessions import MemoryStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


async def make() -> SessionStorage:
    """An empty storage."""
    return MemoryStorage()


class TestMemoryStorage(StorageConformance, RepositoryConformance):
    @pytest.fixture
    def make_storage(self) -> MakeStorage:
        """Memory needs no opening."""
        return make
