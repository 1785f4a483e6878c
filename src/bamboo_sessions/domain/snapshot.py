"""Values of a session at one moment: committed (`Snapshot`), deleted (`Tombstone`), or about to be saved (`Draft`)."""

from __future__ import annotations

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages, Replaced
from bamboo_sessions.domain.message import Message


class Snapshot(msgspec.Struct, frozen=True):
    """A session at one revision. Immutable, cheap to share.

    `messages_bytes` is the stored size of the messages: what the cache is bounded by. One that isn't `is_committed`
    has waiting work in it (see `overlay`); its revision is that of what is committed below.
    """

    head: SessionHead
    messages: FrozenMessages
    messages_bytes: int = 0
    is_committed: bool = True

    @property
    def revision(self) -> int:
        """The revision of the commit that made it."""
        return self.head.revision

    def is_same(self, other: Snapshot) -> bool:
        """Whether `other` is certainly the same state, seen without comparing what is in it."""
        return self is other or (self.is_committed and other.is_committed and self.revision == other.revision)


class Tombstone(msgspec.Struct, frozen=True):
    """What deletion leaves behind, for ever (G9): the counters, so that they never restart."""

    session_id: str
    revision: int
    metadata_version: int


class Draft(msgspec.Struct, frozen=True):
    """A working copy, frozen at the moment of a call.

    `mutations` counts the changes that it had seen by then. `time_set` says that `updated_at` was set by hand, which
    is a change in itself. A head that is not `head_touched` is that of the base, but for `updated_at`. `additions` are
    the messages behind those of the base if nothing else was done to them; `None`: something may have been.
    """

    head: SessionHead
    messages: FrozenMessages
    replaced: Replaced = msgspec.field(default_factory=dict)
    mutations: int = 0
    time_set: bool = False
    head_touched: bool = True
    additions: tuple[Message, ...] | None = None
