"""The lagging twin keeps the contract: nothing above storage relies on hearing of everything at once."""

import random
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

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One seed that follows from `--hypothesis-seed`, and with `--long` the two after it, too."""
        if "make_storage" in metafunc.fixturenames:
            first = random.Random(metafunc.config.getoption("--hypothesis-seed") or "0").randrange(2**32)
            seeds = range(first, first + (3 if metafunc.config.getoption("--long") else 1))
            metafunc.parametrize("make_storage", seeds, indirect=True, ids=[f"seed {seed}" for seed in seeds])

    @pytest.fixture
    def make_storage(self, request: pytest.FixtureRequest, storage_clock: ManualClock) -> MakeStorage:
        """Hosts of one database."""
        database = LaggingDatabase(request.param, clock=storage_clock)

        async def make() -> SessionStorage:
            return database.connect()

        return make
