"""Overlays: states that a tolerant save has accepted and storage hasn't, each kept as what is new in it. Pure.

An overlay is a draft, and the state that it was made on: a committed one, or one with the overlays before it. Whatever
is committed meanwhile, the difference of the two is what the save did, and it is brought into another state as the
changes of any working copy are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import MessageIdConflictError
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages, differences
from bamboo_sessions.domain.limits import OVERLAY_BYTES
from bamboo_sessions.domain.merge import Merged, merge, rebase
from bamboo_sessions.domain.message import Message, same_content
from bamboo_sessions.domain.snapshot import Draft, Snapshot

Gone = Mapping[str, Sequence[Message]]
"""By id, what overlays took out or edited: a message that was there once is none that is added (G4)."""


class Overlay(msgspec.Struct, frozen=True):
    """What one tolerant save did.

    Args:
        before: The state that it was accepted on; `None`: there was none.
        draft: The state that came of it.
        gone: What of `before` it took out or edited.
        size: Bytes of what is new in it, roughly: what the bound on waiting work counts.
    """

    before: Snapshot | None
    draft: Draft
    gone: tuple[Message, ...]
    size: int

    def on(self, state: Snapshot | None, *, now: datetime) -> Draft:
        """What it makes of `state`, whatever happened to that meanwhile."""
        if state is None or state is self.before:
            return self.draft
        if self.before is None:
            merged = merge(None, self.draft, state, now=now)
            head, messages = merged.head, merged.messages
        else:
            head, messages = rebase(self.before, self._unraised(self.before), state)
        head = msgspec.structs.replace(
            head, revision=state.revision, incarnation=state.head.incarnation, message_count=len(messages)
        )
        return msgspec.structs.replace(self.draft, head=head, messages=messages)

    def _unraised(self, before: Snapshot) -> Draft:
        """The draft without the authoritative version that it was given: which group wins is decided anew (G5)."""
        version = before.head.metadata_version
        if self.draft.head.metadata_version == version:
            return self.draft
        head = msgspec.structs.replace(self.draft.head, metadata_version=version)
        return msgspec.structs.replace(self.draft, head=head)

    def check_ids(self, state: Snapshot | None) -> None:
        """Raise `MessageIdConflictError` if `state` has other content under the id of a message that this adds."""
        if state is None or state is self.before:
            return
        for message in _added(self.before, self.draft):
            _check(state, message, ())


def accepted(
    base: Snapshot | None, mine: Draft, state: Snapshot | None, gone: Gone, *, now: datetime
) -> Overlay | None:
    """The overlay of a copy that was `base` and is `mine` now, on top of `state`; `None` if it changes nothing.

    Args:
        base: What the copy was loaded or saved as: a committed state, or one with overlays.
        mine: The copy.
        state: What is committed, with the overlays so far; `None`: nothing is known.
        gone: What these took out or edited.
        now: The present time.

    Raises:
        MessageIdConflictError: A message that is added has an id with other content.
    """
    if state is None:
        merged = merge(base, mine, None, now=now)
        return Overlay(None, _draft(merged, mine), (), _size(merged))
    mine = _without_known(base, mine, state, gone)
    merged = merge(base, mine, state, now=now)
    if not merged.changed:
        return None
    draft = _draft(merged, mine)
    draft = msgspec.structs.replace(draft, head=msgspec.structs.replace(draft.head, revision=state.revision))
    taken = (*merged.delta.removals, *(message.id for message in merged.delta.edits))
    found = (state.messages.find(id_) for id_ in taken)
    return Overlay(state, draft, tuple(message for message in found if message is not None), _size(merged))


def nothing_on(state: Snapshot) -> Overlay:
    """The overlay that changes nothing."""
    return Overlay(state, Draft(state.head, state.messages, head_touched=False), (), OVERLAY_BYTES)


def _draft(merged: Merged, mine: Draft) -> Draft:
    return Draft(
        merged.head,
        merged.messages,
        replaced=mine.replaced,
        time_set=mine.time_set,
        head_touched=merged.head_changed,
    )


def _without_known(base: Snapshot | None, mine: Draft, state: Snapshot, gone: Gone) -> Draft:
    """`mine` less the additions that were taken out of `state` already; the others must not contradict it."""
    known = set()
    for message in _added(base, mine):
        versions = gone.get(message.id, ())
        _check(state, message, versions)
        if versions and state.messages.find(message.id) is None:
            known.add(message.id)
    if not known:
        return mine
    kept = FrozenMessages(message for message in mine.messages if message.id not in known)
    return msgspec.structs.replace(mine, messages=kept)


def _added(base: Snapshot | None, mine: Draft) -> Sequence[Message]:
    return differences(base.messages if base is not None else NO_MESSAGES, mine.messages).added


def _check(state: Snapshot, message: Message, versions: Sequence[Message]) -> None:
    current = state.messages.find(message.id)
    known = versions if current is None else (current, *versions)
    if known and not any(same_content(message, version) for version in known):
        raise MessageIdConflictError(state.head.id, message.id)


def _size(merged: Merged) -> int:
    size = OVERLAY_BYTES
    for insertion in merged.delta.insertions:
        size += sum(len(json.encode(message)) for message in insertion.messages)
    size += sum(len(json.encode(message)) for message in merged.delta.edits)
    return size + (len(json.encode(merged.head)) if merged.head_changed else 0)
