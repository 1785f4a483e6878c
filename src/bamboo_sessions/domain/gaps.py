"""What a merge puts between committed messages, gap by gap.

A gap is named by the index of the committed message behind it. One inside a call group stands for the group's end, so
that nothing is put between calls and their results (L124). Costs as much as the additions and the groups that they
touch, once the groups are known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from bamboo_sessions.domain.call_groups import call_groups, kind_of, makes_call
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.placing import OpenGroup, Place


class Gaps:
    """The committed messages that stay, and the additions between them.

    `parted` are gaps that no group reaches over, as something stood there that isn't there any more.
    """

    def __init__(self, kept: Sequence[Message], *, parted: AbstractSet[int] = frozenset()) -> None:
        self._kept = kept
        self._index: Mapping[str, int] = {message.id: index for index, message in enumerate(kept)}
        self._groups = list(call_groups(map(kind_of, kept), breaks=parted))
        self._starts = [group.start for group in self._groups]
        self._opened: dict[int, OpenGroup] = {}
        self._added: dict[str, OpenGroup] = {}
        self._places: dict[int, Place] = {}

    @property
    def end(self) -> int:
        """The gap behind all."""
        return len(self._kept)

    def behind(self, id: str) -> int | None:
        """The gap behind a message that stays; `None` if there is none of this id."""
        index = self._index.get(id)
        return None if index is None else index + 1

    def add(self, message: Message, gap: int) -> None:
        """Put a message into a gap, behind what was put there before."""
        group = self._place(gap).add(message)
        if group is not None:
            self._added[message.id] = group

    def group_of(self, id: str, call_id: str | None) -> OpenGroup | None:
        """The group of the message `id`; `None` if that isn't there, or doesn't make this call (any more)."""
        if id in self._added:
            return self._added[id]
        index = self._index.get(id)
        if index is None or not makes_call(self._kept[index], call_id):
            return None
        return self._open(bisect_left(self._starts, index + 1) - 1)

    def newest_group(self, call_id: str | None, *, but: Callable[[Message], bool]) -> OpenGroup | None:
        """The group of the newest message that stays and makes this call, leaving out those that `but` names."""
        for index in range(len(self._kept) - 1, -1, -1):
            message = self._kept[index]
            if makes_call(message, call_id) and not but(message):
                return self.group_of(message.id, call_id)
        return None

    def _open(self, number: int) -> OpenGroup:
        """A group that stays, ready to get more; the place behind it comes with it."""
        if number not in self._opened:
            group = self._groups[number]
            opened = self._opened[number] = OpenGroup(at=group.end, in_run=group.in_run)
            self._places[group.end] = Place(group.end, opened)
        return self._opened[number]

    def _place(self, gap: int) -> Place:
        number = bisect_left(self._starts, gap) - 1
        if number >= 0:
            gap = max(gap, self._groups[number].end)
            if number in self._opened and gap <= self._groups[number].reach:
                gap = max(gap, self._opened[number].at)  # a call that was put behind it belongs to it
        if gap not in self._places:
            self._make_place(gap, number)
        return self._places[gap]

    def _make_place(self, gap: int, number: int) -> None:
        """A place with the group in front of it, if what is put there may belong to that."""
        group = self._groups[number] if number >= 0 else None
        if group is not None and gap == group.end:
            self._open(number)
        elif group is not None and group.in_run and gap <= group.reach:
            self._places[gap] = Place(gap, self._open(number), is_behind=False, text_since=gap > group.text)
        else:
            self._places[gap] = Place(gap)

    def messages(self) -> Iterator[Message]:
        """All of them, in order."""
        for index, message in enumerate(self._kept):
            if index in self._places:
                yield from self._places[index].messages()
            yield message
        if self.end in self._places:
            yield from self._places[self.end].messages()
