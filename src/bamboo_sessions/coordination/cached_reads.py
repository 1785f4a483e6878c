"""Reads through the cache: microseconds on a hit, and never behind what any process acknowledged (G7).

A hit asks storage one question that costs next to nothing: as far as this process has heard, is the session still at
this revision? If not, its newer part is read. A miss takes the session's lock, looks again, reads, fills (L16).
"""

from __future__ import annotations

import msgspec

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.locks import SessionLocks
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.port import SessionStorage


class ReadCounters(msgspec.Struct):
    """How reads went: answered from memory, or from storage."""

    hits: int = 0
    misses: int = 0


class CachedReads:
    """Reads of whole sessions through the cache."""

    def __init__(self, storage: SessionStorage, cache: SessionCache, locks: SessionLocks) -> None:
        self._storage = storage
        self._cache = cache
        self._locks = locks
        self.counters = ReadCounters()

    def current(self, key: SessionKey) -> Snapshot | None:
        """The cached snapshot if it is the newest that this process has heard of, told without waiting; else `None`."""
        entry = self._cache.entry(key)
        if entry is None or entry.by_hand:
            return None
        token = self._storage.still_newest(key, entry.snapshot.revision, entry.token)
        if token is None:
            return None
        entry.token = token
        return entry.snapshot

    async def load(self, key: SessionKey, *, fresh: bool = False) -> State:
        """The newest committed state; fills the cache."""
        if not fresh and (snapshot := self.current(key)):
            self.counters.hits += 1
            return snapshot
        release = await self._locks.acquire(key)
        try:
            if not fresh and (snapshot := self.current(key)):
                self.counters.hits += 1
                return snapshot
            self.counters.misses += 1
            return await self.refresh(key)
        finally:
            release()

    async def refresh(self, key: SessionKey, known: Snapshot | None = None) -> State:
        """Read what is new and publish it. Only under the session's lock, or to settle a conflict."""
        entry = self._cache.entry(key)
        if entry is not None and not entry.by_hand and (known is None or entry.snapshot.revision > known.revision):
            known = entry.snapshot
        state = await (self._storage.read(key) if known is None else self._storage.read_newer(key, known))
        if entry is not None and entry.by_hand:
            return state  # whoever reads decides which of the two is the newer one
        if isinstance(state, Snapshot):
            self._cache.publish(key, state)
        else:
            self._cache.evict(key)
        return state
