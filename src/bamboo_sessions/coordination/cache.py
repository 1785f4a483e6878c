"""The in-memory tier: snapshots of sessions, bounded in bytes (G13), never going back (G7).

An entry is a committed snapshot and the token by which storage tells more quickly that it is still the newest. One put
in by hand (`insert`) is special: it is compared with storage by age. Work that isn't durable has a home of its own
(`waiting`).
"""

from __future__ import annotations

from collections import OrderedDict
from operator import attrgetter, is_
from typing import Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.limits import CACHE_BYTES_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, copy_without_base, freeze
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
    head_bytes: int = 0
    size: int = 0
    """Bytes of all of it, roughly; `head_bytes` are those of what in the head can be large."""

    def working_copy(self, clock: Clock = SYSTEM_CLOCK) -> Session:
        """A copy to work on; based on what is committed only if the entry is (L107)."""
        if self.by_hand:
            return copy_without_base(self.snapshot.head, self.snapshot.messages, clock)
        return copy_of(self.snapshot, clock)


class SessionCache:
    """Snapshots in memory, least recently used out first.

    Args:
        bytes_max: Bound of all entries together, in bytes, roughly counted. 0 keeps nothing.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self._entries: OrderedDict[SessionKey, Entry] = OrderedDict()
        self._bytes = 0

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

    def publish(self, key: SessionKey, snapshot: Snapshot) -> None:
        """Let readers see a committed snapshot; an older one than the entry's changes nothing."""
        entry = self._entries.get(key)
        if entry is None or entry.by_hand or snapshot.head.revision >= entry.snapshot.head.revision:
            self._put(key, Entry(snapshot))

    def doubt(self, key: SessionKey) -> None:
        """Ask storage before the entry is taken for the newest state again; it may still be shown as an old one."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.token = None

    def evict(self, key: SessionKey) -> None:
        """Forget what storage will tell again."""
        if key in self._entries:
            self._drop(key)

    # --- bounds

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """Bytes of all entries, roughly."""
        return self._bytes

    def _put(self, key: SessionKey, entry: Entry) -> None:
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= before.size
        parts = _GROWING(entry.snapshot.head)
        if before is not None and all(map(is_, parts, _GROWING(before.snapshot.head))):
            entry.head_bytes = before.head_bytes
        elif any(parts):
            entry.head_bytes = len(json.encode(parts))
        messages = entry.snapshot.messages_bytes + _MESSAGE_BYTES * entry.snapshot.messages.length
        entry.size = _ENTRY_BYTES + messages + entry.head_bytes
        self._entries[key] = entry
        self._bytes += entry.size
        if self._bytes > self.bytes_max:
            self._shrink()

    def _drop(self, key: SessionKey) -> None:
        entry = self._entries.pop(key)
        self._bytes -= entry.size

    def _shrink(self) -> None:
        while self._bytes > self.bytes_max:
            self._drop(next(iter(self._entries)))
