"""The three-way merge of histories, by message id.

Result = committed messages, minus my removals, with my edits, plus my additions. An addition that stood inside stays
inside, behind the nearest message before it that is still alive; a replacement takes the place of what it replaced;
all others go to the end, behind what was committed meanwhile. A tool's result goes into the group of its call, and
nothing else is put inside a call group (`gaps`). An addition is never dropped because its neighbours are gone (L111).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import is_

import msgspec

from bamboo_sessions.domain.call_groups import Kind, kind_of, makes_call
from bamboo_sessions.domain.gaps import Gaps
from bamboo_sessions.domain.group_reader import GroupReader
from bamboo_sessions.domain.history import Differences, FrozenMessages, Replaced, differences
from bamboo_sessions.domain.message import Message, is_tool_result, same_content
from bamboo_sessions.domain.placing import OpenGroup, arranged, calls_elsewhere, newest_group
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.splices import Insertion, insertions, spliced


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

    Costs as much as what was done on either side, and the call groups around. (Additions at the end that the base has
    already aren't noticed; storage finds them by their ids.)
    """
    if mine.extends(base) and durable.extends(base):
        added = mine[base.length :]
        gained = durable[base.length :] if durable is not base else []
        if not added or can_follow(durable, added, gained):
            messages = durable.extended(added) if gained else mine
            at_end = (Insertion(tuple(added)),) if added else ()
            return HistoryDelta(messages, at_end, gained=tuple(message.id for message in gained))
    return _Merge(base, mine, durable, additions_only=additions_only).delta(replaced)


def can_follow(durable: FrozenMessages, added: Sequence[Message], gained: Sequence[Message] = ()) -> bool:
    """Whether `added` may stand behind `durable` as it is: no id twice, every tool result in the group of its call."""
    ids = {message.id for message in added}
    if len(ids) < len(added) or any(message.id in ids for message in gained):
        return False
    if "tool" not in [message.role for message in added]:
        return True
    elsewhere = {call_id: None if gained else newest_group(durable, call_id) for call_id in calls_elsewhere(added)}
    if None in elsewhere.values():
        return False
    arrangement = arranged(added, elsewhere.get)
    return not arrangement.joined and all(map(is_, arrangement.tail, added))


class _Merge:
    """One merge: what was done on both sides, and what becomes of it in the committed history."""

    def __init__(
        self, base: FrozenMessages, mine: FrozenMessages, durable: FrozenMessages, *, additions_only: bool
    ) -> None:
        self.base, self.mine, self.durable = base, mine, durable
        done, self.theirs = differences(base, mine), differences(base, durable)
        self.unlike_mine = [*self.theirs.added, *(message for _, message in self.theirs.edited)]
        if additions_only:  # what is held back stays as it is committed
            self.unlike_mine += [*done.removed, *(before for before, _ in done.edited)]
            done = Differences(added=done.added)
        self.conflicts: list[MergeConflict] = []
        self.index_of = durable.finder(len(done.removed) + len(done.edited) + len(done.added))
        self.removed = self._removals(done)
        self.edits = self._edits(done)
        self.added = {message.id: message for message in done.added}
        self.fresh = {id_: message for id_, message in self.added.items() if self.index_of(id_) is None}
        self.gone = {message.id for message in self.theirs.removed}

    def _removals(self, done: Differences) -> dict[int, Message]:
        """What goes, by its index; the conflicts of it."""
        removed: dict[int, Message] = {}
        for before in done.removed:
            index = self.index_of(before.id)
            if index is not None:
                removed[index] = self.durable[index]
                if not same_content(self.durable[index], before):
                    self.conflicts.append(MergeConflict(f"message:{before.id}", "removed"))
        return removed

    def _edits(self, done: Differences) -> dict[int, Message]:
        """What messages become, by their index; the conflicts of it."""
        edits: dict[int, Message] = {}
        for before, message in done.edited:
            if same_content(before, message):
                continue
            index = self.index_of(message.id)
            if index is None:  # removed by somebody else: stays removed
                self.conflicts.append(MergeConflict(f"message:{message.id}", "removed"))
            elif not same_content(message, self.durable[index]):
                edits[index] = message
                if not same_content(self.durable[index], before):
                    self.conflicts.append(MergeConflict(f"message:{message.id}", "mine"))
        return edits

    def delta(self, replaced: Replaced) -> HistoryDelta:
        """What comes of it."""
        exchanged, slots = self._slots(replaced)
        gaps = Gaps(self.durable, self.index_of, removed=self.removed, edits=self.edits, exchanged=exchanged)
        orphaned = self._fill(gaps, slots)
        messages = self._with_orphans_apart(gaps, orphaned)
        orphaned |= self._orphaned_by_changes(messages)
        return HistoryDelta(
            messages=messages,
            insertions=insertions(self.durable, gaps.changes()),
            edits=tuple(self.edits.values()),
            removals=tuple(message.id for message in self.removed.values()),
            gained=tuple(message.id for message in self.theirs.added if message.id not in self.added),
            duplicates=tuple(message for id_, message in self.added.items() if id_ not in self.fresh),
            conflicts=tuple(self.conflicts),
            orphaned=tuple(sorted(orphaned, key=lambda id_: messages.index_of(id_) or 0)),
        )

    # --- places

    def _slots(self, replaced: Replaced) -> tuple[dict[int, list[Message]], dict[str, int]]:
        """Replacements: calls by the index of the call whose place they take, and the gaps that all others go to.

        Results join their calls instead.
        """
        exchanged: dict[int, list[Message]] = {}
        slots: dict[str, int] = {}
        for id_, message in self.fresh.items():
            places = map(self._place_of, replaced.get(id_, ()))
            index = None if is_tool_result(message) else next((each for each in places if each is not None), None)
            if index is None:
                continue
            if kind_of(message) is kind_of(self.edits.get(index) or self.durable[index]) is Kind.CALL:
                exchanged.setdefault(index, []).append(message)
            else:
                slots[id_] = index + (index in exchanged)
        return exchanged, slots

    def _place_of(self, gone: str) -> int | None:
        """The index of a message of the base that was replaced; what somebody else appended is no place (L124)."""
        return self.index_of(gone) if self.base.index_of(gone) is not None else None

    def _fill(self, gaps: Gaps, slots: Mapping[str, int]) -> set[str]:
        """Put the additions into their gaps, in the order of the copy; the ids of results that have no call."""
        places = {message.id: place for place, message in self.mine.unshared(self.base) if message.id in self.added}
        gap_of = self._gaps_of_additions(gaps, slots, places)
        gaps.part((gap, kind_of(self.added[id_])) for id_, gap in gap_of.items())
        meant = self._calls_meant(places)
        orphaned: set[str] = set()
        for id_, gap in gap_of.items():
            message = self.added[id_]
            if is_tool_result(message):
                group = self._group_meant(gaps, message, meant.get(id_))
                if group is not None:
                    group.join(message)
                    continue
                orphaned.add(id_)
            gaps.add(message, gap)
        return orphaned

    def _gaps_of_additions(self, gaps: Gaps, slots: Mapping[str, int], places: Mapping[str, int]) -> dict[str, int]:
        """The gap that each addition stands in by its anchor, in the order of the copy; call groups aside."""
        gap_of: dict[str, int] = {}
        last_inside = self._last_inside(gaps, slots)
        gap, seen = 0, -1
        for id_ in self.added:
            gap = self._gap_in_front(gaps, places[id_], seen, gap)
            seen = places[id_]
            behind = gaps.behind(id_)
            if behind is None:
                behind = gap_of[id_] = slots.get(id_, gap if seen < last_inside else gaps.end)
            gap = behind
        return gap_of

    def _gap_in_front(self, gaps: Gaps, place: int, seen: int, gap: int) -> int:
        """The gap behind the nearest message before `place` in the copy that is alive, or `gap`, that of `seen`."""
        for index in range(place - 1, seen, -1):
            behind = gaps.behind(self.mine[index].id) if self.mine[index].id not in self.gone else None
            if behind is not None:
                return behind
        return gap

    def _last_inside(self, gaps: Gaps, slots: Mapping[str, int]) -> int:
        """The place in the copy of the last message of the base that is still live; before it is inside.

        A replacement counts as what it replaced.
        """
        for place, message in zip(range(len(self.mine) - 1, -1, -1), reversed(self.mine), strict=True):
            if message.id in self.added:
                if message.id in slots or (message.id in self.fresh and gaps.behind(message.id) is not None):
                    return place
            elif message.id not in self.gone:
                return place
        return -1

    # --- results and their calls

    def _calls_meant(self, places: Mapping[str, int]) -> dict[str, str]:
        """For each result the nearest message before it in the copy that makes its call: providers reuse call ids."""
        left = {id_ for id_, message in self.fresh.items() if is_tool_result(message)}
        if not left:
            return {}
        meant: dict[str, str] = {}
        waiting: dict[str | None, list[str]] = {}
        for message in reversed(self.mine):
            if message.id in left:
                waiting.setdefault(message.tool_call_id, []).append(message.id)
                left.remove(message.id)
            elif kind_of(message) is Kind.CALL:
                for call in message.tool_calls:
                    meant.update((result, message.id) for result in waiting.pop(call.id, ()))
            if not (left or waiting):
                break
        return meant

    def _group_meant(self, gaps: Gaps, result: Message, call: str | None) -> OpenGroup | None:
        """The group of the call that a result belongs to, if it is alive.

        If the copy makes the call before the result, at `call`, no other takes its place. Else it may be one that
        others made, perhaps by an edit (L125).
        """
        if call is not None:
            return gaps.group_of(call, result.tool_call_id)
        making = [message for message in self.unlike_mine if makes_call(message, result.tool_call_id)]
        unknown = [message for message in making if not self._is_made_by_copy(message, result)]
        newest = sorted(unknown, key=lambda message: self.index_of(message.id) or 0)
        return gaps.newest_group(result.tool_call_id, newest)

    def _is_made_by_copy(self, message: Message, result: Message) -> bool:
        known = self.mine.find(message.id)
        return known is not None and makes_call(known, result.tool_call_id)

    def _with_orphans_apart(self, gaps: Gaps, orphaned: AbstractSet[str]) -> FrozenMessages:
        """The merged history, where no result without a call passes for one of another call of that id.

        It goes in front of that call's group, and on in front of the next one, if that makes a call of the id.
        """
        while True:
            messages = spliced(self.durable, gaps.changes())
            groups = GroupReader.of(messages)
            places = map(messages.finder(len(orphaned)), orphaned)
            indexes = sorted(index for index in places if index is not None)
            mistaken = [index for index in indexes if not _is_orphan(groups, messages, index)]
            if not mistaken:
                return messages
            for index in mistaken:
                group = groups.around(index)
                assert group is not None  # noqa: S101 - it makes the call
                gaps.move_in_front(messages[index], messages[group.start])

    def _orphaned_by_changes(self, messages: FrozenMessages) -> set[str]:
        """The committed results that had a call in their group, and have none any more."""
        before, after = GroupReader.of(self.durable), GroupReader.of(messages)
        candidates = {
            message.id
            for index, message in self.edits.items()
            if is_tool_result(message) and not is_tool_result(self.durable[index])
        }
        end = 0
        for index in sorted((*self.removed, *self.edits)):
            group = before.around(index) if index >= end else None
            if group is not None:
                end = group.end
                members = self.durable[group.start : end]
                calls = {call.id for message in members for call in message.tool_calls}
                candidates |= {one.id for one in members if is_tool_result(one) and one.tool_call_id in calls}
        places = map(messages.finder(len(candidates)), candidates)
        return {messages[index].id for index in places if index is not None and _is_orphan(after, messages, index)}


def _is_orphan(groups: GroupReader, messages: FrozenMessages, index: int) -> bool:
    """Whether it is a tool's result that doesn't stand in a group that makes its call."""
    if not is_tool_result(messages[index]):
        return False
    group = groups.around(index)
    members = messages[group.start : group.end] if group is not None else []
    return not any(makes_call(message, messages[index].tool_call_id) for message in members)
