"""A SQLite storage beside a model: the memory engine gets each write once it was acknowledged."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, RecordCommit, RecordScope, SessionKey, State
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.port import Plan, SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, ListQuery, RecordQuery
from bamboo_sessions.testing import FaultyStorage

T = TypeVar("T")
TRIES = 2
SESSIONS = tuple(f"s{number}" for number in range(6))
FORK, CHILD, AFTER = "fork", "child", "after"
NAMESPACES = ("default", "other")
SHARED = RecordScope("shared", "app")
KIND = "graph"


class Moment(msgspec.Struct, frozen=True):
    """A write.

    How many disk operations there were when it was asked for and when it was acknowledged, what the whole store is
    after it, and its commit, if it has an id of ours.
    """

    begun: int
    acked: int
    state: str
    key: tuple[str, str] | None = None
    commit_id: str | None = None
    revision: int = 0


async def state_of(storage: SessionStorage) -> str:
    """A hash of everything that a storage holds of the sessions that tests use."""
    parts: list[object] = []
    for namespace in NAMESPACES:
        page = await storage.list_heads(ListQuery(namespace))
        parts.append([head.id for head in page.heads])
        living = {head.id for head in page.heads}
        for session_id in (*SESSIONS, FORK, CHILD):
            state = await storage.read(SessionKey(namespace, session_id))
            parts.append((state.head, list(state.messages)) if isinstance(state, Snapshot) else state)
            if session_id in living:
                scope = RecordScope("session", session_id)
                parts.append(await storage.scan_records(namespace, scope, RecordQuery(KIND)))
                parts.append(await storage.usage_totals(namespace, session_id, include_children=True))
        parts.append(await storage.scan_records(namespace, SHARED, RecordQuery(KIND)))
    return hashlib.blake2b(json.encode(parts), digest_size=12).hexdigest()


class Mirror(FaultyStorage):
    """A storage under test; what it acknowledged is in `model` too, and in `moments`."""

    def __init__(self, inner: SessionStorage, clock: Callable[[], int]) -> None:
        super().__init__(inner)
        self.model = MemoryStorage()
        self.moments: list[Moment] = []
        self.failures: list[StorageError] = []
        self._clock = clock

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """As callers should: try again after an error of storage, by the same commit id."""
        for _ in range(TRIES):
            try:
                return await call()
            except StorageError as exc:
                self.failures.append(exc)
        return await call()

    async def _note(self, begun: int, commit: Commit | None = None, committed: Committed | None = None) -> None:
        acked = self._clock()
        state = await state_of(self.model)
        if commit is None or committed is None or not committed.changed:
            self.moments.append(Moment(begun, acked, state))
        else:
            self.moments.append(Moment(begun, acked, state, commit.key, commit.commit_id, committed.revision))

    async def commit(self, commit: Commit) -> Committed:
        """Insist, then do the same in the model."""
        begun = self._clock()
        committed = await self._insist(lambda: self.inner.commit(commit))
        await self.model.commit(commit)
        await self._note(begun, commit, committed)
        return committed

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        """Insist, then do in the model what was planned."""
        planned: list[Commit | None] = []

        def noted(state: State) -> Commit | None:
            planned.append(plan(state))
            return planned[-1]

        begun = self._clock()
        committed = await self._insist(lambda: self.inner.transact(key, noted, known))
        commit = planned[-1]
        if commit is not None:
            await self.model.commit(commit)
            await self._note(begun, commit, committed)
        return committed

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Insist, then do the same in the model."""
        begun = self._clock()
        deleted = await self._insist(lambda: self.inner.delete_tree(key, query))
        await self.model.delete_tree(key, query)
        await self._note(begun)
        return deleted

    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        """Insist, then do the same in the model."""
        begun = self._clock()
        versions = await self._insist(lambda: self.inner.write_records(commit))
        await self.model.write_records(commit)
        await self._note(begun)
        return versions
