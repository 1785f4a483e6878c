"""The feed of the memory engine: one entry for each commit, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from bamboo_sessions.domain.change import ChangeKind, SessionChange
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import FEED_PAGE_IDS_MAX
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.feed_position import FeedBounds, FeedPosition, check_kept, due, parse_position
from bamboo_sessions.storage.query import FeedPage


class Entry(NamedTuple):
    """What the log has of a commit."""

    key: SessionKey
    revision: int
    incarnation: int
    mark: str
    kinds: tuple[ChangeKind, ...]
    message_ids: tuple[str, ...]
    at: datetime
    logged_at: datetime


class Feed:
    """All commits that weren't pruned. Numbers begin with 1 and are never given again (L109)."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._epoch = new_id()
        self._end = 0
        self._pruned = ""

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, namespace: str | None) -> int:
        """How many commits of a namespace, or of all, are kept."""
        return sum(namespace in {None, entry.key.namespace} for entry in self._entries)

    @property
    def bounds(self) -> FeedBounds:
        """What is kept."""
        return FeedBounds(self._at(self._end - len(self._entries)), self._at(self._end))

    def _at(self, number: int) -> FeedPosition:
        """A position with the mark of its commit, if that is kept, or was the last to be pruned."""
        index = number - (self._end - len(self._entries)) - 1
        if index == -1:
            return FeedPosition(self._epoch, number, self._pruned)
        return FeedPosition(self._epoch, number, self._entries[index].mark if 0 <= index < len(self._entries) else "")

    def add(self, entry: Entry) -> None:
        """Log a commit."""
        self._end += 1
        self._entries.append(entry)

    def page(self, namespace: str, after: str | None, limit: int, lives: Callable[[SessionKey, int], bool]) -> FeedPage:
        """The changes of a namespace behind `after`; those of a life that is over have no messages."""
        floor = self._end - len(self._entries)
        start = floor
        if after is not None:
            position = parse_position(after)
            start = position.number
            check_kept(position, self._at(start), self.bounds)
        looked_at = _within(islice(self._entries, start - floor, start - floor + limit))
        changes = tuple(
            self._told(number, entry, has_messages=lives(entry.key, entry.incarnation))
            for number, entry in enumerate(looked_at, start + 1)
            if entry.key.namespace == namespace
        )
        through = start + len(looked_at)
        return FeedPage(changes, str(self._at(through)), is_end=through == self._end)

    def _told(self, number: int, entry: Entry, *, has_messages: bool) -> SessionChange:
        return SessionChange(
            position=str(FeedPosition(self._epoch, number, entry.mark)),
            session_id=entry.key.session_id,
            revision=entry.revision,
            kinds=entry.kinds,
            message_ids=entry.message_ids if has_messages else (),
            at=entry.at,
        )

    def prune(self, older_than: timedelta, limit: int, now: datetime) -> int:
        """Forget the oldest, `limit` at most, by the times at which they were logged; how many."""
        count = min(limit, due((entry.logged_at for entry in self._entries), before=now - older_than, now=now))
        for _ in range(count):
            self._pruned = self._entries.popleft().mark
        return count

    def start_epoch(self) -> None:
        """A new epoch."""
        self._epoch = new_id()


def _within(entries: Iterable[Entry]) -> list[Entry]:
    """The first entries, up to the bound on message ids; one at least."""
    taken: list[Entry] = []
    count = 0
    for entry in entries:
        count += len(entry.message_ids)
        if taken and count > FEED_PAGE_IDS_MAX:
            break
        taken.append(entry)
    return taken
