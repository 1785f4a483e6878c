"""Between the one who waits for a search, on the event loop, and the search thread that works on it."""

from __future__ import annotations

import asyncio

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.port import Progress


class Waiting:
    """Whether somebody waits for an answer; and whom to tell how far it is."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.is_over = False
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        """On the search thread: raise if nobody waits any more."""
        if self.is_over:
            raise StorageError("The store was closed, or the search cancelled, before it was done.")

    def tell(self, done: int, total: int) -> None:
        """On the search thread: say how far the work is, on the event loop."""
        if self._on_progress is not None and not self.is_over:
            self._loop.call_soon_threadsafe(self._report, done, total)

    def _report(self, done: int, total: int) -> None:
        if self._on_progress is not None and not self.is_over:
            self._on_progress(done, total)
