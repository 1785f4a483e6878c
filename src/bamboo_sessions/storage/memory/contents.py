"""All that a store in memory holds, and how to find in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from bamboo_sessions.domain.clock import Clock
from bamboo_sessions.domain.errors import SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseState
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import Committed, RecordScope, SessionKey
from bamboo_sessions.storage.memory.feed import Feed
from bamboo_sessions.storage.memory.remembered import Remembered
from bamboo_sessions.storage.memory.session import StoredSession
from bamboo_sessions.storage.port import Hear, News
from bamboo_sessions.storage.query import Record

CommitKey = tuple[SessionKey, str]
RecordsKey = tuple[str, RecordScope, str]

_NEVER_LEASED: Final = LeaseState()


class Deletion(NamedTuple):
    """A deletion that somebody may ask for again: what went, and the root's revision then."""

    deleted: tuple[str, ...]
    revision: int


class Made(NamedTuple):
    """A commit that somebody may ask for again: by which call it was made, and what became of it."""

    call: str
    committed: Committed


class Contents:
    """Plain dictionaries; each other module changes what is its own.

    Attributes:
        clock: The engine's own time, by which leases are meant, and how long commits are remembered.
        sessions: Living sessions, and what deleted ones left.
        commits: What became of each commit, by its id (G4).
        burnt: Ids of commits that never happened and never will.
        records: By namespace, scope and kind; then by key.
        record_version: The highest version that a record was ever given.
        record_commits: The versions that came of records written by themselves, by namespace and commit id.
        deletions: Those that have a commit id, by the session that they were asked for.
        leases: Also of deleted sessions: their tokens go on counting (G12).
        feed: The log of commits.
        listeners: Who is told of changes; a dict, so that it has an order.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sessions: dict[SessionKey, StoredSession | Tombstone] = {}
        self.commits: Remembered[CommitKey, Made] = Remembered()
        self.burnt: Remembered[CommitKey, None] = Remembered()
        self.records: dict[RecordsKey, dict[str, Record]] = {}
        self.record_version = 0
        self.record_commits: Remembered[tuple[str, str], tuple[int, ...]] = Remembered()
        self.deletions: Remembered[CommitKey, Deletion] = Remembered()
        self.leases: dict[SessionKey, LeaseState] = {}
        self.feed = Feed()
        self.listeners: dict[object, Hear] = {}

    def tell(self, key: SessionKey, *, has_commit: bool = True) -> None:
        """Tell all who listen."""
        for hear in list(self.listeners.values()):
            hear(News(key, has_commit))

    def living(self, key: SessionKey) -> StoredSession:
        """The session; raises if it doesn't live."""
        stored = self.sessions.get(key)
        if stored is None:
            raise SessionNotFoundError(key.session_id)
        if isinstance(stored, Tombstone):
            raise SessionDeletedError(key.session_id)
        return stored

    def lives(self, key: SessionKey, incarnation: int) -> bool:
        """Whether this life of the session goes on."""
        stored = self.sessions.get(key)
        return isinstance(stored, StoredSession) and stored.head.incarnation == incarnation

    def heads(self, namespace: str) -> list[SessionHead]:
        """Of all living sessions of a namespace."""
        return [
            stored.head
            for key, stored in self.sessions.items()
            if key.namespace == namespace and isinstance(stored, StoredSession)
        ]

    def tree(self, key: SessionKey) -> Iterator[SessionKey]:
        """A session and all below it, parents first."""
        children: dict[str | None, list[str]] = {}
        for head in self.heads(key.namespace):
            children.setdefault(head.parent_session_id, []).append(head.id)
        below = [key.session_id]
        for session_id in below:
            yield SessionKey(key.namespace, session_id)
            below.extend(child for child in children.pop(session_id, ()) if child != key.session_id)

    def forget(self, now: datetime, older_than: timedelta) -> None:
        """Forget what became of older calls; commits are remembered for their day, however short the feed is kept."""
        for calls in (self.burnt, self.record_commits, self.deletions):
            calls.forget(now, older_than)

    def leases_of(self, key: SessionKey) -> LeaseState:
        """The run leases of a session."""
        return self.leases.get(key, _NEVER_LEASED)
