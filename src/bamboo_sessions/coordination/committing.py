"""Brings changes in: a plan, a commit that storage compares, publishing, in a task that outlives its caller.

Every change is a *plan*: a pure function from what is committed now to the commit that should follow. It is run on the
newest state known, and storage compares: if somebody else was faster, what is new is read and the plan runs again;
after three conflicts inside storage's own transaction, so that nobody starves (L108).

The task that commits owns everything from the commit to the unlock. Cancelling the caller stops its waiting only:
afterwards there is the whole commit or nothing, the lock is free and the cache agrees with storage (G10).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec

from bamboo_sessions.coordination.advance import advanced, committed_head
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.cached_reads import CachedReads
from bamboo_sessions.coordination.fencing import told_by_whom
from bamboo_sessions.coordination.locks import SessionLocks
from bamboo_sessions.coordination.signal import CommitSignal
from bamboo_sessions.coordination.waiting import WaitingWork
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    LeaseLostError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import NO_MESSAGES
from bamboo_sessions.domain.limits import CONFLICTS_BEFORE_TRANSACTION
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import (
    Commit,
    Committed,
    RevisionConflict,
    SessionKey,
    State,
)
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery

T = TypeVar("T")
_log: Final = logging.getLogger("bamboo_sessions")


class Planned(msgspec.Struct, frozen=True):
    """A commit, and what the session is after it (`None`: what the commit adds to the cached snapshot)."""

    commit: Commit
    result: Snapshot | None = None


Planner = Callable[[State], Planned | None]
"""Plans a change on top of a state; `None` changes nothing. May run again, and on the storage's own thread."""


class Written(msgspec.Struct, frozen=True):
    """What became of a plan: the state that it was made on, the commit if one was made, the snapshot after it."""

    before: State
    after: State
    committed: Committed | None = None


class Write(msgspec.Struct, frozen=True):
    """One change under way."""

    key: SessionKey
    planner: Planner
    heads_only: bool


class WriteCounters(msgspec.Struct):
    """How writes went."""

    commits: int = 0
    unchanged: int = 0
    conflicts: int = 0
    transactions: int = 0


class Committing:
    """Changes of sessions over a storage and a cache, one at a time for each session of this process.

    Args:
        storage: The durable tier.
        cache: The in-memory tier that sees every commit made here.
        clock: Where commits take their time from.
        backoff: Waits between conflicts.
    """

    def __init__(
        self,
        storage: SessionStorage,
        cache: SessionCache,
        *,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff | None = None,
    ) -> None:
        self.storage = storage
        self.cache = cache
        self.clock = clock
        self._backoff = backoff or Backoff(first_seconds=0.001, longest_seconds=0.02)
        self._locks = SessionLocks()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.waiting = WaitingWork(cache, clock)
        self.signal = CommitSignal(storage)
        self.reads = CachedReads(storage, cache, self._locks)
        self.writes = WriteCounters()

    # --- reading

    async def load(self, key: SessionKey, *, fresh: bool = False) -> State:
        """The newest committed state, from the cache if that is current."""
        return await self.reads.load(key, fresh=fresh)

    # --- any change

    async def write(
        self,
        key: SessionKey,
        planner: Planner,
        *,
        start: State = None,
        heads_only: bool = False,
        then: Callable[[Written], T],
    ) -> T:
        """Bring a plan in and hand what became of it to `then`, still inside the lock.

        Args:
            key: Which session.
            planner: The change; see `Planner`.
            start: A state to try first without asking storage; it may be old, the commit compares anyway.
            heads_only: The plan doesn't look at messages, so they needn't be read; the states have none then.
            then: Called once, after publishing; its result is returned.
        """
        release = await self._locks.acquire(key)
        return await self.run_to_end(self._write(Write(key, planner, heads_only), start, then), release)

    async def _write(self, write: Write, start: State, then: Callable[[Written], T]) -> T:
        return then(await self._bring_in(write, start))

    async def _bring_in(self, write: Write, start: State) -> Written:
        state = start if start is not None else await self._newest(write, None)
        for attempt in range(CONFLICTS_BEFORE_TRANSACTION):
            planned = write.planner(state)
            if planned is None:
                newest = state if write.heads_only else await self._newest(write, state)
                if _revision(newest) == _revision(state):
                    return self._unchanged(newest)
                state = newest  # a plan has to have seen the newest state to say that it changes nothing
                continue
            try:
                committed = await self._commit(write.key, planned.commit)
            except RevisionConflict:
                self.writes.conflicts += 1
                await self._backoff.pause(attempt)
                state = await self._newest(write, state)
                continue
            return await self._publish(write, state, planned, committed)
        return await self._in_transaction(write)

    async def _newest(self, write: Write, known: State) -> State:
        """The newest state, from memory if that is current."""
        if snapshot := self.reads.current(write.key):
            return snapshot
        if write.heads_only:
            head = await self.storage.read_head(write.key)
            return Snapshot(head, NO_MESSAGES) if isinstance(head, SessionHead) else head
        return await self.reads.refresh(write.key, known if isinstance(known, Snapshot) else None)

    def _unchanged(self, state: State) -> Written:
        self.writes.unchanged += 1
        return Written(state, state)

    async def _in_transaction(self, write: Write) -> Written:
        seen: list[tuple[State, Planned | None]] = []

        def plan(state: State) -> Commit | None:
            planned = write.planner(state)
            seen.append((state, planned))
            return None if planned is None else planned.commit

        self.writes.transactions += 1
        try:
            committed = await self.storage.transact(write.key, plan)
        except LeaseLostError as exc:
            raise await told_by_whom(self.storage, write.key, exc) from None
        state, planned = seen[-1]
        if committed is None or planned is None:
            return self._unchanged(state)
        return await self._publish(write, state, planned, committed)

    async def _commit(self, key: SessionKey, commit: Commit) -> Committed:
        try:
            return await self.storage.commit(commit)
        except LeaseLostError as exc:
            raise await told_by_whom(self.storage, key, exc) from None
        except StorageError as exc:
            self.cache.evict(key)  # L20, L21: never publish what may or may not be there
            committed = await self._settled(commit) if exc.outcome_unknown else None
            if committed is None:
                raise
            return committed

    async def _settled(self, commit: Commit) -> Committed | None:
        """Settle an unknown outcome by the commit id (G4); if storage can't tell now, the first error stands."""
        try:
            if await self.storage.find_commit(commit.key, commit.commit_id) is None:
                return None
            return await self.storage.commit(commit)  # the same commit id: answers with the outcome of then
        except StorageError:
            return None

    async def _publish(self, write: Write, state: State, planned: Planned, committed: Committed) -> Written:
        self.writes.commits += committed.changed
        if write.heads_only and isinstance(state, Snapshot):
            self._advance_cache(planned.commit, committed)
            head = committed_head(planned.commit.head or state.head, committed)
            return Written(state, Snapshot(head, NO_MESSAGES), committed)
        snapshot = _result(state, planned, committed)
        if snapshot is None:
            known = state if isinstance(state, Snapshot) else None
            return Written(state, await self._after(write.key, known, committed), committed)
        self.cache.publish(write.key, snapshot, None)
        return Written(state, snapshot, committed)

    async def _after(self, key: SessionKey, known: Snapshot | None, committed: Committed) -> State:
        """What the session is after a commit, and perhaps after later ones, if only reading can tell."""
        try:
            state = await self.reads.refresh(key, known)
        except StorageError as exc:
            exc.outcome_unknown = True  # for whoever asked: it was committed, and no answer says so
            raise
        if isinstance(state, Snapshot) and state.head.incarnation != committed.incarnation:
            raise SessionDeletedError(key.session_id)  # since then; what lives now is another session (G9)
        return state

    def _advance_cache(self, commit: Commit, committed: Committed) -> None:
        """Publish by what the commit adds; an entry that isn't of the revision before is left to be revalidated."""
        entry = self.cache.entry(commit.key)
        if entry is not None and not entry.by_hand and committed.changed:
            snapshot = advanced(entry.snapshot, commit, committed)
            if snapshot is not None:
                self.cache.publish(commit.key, snapshot, None)

    # --- changes that need no state

    async def append(self, commit: Commit) -> Committed:
        """A blind commit: no lock, no revision, no conflict. Readers of this process see it on return."""
        return await self.run_to_end(self._append(commit))

    async def _append(self, commit: Commit) -> Committed:
        committed = await self._commit(commit.key, commit)
        self.writes.commits += committed.changed
        self._advance_cache(commit, committed)
        return committed

    async def delete(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Delete a session and all below it, under its lock (L37); the ids deleted."""
        release = await self._locks.acquire(key)
        return await self.run_to_end(self._delete(key, query), release)

    async def _delete(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        deleted = await self.storage.delete_tree(key, query)
        for session_id in deleted:
            self.cache.evict(SessionKey(key.namespace, session_id))  # L22: dirty work has to be told as refused
        return deleted

    # --- tasks that outlive their callers

    async def run_to_end(self, work: Coroutine[Any, Any, T], release: Callable[[], None] | None = None) -> T:
        """Run `work` as a task of the store's; cancelling the caller only stops its waiting (G10).

        `release` is called when it has ended, in whatever way. Then other tasks get a turn, also if nothing had to be
        waited for: who writes without a pause starves nobody.
        """
        task = _begun(work)
        self._tasks.add(task)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if release is not None:
                release()
            self.signal.notify()  # by now the state that whoever waits for commits will look for is published (L55)

        task.add_done_callback(ended)
        try:
            await (asyncio.sleep(0) if task.done() else asyncio.wait((task,)))
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)  # nobody else would see it
            raise
        return task.result()

    async def aclose(self) -> None:
        """Wait for the commits under way, and end the waiting for further ones."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.signal.close()

    def stats(self) -> dict[str, int]:
        """Counters of this store and its cache."""
        return {
            "cache_entries": len(self.cache),
            "cache_bytes": self.cache.bytes,
            "cache_hits": self.reads.counters.hits,
            "cache_misses": self.reads.counters.misses,
            "dirty_bytes": self.cache.dirty_bytes,
            "locks": len(self._locks),
            "commits": self.writes.commits,
            "unchanged": self.writes.unchanged,
            "conflicts": self.writes.conflicts,
            "transactions": self.writes.transactions,
        }


def _revision(state: State) -> int:
    return state.revision if state is not None else 0


def _result(state: State, planned: Planned, committed: Committed) -> Snapshot | None:
    """The snapshot after the commit, if it can be told without reading."""
    recreated = committed.incarnation == committed.revision > 1
    if committed.replayed or not committed.changed or recreated:
        return None
    if planned.result is None:
        return advanced(state, planned.commit, committed) if isinstance(state, Snapshot) else None
    if len(planned.result.messages) != committed.message_count:
        return None  # storage knew some of the messages already
    head = committed_head(planned.result.head, committed)
    return Snapshot(head, planned.result.messages, planned.result.messages_bytes)


def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that runs until it has to wait before this returns, if the interpreter can do that."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Log why the write of a cancelled caller failed."""
    if not task.cancelled() and (exc := task.exception()) is not None:
        level = logging.INFO if isinstance(exc, BambooSessionsError) else logging.ERROR
        _log.log(level, "a cancelled caller's write failed: %s", exc)


def living(key: SessionKey, state: State) -> Snapshot:
    """The snapshot in `state`; raises `SessionNotFoundError` or `SessionDeletedError`."""
    if isinstance(state, Snapshot):
        return state
    if state is None:
        raise SessionNotFoundError(key.session_id)
    raise SessionDeletedError(key.session_id)
