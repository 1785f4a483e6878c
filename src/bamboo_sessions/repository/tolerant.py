"""Tolerant saves: carry on while storage is down, and lose nothing.

A save that fails for a reason that may pass leaves its working copy in the cache as dirty work, pinned, and is
retried in the background until it is durable. If the retry is refused for good (the session was deleted, an id is
taken), the work moves to the list that `flush` and `aclose` give back: a refusal is never just a line in a log (L22).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

import msgspec

from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.coordination.saving import Retried, retried
from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import BambooSessionsError, LeaseLostError, StorageError
from bamboo_sessions.domain.limits import UNSAVED_WORK_MAX
from bamboo_sessions.domain.merge import merge
from bamboo_sessions.domain.report import MergeReport, UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import RecordWrite, SessionKey

_log: Final = logging.getLogger("bamboo_sessions")


class _Maker(msgspec.Struct, frozen=True):
    """A working copy that waiting work is of, and the state of it that waits."""

    session: Session
    kept: Session


class TolerantSaves:
    """Work that waits for storage to come back, and work that it refused."""

    def __init__(self, store: LockedSessionStore, *, backoff: Backoff | None = None) -> None:
        self._store = store
        self._backoff = backoff or Backoff(first_seconds=0.05, longest_seconds=5.0)
        self._retries: asyncio.Task[None] | None = None
        self._refused: deque[UnsavedWork] = deque()
        self._makers: dict[SessionKey, tuple[_Maker, ...]] = {}
        self._trying = asyncio.Lock()  # one try at a time: the same work must not be merged twice

    async def save(self, session: Session) -> bool:
        """Save; `True` if the work is durable now, `False` if it waits in memory for storage to come back.

        Raises what isn't retryable, and the storage's error itself if the bound on dirty work would be passed.
        """
        key = SessionKey(session.namespace, session.id)
        try:
            await self.save_strictly(session)
        except StorageError as exc:
            if not exc.retryable or not self._keep(key, session):
                raise
            _log.warning("session %r waits in memory: %s", session.id, exc)
            self._start()
        return not self._store.cache.is_dirty(key)

    async def save_strictly(
        self,
        session: Session,
        *,
        if_revision: int | None = None,
        additions_only: bool = False,
        records: tuple[RecordWrite, ...] = (),
    ) -> MergeReport:
        """`merge_save`, but what waits goes first: older work must never be merged on top of newer work."""
        key = SessionKey(session.namespace, session.id)
        if not self._store.cache.is_dirty(key):
            return await self._store.merge_save(
                session, if_revision=if_revision, additions_only=additions_only, records=records
            )
        # Not cancelled between the commit and what follows from it: saved work would be merged again (G10).
        return await self._store.own(self._save_over_waiting(key, session, if_revision, additions_only, records))

    async def _save_over_waiting(
        self,
        key: SessionKey,
        session: Session,
        if_revision: int | None,
        additions_only: bool,
        records: tuple[RecordWrite, ...],
    ) -> MergeReport:
        async with self._trying:
            if not self._is_only_maker(key, session):
                await self._attempt(key)
            try:
                report = await self._store.merge_save(
                    session, if_revision=if_revision, additions_only=additions_only, records=records
                )
            except StorageError as exc:
                if exc.outcome_unknown and self._is_only_maker(key, session):
                    self._keep(key, session)  # if it happened, the earlier state must not be merged on top of it
                raise
            if self._is_only_maker(key, session):
                self._drop(key)  # what waited was an earlier state of this very copy
                if additions_only and not session.is_clean:  # what a checkpoint held back goes on waiting
                    self._keep(key, session)
            return report

    def _keep(self, key: SessionKey, session: Session) -> bool:
        work = session.copy()
        others = tuple(maker for maker in self._makers.get(key, ()) if maker.session is not session)
        earlier = self._store.cache.dirty().get(key)
        if earlier is not None and others and not self._of_one_run(key, earlier, work):
            earlier, others = None, ()
        if earlier is not None and others:
            work = self._united(earlier, work)
        if not self._store.cache.set_dirty(key, work, _size(work)):
            return False
        self._makers[key] = (*others, _Maker(session, session.copy()))
        return True

    def _is_only_maker(self, key: SessionKey, session: Session) -> bool:
        makers = self._makers.get(key, ())
        return len(makers) == 1 and makers[0].session is session

    def _of_one_run(self, key: SessionKey, earlier: Session, work: Session) -> bool:
        """Whether both may become durable together; the work of an older run lease is refused, never mixed in (G12)."""
        older, newer = earlier.fence, work.fence
        if older is None or newer is None or older == newer:
            return True
        if older > newer:
            raise LeaseLostError(key.session_id, token=newer, newer_token=older)
        self._refuse(key, earlier, LeaseLostError(key.session_id, token=older, newer_token=newer))
        self._drop(key)
        return False

    def _drop(self, key: SessionKey) -> None:
        work = self._store.cache.dirty().get(key)
        if work is not None:
            self._store.cache.clear_dirty(key, work)
        self._makers.pop(key, None)

    def _united(self, earlier: Session, work: Session) -> Session:
        """Both copies' work in one; they may have been loaded at different revisions."""
        base = earlier.base
        draft = earlier.freeze()
        later = max(draft.head.revision, work.revision) + 1  # than both were loaded at, or the merge sees no difference
        as_if_committed = msgspec.structs.replace(draft.head, revision=later)
        durable = Snapshot(as_if_committed, draft.messages)
        merged = merge(work.base, work.freeze(), durable, now=self._store.clock.now())
        if base is None:
            united = Session.without_base(merged.head, merged.messages, self._store.clock)
        else:
            united = Session.from_snapshot(base, self._store.clock)
            united.rebase(base, merged.head, merged.messages)
        united.fence = earlier.fence if work.fence is None else work.fence  # part of it was written through that lease
        return united

    def _start(self) -> None:
        if self._retries is None or self._retries.done():
            self._retries = asyncio.get_running_loop().create_task(self._retry())

    async def _retry(self) -> None:
        attempt = 0
        while self._store.cache.dirty():
            await self._backoff.pause(attempt)
            attempt += 1
            if await self._try_all():
                attempt = 0

    async def _try_all(self, namespace: str | None = None) -> bool:
        """Try each piece of waiting work once; whether any is done with."""
        progress = False
        for key in self._store.cache.dirty():
            if namespace is None or key.namespace == namespace:
                progress = await self._try(key) or progress
        return progress

    async def _try(self, key: SessionKey) -> bool:
        """Try waiting work; `False` if it still waits. Cancelling the caller doesn't stop the try (G10)."""
        return await self._store.own(self._try_once(key))

    async def _try_once(self, key: SessionKey) -> bool:
        async with self._trying:
            try:
                await self._attempt(key)
            except StorageError:
                return False
            except Exception:  # noqa: BLE001 - a storage of somebody else's may raise anything; the work stays
                _log.exception("session %r: a retry failed", key.session_id)
                return False
            return True

    async def _attempt(self, key: SessionKey) -> None:
        """Storage's errors may pass; all others of ours refuse the work for good."""
        work = self._store.cache.dirty().get(key)
        if work is None:
            return
        attempt = work.copy()
        self._tell(key, work, attempt)
        try:
            await self._store.merge_save(attempt)
        except StorageError:
            raise
        except BambooSessionsError as exc:
            self._refuse(key, work, exc)
        if self._store.cache.dirty().get(key) is work:
            self._drop(key)

    def _tell(self, key: SessionKey, work: Session, attempt: Session) -> None:
        """The next try of this work, and the next saves of the copies that it is of, go on from `attempt` (G4)."""
        earlier = (work.unsettled.twin,) if isinstance(work.unsettled, Retried) else ()
        work.unsettled = retried(work, (work,), attempt)
        for maker in self._makers.get(key, ()):
            if note := retried(maker.session, (maker.kept, *earlier), attempt):
                maker.session.unsettled = note

    async def settle(self, key: SessionKey) -> None:
        """Try the waiting work of one session now, if there is any: before somebody else's lease begins."""
        if self._store.cache.is_dirty(key):
            await self._try(key)

    def _refuse(self, key: SessionKey, work: Session, exc: BambooSessionsError) -> None:
        _log.error("session %r: work that waited in memory was refused: %s", key.session_id, exc)
        if len(self._refused) >= UNSAVED_WORK_MAX:
            _log.error("the list of refused work is full; dropped the oldest: %r", self._refused.popleft())
        self._refused.append(
            UnsavedWork(
                namespace=key.namespace,
                session_id=key.session_id,
                error=str(exc),
                code=exc.code,
                at=self._store.clock.now(),
                session=work,
            )
        )

    async def flush(self, namespace: str | None = None) -> tuple[UnsavedWork, ...]:
        """Try the waiting work of a namespace, or of all; gives back what isn't durable. Refusals are told once."""
        await self._try_all(namespace)
        refused = [work for work in self._refused if namespace in {None, work.namespace}]
        self._refused = deque(work for work in self._refused if work not in refused)
        return (*refused, *self._waiting(namespace))

    def _waiting(self, namespace: str | None) -> list[UnsavedWork]:
        return [
            UnsavedWork(
                namespace=key.namespace,
                session_id=key.session_id,
                error="Storage could not be reached; the work is kept in memory and retried.",
                code="storage_unavailable",
                at=work.updated_at,
                session=work.copy(),
            )
            for key, work in self._store.cache.dirty().items()
            if namespace in {None, key.namespace}
        ]

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Try once more, stop retrying, and give back what is not durable."""
        if self._retries is not None:
            async with self._trying:  # never in the middle of a try
                self._retries.cancel()
            await asyncio.gather(self._retries, return_exceptions=True)
        unsaved = await self.flush()
        for work in unsaved:
            _log.error("closing with unsaved work of session %r: %s", work.session_id, work.error)
        return unsaved

    def stats(self) -> dict[str, int]:
        """How many sessions wait, and how many were refused."""
        return {"dirty_sessions": len(self._store.cache.dirty()), "refused_saves": len(self._refused)}


def _size(work: Session) -> int:
    """Bytes of what is new or changed in `work`, roughly."""
    draft = work.freeze()
    known = {id(message) for message in work.messages.base}
    messages = sum(len(json.encode(message)) for message in draft.messages if id(message) not in known)
    head = 0 if work.base is not None and draft.head is work.base.head else len(json.encode(draft.head))
    return messages + head
