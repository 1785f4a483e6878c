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

from pathlib import Path
from types import TracebackType
from typing import Self

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.ids import check_name
from bamboo_sessions.domain.limits import CACHE_BYTES_MAX
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.repository import (
    accounting,
    appending,
    authoring,
    checking,
    feed,
    keeping,
    leases,
    lifecycle,
    listing,
    persistence,
    questions,
    reading,
    rewriting,
    saving,
    searching,
    updating,
)
from bamboo_sessions.repository.bound import Bound, Handle, tiers_of
from bamboo_sessions.repository.opening import Opening
from bamboo_sessions.repository.records import Records
from bamboo_sessions.storage.open import Durability, storage_for
from bamboo_sessions.storage.port import SessionStorage


class SessionRepository(Handle):
    """Sessions of one namespace, kept in three tiers.

    Usually made by `SessionRepository.open(url)`. By hand it takes the tiers themselves; storage has to be open then,
    or the repository be used as `async with`.

    Every call that writes is atomic, durable on return (G1) and cancellation-safe (G10). Besides what each names, all
    raise `InputError` for arguments that can't be meant, and `StorageError` if storage fails: that is never read as
    absence (G8).

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
        super().__init__(Bound(tiers_of(cache, storage, persistence), check_name(namespace, what="namespace")))

    # Reading
    load = reading.load
    load_best_effort = reading.load_best_effort
    load_merged = reading.load_merged
    load_or_create = reading.load_or_create
    get = reading.get
    history = reading.history
    model_view = reading.model_view
    find_message = reading.find_message
    list_sessions = listing.list_sessions
    iter_sessions = listing.iter_sessions
    search = searching.search

    # Persisting working copies
    create = saving.create
    save = saving.save
    checkpoint = saving.checkpoint
    save_best_effort = saving.save_best_effort
    save_as_fork = saving.save_as_fork

    # Adding without loading
    append = appending.append
    append_token_usage_record = accounting.append_token_usage_record
    token_usage = accounting.token_usage

    # Changing the latest state
    update = updating.update
    edit = updating.edit

    # What people do
    rename = authoring.rename
    apply_generated_title = authoring.apply_generated_title
    pin = authoring.pin
    archive = authoring.archive
    set_value = authoring.set_value
    remove_value = authoring.remove_value
    set_owner = authoring.set_owner
    ask = questions.ask
    answer = questions.answer

    # Rewriting a history on purpose
    truncate = rewriting.truncate
    clear = rewriting.clear
    remove_last = rewriting.remove_last
    replace_history = rewriting.replace_history

    # Beginnings and ends
    fork = lifecycle.fork
    delete = lifecycle.delete
    cleanup = lifecycle.cleanup

    # Running an agent
    lease = leases.lease
    lease_of = leases.lease_of
    release_lease = leases.release_lease
    save_runtime_session = persistence.save_runtime_session
    checkpoint_runtime_session = persistence.checkpoint_runtime_session
    load_runtime_session = persistence.load_runtime_session

    # Following what is committed
    changes = feed.changes
    feed_position = feed.feed_position

    # Looking after the namespace
    check = checking.check
    stats = checking.stats
    backup = keeping.backup

    # Opening and closing

    @classmethod
    def open(
        cls,
        url: str | Path | SessionStorage,
        *,
        namespace: str = "default",
        cache_bytes_max: int = CACHE_BYTES_MAX,
        durability: Durability = "full",
        clock: Clock = SYSTEM_CLOCK,
    ) -> Opening[SessionRepository]:
        """Open a store: `async with SessionRepository.open("agents.db") as sessions:`, or `await` it and `aclose` it.

        Args:
            url: A path such as `agents.db`, `sqlite:///agents.db` (relative), `sqlite:////var/agents.db` (absolute),
                `memory://`, or a storage. A SQLite file is made if there is none.
            namespace: The tenant; a handle never sees another's sessions.
            cache_bytes_max: Bound of the in-memory tier, in bytes.
            durability: `"full"` survives power cuts; `"relaxed"` may lose the last moments in one, never more.
            clock: Where times come from. A storage that is handed in keeps its own, by which leases are meant.

        Raises:
            InputError: The URL can't be understood.
            StorageError: The store can't be opened (`SchemaVersionError`: a newer release wrote it).
        """
        storage = storage_for(url, durability=durability, clock=clock)
        cache = SessionCache(cache_bytes_max)
        store = LockedSessionStore(storage, cache, clock=clock)
        return Opening(cls(cache, storage, store, namespace=namespace))

    async def flush(self) -> tuple[UnsavedWork, ...]:
        """Try now to make all waiting work of tolerant saves durable; what isn't, and why. Empty: all is durable."""
        return await self._bound.tiers.tolerant.flush(self._bound.namespace)

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Wait for commits under way, try waiting work once more, and let everything go; what isn't durable.

        That is told of this namespace; of others it is logged.
        """
        unsaved = await self._bound.tiers.aclose()
        return tuple(work for work in unsaved if work.namespace == self._bound.namespace)

    async def __aenter__(self) -> Self:
        """Open the storage if it isn't."""
        await self._bound.tiers.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; work that isn't durable is logged as an error."""
        await self.aclose()

    def __repr__(self) -> str:
        state = "" if self._bound.store.tasks.is_open else ", closed"
        return f"<{type(self).__name__} {self.storage.url}, namespace {self.namespace!r}{state}>"

    # The parts

    @property
    def cache(self) -> SessionCache:
        """The in-memory tier."""
        return self._bound.tiers.cache

    @property
    def storage(self) -> SessionStorage:
        """The durable tier."""
        return self._bound.tiers.storage

    @property
    def persistence(self) -> LockedSessionStore:
        """The locked store."""
        return self._bound.tiers.persistence

    @property
    def records(self) -> Records:
        """Bytes that adapters keep beside the messages."""
        bound = self._bound
        return Records(
            bound.tiers.storage, bound.namespace, clock=bound.clock, check_usable=bound.store.tasks.check_usable
        )

    def in_namespace(self, namespace: str) -> Self:
        """A view of the same tiers bound to another namespace; costs nothing. Close only one of them."""
        view = type(self).__new__(type(self))
        Handle.__init__(view, Bound(self._bound.tiers, check_name(namespace, what="namespace")))
        return view
