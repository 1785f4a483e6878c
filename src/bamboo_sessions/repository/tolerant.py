"""Tolerant saves: carry on while storage is down, and lose nothing.

What a save could not do for a reason that may pass waits (`coordination.waiting`),
and it is retried in the background until it is durable. If the retry is refused for good (the session was deleted,
an id is taken), the work moves to the list that `flush` and `aclose` give back: a refusal is never just a line in a
log (L22).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.storage.commit import SessionKey

_log: Final = logging.getLogger("bamboo_sessions")


class TolerantSaves:
    """Saves that may wait, and the retries of what waits."""

    def __init__(self, store: LockedSessionStore, *, backoff: Backoff | None = None) -> None:
        self._store = store
        self._backoff = backoff or Backoff(first_seconds=0.05, longest_seconds=5.0)
        self._retries: asyncio.Task[None] | None = None

    async def save(self, session: Session, *, commit_id: str | None = None, fence: int | None = None) -> bool:
        """Save; `True` if the work is durable now, `False` if it waits in memory for storage to come back.

        Raises what isn't retryable, and the storage's error itself if the bound on waiting work would be passed.
        """
        return await self._store.save_or_keep(session, then=self._start, commit_id=commit_id, fence=fence)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._retries is None or self._retries.done() or self._retries.get_loop() is not loop:
            self._retries = loop.create_task(self._retry())

    async def _retry(self) -> None:
        attempt = 0
        while self._store.waiting.sessions():
            await self._backoff.pause(attempt)
            attempt += 1
            if await self._try_all():
                attempt = 0

    async def _try_all(self, namespace: str | None = None) -> bool:
        """Try the waiting work of each session once; whether that of any is done with."""
        progress = False
        for key in self._store.waiting.sessions():
            if namespace is None or key.namespace == namespace:
                progress = await self.settle(key) or progress
        return progress

    async def settle(self, key: SessionKey) -> bool:
        """Try the waiting work of one session now, if there is any; `False` if some still waits."""
        try:
            await self._store.save_waiting(key)
        except StorageError:
            return False
        except Exception:  # noqa: BLE001 - a storage of somebody else's may raise anything; the work stays
            _log.exception("session %r: a retry failed", key.session_id)
            return False
        return True

    async def flush(self, namespace: str | None = None) -> tuple[UnsavedWork, ...]:
        """Try the waiting work of a namespace, or of all; gives back what isn't durable. Refusals are told once."""
        await self._try_all(namespace)
        return self._store.waiting.unsaved(namespace)

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Try once more, stop retrying, and give back what is not durable, of all namespaces."""
        if self._retries is not None and self._retries.get_loop() is asyncio.get_running_loop():
            self._retries.cancel()
            await asyncio.gather(self._retries, return_exceptions=True)
        unsaved = await self.flush()
        for work in unsaved:
            _log.error("closing with unsaved work of session %r: %s", work.session_id, work.error)
        return unsaved

    def stats(self, namespace: str | None = None) -> dict[str, int]:
        """How many sessions wait, and how many were refused, of a namespace or of all."""
        return self._store.waiting.stats(namespace)
