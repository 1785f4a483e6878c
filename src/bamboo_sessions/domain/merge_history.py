"""The three-way merge of histories, by message id.

Result = committed messages, minus my removals, with my edits, plus my additions. An addition that stood inside stays
inside, behind the nearest message before it that is still alive; a replacement takes the place of what it replaced;
all others go to the end, behind what was committed meanwhile. A tool's result goes behind its call and the results
that the call already has. An addition is never dropped because its neighbours are gone (L111).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from bamboo_sessions.domain.history import FrozenMessages, Replaced
from bamboo_sessions.domain.message import Message, is_tool_result, same_content
from bamboo_sessions.domain.report import MergeConflict

FRONT: Final = ""
"""The place before the first message (no message id is empty)."""


class Insertion(msgspec.Struct, frozen=True):
    """Messages that go directly behind the message `after`; `FRONT`: before all; `None`: behind all.

    Behind all, a tool's result still joins its call.
    """

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
    """Whether `added` may stand behind `durable` as it is: no id twice, every tool result behind its call."""
    ids = {message.id for message in added}
    if len(ids) < len(added) or any(message.id in ids for message in gained):
        return False
    call = None
    if added[0].role == "tool" and not gained:
        call = _last_call(durable)
    for message in added:
        if message.role != "tool":
            call = message
        elif is_tool_result(message) and (call is None or not _calls(call, message.tool_call_id)):
            return False
    return True


def _last_call(messages: FrozenMessages) -> Message | None:
    """The message that further results at the end belong to, if only results of its own stand behind it."""
    results: list[Message] = []
    for message in reversed(messages):
        if message.role != "tool":
            return message if all(_belongs(result, message) for result in results) else None
        results.append(message)
    return None


def _calls(message: Message, call_id: str | None) -> bool:
    return any(call.id == call_id for call in message.tool_calls)


def _belongs(message: Message, call: Message) -> bool:
    """Whether `message`, which stands behind `call`, is one of its results, or may be as it doesn't say whose it is."""
    return message.role == "tool" and (message.tool_call_id is None or _calls(call, message.tool_call_id))


class _Sides(msgspec.Struct, frozen=True):
    """The three histories by id, and what the saver did."""

    durable: FrozenMessages
    mine: tuple[Message, ...]
    base_by_id: Mapping[str, Message]
    durable_by_id: Mapping[str, Message]
    removals: tuple[str, ...]
    edits: Mapping[str, Message]
    added: Mapping[str, Message]
    repeated: tuple[Message, ...]

    @classmethod
    def of(cls, base: FrozenMessages, mine: FrozenMessages, durable: FrozenMessages, *, additions_only: bool) -> _Sides:
        base_by_id = {message.id: message for message in base}
        mine_by_id: dict[str, Message] = {}
        for message in mine:
            mine_by_id.setdefault(message.id, message)
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
            mine=tuple(mine_by_id.values()),
            base_by_id=base_by_id,
            durable_by_id=base_by_id if durable is base else {message.id: message for message in durable},
            removals=removals,
            edits=edits,
            added=added,
            repeated=tuple(message for message in mine if message is not mine_by_id[message.id]),
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
    slots = _slots(sides, replaced, fresh)
    result = _kept(sides, set(removals), edits, slots)
    _place_rest(sides, result, fresh, slots)
    changed = fresh or edits or removals
    lost = {call.id for id_ in (*removals, *edits) for call in durable[id_].tool_calls}
    return HistoryDelta(
        messages=FrozenMessages(result) if changed else sides.durable,
        insertions=_insertions(result, fresh),
        edits=tuple(edits.values()),
        removals=removals,
        gained=tuple(id_ for id_ in durable if id_ not in sides.base_by_id and id_ not in sides.added),
        duplicates=duplicates + sides.repeated,
        conflicts=tuple(conflicts),
        orphaned=_orphaned(result, fresh, lost),
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
    """Replacements, by the committed message whose place they take."""
    slots: dict[str, list[Message]] = {}
    for id_, message in fresh.items():
        if not is_tool_result(message):
            place = next((gone for gone in replaced.get(id_, ()) if gone in sides.durable_by_id), None)
            if place is not None:
                slots.setdefault(place, []).append(message)
    return slots


def _kept(
    sides: _Sides, removals: set[str], edits: Mapping[str, Message], slots: Mapping[str, list[Message]]
) -> list[Message]:
    result: list[Message] = []
    for message in sides.durable:
        result.extend(slots.get(message.id, ()))
        if message.id not in removals:
            result.append(edits.get(message.id, message))
    return result


def _place_rest(
    sides: _Sides, result: list[Message], fresh: Mapping[str, Message], slots: Mapping[str, list[Message]]
) -> None:
    """Bring in the additions that have no place yet, in the order of the copy."""
    alive = {message.id for message in result}
    seen = {message.id for message in sides.mine}
    old = seen - fresh.keys()
    last_inside = _last_inside(sides, {message.id for slot in slots.values() for message in slot})
    anchor = FRONT
    for index, message in enumerate(sides.mine):
        if message.id in fresh and message.id not in alive:
            at_anchor = _index_behind(result, anchor, old) if index < last_inside else len(result)
            place = at_anchor
            if is_tool_result(message):
                place = _behind_call(result, _caller(result, message, sides.mine, index, seen), at_anchor)
            result.insert(place, message)
            alive.add(message.id)
            if place != at_anchor:
                continue  # it joined its call elsewhere: what follows it in the copy doesn't go there
        if message.id in alive:
            anchor = message.id


def _last_inside(sides: _Sides, in_slots: AbstractSet[str]) -> int:
    """The position in the copy of the last message of the base that is still live; before it is inside.

    A replacement counts as what it replaced.
    """
    for index in range(len(sides.mine) - 1, -1, -1):
        id_ = sides.mine[index].id
        if id_ in in_slots or (id_ in sides.base_by_id and id_ in sides.durable_by_id):
            return index
    return -1


def _index_behind(result: list[Message], anchor: str, old: AbstractSet[str]) -> int:
    """The position behind `anchor`, and behind the results that it got lately: a call isn't parted from them."""
    if anchor == FRONT:
        return 0
    place = next(index for index in range(len(result) - 1, -1, -1) if result[index].id == anchor) + 1
    while place < len(result) and result[place].role == "tool" and result[place].id not in old:
        place += 1
    return place


def _behind_call(result: list[Message], caller: int | None, wished: int) -> int:
    """Where a tool's result goes: to its wished place if that is behind its call, else behind all that the call has."""
    if caller is None:
        return wished
    place = caller + 1
    while place < len(result) and place != wished and _belongs(result[place], result[caller]):
        place += 1
    return place


def _caller(
    result: list[Message], message: Message, mine: Sequence[Message], index: int, seen: AbstractSet[str]
) -> int | None:
    """The position of the call that a tool's result belongs to, if it is alive.

    Providers reuse call ids. So the call meant is the nearest one before the result in the copy, and no other takes
    its place if it was removed; only where the copy has none may it be one that others added.
    """
    call = find_call(mine, message.tool_call_id, before=index)
    if call is not None:
        callers = {mine[call].id}
    else:
        callers = {one.id for one in result if one.id not in seen and _calls(one, message.tool_call_id)}
    return next((i for i in range(len(result) - 1, -1, -1) if result[i].id in callers), None)


def find_call(messages: Sequence[Message], call_id: str | None, *, before: int | None = None) -> int | None:
    """The position of the newest message that makes the tool call `call_id`, in front of `before` if that is given."""
    for index in range((len(messages) if before is None else before) - 1, -1, -1):
        if _calls(messages[index], call_id):
            return index
    return None


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
    if run:  # results have found their place here, and aren't to look for another call of their id
        insertions.append(Insertion(tuple(run), after if any(map(is_tool_result, run)) else None))
    return tuple(insertions)


def _orphaned(result: list[Message], fresh: Mapping[str, Message], lost: set[str]) -> tuple[str, ...]:
    """Tool results that don't stand behind their call: new ones, and those whose call is `lost` by this save."""
    if not lost and not any(map(is_tool_result, fresh.values())):
        return ()
    orphans: list[str] = []
    calls: set[str] = set()
    for message in result:
        if is_tool_result(message):
            known = message.id not in fresh and message.tool_call_id not in lost
            if not known and message.tool_call_id not in calls:
                orphans.append(message.id)
        elif message.role not in {"tool", "event"}:
            calls = {call.id for call in message.tool_calls}
    return tuple(orphans)
