"""The lagging twin keeps the contract: nothing above storage relies on hearing of everything at once."""

from datetime import timedelta

import pytest

from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance
from bamboo_sessions.testing.lagging import LaggingDatabase


class TestLaggingStorage(StorageConformance, RepositoryConformance):
    durable = True
    moves_clock = True

    @pytest.fixture
    def storage_clock(self) -> ManualClock:
        """The database's own time, an hour ahead of all hosts."""
        return ManualClock(START + timedelta(hours=1))

    @pytest.fixture(params=range(3))
    def make_storage(self, request: pytest.FixtureRequest, storage_clock: ManualClock) -> MakeStorage:
        """Hosts of one database."""
        database = LaggingDatabase(request.param, clock=storage_clock)

        async def make() -> SessionStorage:
            return database.connect()

        return make
