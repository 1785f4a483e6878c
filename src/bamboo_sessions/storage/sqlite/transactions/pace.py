"""How quick the disk has been of late: whether the event loop may wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOOP_STALL_SECONDS,
    LOOP_STALLS_APART,
    LOOP_SYNC_SECONDS_MAX,
    REMEMBERED_COMMITS,
)


class Pace:
    """What the syncs of the last commits took.

    Args:
        now: Seconds, of a clock that nobody sets.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.seconds: float | None = None
        """How long the disk takes to make a group of commits durable, on average; `None`: nobody knows yet."""
        self._quick_again_at = 0.0

    @property
    def is_quick(self) -> bool:
        """Whether that is quick enough for the event loop to wait, and no sync took long of late."""
        quick = self.seconds is not None and self.seconds <= LOOP_SYNC_SECONDS_MAX
        return quick and self._now() >= self._quick_again_at

    def learn(self, seconds: float) -> None:
        """Take note of a sync. A long one is remembered for a multiple of its length: the loop feels it once."""
        before = seconds if self.seconds is None else self.seconds
        self.seconds = before + (seconds - before) / REMEMBERED_COMMITS
        if seconds > LOOP_STALL_SECONDS:
            self._quick_again_at = max(self._quick_again_at, self._now() + seconds * LOOP_STALLS_APART)
