"""The in-memory tier: snapshots of sessions, bounded in bytes (G13), never going back (G7).

An entry is a committed snapshot and the token by which storage tells more quickly that it is still the newest. Two
kinds of entries are special: one put in by hand (`insert`), which is compared with storage by age, and one with dirty
work, which is pinned until it is durable.
"""

from __future__ import annotations

from collections import OrderedDict
from operator import attrgetter, is_
from typing import Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.limits import CACHE_BYTES_MAX, DIRTY_BYTES_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, copy_without_base, freeze, link_of
from bamboo_sessions.storage.commit import SessionKey

_ENTRY_BYTES: Final = 2_048
"""What a head and the entry itself take, roughly."""

_GROWING: Final = attrgetter("metadata", "run_state", "summary", "questions")
"""What of a head can be large."""

_MESSAGE_BYTES: Final = 128
"""What a message takes beside its content, roughly."""


class Entry(msgspec.Struct):
    """What the cache has of one session."""

    snapshot: Snapshot
    token: int | None = None
    by_hand: bool = False
    dirty: Session | None = None
    dirty_bytes: int = 0
    head_bytes: int = 0

    def working_copy(self, clock: Clock = SYSTEM_CLOCK) -> Session:
        """A copy to work on; based on what is committed only if the entry is (L107)."""
        if self.dirty is not None:
            return self.dirty.copy()
        if self.by_hand:
            return copy_without_base(self.snapshot.head, self.snapshot.messages, clock)
        return copy_of(self.snapshot, clock)

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        messages = self.snapshot.messages_bytes + _MESSAGE_BYTES * len(self.snapshot.messages)
        return _ENTRY_BYTES + messages + self.head_bytes + self.dirty_bytes


class SessionCache:
    """Snapshots in memory, least recently used out first.

    Args:
        bytes_max: Bound of all entries together, in bytes, roughly counted. 0 keeps nothing but dirty work.
        dirty_bytes_max: Bound of the work that isn't durable yet; it is never evicted.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX, *, dirty_bytes_max: int = DIRTY_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.dirty_bytes_max = dirty_bytes_max
        self._entries: OrderedDict[SessionKey, Entry] = OrderedDict()
        self._dirty: dict[SessionKey, Session] = {}
        self._bytes = 0
        self._dirty_bytes = 0

    # --- by hand

    def insert(self, session: Session, *, namespace: str = "default") -> None:
        """Put the present state of `session` in, as tests and importers do. Against storage, the newer one counts."""
        draft = freeze(session)
        size = sum(len(json.encode(message)) for message in draft.messages)
        self._put(SessionKey(namespace, session.id), Entry(Snapshot(draft.head, draft.messages, size), by_hand=True))

    def get(self, session_id: str, *, namespace: str = "default") -> Session | None:
        """A working copy of what the cache has, without asking storage; `None` if it has nothing."""
        entry = self.entry(SessionKey(namespace, session_id))
        return entry.working_copy() if entry else None

    # --- for the locked store

    def entry(self, key: SessionKey) -> Entry | None:
        """The entry of `key`, now the most recently used one."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def publish(self, key: SessionKey, snapshot: Snapshot, token: int | None) -> None:
        """Let readers see a committed snapshot; an older one than the entry's changes nothing."""
        entry = self._entries.get(key)
        if entry is None:
            self._put(key, Entry(snapshot, token))
        elif entry.by_hand or snapshot.revision >= entry.snapshot.revision:
            self._put(key, Entry(snapshot, token, dirty=entry.dirty, dirty_bytes=entry.dirty_bytes))

    def evict(self, key: SessionKey) -> None:
        """Forget what storage will tell again; dirty work stays."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.dirty is not None:
            entry.token = None
        else:
            self._drop(key)

    def discard(self, key: SessionKey) -> None:
        """Forget everything about a session, dirty work too."""
        if key in self._entries:
            self._drop(key)

    # --- dirty work

    def set_dirty(self, key: SessionKey, work: Session, size: int) -> bool:
        """Pin work that isn't durable yet; `False` if the bound on such work would be passed."""
        entry = self._entries.get(key)
        before = entry.dirty_bytes if entry else 0
        if self._dirty_bytes - before + size > self.dirty_bytes_max:
            return False
        if entry is not None and not entry.by_hand:  # what is committed may be newer than what the work began with
            snapshot, token, by_hand = entry.snapshot, entry.token, False
        elif (base := link_of(work).base) is not None:
            snapshot, token, by_hand = base, None, False
        else:
            draft = freeze(work)
            snapshot, token, by_hand = Snapshot(draft.head, draft.messages), None, True
        self._put(key, Entry(snapshot, token, by_hand, dirty=work, dirty_bytes=size))
        return True

    def clear_dirty(self, key: SessionKey, work: Session) -> None:
        """Unpin `work`, unless newer work took its place."""
        entry = self._entries.get(key)
        if entry is not None and entry.dirty is work:
            if entry.by_hand:
                self._drop(key)
            else:
                self._put(key, Entry(entry.snapshot, entry.token))

    def is_dirty(self, key: SessionKey) -> bool:
        """Whether work of this session isn't durable yet."""
        return key in self._dirty

    def dirty(self) -> dict[SessionKey, Session]:
        """All work that isn't durable yet."""
        return dict(self._dirty)

    # --- bounds

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of all entries, roughly."""
        return self._bytes

    @property
    def dirty_bytes(self) -> int:
        """Bytes of the work that isn't durable yet."""
        return self._dirty_bytes

    def _put(self, key: SessionKey, entry: Entry) -> None:
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= before.size
            self._dirty_bytes -= before.dirty_bytes
        parts = _GROWING(entry.snapshot.head)
        if before is not None and all(map(is_, parts, _GROWING(before.snapshot.head))):
            entry.head_bytes = before.head_bytes
        elif any(parts):
            entry.head_bytes = len(json.encode(parts))
        self._entries[key] = entry
        self._bytes += entry.size
        self._dirty_bytes += entry.dirty_bytes
        if entry.dirty is not None:
            self._dirty[key] = entry.dirty
        else:
            self._dirty.pop(key, None)
        if self._bytes > self.bytes_max:
            self._shrink()

    def _drop(self, key: SessionKey) -> None:
        entry = self._entries.pop(key)
        self._dirty.pop(key, None)
        self._bytes -= entry.size
        self._dirty_bytes -= entry.dirty_bytes

    def _shrink(self) -> None:
        while self._bytes > self.bytes_max:
            oldest = next((key for key in self._entries if key not in self._dirty), None)
            if oldest is None:
                return
            self._drop(oldest)
