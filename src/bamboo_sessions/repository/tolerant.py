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
from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import BambooSessionsError, StorageError
from bamboo_sessions.domain.limits import UNSAVED_WORK_MAX
from bamboo_sessions.domain.merge import merge
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey

_log: Final = logging.getLogger("bamboo_sessions")


class TolerantSaves:
    """Work that waits for storage to come back, and work that it refused."""

    def __init__(self, store: LockedSessionStore, *, backoff: Backoff | None = None) -> None:
        self._store = store
        self._backoff = backoff or Backoff(first_seconds=0.05, longest_seconds=5.0)
        self._retries: asyncio.Task[None] | None = None
        self._refused: deque[UnsavedWork] = deque()

    async def save(self, session: Session) -> bool:
        """Save; `True` if the work is durable now, `False` if it waits in memory for storage to come back.

        Raises what isn't retryable, and the storage's error itself if the bound on dirty work would be passed.
        """
        key = SessionKey(session.namespace, session.id)
        try:
            await self._store.merge_save(session)
        except StorageError as exc:
            if not exc.retryable or not self._keep(key, session):
                raise
            _log.warning("session %r waits in memory: %s", session.id, exc)
            self._start()
            return False
        earlier = self._store.cache.dirty().get(key)
        return earlier is None or await self._try(key, earlier)

    def _keep(self, key: SessionKey, session: Session) -> bool:
        work = session.copy()
        earlier = self._store.cache.dirty().get(key)
        if earlier is not None:
            work = self._united(earlier, work)
        changed = work.freeze()
        size = sum(len(json.encode(message)) for message in changed.messages[len(work.messages.base) :])
        return self._store.cache.set_dirty(key, work, size + 2_048)

    def _united(self, earlier: Session, work: Session) -> Session:
        """Both copies' work in one; they may have been loaded at different revisions."""
        base = earlier.base
        draft = earlier.freeze()
        as_if_committed = msgspec.structs.replace(draft.head, revision=draft.head.revision + 1)
        durable = Snapshot(as_if_committed, draft.messages)
        merged = merge(work.base, work.freeze(), durable, now=self._store.clock.now())
        if base is None:
            return Session.without_base(merged.head, merged.messages, self._store.clock)
        united = Session.from_snapshot(base, self._store.clock)
        united.rebase(base, merged.head, merged.messages)
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

    async def _try_all(self) -> bool:
        """Try each piece of waiting work once; whether any became durable."""
        progress = False
        for key, work in self._store.cache.dirty().items():
            progress = await self._try(key, work) or progress
        return progress

    async def _try(self, key: SessionKey, work: Session) -> bool:
        try:
            await self._store.merge_save(work.copy())
        except BambooSessionsError as exc:
            if exc.retryable:
                return False
            self._refuse(key, exc)
        self._store.cache.clear_dirty(key, work)
        return True

    def _refuse(self, key: SessionKey, exc: BambooSessionsError) -> None:
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
            )
        )

    async def flush(self) -> tuple[UnsavedWork, ...]:
        """Try all waiting work now; gives back what isn't durable: still waiting, or refused (told once)."""
        await self._try_all()
        refused = tuple(self._refused)
        self._refused.clear()
        return refused + tuple(self._waiting())

    def _waiting(self) -> list[UnsavedWork]:
        return [
            UnsavedWork(
                namespace=key.namespace,
                session_id=key.session_id,
                error="Storage could not be reached; the work is kept in memory and retried.",
                code="storage_unavailable",
                at=work.updated_at,
            )
            for key, work in self._store.cache.dirty().items()
        ]

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Try once more, stop retrying, and give back what is not durable."""
        if self._retries is not None:
            self._retries.cancel()
            await asyncio.gather(self._retries, return_exceptions=True)
        unsaved = await self.flush()
        for work in unsaved:
            _log.error("closing with unsaved work of session %r: %s", work.session_id, work.error)
        return unsaved

    def stats(self) -> dict[str, int]:
        """How many sessions wait, and how many were refused."""
        return {"dirty_sessions": len(self._store.cache.dirty()), "refused_saves": len(self._refused)}
