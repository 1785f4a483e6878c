"""The locked store: one writer at a time per session and process, merge-on-write, publishing inside the lock.

A save is a plan that merges a frozen working copy into what is committed (`saving`), and is committed like every change
(`committing`), in a task that outlives its caller (`tasks`): afterwards there is the whole commit or nothing, the lock
is free and the cache agrees with storage (G10). What storage can't take now is kept (`waiting`), and goes first when it
is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.cached_reads import CachedReads
from bamboo_sessions.coordination.committing import Committer
from bamboo_sessions.coordination.fencing import check_fence
from bamboo_sessions.coordination.foreign import check_base
from bamboo_sessions.coordination.locks import SessionLocks
from bamboo_sessions.coordination.plan import HeadPlan, Plan, Written, living
from bamboo_sessions.coordination.saving import (
    SAVE,
    SavePlan,
    caught_up,
    correct,
    is_earlier,
    keep_unsaved,
    plan_save,
    report_of,
)
from bamboo_sessions.coordination.signal import CommitSignal
from bamboo_sessions.coordination.tasks import OwnedTasks
from bamboo_sessions.coordination.waiting import Waiting, WaitingWork
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import DIRTY_BYTES_MAX
from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import is_clean, link_of
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite, SessionKey, State
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery

T = TypeVar("T")
_log: Final = logging.getLogger("bamboo_sessions")


class LockedSessionStore:
    """Changes of sessions over a storage and a cache, one at a time for each session of this process.

    Args:
        storage: The durable tier.
        cache: The in-memory tier that sees every commit made here.
        clock: Where commits take their time from.
        backoff: Waits between conflicts.
        waiting_bytes_max: Bound of the work that waits for storage to come back, in bytes, roughly counted.
    """

    def __init__(
        self,
        storage: SessionStorage,
        cache: SessionCache,
        *,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff | None = None,
        waiting_bytes_max: int = DIRTY_BYTES_MAX,
    ) -> None:
        self.storage = storage
        self.cache = cache
        self.clock = clock
        self.waiting = WaitingWork(clock, waiting_bytes_max)
        self.signal = CommitSignal(storage)
        self._locks = SessionLocks()
        self.reads = CachedReads(storage, cache, self._locks)
        self.tasks = OwnedTasks(self._locks.clear)
        backoff = backoff or Backoff(first_seconds=0.001, longest_seconds=0.02)
        self._committer = Committer(storage, cache, self.reads, backoff)
        self.writes = self._committer.counters

    # --- reading

    async def load(self, key: SessionKey, *, fresh: bool = False) -> State:
        """The newest committed state, from the cache if that is current."""
        self.tasks.check_usable()
        return await self.reads.load(key, fresh=fresh)

    # --- changes of the latest state

    async def write(
        self,
        key: SessionKey,
        plan: Plan,
        *,
        then: Callable[[Written], T],
        call: str = "",
        start: State = None,
        commit_id: str | None = None,
    ) -> T:
        """Commit a plan and hand what became of it to `then`, still inside the lock.

        Args:
            key: Which session.
            plan: The change.
            then: Called once, after publishing; its result is returned.
            call: Which call it is, as the plan's commits say.
            start: A state to try first without asking storage; it may be old, the commit compares anyway.
            commit_id: The caller's own, which the plan's commits have: if the plan is refused, or has nothing to do,
                it is looked up whether an earlier call with it was made, and that is the outcome (G4).
        """

        async def work() -> T:
            await self._save_waiting(key)
            return then(await self._committer.commit(key, plan, call=call, start=start, commit_id=commit_id))

        release = await self._lock(key)
        return await self.tasks.run(work(), release)

    async def write_head(
        self, key: SessionKey, plan: HeadPlan, *, call: str = "", commit_id: str | None = None
    ) -> SessionHead:
        """Commit a change that looks at the head alone, so that messages needn't be read; the head after it.

        Raises:
            SessionNotFoundError, SessionDeletedError: It doesn't live.
        """

        async def work() -> SessionHead:
            await self._save_waiting(key)
            return await self._committer.commit_head(key, plan, call=call, commit_id=commit_id)

        release = await self._lock(key)
        return await self.tasks.run(work(), release)

    # --- changes that need no state

    async def append(self, commit: Commit) -> Committed:
        """A blind commit: no lock, no revision, no conflict. Readers of this process see it on return."""
        self.tasks.check_usable()
        await self.save_waiting(commit.key)
        return await self.tasks.run(self._committer.append(commit))

    async def delete(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Delete a session and all below it, under its lock (L37); the ids deleted."""
        release = await self._lock(key)
        return await self.tasks.run(self._delete(key, query), release)

    async def _delete(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        try:
            was_waiting = await self._called_off(key)
            deleted = await self.storage.delete_tree(key, query)
        except StorageError as exc:
            exc.commit_id = query.commit_id if exc.outcome_unknown else None
            raise
        for session_id in deleted:
            self.cache.evict(SessionKey(key.namespace, session_id))
        return deleted or ((key.session_id,) if was_waiting else ())

    async def set_owner(self, key: SessionKey, change: OwnerChange) -> SessionHead:
        """Give a session and what is below it to another owner, under its lock; its head after that."""

        async def work() -> SessionHead:
            await self._save_waiting(key)
            try:
                heads = await self.storage.set_owner(key, change)
            except StorageError as exc:
                exc.commit_id = change.commit_id if exc.outcome_unknown else None
                raise
            for head in heads:
                self.cache.evict(SessionKey(key.namespace, head.id))
            return heads[0]

        release = await self._lock(key)
        return await self.tasks.run(work(), release)

    async def _called_off(self, key: SessionKey) -> bool:
        """Give up work that was to create a session, which is deleted before; whether there was any.

        Raises what hinders finding out for good that the session isn't created any more.
        """
        was_waiting = self.waiting.creates(key)
        while was_waiting and (item := self.waiting.first(key)):
            await self.storage.settle(key, item.commit_id)
            self.waiting.refuse(key, item, SessionDeletedError(key.session_id))
        return was_waiting

    async def _lock(self, key: SessionKey) -> Callable[[], None]:
        self.tasks.check_usable()
        release = await self._locks.acquire(key)
        try:
            self.tasks.check_usable()  # it may have been closed meanwhile
        except StorageError:
            release()
            raise
        return release

    # --- saving working copies

    async def merge_save(
        self,
        session: Session,
        *,
        if_revision: int | None = None,
        additions_only: bool = False,
        records: tuple[RecordWrite, ...] = (),
        creating: bool = False,
        commit_id: str | None = None,
        fence: int | None = None,
        if_last_message: str | None = None,
    ) -> MergeReport:
        """Merge a working copy into what is committed, commit, and bring the copy up to date in place.

        Atomic, durable on return, idempotent, cancellation-safe. Costs as much as the change; without one nothing is
        written. What is added to the copy while this runs stays in it, unsaved. Work of the session that waits for
        storage to come back goes first: older work must never be merged on top of newer work.

        Args:
            session: The copy; its state at the moment of the call is what is saved.
            if_revision: Refuse with `PreconditionFailedError` instead of merging if this isn't the newest revision.
            additions_only: Hold back removals and edits; they stay pending in the copy.
            records: Adapter state to write in the same commit.
            creating: Refuse with `SessionExistsError` if a session of this id lives; a deleted id may be used again.
            commit_id: The commit's; if an earlier call with it was made, its outcome is given again and nothing is
                written. `None` makes one.
            fence: The token of the run lease that this is written through; `None`: the one that the copy has, if any.
            if_last_message: Refuse likewise if the history ends with another message (`""`: if it has any).

        Raises:
            SessionDeletedError: It was deleted (G9).
            MessageIdConflictError: A message id is taken by other content (G4).
            LeaseLostError: A newer run lease exists than the one that this is written through (G12), also if nothing
                changed.
            PreconditionFailedError, InputError, StorageError.
        """
        fence = fence if fence is not None else link_of(session).fence
        asked = (if_revision, if_last_message, commit_id)
        if not (records or creating) and asked == (None, None, None) and self._is_saved(session):
            await check_fence(self.storage, SessionKey(session.namespace, session.id), fence)
            return MergeReport(revision=session.revision)
        plan = plan_save(
            session,
            now=self.clock.now(),
            if_revision=if_revision,
            additions_only=additions_only,
            records=records,
            creating=creating,
            commit_id=commit_id,
            fence=fence,
            if_last_message=if_last_message,
            call="create" if creating else SAVE,
        )
        release = await self._lock(plan.key)
        return await self.tasks.run(self._save(session, plan, commit_id), release)

    def _is_saved(self, session: Session) -> bool:
        self.tasks.check_usable()
        link = link_of(session)
        if not self.storage.is_exact or not is_clean(session) or link.unsettled is not None or link.is_foreign:
            return False
        snapshot = self.reads.current(SessionKey(session.namespace, session.id))
        return snapshot is not None and snapshot.revision == session.revision

    async def _save(self, session: Session, plan: SavePlan, commit_id: str | None = None) -> MergeReport:
        """Save under the session's lock, after what waits, and after an earlier save of the copy is settled."""
        link = link_of(session)
        if plan.key in self.waiting:
            plan = plan.expecting(await self._save_waiting(plan.key, plan.if_revision))
        if link.is_foreign:
            await check_base(self.storage, plan.key, session)
        if link.unsettled is not None and await self._settle(session, plan) and plan.creating:
            return MergeReport(revision=session.revision, changed=True)  # it was this copy that made the session
        plan = caught_up(plan, session)
        link.unsettled = plan
        try:
            written = await self._commit(plan, commit_id)
            after = living(plan.key, written.after)
        except BambooSessionsError as exc:
            if not (exc.outcome_unknown or isinstance(exc, SessionDeletedError)):  # deleted before the commit or after?
                link.unsettled = None
            raise
        link.unsettled = None
        if written.committed is None:
            await check_fence(self.storage, plan.key, plan.fence)
        committed, base = written.committed, plan.base
        if committed and base and is_earlier(committed, base):
            keep_unsaved(session, base, after)
            return MergeReport(revision=committed.revision, changed=True)
        correct(session, plan, after)
        return report_of(written)

    async def _commit(self, plan: SavePlan, commit_id: str | None) -> Written:
        start = None if plan.creating or plan.base is None else self._newest_known(plan.key, plan.base)
        return await self._committer.save(plan, start, commit_id)

    def _newest_known(self, key: SessionKey, base: Snapshot | None) -> Snapshot | None:
        """The newest committed state that is known: the cache's may be newer than a copy's base (L133)."""
        entry = self.cache.entry(key)
        if entry is None or entry.by_hand or (base is not None and entry.snapshot.revision <= base.revision):
            return base
        return entry.snapshot

    async def _settle(self, session: Session, next_plan: SavePlan) -> bool:
        """Find out what became of earlier saves of what the copy has in it; whether one of its own was made.

        If the outcome of its last save is unknown, its commit id is looked up first (G4): for good, unless that of
        `next_plan` is the same, so that what had not happened by then never will. If it was made, the copy becomes one
        of what is committed now, and what was saved then isn't saved again over what others have committed since.
        Only under the session's lock: no save of this copy is under way then.

        Raises:
            SessionDeletedError: It was made, and the session was deleted since; or what waited was called off.
        """
        plan = link_of(session).unsettled
        if isinstance(plan, Waiting):
            return plan.give_outcome_to(session, creating=next_plan.creating)
        if not isinstance(plan, SavePlan):
            return False
        state = await self._outcome(plan, is_final=next_plan.commit_id != plan.commit_id)
        if state is not None:
            correct(session, plan, state)
        link_of(session).unsettled = None
        return state is not None

    async def _outcome(self, plan: SavePlan, *, is_final: bool = False) -> Snapshot | None:
        """What is committed now, if an earlier save was made that nobody knew the outcome of; else `None`."""
        ask = self.storage.settle if is_final else self.storage.find_commit
        revision = await ask(plan.key, plan.commit_id)
        if revision is None:
            return None
        state = await self.reads.refresh(plan.key)
        if not isinstance(state, Snapshot) or state.head.incarnation > revision:
            raise SessionDeletedError(plan.key.session_id)  # the save was of a life that is over (G9)
        return state

    # --- tolerant saves

    async def save_or_keep(
        self,
        session: Session,
        *,
        then: Callable[[], None],
        commit_id: str | None = None,
        fence: int | None = None,
    ) -> bool:
        """As `merge_save`, but what storage can't take now is kept (see `waiting`); whether it is durable.

        Args:
            session: The copy.
            then: Called if it is kept, also if the caller was cancelled meanwhile.
            commit_id, fence: As for `merge_save`.

        Raises:
            StorageError: One that isn't retryable, or the bound on waiting work would be passed.
        """
        if commit_id is None and fence is None and link_of(session).fence is None and self._is_saved(session):
            return True
        plan = plan_save(session, now=self.clock.now(), commit_id=commit_id, fence=fence)
        release = await self._lock(plan.key)
        return await self.tasks.run(self._save_or_keep(session, plan, then, commit_id), release)

    async def _save_or_keep(
        self, session: Session, plan: SavePlan, then: Callable[[], None], commit_id: str | None
    ) -> bool:
        known = self._newest_known(plan.key, None)  # a failing commit makes the cache forget it
        try:
            await self._save(session, plan, commit_id)
        except StorageError as exc:
            if not exc.retryable or link_of(session).is_foreign or not self._keep(session, plan, known):
                raise
            if plan.key not in self.waiting:
                return True  # there was nothing in it that isn't committed
            _log.warning("session %r waits in memory: %s", session.id, exc)
            then()
            return False
        return True

    def _keep(self, session: Session, plan: SavePlan, known: Snapshot | None) -> bool:
        """Let what could not be saved wait; `False` if there is too much of that."""
        link = link_of(session)
        if isinstance(link.unsettled, Waiting):
            link.unsettled.give_outcome_to(session)
        if isinstance(link.unsettled, SavePlan) and link.unsettled.commit_id == plan.commit_id:
            plan = link.unsettled  # what was sent, perhaps with success
        else:
            plan = caught_up(plan, session)
        if self.waiting.has(plan.key, plan.commit_id):
            return True  # it was accepted before; what was done to the copy since stays in it
        base = plan.base
        if base is not None and base.is_committed and (known is None or known.revision < base.revision):
            known = base
        view = self.waiting.accept(session, plan, self._newest_known(plan.key, known))
        if view is not None:
            correct(session, plan, view)
        return view is not None

    async def save_waiting(self, key: SessionKey) -> None:
        """Save what waits of a session. What is refused is told by `waiting`; raises what may pass."""
        if key in self.waiting:
            release = await self._locks.acquire(key)
            await self.tasks.run(self._save_waiting(key), release)

    async def _save_waiting(self, key: SessionKey, if_revision: int | None = None) -> int | None:
        """Save what waits, the oldest first: all errors of ours but storage's refuse the work for good.

        Whoever expects `if_revision` expects it of the waiting work, too; gives back what to expect after that.
        """
        while item := self.waiting.first(key):
            try:
                after = await self._save_item(key, item, if_revision)
            except (StorageError, PreconditionFailedError):
                raise
            except BambooSessionsError as exc:
                if isinstance(exc, SessionNotFoundError) and self.waiting.has_waiting_parent(key):
                    message = f"Session {key.session_id!r} waits until the session above it is stored."
                    raise StorageUnavailableError(message, hint="Its work is kept in memory and retried.") from exc
                self.waiting.refuse(key, item, exc)
            else:
                self.waiting.durable(key, item, after)
                if_revision = None if if_revision is None else after.revision
            await asyncio.sleep(0)  # a long chain isn't saved in one turn of the event loop
        return if_revision

    async def _save_item(self, key: SessionKey, item: Waiting, if_revision: int | None) -> Snapshot:
        if item.earlier is not None:
            self.waiting.settled(key, item, await self._outcome(item.earlier))
        plan = self.waiting.plan(key, item, if_revision)
        written = await self._commit(plan, plan.commit_id)
        committed, before = written.committed, item.overlay.before
        if committed and before and is_earlier(committed, before):  # the caller's name for it was an earlier call's
            item.commit_id = new_id()
            return await self._save_item(key, item, if_revision)
        return living(key, written.after)

    # --- life

    def open(self) -> None:
        """Let calls begin again after `aclose`."""
        self.tasks.open()
        self.signal.open()

    async def aclose(self) -> None:
        """Refuse new calls, wait for the commits under way, and end the waiting for further ones."""
        self.tasks.close()
        await self.tasks.finish()
        self.signal.close()

    def stats(self) -> dict[str, int]:
        """Counters of this store and its cache."""
        writes, reads = self.writes, self.reads.counters
        return {
            "cache_entries": len(self.cache),
            "cache_bytes": self.cache.bytes,
            "cache_hits": reads.hits,
            "cache_misses": reads.misses,
            "dirty_bytes": self.waiting.bytes,
            "locks": len(self._locks),
            "commits": writes.commits,
            "unchanged": writes.unchanged,
            "conflicts": writes.conflicts,
            "transactions": writes.transactions,
        }
