"""The feed of the memory engine: one entry for each commit, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec

from bamboo_sessions.domain.change import ChangeKind, FeedBounds
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import FEED_PAGE_IDS_MAX
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.query import FeedPage, LoggedChange


class _Entry(NamedTuple):
    key: SessionKey
    incarnation: int
    change: LoggedChange


class Feed:
    """All commits that weren't pruned. Numbers begin with 1 and are never given again (L109)."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._epoch = new_id()
        self._end = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bounds(self) -> FeedBounds:
        """What is kept."""
        return FeedBounds(self._epoch, self._end - len(self._entries), self._end)

    def add(
        self,
        key: SessionKey,
        revision: int,
        incarnation: int,
        *,
        kinds: tuple[ChangeKind, ...],
        message_ids: tuple[str, ...],
        at: datetime,
    ) -> None:
        """Log a commit."""
        self._end += 1
        change = LoggedChange(self._end, key.session_id, revision, kinds, message_ids, at)
        self._entries.append(_Entry(key, incarnation, change))

    def page(self, namespace: str, after: int | None, limit: int, lives: Callable[[SessionKey, int], bool]) -> FeedPage:
        """The changes of a namespace behind `after`; those of a life that is over have no messages."""
        bounds = self.bounds
        start = bounds.pruned_up_to if after is None else after
        skipped = max(0, start - bounds.pruned_up_to)
        looked_at = _within(islice(self._entries, skipped, skipped + limit))
        changes = tuple(
            entry.change
            if lives(entry.key, entry.incarnation)
            else msgspec.structs.replace(entry.change, message_ids=())
            for entry in looked_at
            if entry.key.namespace == namespace
        )
        through = looked_at[-1].change.number if looked_at else start
        return FeedPage(bounds, start, through, changes)

    def prune(self, before: datetime, limit: int) -> int:
        """Forget the oldest, `limit` at most, up to the first that isn't older than `before`; how many."""
        count = 0
        while count < limit and self._entries and self._entries[0].change.at < before:
            self._entries.popleft()
            count += 1
        return count

    def start_epoch(self) -> FeedBounds:
        """A new epoch."""
        self._epoch = new_id()
        return self.bounds


def _within(entries: Iterable[_Entry]) -> list[_Entry]:
    """The first entries, up to the bound on message ids; one at least."""
    taken: list[_Entry] = []
    count = 0
    for entry in entries:
        count += len(entry.change.message_ids)
        if taken and count > FEED_PAGE_IDS_MAX:
            break
        taken.append(entry)
    return taken
