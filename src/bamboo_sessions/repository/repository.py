r"""`SessionRepository`: the one class that callers meet. It coordinates the three tiers and holds no rules itself.

```
        SessionRepository            the one class that callers meet
       /        |         \
SessionCache  LockedSessionStore     in-memory tier · merge-on-write, publishes to the cache
                    |
             SessionStorage          durable tier
```
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.leasing import Leasing
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.ids import check_name
from bamboo_sessions.domain.limits import CACHE_BYTES_MAX
from bamboo_sessions.domain.report import MergeReport, UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.accounting import Accounting
from bamboo_sessions.repository.authoring import Authoring
from bamboo_sessions.repository.bound import Tiers
from bamboo_sessions.repository.checking import Checking
from bamboo_sessions.repository.feed import Feed
from bamboo_sessions.repository.leases import Leases
from bamboo_sessions.repository.lifecycle import Lifecycle
from bamboo_sessions.repository.listing import Listing
from bamboo_sessions.repository.questions import Asking
from bamboo_sessions.repository.reading import Reading
from bamboo_sessions.repository.records import Records
from bamboo_sessions.repository.rewriting import Rewriting
from bamboo_sessions.repository.searching import Searching
from bamboo_sessions.repository.tolerant import TolerantSaves
from bamboo_sessions.repository.writing import Writing
from bamboo_sessions.storage.open import Durability, storage_for
from bamboo_sessions.storage.port import SessionStorage


class SessionRepository(
    Reading,
    Listing,
    Searching,
    Leases,
    Writing,
    Authoring,
    Asking,
    Rewriting,
    Lifecycle,
    Accounting,
    Feed,
    Checking,
):
    """Sessions of one namespace, kept in three tiers.

    Usually made by `SessionRepository.open(url)`. By hand it takes the tiers themselves; storage has to be open then,
    or the repository be used as `async with`.

    Args:
        cache: The in-memory tier.
        storage: The durable tier.
        persistence: The locked store over both.
        namespace: The tenant that this handle is bound to.
    """

    def __init__(
        self,
        cache: SessionCache,
        storage: SessionStorage,
        persistence: LockedSessionStore,
        *,
        namespace: str = "default",
    ) -> None:
        tiers = Tiers(cache, storage, persistence, TolerantSaves(persistence), Leasing(persistence))
        super().__init__(tiers, check_name(namespace, what="namespace"))

    @classmethod
    def open(
        cls,
        url: str | Path | SessionStorage,
        *,
        namespace: str = "default",
        cache_bytes_max: int = CACHE_BYTES_MAX,
        durability: Durability = "full",
        clock: Clock = SYSTEM_CLOCK,
    ) -> Opening:
        """Open a store: `async with SessionRepository.open(url) as sessions:`, or `await` it and `aclose` it.

        Args:
            url: `sqlite:///agents.db` (relative), `sqlite:////var/agents.db` (absolute), `memory://`, or a storage.
                A SQLite file is made if there is none.
            namespace: The tenant; a handle never sees another's sessions.
            cache_bytes_max: Bound of the in-memory tier, in bytes.
            durability: `"full"` survives power cuts; `"relaxed"` may lose the last moments in one, never more.
            clock: Where times come from.

        Raises:
            InputError: The URL can't be understood.
            StorageError: The store can't be opened (`SchemaVersionError`: a newer release wrote it).
        """
        storage = storage_for(url, durability=durability)
        cache = SessionCache(cache_bytes_max)
        store = LockedSessionStore(storage, cache, clock=clock)
        return Opening(cls(cache, storage, store, namespace=namespace))

    # --- the tiers

    @property
    def cache(self) -> SessionCache:
        """The in-memory tier."""
        return self._tiers.cache

    @property
    def storage(self) -> SessionStorage:
        """The durable tier."""
        return self._tiers.storage

    @property
    def persistence(self) -> LockedSessionStore:
        """The locked store."""
        return self._tiers.persistence

    @property
    def records(self) -> Records:
        """Bytes that adapters keep beside the messages."""
        return Records(self._storage, self._namespace, clock=self._clock)

    def in_namespace(self, namespace: str) -> Self:
        """A view of the same tiers bound to another namespace; costs nothing. Close only one of them."""
        view = type(self).__new__(type(self))
        super(SessionRepository, view).__init__(self._tiers, check_name(namespace, what="namespace"))
        return view

    # --- RuntimeSessionPersistence

    async def save_runtime_session(self, session: Session) -> MergeReport:
        """`save`, by the name that agent loops depend on."""
        return await self.save(session)

    async def checkpoint_runtime_session(self, session: Session) -> MergeReport:
        """`checkpoint`, by the name that agent loops depend on."""
        return await self.checkpoint(session)

    async def load_runtime_session(self, session_id: str) -> Session | None:
        """`load`, by the name that agent loops depend on."""
        return await self.load(session_id)

    # --- life

    async def flush(self) -> tuple[UnsavedWork, ...]:
        """Try now to make all waiting work of tolerant saves durable; what isn't, and why. Empty: all is durable."""
        return await self._tiers.tolerant.flush(self._namespace)

    async def stats(self) -> dict[str, int]:
        """Counters of the cache, the locked store, waiting work, and the storage."""
        stored = await self._storage.stats()
        return {**self._store.stats(), **self._tiers.tolerant.stats(), **stored}

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Wait for commits under way, try waiting work once more, and let everything go; what isn't durable."""
        try:
            await self._store.aclose()
            return await self._tiers.tolerant.aclose()
        finally:
            await self._storage.aclose()

    async def __aenter__(self) -> Self:
        """Open the storage if it isn't."""
        await self._storage.open()
        self._store.signal.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; work that isn't durable is logged as an error."""
        await self.aclose()


class Opening:
    """What `open` gives: await it for a repository, or use it as `async with`."""

    def __init__(self, repository: SessionRepository) -> None:
        self._repository = repository

    def __await__(self) -> Generator[Any, None, SessionRepository]:
        """The open repository; the caller closes it."""
        return self._repository.__aenter__().__await__()

    async def __aenter__(self) -> SessionRepository:
        """The open repository."""
        return await self._repository.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._repository.__aexit__(kind, error, trace)
