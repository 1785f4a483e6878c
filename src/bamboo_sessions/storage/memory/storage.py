"""`memory://`: the reference engine. Durable as long as the process; the same contract as every other engine.

Each call runs in one step of the event loop, so it is atomic; whatever can be refused is refused before anything
changes. Readable first: where another engine disagrees with this one, look here for what was meant. The port documents
the calls; what they do is in the modules beside this one, by the names that they have in the SQLite engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseView, LeaseWish
from bamboo_sessions.domain.limits import FEED_PRUNE_ROWS_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.tree import below
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.storage.commit import Commit, Committed, RecordCommit, RecordScope, SessionKey, State
from bamboo_sessions.storage.feed_position import parse_position
from bamboo_sessions.storage.memory import (
    check,
    commits,
    leases,
    listing,
    ownership,
    purge,
    records,
    trees,
    usage,
    windows,
)
from bamboo_sessions.storage.memory.commits import Prepared
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession, taken_over
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.port import Hear, Plan, Progress, SessionStorage
from bamboo_sessions.storage.query import (
    DeleteQuery,
    FeedPage,
    HeadPage,
    ListQuery,
    Record,
    RecordQuery,
    Window,
    WindowQuery,
)

if TYPE_CHECKING:
    from bamboo_sessions.storage.search_query import SearchQuery


class MemoryStorage(SessionStorage):
    """Sessions in this process's memory.

    Args:
        clock: The time by which leases are meant and the feed is pruned; whoever moves the time of a repository in a
            test hands in the same clock.
    """

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._contents = Contents(clock)

    @property
    def url(self) -> str:
        return "memory://" if type(self) is MemoryStorage else super().url

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: the data lives as long as this object."""

    # --- what this process has heard

    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        stored = self._contents.sessions.get(key)
        return revision if isinstance(stored, StoredSession) and stored.head.revision == revision else None

    def listen(self, hear: Hear) -> Callable[[], None]:
        listener = object()
        self._contents.listeners[listener] = hear

        def stop() -> None:
            self._contents.listeners.pop(listener, None)

        return stop

    # --- reading

    async def read(self, key: SessionKey) -> State:
        stored = self._contents.sessions.get(key)
        return stored.snapshot if isinstance(stored, StoredSession) else stored

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        state = await self.read(key)
        return known if isinstance(state, Snapshot) and state.revision == known.revision else state

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        stored = self._contents.sessions.get(key)
        return stored.head if isinstance(stored, StoredSession) else stored

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        return windows.read_window(self._contents, key, query)

    async def find_message(self, namespace: str, message_id: str) -> tuple[str, Message] | None:
        return windows.find_message(self._contents, namespace, message_id)

    async def list_heads(self, query: ListQuery) -> HeadPage:
        return listing.list_heads(self._contents, query)

    async def read_lease(self, key: SessionKey) -> LeaseView | None:
        return leases.read(self._contents, key)

    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        return usage.totals(self._contents, namespace, session_id, include_children=include_children)

    async def get_record(self, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
        return next(iter(records.get(self._contents, namespace, scope, kind, [key])), None)

    async def get_records(
        self, namespace: str, scope: RecordScope, kind: str, keys: Sequence[str]
    ) -> tuple[Record, ...]:
        return records.get(self._contents, namespace, scope, kind, keys)

    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        return records.scan(self._contents, namespace, scope, query)

    async def scan_record_keys(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
        return records.scan_keys(self._contents, namespace, scope, query)

    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        from bamboo_sessions.storage.memory.searching import search  # here: most processes never search

        return search(self._contents, query)

    # --- the feed

    def check_position(self, position: str) -> None:
        parse_position(position)

    async def feed_position(self) -> str:
        return str(self._contents.feed.bounds.newest)

    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        return self._contents.feed.page(namespace, after, limit, self._contents.lives)

    async def prune_changes(self, older_than: timedelta, *, limit: int = FEED_PRUNE_ROWS_MAX) -> int:
        now = self._contents.clock.now()
        self._contents.forget(now, older_than)
        return self._contents.feed.prune(older_than, limit, now)

    async def start_epoch(self) -> str:
        self._contents.feed.start_epoch()
        return await self.feed_position()

    # --- writing

    async def commit(self, commit: Commit) -> Committed:
        return commits.apply(self._contents, commit)

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        return commits.find_commit(self._contents, key, commit_id)

    async def settle(self, key: SessionKey, commit_id: str) -> int | None:
        return commits.settle(self._contents, key, commit_id)

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        commit = plan(await self.read(key))
        return None if commit is None else commits.apply(self._contents, commit)

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        return trees.delete_tree(self._contents, key, query)

    async def set_owner(self, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
        return ownership.set_owner(self._contents, key, change)

    async def change_lease(self, key: SessionKey, wish: LeaseWish) -> LeaseView:
        return leases.change(self._contents, key, wish)

    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        return records.write(self._contents, commit)

    # --- upkeep

    async def purge_versions(self, before: datetime, limit: int) -> int:
        return purge.purge_versions(self._contents, before, limit)

    async def next_namespace(self, after: str | None) -> str | None:
        return check.next_namespace(self._contents, after)

    async def check(self, namespace: str | None = None, *, repair: bool = False) -> CheckReport:
        counts = await self.stats(namespace)
        return CheckReport(sessions=counts["sessions"], messages=counts["messages"])

    async def stats(self, namespace: str | None = None) -> Mapping[str, int]:
        return check.stats(self._contents, namespace)

    # --- for `SimpleStorage`, which lets another object keep the session between `_prepare` and `_install`

    def _prepare(self, commit: Commit) -> Prepared | Committed:
        return commits.prepare(self._contents, commit, on_copy=True)

    def _install(self, prepared: Prepared) -> Committed:
        return commits.install(self._contents, prepared)

    def _doomed(self, key: SessionKey, query: DeleteQuery) -> list[SessionKey]:
        """What `delete_tree` would delete, parents first."""
        return (
            [] if trees.replayed(self._contents, key, query) is not None else trees.doomed(self._contents, key, query)
        )

    def _given_away(self, key: SessionKey, change: OwnerChange) -> list[Prepared]:
        """What `set_owner` would install."""
        return ownership.prepare(self._contents, key, change)

    def _tree(self, key: SessionKey) -> set[SessionKey]:
        return set(self._contents.tree(key))

    def _lives(self, key: SessionKey) -> bool:
        return isinstance(self._contents.sessions.get(key), StoredSession)

    def _seed(self, key: SessionKey, session: Session) -> None:
        """Take over a session that was kept elsewhere; its ancestors were before it, and tell its place in the tree."""
        stored = taken_over(session)
        parent = self._contents.sessions.get(SessionKey(key.namespace, session.parent_session_id or key.session_id))
        if isinstance(parent, StoredSession):
            stored.head = below(stored.head, parent.head)
        self._contents.sessions[key] = stored
        self._contents.tell(key)
