"""The feed of a lagging database: commits become visible late, and not in the order in which they were acknowledged.

So it is where transactions run at the same time. A commit that was acknowledged isn't told before all that began before
it have ended, and then stands where it began: perhaps before a commit of another session that was acknowledged earlier.
The order within a session is that of its revisions.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.feed import Entry, Feed
from bamboo_sessions.storage.query import FeedPage


class LaggingFeed(Feed):
    """Entries wait until they are visible.

    Args:
        chance: Decides how late they are, and their order.
        delay_seconds_max: How late they may be, in seconds; `None`: until `show_all`.
    """

    def __init__(self, chance: random.Random, delay_seconds_max: float | None) -> None:
        super().__init__()
        self._chance = chance
        self._delay_seconds_max = delay_seconds_max
        self._waiting: deque[Entry] = deque()
        self._visible_at = 0.0

    def add(self, entry: Entry) -> None:
        """Log a commit: behind those of its session, before or behind the others that wait."""
        if self._delay_seconds_max == 0:
            super().add(entry)
            return
        self.show_due()
        first = max((i + 1 for i, other in enumerate(self._waiting) if other.key == entry.key), default=0)
        self._waiting.insert(self._chance.randint(first, len(self._waiting)), entry)
        if self._delay_seconds_max is not None:
            now = asyncio.get_running_loop().time()
            self._visible_at = max(self._visible_at, now + self._chance.random() * self._delay_seconds_max)

    def show_due(self) -> None:
        """Let be seen what is visible by now: all, once the last of those that wait has ended."""
        if self._waiting and self._delay_seconds_max is not None and self._left() <= 0:
            self.show_all()

    def _left(self) -> float:
        """Seconds until all is visible that waits."""
        return self._visible_at - asyncio.get_running_loop().time()

    def show_all(self) -> None:
        """Let everything be seen."""
        while self._waiting:
            super().add(self._waiting.popleft())

    def page(self, namespace: str, after: str | None, limit: int, lives: Callable[[SessionKey, int], bool]) -> FeedPage:
        """What is visible, and when to look again for what isn't."""
        self.show_due()
        page = super().page(namespace, after, limit, lives)
        if not self._waiting:
            return page
        if self._delay_seconds_max is None:
            return FeedPage(page.changes, page.through, page.is_end, look_again_in=0.0)
        return FeedPage(page.changes, page.through, page.is_end, look_again_in=max(0.0, self._left()))
