"""What all classes of the suite share: capabilities, and the storage under test.

Imported before any other module of the suite, for it tells pytest to explain the asserts in them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar, Final

try:
    import pytest
except ImportError as exc:
    message = "bamboo_sessions.testing.conformance needs pytest and anyio: `pip install pytest anyio`."
    raise ImportError(message) from exc

from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import ManualClock

MakeStorage = Callable[[], Awaitable[SessionStorage]]
"""What the fixture `make_storage` returns: each call gives an open storage.

Every test has data of its own. Within one test, a durable engine's second call opens the same data once more.
"""

MODULES: Final = (
    "commit_ids",
    "commits",
    "concurrency",
    "durability",
    "feed",
    "forks",
    "freshness",
    "histories",
    "kit",
    "leases",
    "ledger",
    "listing",
    "messages",
    "namespaces",
    "purging",
    "questions",
    "reading",
    "records",
    "repository.asking",
    "repository.authoring",
    "repository.base",
    "repository.call_groups",
    "repository.changing",
    "repository.fencing",
    "repository.following",
    "repository.keeping",
    "repository.lease_face",
    "repository.leasing",
    "repository.lifecycle",
    "repository.loading",
    "repository.owning",
    "repository.reading",
    "repository.retrying",
    "repository.rewriting",
    "repository.saving",
    "repository.searching",
    "repository.tenants",
    "repository.terms",
    "trees",
    "values",
    "whole_sessions",
)
"""The modules of the suite."""

pytest.register_assert_rewrite(*(f"bamboo_sessions.testing.conformance.{name}" for name in MODULES))


class Conformance:
    """Base of all classes of the suite.

    A capability that an engine lacks is declared by the class attribute, and its tests skip with a reason:

    - `durable`: data outlives the storage object, and several of them may be open on the same data.
    - `moves_clock`: its storages take their time from the fixture `clock`, which tests move.
    - `namespaces`: more than one of them.
    """

    pytestmark = pytest.mark.anyio

    durable: ClassVar[bool] = False
    moves_clock: ClassVar[bool] = False
    namespaces: ClassVar[bool] = True

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The suite runs on asyncio."""
        return "asyncio"

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The time of repositories, and of storages that `make_storage` hands it to."""
        return ManualClock()

    @pytest.fixture
    def storage_clock(self, clock: ManualClock) -> ManualClock:
        """The time of the storages, for tests that move it."""
        if not self.moves_clock:
            pytest.skip("the clock of this storage can't be moved (moves_clock = False)")
        return clock

    @pytest.fixture
    async def storage(self, make_storage: MakeStorage) -> AsyncIterator[SessionStorage]:
        """The storage under test, closed at the end."""
        storage = await make_storage()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def second(self, storage: SessionStorage, make_storage: MakeStorage) -> AsyncIterator[SessionStorage]:
        """Another storage on the same data."""
        if not self.durable:
            pytest.skip("this storage doesn't share its data (durable = False)")
        second = await make_storage()
        yield second
        await second.aclose()

    @pytest.fixture
    def other_namespace(self) -> str:
        """Another namespace than the usual one."""
        if not self.namespaces:
            pytest.skip("this storage keeps one namespace only (namespaces = False)")
        return "other"
