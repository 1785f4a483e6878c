"""From a snapshot and a commit on top of it to the next snapshot, without reading anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Final

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.storage.commit import Commit, Committed

_COUNTERS: Final = attrgetter("revision", "incarnation", "updated_at", "message_count")


def committed_head(head: SessionHead, committed: Committed) -> SessionHead:
    """`head` with the counters, and the place in the tree, that the commit gave it."""
    head = committed.head or head
    if _COUNTERS(head) == _COUNTERS(committed):
        return head
    return msgspec.structs.replace(
        head,
        revision=committed.revision,
        incarnation=committed.incarnation,
        updated_at=committed.updated_at,
        message_count=committed.message_count,
    )


def next_snapshot(snapshot: Snapshot, commit: Commit, committed: Committed) -> Snapshot | None:
    """The snapshot after a commit that only added messages; `None` if that can't be told from here.

    Only a snapshot of the revision before can be advanced, else something in between would be missing.
    """
    follows = snapshot.revision == committed.revision - 1 and snapshot.head.incarnation == committed.incarnation
    if not follows or committed.replayed or commit.edits or commit.removals or commit.replace:
        return None
    messages = with_insertions(snapshot.messages, committed.placed)
    if messages.length != committed.message_count:
        return None
    head = committed_head(commit.head or snapshot.head, committed)
    return Snapshot(head, messages, snapshot.messages_bytes + commit.message_bytes(without=committed.duplicates))


def with_insertions(messages: FrozenMessages, insertions: Sequence[Insertion]) -> FrozenMessages:
    """`messages` with `insertions` at their places, each behind another message; costs what is inserted."""
    inside: dict[int, tuple[Message, ...]] = {}
    for insertion in insertions:
        if insertion.after is not None:
            index = -1 if insertion.after == FRONT else messages.index_of(insertion.after)
            if index is not None:  # else the count tells that this isn't the snapshot that storage had
                inside[index + 1] = insertion.messages
    for place, run in sorted(inside.items(), key=itemgetter(0), reverse=True):
        messages = messages.spliced(place, place, run)
    for insertion in insertions:
        if insertion.after is None:
            messages = messages.extended(insertion.messages)
    return messages
