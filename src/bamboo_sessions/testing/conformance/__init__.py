'''The contract of every storage, as tests that anybody can run on a storage of their own.

```python
"""My storage keeps the contract."""

import pytest
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance

class TestMyStorage(StorageConformance, RepositoryConformance):
    durable = True  # if data outlives the storage object

    @pytest.fixture
    def make_storage(self, tmp_path) -> MakeStorage:
        async def make():
            storage = MyStorage(tmp_path / "sessions")
            await storage.open()
            return storage

        return make
```

`StorageConformance` is made of one class for each capability; an engine that is being written takes them one by one:
`class TestMyCommits(CommitsConformance): …`. `RepositoryConformance` runs all operations of `SessionRepository` on
the storage. What an engine lacks is declared (see `Conformance`) and skips with a reason. Needs pytest and anyio,
whose pytest plugin runs the tests.
'''

from bamboo_sessions.testing.conformance.base import Conformance, MakeStorage
from bamboo_sessions.testing.conformance.commit_ids import CommitIdsConformance
from bamboo_sessions.testing.conformance.commits import CommitsConformance
from bamboo_sessions.testing.conformance.concurrency import ConcurrencyConformance
from bamboo_sessions.testing.conformance.durability import DurabilityConformance
from bamboo_sessions.testing.conformance.feed import FeedConformance
from bamboo_sessions.testing.conformance.forks import ForksConformance
from bamboo_sessions.testing.conformance.freshness import FreshnessConformance
from bamboo_sessions.testing.conformance.leases import LeasesConformance
from bamboo_sessions.testing.conformance.ledger import LedgerConformance
from bamboo_sessions.testing.conformance.listing import ListingConformance
from bamboo_sessions.testing.conformance.messages import MessagesConformance
from bamboo_sessions.testing.conformance.namespaces import NamespacesConformance
from bamboo_sessions.testing.conformance.purging import PurgingConformance
from bamboo_sessions.testing.conformance.questions import QuestionsConformance
from bamboo_sessions.testing.conformance.reading import ReadingConformance
from bamboo_sessions.testing.conformance.records import RecordsConformance
from bamboo_sessions.testing.conformance.repository import RepositoryConformance
from bamboo_sessions.testing.conformance.trees import TreesConformance
from bamboo_sessions.testing.conformance.values import ValuesConformance
from bamboo_sessions.testing.conformance.whole_sessions import WholeSessionsConformance

__all__ = [
    "CommitIdsConformance",
    "CommitsConformance",
    "ConcurrencyConformance",
    "Conformance",
    "DurabilityConformance",
    "FeedConformance",
    "ForksConformance",
    "FreshnessConformance",
    "LeasesConformance",
    "LedgerConformance",
    "ListingConformance",
    "MakeStorage",
    "MessagesConformance",
    "NamespacesConformance",
    "PurgingConformance",
    "QuestionsConformance",
    "ReadingConformance",
    "RecordsConformance",
    "RepositoryConformance",
    "StorageConformance",
    "TreesConformance",
    "ValuesConformance",
    "WholeSessionsConformance",
]


class StorageConformance(
    CommitsConformance,
    CommitIdsConformance,
    ValuesConformance,
    MessagesConformance,
    ReadingConformance,
    ListingConformance,
    TreesConformance,
    ForksConformance,
    PurgingConformance,
    FeedConformance,
    QuestionsConformance,
    LedgerConformance,
    LeasesConformance,
    RecordsConformance,
    NamespacesConformance,
    FreshnessConformance,
    ConcurrencyConformance,
    WholeSessionsConformance,
    DurabilityConformance,
):
    """All capabilities of a storage together."""
