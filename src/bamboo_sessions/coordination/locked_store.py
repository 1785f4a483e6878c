"""The locked store: one writer at a time per session and process, merge-on-write, publishing inside the lock.

A save is a plan that merges a frozen working copy into what is committed (`saving`), brought in like every change
(`committing`). What storage can't take now is kept (`waiting`), and goes first when it is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from bamboo_sessions.coordination.committing import Committing, Planned, Write, living
from bamboo_sessions.coordination.fencing import check_fence
from bamboo_sessions.coordination.saving import SavePlan
from bamboo_sessions.coordination.waiting import Included
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    PreconditionFailedError,
    SessionDeletedError,
    StorageError,
)
from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import is_clean, link_of
from bamboo_sessions.storage.commit import (
    RecordWrite,
    SessionKey,
    State,
)

_log: Final = logging.getLogger("bamboo_sessions")


class LockedSessionStore(Committing):
    """Merge-on-write over a storage and a cache; made like `Committing`."""

    # --- saving working copies

    async def merge_save(
        self,
        session: Session,
        *,
        if_revision: int | None = None,
        additions_only: bool = False,
        records: tuple[RecordWrite, ...] = (),
        creating: bool = False,
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

        Raises:
            SessionDeletedError: It was deleted (G9).
            MessageIdConflictError: A message id is taken by other content (G4).
            LeaseLostError: The copy writes through a run lease, and a newer one exists (G12), also if nothing changed.
            PreconditionFailedError, InputError, StorageError.
        """
        key = SessionKey(session.namespace, session.id)
        if self._is_saved(session) and not (records or creating) and if_revision is None:
            await check_fence(self.storage, key, link_of(session).fence)
            return MergeReport(revision=session.revision)
        plan = SavePlan(
            session,
            now=self.clock.now(),
            if_revision=if_revision,
            additions_only=additions_only,
            records=records,
            creating=creating,
        )
        release = await self._locks.acquire(key)
        return await self.run_to_end(self._save(session, plan), release)

    def _is_saved(self, session: Session) -> bool:
        if not is_clean(session) or link_of(session).unsettled is not None:
            return False
        snapshot = self.reads.current(SessionKey(session.namespace, session.id))
        return snapshot is not None and snapshot.revision == session.revision

    async def _save(self, session: Session, plan: SavePlan) -> MergeReport:
        plan.if_revision = await self._save_waiting(plan.key, plan.if_revision)
        return await self._save_now(session, plan)

    async def _save_now(self, session: Session, plan: SavePlan) -> MergeReport:
        """Save under the session's lock, after what waited."""

        def planner(state: State) -> Planned | None:
            commit = plan(state)
            return None if commit is None else Planned(commit, plan.result)

        try:
            settled = await self._settle(session)
            plan.catch_up(session)
            if settled and plan.creating:
                return MergeReport(revision=session.revision, changed=True)  # it was this copy that made the session
            link_of(session).unsettled = plan
            written = await self._bring_in(
                Write(plan.key, planner, heads_only=False), None if plan.creating else plan.base
            )
            after = living(plan.key, written.after)
            link_of(session).unsettled = None
            if written.committed is None:
                await check_fence(self.storage, plan.key, plan.fence)
            return plan.finish(session, after, written.committed)
        except BambooSessionsError as exc:
            may_have_happened = exc.outcome_unknown or isinstance(exc, SessionDeletedError)  # deleted before or after?
            if link_of(session).unsettled is plan and not may_have_happened:
                link_of(session).unsettled = None
            raise

    async def _settle(self, session: Session) -> bool:
        """Find out what became of earlier saves of what the copy has in it; whether one of its own was made.

        If the outcome of its last save is unknown, its commit id is looked up first (G4). Then the copy becomes one
        of what is committed now, and what was saved then isn't saved again over what others have committed since.
        Only under the session's lock: no save of this copy is under way then.

        Raises:
            SessionDeletedError: It was made, and the session was deleted since.
        """
        plan = link_of(session).unsettled
        if isinstance(plan, Included):
            return plan.adopt(session)
        if not isinstance(plan, SavePlan):
            return False
        revision = await self.storage.find_commit(plan.key, plan.commit_id)
        if revision is not None:
            state = await self.reads.refresh(plan.key)
            if not isinstance(state, Snapshot) or state.head.incarnation > revision:
                raise SessionDeletedError(plan.key.session_id)  # the copy is of a life that is over (G9)
            plan.finish(session, state, None)
        link_of(session).unsettled = None
        return revision is not None

    # --- tolerant saves

    async def save_or_keep(self, session: Session, *, then: Callable[[], None]) -> bool:
        """As `merge_save`, but what storage can't take now is kept (see `waiting`); whether it is durable.

        Args:
            session: The copy.
            then: Called if it is kept, also if the caller was cancelled meanwhile.

        Raises:
            StorageError: One that isn't retryable, or the bound on waiting work would be passed.
        """
        if link_of(session).fence is None and self._is_saved(session):
            return True
        plan = SavePlan(session, now=self.clock.now())
        release = await self._locks.acquire(plan.key)
        return await self.run_to_end(self._save_or_keep(session, plan, then), release)

    async def _save_or_keep(self, session: Session, plan: SavePlan, then: Callable[[], None]) -> bool:
        try:
            await self._save_waiting(plan.key)
            await self._save_now(session, plan)
        except StorageError as exc:
            if not exc.retryable or not self.waiting.keep(session):
                raise
            _log.warning("session %r waits in memory: %s", session.id, exc)
            then()
            return False
        return True

    async def save_waiting(self, key: SessionKey) -> None:
        """Save what waits. What is refused is told by `waiting`; raises what may pass."""
        if self.waiting.first(key) is not None:
            release = await self._locks.acquire(key)
            await self.run_to_end(self._save_waiting(key), release)

    async def _save_waiting(self, key: SessionKey, if_revision: int | None = None) -> int | None:
        """Save what waits, the oldest first: all errors of ours but storage's refuse the work for good.

        Whoever expects `if_revision` expects it of the waiting work, too; gives back what to expect after that.
        """
        while item := self.waiting.first(key):
            try:
                report = await self._save_now(
                    item.work, SavePlan(item.work, now=self.clock.now(), if_revision=if_revision)
                )
            except (StorageError, PreconditionFailedError):
                raise
            except BambooSessionsError as exc:
                self.waiting.refuse(key, item, exc)
            else:
                self.waiting.durable(key, item)
                if_revision = None if if_revision is None else report.revision
        return if_revision
