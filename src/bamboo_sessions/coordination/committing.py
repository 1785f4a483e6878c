"""Commits plans: storage compares, and what is committed is published to the cache.

A plan runs on the newest state known, and storage compares: if somebody else was faster, what is new is read and the
plan runs again; after three conflicts inside storage's own transaction, so that nobody starves (L108). A pause between
conflicts is for writers that this process doesn't know of: after one of its own commits there is nothing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.cached_reads import CachedReads
from bamboo_sessions.coordination.encoding import encode_in_slices
from bamboo_sessions.coordination.express import additions, commit_of, snapshot_after
from bamboo_sessions.coordination.fencing import with_holder
from bamboo_sessions.coordination.next_snapshot import committed_head, next_snapshot
from bamboo_sessions.coordination.plan import UNCHANGED, HeadOnly, HeadPlan, Plan, Planned, Seen, Written, living_head
from bamboo_sessions.coordination.saving import SavePlan
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.errors import BambooSessionsError, LeaseLostError, SessionDeletedError, StorageError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import CONFLICTS_BEFORE_TRANSACTION
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, RevisionConflict, SessionKey, State
from bamboo_sessions.storage.port import SessionStorage


class _Change(msgspec.Struct, frozen=True):
    """One change under way. `commit_id` is one of the caller's, which an earlier `call` may have been made with."""

    key: SessionKey
    plan: Callable[[Seen], Planned]
    heads_only: bool
    call: str
    commit_id: str | None


class WriteCounters(msgspec.Struct):
    """How writes went."""

    commits: int = 0
    unchanged: int = 0
    conflicts: int = 0
    transactions: int = 0


class Committer:
    """Commits plans over a storage and a cache. Whoever calls has the session's lock, but for `append`."""

    def __init__(self, storage: SessionStorage, cache: SessionCache, reads: CachedReads, backoff: Backoff) -> None:
        self._storage = storage
        self._cache = cache
        self._reads = reads
        self._backoff = backoff
        self.counters = WriteCounters()

    async def commit(
        self, key: SessionKey, plan: Plan, *, call: str = "", start: State = None, commit_id: str | None = None
    ) -> Written:
        """Commit a plan.

        Args:
            key: Which session.
            plan: The change.
            call: Which call it is, as the plan's commits say.
            start: A state to try first without asking storage; it may be old, the commit compares anyway.
            commit_id: The caller's own: if the plan is refused, or has nothing to do, an earlier call may have made it.
        """
        change = _Change(key, cast("Callable[[Seen], Planned]", plan), heads_only=False, call=call, commit_id=commit_id)
        return await self._run(change, start)

    async def commit_head(
        self, key: SessionKey, plan: HeadPlan, *, call: str = "", commit_id: str | None = None
    ) -> SessionHead:
        """Commit a plan that looks at the head alone; the head after it.

        Raises:
            SessionNotFoundError, SessionDeletedError: It doesn't live.
        """

        def on_head(state: Seen) -> Planned:
            return Planned(plan(living_head(key, state)))

        written = await self._run(_Change(key, on_head, heads_only=True, call=call, commit_id=commit_id), None)
        return living_head(key, written.after)

    async def save(self, plan: SavePlan, start: Snapshot | None, commit_id: str | None) -> Written:
        """Commit the plan of a save, by the express lane if it only adds to `start`; arguments as for `commit`."""
        on_state = cast("Callable[[Seen], Planned]", plan)
        change = _Change(plan.key, on_state, heads_only=False, call=plan.call, commit_id=commit_id)
        added = additions(plan, start)
        if start is None or added is None:
            await encode_in_slices(plan.added(), plan.encode)
            return await self._run(change, start)
        commit = commit_of(plan, start, await encode_in_slices(added, to_stored))
        try:
            committed = await self._send(commit)
        except RevisionConflict as exc:
            return await self._run(change, await self._after_conflict(change, start, exc, attempt=0), attempt=1)
        after = snapshot_after(plan, start, commit, committed)
        if after is None:
            return await self._publish(change, start, plan(start), committed)
        self.counters.commits += 1
        self._cache.publish(plan.key, after)
        return Written(after, committed)

    async def append(self, commit: Commit) -> Committed:
        """A blind commit: it names no revision, so nothing conflicts. Readers of this process see it on return."""
        committed = await self._send(commit)
        self.counters.commits += committed.changed
        self._advance_cache(commit, committed)
        return committed

    # --- running a plan

    async def _run(self, change: _Change, start: Seen, attempt: int = 0) -> Written:
        try:
            written = await self._attempts(change, start, attempt)
        except StorageError:
            raise
        except Exception:  # whatever a plan raises: it was made on a state that an earlier call has changed, perhaps
            if (earlier := await self._earlier(change)) is None:
                raise
            return earlier
        if written.committed is None and (earlier := await self._earlier(change)) is not None:
            return earlier
        return written

    async def _earlier(self, change: _Change) -> Written | None:
        """What came of an earlier call with the caller's commit id; `None` if there was none (G4)."""
        if change.commit_id is None:
            return None
        revision = await self._storage.find_commit(change.key, change.commit_id)
        if revision is None:
            return None
        commit = Commit(key=change.key, commit_id=change.commit_id, at=EPOCH, call=change.call)
        committed = await self._storage.commit(commit)
        return Written(await self._after(change, commit, committed), committed)

    async def _attempts(self, change: _Change, start: Seen, first: int) -> Written:
        state = start if start is not None else await self._newest(change, None)
        for attempt in range(first, CONFLICTS_BEFORE_TRANSACTION):
            planned, refusal = _planned(change, state)
            if planned.commit is None:
                newest = await self._confirmed(change, state)
                if _revision(newest) != _revision(state):
                    state = newest  # a plan has to have seen the newest state to change nothing, or to refuse
                    continue
                if refusal is not None:
                    raise refusal
                return self._unchanged(newest, planned)
            try:
                committed = await self._send(planned.commit)
            except RevisionConflict as exc:
                state = await self._after_conflict(change, state, exc, attempt)
                continue
            return await self._publish(change, state, planned, committed)
        return await self._in_transaction(change, state)

    async def _after_conflict(self, change: _Change, known: Seen, exc: RevisionConflict, attempt: int) -> Seen:
        """The newest state, after a pause if it was another process that was faster."""
        self.counters.conflicts += 1
        if not self._has_seen(change.key, exc.actual):
            await self._backoff.pause(attempt)
        return await self._newest(change, known, heard=self._storage.is_exact)

    def _has_seen(self, key: SessionKey, revision: int) -> bool:
        """Whether this process made the commit that was in the way, or has read it since."""
        entry = self._cache.entry(key)
        return entry is not None and not entry.by_hand and entry.snapshot.revision >= revision

    async def _confirmed(self, change: _Change, state: Seen) -> Seen:
        """The newest state in truth, where `state` may be what this process has heard of so far (L135)."""
        if self._storage.is_exact and change.heads_only:
            return state
        return await self._newest(change, state, heard=self._storage.is_exact)

    async def _newest(self, change: _Change, known: Seen, *, heard: bool = True) -> Seen:
        """The newest state, from memory if that is current as far as was `heard`."""
        snapshot = self._reads.current(change.key) if heard else None
        if change.heads_only:
            head = snapshot.head if snapshot is not None else await self._storage.read_head(change.key)
            return HeadOnly(head) if isinstance(head, SessionHead) else head
        if snapshot is not None:
            return snapshot
        return await self._reads.refresh(change.key, known if isinstance(known, Snapshot) else None)

    def _unchanged(self, state: Seen, planned: Planned) -> Written:
        self.counters.unchanged += 1
        return Written(state, None, planned)

    async def _in_transaction(self, change: _Change, known: Seen) -> Written:
        seen: list[tuple[Seen, Planned]] = []

        def plan(state: State) -> Commit | None:
            as_seen = HeadOnly(state.head) if change.heads_only and isinstance(state, Snapshot) else state
            planned = change.plan(as_seen)
            seen.append((as_seen, planned))
            return planned.commit

        self.counters.transactions += 1
        try:
            committed = await self._storage.transact(change.key, plan, known if isinstance(known, Snapshot) else None)
        except LeaseLostError as exc:
            raise await with_holder(self._storage, change.key, exc) from None
        except StorageError as exc:
            commit = seen[-1][1].commit if seen else None
            if commit is None:
                raise
            committed = await self._settled(commit, exc)
        state, planned = seen[-1]
        if committed is None:
            return self._unchanged(state, planned)
        return await self._publish(change, state, planned, committed)

    # --- sending a commit

    async def _send(self, commit: Commit) -> Committed:
        try:
            return await self._storage.commit(commit)
        except LeaseLostError as exc:
            raise await with_holder(self._storage, commit.key, exc) from None
        except StorageError as exc:
            return await self._settled(commit, exc)

    async def _settled(self, commit: Commit, exc: StorageError) -> Committed:
        """What became of a commit that raised `exc`, by its id (G4); raises it if that isn't known, or nothing was."""
        self._cache.doubt(commit.key)  # L20, L21: nothing that may or may not be there is published
        if exc.outcome_unknown:
            exc.commit_id = commit.commit_id
            try:
                if await self._storage.find_commit(commit.key, commit.commit_id) is not None:
                    again = msgspec.structs.replace(commit, is_first_try=False)
                    return await self._storage.commit(again)  # the same id: answers with the outcome of then
            except StorageError:
                raise exc from None
        raise exc

    # --- publishing

    async def _publish(self, change: _Change, state: Seen, planned: Planned, committed: Committed) -> Written:
        assert planned.commit is not None  # noqa: S101 - it was made
        self.counters.commits += committed.changed
        if isinstance(state, HeadOnly):
            self._advance_cache(planned.commit, committed)
            if committed.replayed and committed.revision <= state.revision:  # an earlier call made it, not this plan
                return Written(await self._after(change, planned.commit, committed), committed, planned)
            head = committed_head(planned.commit.head or state.head, committed)
            return Written(HeadOnly(head), committed, planned)
        snapshot = _result(state, planned, committed)
        if snapshot is None:
            return Written(await self._after(change, planned.commit, committed, state), committed, planned)
        self._cache.publish(change.key, snapshot)
        return Written(snapshot, committed, planned)

    async def _after(self, change: _Change, commit: Commit, committed: Committed, known: Seen = None) -> Seen:
        """What the session is after a commit, and perhaps after later ones, if only reading can tell."""
        try:
            state = await self._newest(change, known, heard=False)
        except StorageError as exc:
            exc.outcome_unknown = True  # for whoever asked: it was committed, and no answer says so
            exc.commit_id = commit.commit_id
            raise
        if isinstance(state, Snapshot | HeadOnly) and state.head.incarnation != committed.incarnation:
            raise SessionDeletedError(commit.key.session_id)  # since then; what lives now is another session (G9)
        return state

    def _advance_cache(self, commit: Commit, committed: Committed) -> None:
        """Publish by what the commit adds; an entry that isn't of the revision before is left to be revalidated."""
        entry = self._cache.entry(commit.key)
        if entry is not None and not entry.by_hand and committed.changed:
            snapshot = next_snapshot(entry.snapshot, commit, committed)
            if snapshot is not None:
                self._cache.publish(commit.key, snapshot)


def _planned(change: _Change, state: Seen) -> tuple[Planned, BambooSessionsError | None]:
    """What the plan comes to, or why it is refused."""
    try:
        return change.plan(state), None
    except BambooSessionsError as exc:
        return UNCHANGED, exc


def _revision(state: Seen) -> int:
    return state.revision if state is not None else 0


def _result(state: State, planned: Planned, committed: Committed) -> Snapshot | None:
    """The snapshot after the commit, if it can be told without reading."""
    recreated = committed.incarnation == committed.revision > 1
    if committed.replayed or not committed.changed or recreated or planned.commit is None:
        return None
    if planned.result is None:
        return next_snapshot(state, planned.commit, committed) if isinstance(state, Snapshot) else None
    if planned.result.messages.length != committed.message_count:
        return None  # storage knew some of the messages already
    head = committed_head(planned.result.head, committed)
    return Snapshot(head, planned.result.messages, planned.result.messages_bytes)
