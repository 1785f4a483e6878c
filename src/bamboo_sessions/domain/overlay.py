"""Overlays: states that a tolerant save has accepted and storage hasn't, each kept as what is new in it. Pure.

An overlay is a draft, and the state that it was made on: a committed one, or one with the overlays before it. Whatever
is committed meanwhile, the difference of the two is what the save did, and it is brought into another state as the
changes of any working copy are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        repeated: Additions whose id is taken by other content. Only storage can tell whether it knows theirs, too (G4).
        size: Bytes of what is new in it, roughly: what the bound on waiting work counts.
    """

    before: Snapshot | None
    draft: Draft
    gone: tuple[Message, ...]
    size: int
    repeated: tuple[Message, ...] = ()

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

    def repeated_on(self, state: Snapshot | None) -> tuple[Message, ...]:
        """Its additions whose id is taken by other content if it is brought into `state`."""
        if state is None or state is self.before:
            return self.repeated
        found = ((message, state.messages.find(message.id)) for message in _added(self.before, self.draft))
        unlike = (message for message, current in found if current is not None and not same_content(message, current))
        return (*self.repeated, *unlike)

    def as_told(self) -> tuple[Snapshot | None, FrozenMessages]:
        """What it is based on and what came of it, with all that was to be added, for whoever gets it back."""
        if self.before is None or not self.repeated:
            return self.before, self.draft.messages
        repeated = {message.id: message for message in self.repeated}
        others = FrozenMessages(message for message in self.before.messages if message.id not in repeated)
        messages = FrozenMessages(
            (*(message for message in self.draft.messages if message.id not in repeated), *repeated.values())
        )
        return Snapshot(self.before.head, others, is_committed=False), messages


def accepted(
    base: Snapshot | None,
    mine: Draft,
    state: Snapshot | None,
    gone: Gone,
    knows_all_versions: Callable[[str], bool],
    *,
    now: datetime,
) -> Overlay | None:
    """The overlay of a copy that was `base` and is `mine` now, on top of `state`; `None` if it changes nothing.

    Args:
        base: What the copy was loaded or saved as: a committed state, or one with overlays.
        mine: The copy.
        state: What is committed, with the overlays so far; `None`: nothing is known.
        gone: What these took out or edited.
        knows_all_versions: Whether `state` and `gone` have all versions of a message, since storage never had one.
        now: The present time.

    Raises:
        MessageIdConflictError: A message that is added has an id that an overlay gave to other content.
    """
    if state is None:
        merged = merge(base, mine, None, now=now)
        return Overlay(None, _draft(merged, mine), (), _size(merged))
    repeated = _repeated(base, mine, state, gone, knows_all_versions)
    mine = _without_known(base, mine, state, gone)
    merged = merge(base, mine, state, now=now)
    if not (merged.changed or repeated):
        return None
    draft = _draft(merged, mine)
    draft = msgspec.structs.replace(draft, head=msgspec.structs.replace(draft.head, revision=state.revision))
    taken = (*merged.delta.removals, *(message.id for message in merged.delta.edits))
    found = (state.messages.find(id_) for id_ in taken)
    taken_out = tuple(message for message in found if message is not None)
    return Overlay(state, draft, taken_out, _size(merged, repeated), repeated)


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


def _repeated(
    base: Snapshot | None, mine: Draft, state: Snapshot, gone: Gone, knows_all_versions: Callable[[str], bool]
) -> tuple[Message, ...]:
    """The additions whose id has other content, as far as is known here.

    That of one that storage had may have been edited since it was theirs; of one that waits all versions are known.
    """
    repeated = []
    for message in _added(base, mine):
        current, versions = state.messages.find(message.id), gone.get(message.id, ())
        known = versions if current is None else (current, *versions)
        if not known or any(same_content(message, version) for version in known):
            continue
        if knows_all_versions(message.id):
            raise MessageIdConflictError(state.head.id, message.id)
        repeated.append(message)
    return tuple(repeated)


def _without_known(base: Snapshot | None, mine: Draft, state: Snapshot, gone: Gone) -> Draft:
    """`mine` less the additions that were taken out of `state` already."""
    added = (message.id for message in _added(base, mine))
    known = {id_ for id_ in added if gone.get(id_) and state.messages.find(id_) is None}
    if not known:
        return mine
    kept = FrozenMessages(message for message in mine.messages if message.id not in known)
    return msgspec.structs.replace(mine, messages=kept)


def _added(base: Snapshot | None, mine: Draft) -> Sequence[Message]:
    return differences(base.messages if base is not None else NO_MESSAGES, mine.messages).added


def _size(merged: Merged, repeated: Sequence[Message] = ()) -> int:
    size = OVERLAY_BYTES + sum(len(json.encode(message)) for message in repeated)
    for insertion in merged.delta.insertions:
        size += sum(len(json.encode(message)) for message in insertion.messages)
    size += sum(len(json.encode(message)) for message in merged.delta.edits)
    return size + (len(json.encode(merged.head)) if merged.head_changed else 0)
