"""Wakes those who wait for the next commit: at once if this process makes it, soon if another one does.

Storage tells commits of other processes by `freshness()`, which costs microseconds; it is asked on the event loop's
timer, once for all who wait, and only while somebody waits. Nothing is carried but "look again": what there is to see
is read from storage, so a wake-up too many costs a read, and none is lost (L56).
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from bamboo_sessions.domain.errors import BambooSessionsError, StorageError
from bamboo_sessions.storage.port import SessionStorage

POLL_SECONDS: Final = 0.02
"""How often storage is asked for commits of other processes: a fifth of the 100 ms in which `tail` shows them."""


class Moment(NamedTuple):
    """When somebody looked: how many notifications there had been, and storage's freshness."""

    notified: int
    freshness: int | None


class CommitSignal:
    """Tells that something may have been committed. Belongs to one event loop.

    Args:
        storage: Whose commits.
        poll_seconds: How often it is asked while somebody waits.
    """

    def __init__(self, storage: SessionStorage, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._storage = storage
        self._poll_seconds = poll_seconds
        self._notified = 0
        self._seen: int | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = True

    def open(self) -> None:
        """Let waiting begin again after `close`."""
        self._is_open = True

    def close(self) -> None:
        """End all waiting, now and later, with a `StorageError`: nobody would be told of anything any more."""
        self._is_open = False
        for future in self._waiting:
            if not future.done():
                future.set_exception(_closed())

    @property
    def is_waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def notify(self) -> None:
        """Say that this process has just changed something."""
        self._notified += 1
        self._wake()

    def now(self) -> Moment:
        """The moment to wait past; take it before reading, so that nothing falls in between."""
        return Moment(self._notified, self._storage.freshness())

    async def changed_since(self, moment: Moment, *, timeout_seconds: float | None = None) -> bool:
        """Wait until something may have been committed after `moment`; `False` if that took too long.

        Args:
            moment: From `now`.
            timeout_seconds: `None` waits for ever.

        Raises:
            StorageError: Storage can't be asked any more, or the repository was closed.
        """
        if not self._is_open:
            raise _closed()
        if self.now() != moment:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        self._watch(moment.freshness)
        try:
            async with asyncio.timeout(timeout_seconds):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
            if not self._waiting:
                self._rest()
        return True

    # --- the timer

    def _watch(self, freshness: int | None) -> None:
        if freshness is None:
            self._seen = None  # whatever storage tells next may be news to this one
        if self._timer is None:
            self._seen = freshness
            self._set_timer()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._poll_seconds, self._poll)

    def _poll(self) -> None:
        self._timer = None
        try:
            freshness = self._storage.freshness()
        except BambooSessionsError as exc:
            for future in self._waiting:
                if not future.done():
                    future.set_exception(exc)
            return
        if freshness is not None and freshness != self._seen:
            self._seen = freshness
            self._wake()
        if self._waiting:
            self._set_timer()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


def _closed() -> StorageError:
    return StorageError("The repository was closed while somebody waited for changes.", hint="Open it, and go on.")
