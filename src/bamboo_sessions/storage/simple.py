"""`SimpleStorage`: a working storage out of three calls of somebody else's.

Whoever has `save_session`, `load_session` and `delete_session` gets all of the repository: slower, and correct within
one process. The wrapped object holds the sessions; everything that it knows nothing of (older versions, tombstones,
the ledger, records, run leases, the log of commits, listings) is kept by a `MemoryStorage` in front of it, for as long
as the process lives. Listings and searches show the sessions that this process has touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import BambooSessionsError, InputError, StorageUnavailableError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseView, LeaseWish
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.storage.checks import check_commit, check_record_commit
from bamboo_sessions.storage.commit import Commit, Committed, RecordCommit, RecordScope, SessionKey, State
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.port import Plan
from bamboo_sessions.storage.query import DeleteQuery, Window, WindowQuery
from bamboo_sessions.storage.record_plan import other_sessions

T = TypeVar("T")


class ThreeCalls(Protocol):
    """What a storage of one's own has to do at least."""

    async def save_session(self, session: Session) -> None:
        """Keep the whole session, durably on return."""
        ...

    async def load_session(self, session_id: str) -> Session | None:
        """The session as it was kept, or `None` if there is none. Failures are raised."""
        ...

    async def delete_session(self, session_id: str) -> object:
        """Forget the session; nothing happens if there is none."""
        ...


class SimpleStorage(MemoryStorage):
    """A storage around an object with `save_session`, `load_session` and `delete_session`.

    It keeps one namespace, `namespace`, for the three calls know of none. Errors of the wrapped object that aren't
    of this package's tree are raised as `StorageUnavailableError`.
    """

    def __init__(self, wrapped: ThreeCalls, *, namespace: str = "default", clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock=clock)
        self._wrapped = wrapped
        self._namespace = namespace
        self._adopted: set[SessionKey] = set()
        self._locks: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()
        self._shared_records = asyncio.Lock()  # what a commit was checked against stays so until it is kept

    # --- reading: what the wrapped object has is taken over at the first touch

    async def read(self, key: SessionKey) -> State:
        """The whole session, or what its deletion left, or `None`."""
        await self._adopt(key)
        return await super().read(key)

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        """The session without its messages."""
        await self._adopt(key)
        return await super().read_head(key)

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        """A stretch of the history."""
        await self._adopt(key)
        return await super().read_window(key, query)

    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        """The ledger's sums, of what this process counted."""
        if session_id is not None:
            await self._adopt(SessionKey(namespace, session_id))
        return await super().usage_totals(namespace, session_id, include_children=include_children)

    # --- writing: first the wrapped object, then what readers see

    async def commit(self, commit: Commit) -> Committed:
        """Apply one change: all of it or nothing."""
        check_commit(commit)  # here already: the wrapped object needn't stand such ids
        keys = {commit.key}
        while True:
            async with self._alone(keys):
                touched = self._touched(commit)
                if touched <= keys:
                    return await self._write_through(commit)
            keys |= touched

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        """Read, plan and commit while nobody else can."""
        keys = {key}
        while True:
            async with self._alone(keys):
                commit = plan(await super().read(key))
                if commit is None:
                    return None
                touched = self._touched(commit)
                if touched <= keys:
                    return await self._write_through(commit)
            keys |= touched

    async def _write_through(self, commit: Commit) -> Committed:
        async with self._shared_records if commit.records else nullcontext():
            prepared = self._prepare(commit)
            if isinstance(prepared, Committed):
                return prepared
            await _tried(self._wrapped.save_session(copy_of(prepared.target.snapshot)), unknown=True)
            return self._install(prepared)

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Delete a session and all below it that this process knows; the wrapped object forgets each."""
        keys = {key}
        while True:
            async with self._alone(keys):
                tree = self._doomed(key, query)
                if keys.issuperset(tree):
                    for each in reversed(tree):  # the root last, so that a failure half-way can be repeated
                        await _tried(self._wrapped.delete_session(each.session_id), unknown=True)
                    return await super().delete_tree(key, query)
            keys.update(tree)

    async def set_owner(self, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
        """Give a session, and those below it that this process knows, to another owner."""
        keys = {key}
        while True:
            async with self._alone(keys):
                if (tree := self._tree(key)) <= keys:
                    for each in reversed(self._given_away(key, change)):  # likewise
                        await _tried(self._wrapped.save_session(copy_of(each.target.snapshot)), unknown=True)
                    return await super().set_owner(key, change)
            keys |= tree

    async def read_lease(self, key: SessionKey) -> LeaseView | None:
        """The run leases of a living session: what this process gave; other processes know nothing of them."""
        await self._adopt(key)
        return await super().read_lease(key)

    async def change_lease(self, key: SessionKey, wish: LeaseWish) -> LeaseView:
        """Change the run leases, in this process's memory."""
        async with self._alone({key}):
            return await super().change_lease(key, wish)

    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        """Write records as one unit, in this process's memory."""
        check_record_commit(commit)
        keys = other_sessions(commit.namespace, commit.writes, RecordScope("shared", ""))
        if commit.scope.type == "session":
            keys.add(SessionKey(commit.namespace, commit.scope.name))
        async with self._alone(keys), self._shared_records:
            return await super().write_records(commit)

    @asynccontextmanager
    async def _alone(self, keys: Iterable[SessionKey]) -> AsyncIterator[None]:
        """Let the writers of these sessions take turns: between reading and keeping there is an await."""
        async with AsyncExitStack() as stack:
            for key in sorted(keys):  # in one order, so that no two wait for one another
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
                await self._adopt(key)
            yield

    def _touched(self, commit: Commit) -> set[SessionKey]:
        """The sessions that have to stay as they are meanwhile: for a creation its ancestors, or what it forks."""
        own = RecordScope("session", commit.key.session_id)
        touched = {commit.key, *other_sessions(commit.key.namespace, commit.records, own)}
        head = commit.head or commit.initial_head
        if not self._lives(commit.key):
            if head is not None and head.parent_session_id is not None:
                touched.add(SessionKey(commit.key.namespace, head.parent_session_id))
            if commit.history_from is not None:
                touched.add(SessionKey(commit.key.namespace, commit.history_from.session_id))
        return touched

    async def _adopt(self, key: SessionKey, below: tuple[SessionKey, ...] = ()) -> None:
        """Take over what the wrapped object has under this id, once; its ancestors first, for its place in the tree."""
        if key.namespace != self._namespace:
            message = f"This SimpleStorage keeps the namespace {self._namespace!r}, not {key.namespace!r}."
            raise InputError(message, hint="Wrap one object for each namespace, or use a full storage.")
        if key in self._adopted:
            return
        session = await _tried(self._wrapped.load_session(key.session_id), unknown=False)
        parent = session.parent_session_id if session is not None else None
        if parent is not None and parent != key.session_id and SessionKey(key.namespace, parent) not in below:
            await self._adopt(SessionKey(key.namespace, parent), (*below, key))
        if key not in self._adopted:
            self._adopted.add(key)
            if session is not None:
                self._seed(key, session)


async def _tried(call: Awaitable[T], *, unknown: bool) -> T:
    """The result of somebody else's code; its own errors become ours (G8)."""
    try:
        return await call
    except BambooSessionsError:
        raise
    except Exception as exc:
        message = f"The wrapped storage failed: {type(exc).__name__}: {exc}"
        raise StorageUnavailableError(
            message, hint="See the cause of this error; trying again is safe.", outcome_unknown=unknown
        ) from exc
