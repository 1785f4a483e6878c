"""The three-way merge of histories, by message id.

Result = committed messages, minus my removals, with my edits, plus my additions. An addition that stood inside stays
inside, behind the nearest message before it that is still alive; a replacement takes the place of what it replaced;
all others go to the end, behind what was committed meanwhile. A tool's result goes into the group of its call, and
nothing else is put inside a call group (`gaps`). An addition is never dropped because its neighbours are gone (L111).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Final

import msgspec

from bamboo_sessions.domain.call_groups import Kind, groups_of, kind_of, makes_call, orphans
from bamboo_sessions.domain.gaps import Gaps
from bamboo_sessions.domain.history import FrozenMessages, Replaced
from bamboo_sessions.domain.message import Message, is_tool_result, same_content
from bamboo_sessions.domain.placing import OpenGroup, arranged, calls_elsewhere, newest_group
from bamboo_sessions.domain.report import MergeConflict

FRONT: Final = ""
"""The place before the first message (no message id is empty)."""


class Insertion(msgspec.Struct, frozen=True):
    """Messages that go directly behind the message `after`, in this order; `FRONT`: before all; `None`: behind all."""

    messages: tuple[Message, ...]
    after: str | None = None


class HistoryDelta(msgspec.Struct, frozen=True):
    """The merged history, and how it differs from the committed one.

    `gained` are the ids of what others added. `duplicates` are additions whose id is taken already; whether their
    content is known, too, only storage can tell (G4): it keeps the versions that were edited or removed.
    """

    messages: FrozenMessages
    insertions: tuple[Insertion, ...] = ()
    edits: tuple[Message, ...] = ()
    removals: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    duplicates: tuple[Message, ...] = ()
    conflicts: tuple[MergeConflict, ...] = ()
    orphaned: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the committed history stays as it is."""
        return not (self.insertions or self.edits or self.removals)


def merge_history(
    base: FrozenMessages,
    mine: FrozenMessages,
    durable: FrozenMessages,
    *,
    replaced: Replaced,
    additions_only: bool = False,
) -> HistoryDelta:
    """Merge the history `mine`, made from `base`, into `durable`.

    Costs as much as the additions if both sides only added at the end. (Additions that the base has already aren't
    noticed then; storage finds them by their ids.)
    """
    if mine.extends(base) and durable.extends(base):
        added, gained = mine[len(base) :], durable[len(base) :]
        if not added or _can_follow(durable, added, gained):
            messages = durable.extended(added) if gained else mine
            insertions = (Insertion(tuple(added)),) if added else ()
            return HistoryDelta(messages, insertions, gained=tuple(message.id for message in gained))
    return _merge(_Sides.of(base, mine, durable, additions_only=additions_only), replaced)


def _can_follow(durable: FrozenMessages, added: Sequence[Message], gained: Sequence[Message]) -> bool:
    """Whether `added` may stand behind `durable` as it is: no id twice, every tool result in the group of its call."""
    ids = {message.id for message in added}
    if len(ids) < len(added) or any(message.id in ids for message in gained):
        return False
    elsewhere = {call_id: None if gained else newest_group(durable, call_id) for call_id in calls_elsewhere(added)}
    if None in elsewhere.values():
        return False
    arrangement = arranged(added, elsewhere.get)
    return not arrangement.joined and all(map(is_, arrangement.tail, added))


class _Sides(msgspec.Struct, frozen=True):
    """The three histories by id, and what the saver did."""

    durable: FrozenMessages
    mine_by_id: Mapping[str, Message]
    base_by_id: Mapping[str, Message]
    durable_by_id: Mapping[str, Message]
    removals: tuple[str, ...]
    edits: Mapping[str, Message]
    added: Mapping[str, Message]

    @classmethod
    def of(cls, base: FrozenMessages, mine: FrozenMessages, durable: FrozenMessages, *, additions_only: bool) -> _Sides:
        base_by_id = {message.id: message for message in base}
        mine_by_id = {message.id: message for message in mine}
        removals: tuple[str, ...] = ()
        edits: dict[str, Message] = {}
        if not additions_only:
            removals = tuple(id_ for id_ in base_by_id if id_ not in mine_by_id)
            edits = {
                id_: message
                for id_, message in mine_by_id.items()
                if (known := base_by_id.get(id_, message)) is not message and not same_content(message, known)
            }
        added = {id_: message for id_, message in mine_by_id.items() if id_ not in base_by_id}
        return cls(
            durable=durable,
            mine_by_id=mine_by_id,
            base_by_id=base_by_id,
            durable_by_id=base_by_id if durable is base else {message.id: message for message in durable},
            removals=removals,
            edits=edits,
            added=added,
        )


def _merge(sides: _Sides, replaced: Replaced) -> HistoryDelta:
    durable = sides.durable_by_id
    conflicts: list[MergeConflict] = []
    removals = tuple(id_ for id_ in sides.removals if id_ in durable)
    edits = _applied_edits(sides, conflicts)
    edited = (id_ for id_ in removals if not same_content(durable[id_], sides.base_by_id[id_]))
    conflicts.extend(MergeConflict(f"message:{id_}", "removed") for id_ in edited)
    fresh = {id_: message for id_, message in sides.added.items() if id_ not in durable}
    duplicates = tuple(message for id_, message in sides.added.items() if id_ in durable)
    kept = _Kept.of(sides, set(removals), edits, _slots(sides, replaced, fresh))
    result, lost = _filled(sides, kept, fresh)
    if _may_orphan(durable, removals, edits):
        known = {*orphans(sides.durable), *fresh}
        lost |= {id_ for id_ in orphans(result) if id_ not in known}
    return HistoryDelta(
        messages=FrozenMessages(result) if fresh or edits or removals else sides.durable,
        insertions=_insertions(result, fresh),
        edits=tuple(edits.values()),
        removals=removals,
        gained=tuple(id_ for id_ in durable if id_ not in sides.base_by_id and id_ not in sides.added),
        duplicates=duplicates,
        conflicts=tuple(conflicts),
        orphaned=tuple(message.id for message in result if message.id in lost) if lost else (),
    )


def _applied_edits(sides: _Sides, conflicts: list[MergeConflict]) -> dict[str, Message]:
    edits: dict[str, Message] = {}
    for id_, message in sides.edits.items():
        current = sides.durable_by_id.get(id_)
        if current is None:  # removed by somebody else: stays removed
            conflicts.append(MergeConflict(f"message:{id_}", "removed"))
        elif not same_content(message, current):
            edits[id_] = message
            if not same_content(current, sides.base_by_id[id_]):
                conflicts.append(MergeConflict(f"message:{id_}", "mine"))
    return edits


def _slots(sides: _Sides, replaced: Replaced, fresh: Mapping[str, Message]) -> dict[str, list[Message]]:
    """Replacements, by the committed message whose place they take.

    Results join their calls instead; and a result that somebody appended is no place (L124).
    """
    slots: dict[str, list[Message]] = {}
    for id_, message in fresh.items():
        if not is_tool_result(message):
            place = next((gone for gone in replaced.get(id_, ()) if _is_place(sides, gone)), None)
            if place is not None:
                slots.setdefault(place, []).append(message)
    return slots


def _is_place(sides: _Sides, id: str) -> bool:
    message = sides.durable_by_id.get(id)
    return message is not None and (id in sides.base_by_id or not is_tool_result(message))


class _Kept(msgspec.Struct, frozen=True):
    """What additions are put between, and where replacements go.

    Args:
        messages: The committed messages that stay, as edited, and calls that take the place of calls.
        slots: The gaps (indexes in `messages`) that all other replacements go to, by their ids.
        parted: Gaps where something was removed that parted what stands around it.
    """

    messages: list[Message]
    slots: dict[str, int]
    parted: set[int]

    @classmethod
    def of(
        cls, sides: _Sides, removals: set[str], edits: Mapping[str, Message], slots: Mapping[str, list[Message]]
    ) -> _Kept:
        kept = cls([], {}, set())
        edited = [edits.get(message.id, message) for message in sides.durable] if edits else sides.durable
        in_groups = _in_groups(edited) if removals else set()
        for index, message in enumerate(edited):
            for replacement in slots.get(message.id, ()):
                if kind_of(replacement) is kind_of(message) is Kind.CALL:
                    kept.messages.append(replacement)
                else:
                    kept.slots[replacement.id] = len(kept.messages)
            if message.id not in removals:
                kept.messages.append(message)
            elif index not in in_groups:
                kept.parted.add(len(kept.messages))
        return kept


def _in_groups(messages: Sequence[Message]) -> set[int]:
    return {index for group in groups_of(messages) for index in range(group.start, group.end)}


def _filled(sides: _Sides, kept: _Kept, fresh: Mapping[str, Message]) -> tuple[list[Message], set[str]]:
    """All messages with the additions in their places, taken in the order of the copy; results that have no call."""
    gaps = Gaps(kept.messages, parted=kept.parted)
    last_inside = _last_inside(sides, gaps, fresh, kept.slots)
    calls: dict[str | None, str] = {}
    orphaned: set[str] = set()
    gap = 0
    for index, message in enumerate(sides.mine_by_id.values()):
        behind = gaps.behind(message.id)
        if behind is not None:
            gap = behind
        elif message.id in fresh:
            group = _group_meant(sides, gaps, message, calls.get(message.tool_call_id))
            if group is not None:
                group.join(message)
                continue
            if is_tool_result(message):
                orphaned.add(message.id)
            gap = kept.slots.get(message.id, gap if index < last_inside else gaps.end)
            gaps.add(message, gap)
        if kind_of(message) is Kind.CALL:
            calls.update((call.id, message.id) for call in message.tool_calls)
    return list(gaps.messages()), orphaned


def _group_meant(sides: _Sides, gaps: Gaps, message: Message, call: str | None) -> OpenGroup | None:
    """The group of the call that a result belongs to, if it is alive.

    Providers reuse call ids. So the call meant is the nearest before the result in the copy, here `call`, and no other
    takes its place if it was removed. Only where the copy has none may it be one that others made.
    """
    if not is_tool_result(message):
        return None
    if call is not None:
        return gaps.group_of(call, message.tool_call_id)

    def is_later_in_copy(one: Message) -> bool:
        return one.id in sides.mine_by_id and makes_call(sides.mine_by_id[one.id], message.tool_call_id)

    return gaps.newest_group(message.tool_call_id, but=is_later_in_copy)


def _last_inside(sides: _Sides, gaps: Gaps, fresh: Mapping[str, Message], slots: Mapping[str, int]) -> int:
    """The position in the copy of the last message of the base that is still live; before it is inside.

    A replacement counts as what it replaced.
    """
    ids = list(sides.mine_by_id)
    for index in range(len(ids) - 1, -1, -1):
        id_ = ids[index]
        if id_ in slots or ((id_ in sides.base_by_id or id_ in fresh) and gaps.behind(id_) is not None):
            return index
    return -1


def _may_orphan(durable: Mapping[str, Message], removals: Sequence[str], edits: Mapping[str, Message]) -> bool:
    """Whether results may have lost their calls: calls were removed, or a message is something else now."""
    removed = any(kind_of(durable[id_]) is Kind.CALL for id_ in removals)
    changed = (kind_of(one) is not kind_of(durable[id_]) or kind_of(one) is Kind.CALL for id_, one in edits.items())
    return removed or any(changed)


def _insertions(result: list[Message], fresh: Mapping[str, Message]) -> tuple[Insertion, ...]:
    """The runs of new messages in the result, each with the committed message that it stands behind."""
    insertions: list[Insertion] = []
    run: list[Message] = []
    after = FRONT
    for message in result:
        if message.id in fresh:
            run.append(message)
            continue
        if run:
            insertions.append(Insertion(tuple(run), after))
            run = []
        after = message.id
    if run:
        insertions.append(Insertion(tuple(run)))
    return tuple(insertions)
