"""One lock per session, made when it is needed and gone when nobody uses it (G13, L38).

The locks spare the tasks of one process from computing merges that would lose the race. They are *not* what makes
saves correct: other processes have lock maps of their own. That is the storage's compare-and-commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bamboo_sessions.storage.commit import SessionKey


class _Lock:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class SessionLocks:
    """The locks of the sessions in use."""

    def __init__(self) -> None:
        self._locks: dict[SessionKey, _Lock] = {}

    async def acquire(self, key: SessionKey) -> Callable[[], None]:
        """Wait for the lock of `key`; returns what releases it. Cancelling the waiting leaves nothing behind."""
        entry = self._locks.get(key)
        if entry is None:
            entry = self._locks[key] = _Lock()
        entry.users += 1
        try:
            await entry.lock.acquire()
        except BaseException:
            self._leave(key, entry)
            raise

        def release() -> None:
            entry.lock.release()
            self._leave(key, entry)

        return release

    def _leave(self, key: SessionKey, entry: _Lock) -> None:
        entry.users -= 1
        if not entry.users and self._locks.get(key) is entry:
            del self._locks[key]

    def clear(self) -> None:
        """Forget all locks: their event loop runs no more, so that nobody would release them."""
        self._locks = {}

    def __len__(self) -> int:
        return len(self._locks)
