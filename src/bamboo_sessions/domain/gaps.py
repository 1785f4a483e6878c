"""What a merge puts between committed messages, gap by gap.

A gap is named by the index of the committed message behind it. One inside a call group stands for the group's end, so
that nothing is put between calls and their results (L124). Costs as much as the additions and the groups that they
touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bamboo_sessions.domain.call_groups import Kind, belongs, kind_of, makes_call
from bamboo_sessions.domain.group_reader import GroupReader
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.placing import OpenGroup, Place
from bamboo_sessions.domain.splices import Change


class Gaps:
    """The committed messages with what a save does to them, and the additions between them.

    Args:
        durable: The committed messages.
        index_of: Where they stand, by id.
        removed: The indexes of those that go.
        edits: What others become, by index.
        exchanged: Calls that take the place of a call, by its index.
    """

    def __init__(
        self,
        durable: FrozenMessages,
        index_of: Callable[[str], int | None],
        *,
        removed: Mapping[int, Message],
        edits: Mapping[int, Message],
        exchanged: Mapping[int, Sequence[Message]],
    ) -> None:
        self._durable = durable
        self._index_of = index_of
        self._removed = removed
        self._edits = edits
        self._exchanged = exchanged
        self._index = {message.id: index for index, calls in exchanged.items() for message in calls}
        self._groups = GroupReader(len(durable), self._kind)
        self._opened: dict[int, OpenGroup] = {}
        self._added: dict[str, OpenGroup] = {}
        self._place_of: dict[str, Place] = {}
        self._joining: set[int] = set()
        self.places: dict[int, Place] = {}

    def _edited(self, index: int) -> Message:
        return self._edits.get(index) or self._durable[index]

    def _kind(self, index: int) -> Kind | None:
        """What stands there to call groups."""
        if index in self._exchanged:
            return Kind.CALL
        return None if index in self._removed else kind_of(self._edited(index))

    @property
    def end(self) -> int:
        """The gap behind all."""
        return len(self._durable)

    def behind(self, id: str) -> int | None:
        """The gap behind a message that stays or takes the place of a call; `None` if there is none of this id."""
        index = self._index.get(id)
        if index is None:
            index = self._index_of(id)
            if index is None or index in self._removed:
                return None
        return index + 1

    def part(self, added: Iterable[tuple[int, Kind]]) -> None:
        """Keep additions in their gap if only what the save removes and edits makes one group of both sides.

        A result, or what can't stand inside a group there, parts the two sides. All else belongs to the group.

        Args:
            added: The gaps that additions go to, and what these are.
        """
        committed = GroupReader.of(self._durable)
        inside = [
            (gap, kind)
            for gap, kind in added
            if self._is_inside(self._groups, gap) and not self._is_inside(committed, gap)
        ]
        parted = {gap for gap, kind in inside if kind is Kind.RESULT or self._ends_group(gap, kind)}
        self._joining = {gap for gap, _ in inside} - parted
        if parted:
            self._groups = GroupReader(len(self._durable), self._kind, parted)

    def _ends_group(self, gap: int, kind: Kind) -> bool:
        """Whether a message of this kind can't stand inside the group around the gap."""
        group = self._groups.in_front(gap)
        before = range(group.start, gap) if group is not None else ()
        in_run = all(self._kind(index) is not Kind.RESULT for index in before)
        return belongs(kind, in_run=in_run, text_since=False) is None

    def _is_inside(self, groups: GroupReader, gap: int) -> bool:
        """Whether messages of one group that stay stand on both sides."""
        group = groups.in_front(gap)
        if group is None or gap >= group.end:
            return False
        return all(any(map(self._standing, side)) for side in (range(group.start, gap), range(gap, group.end)))

    def add(self, message: Message, gap: int) -> None:
        """Put a message into a gap, behind what was put there before."""
        place = self._place_of[message.id] = self._place(gap)
        group = place.add(message)
        if group is not None:
            self._added[message.id] = group

    def move_in_front(self, message: Message, call: Message) -> None:
        """Put a message that was added directly in front of a call that stands further in front."""
        self._place_of[message.id].take_out(message)
        if call.id in self._place_of:
            place = self._place_of[call.id]
            place.put_in_front(message, call)
        else:
            index = self._index.get(call.id, self._index_of(call.id))
            assert index is not None  # noqa: S101 - it stands there
            place = self.places.setdefault(index, Place(index))
            place.put_in_front(message)
        self._place_of[message.id] = place

    def changes(self) -> list[Change]:
        """What becomes of the committed messages, and what is put between them, in order."""
        indexes = {*self.places, *self._removed, *self._edits, *self._exchanged}
        return [
            Change(
                index,
                (*(self.places[index].messages() if index in self.places else ()), *self._exchanged.get(index, ())),
                index in self._removed,
                self._edits.get(index),
            )
            for index in sorted(indexes)
        ]

    def group_of(self, id: str, call_id: str | None) -> OpenGroup | None:
        """The group of the message `id`; `None` if that isn't there, or doesn't make this call (any more)."""
        if id in self._added:
            return self._added[id]
        gap = self.behind(id)
        if gap is None or (id not in self._index and not makes_call(self._edited(gap - 1), call_id)):
            return None
        group = self._groups.around(gap - 1)
        return None if group is None else self._open(group.start)

    def newest_group(self, call_id: str | None, among: Iterable[Message]) -> OpenGroup | None:
        """The group of the last message of `among` that stays and makes this call."""
        found = None
        for message in among:
            if makes_call(message, call_id):
                found = self.group_of(message.id, call_id) or found
        return found

    def _open(self, start: int) -> OpenGroup:
        """The group that begins at `start`, ready to get more; the place behind it comes with it."""
        if start not in self._opened:
            group = self._groups.around(start)
            assert group is not None  # noqa: S101 - a group begins there
            opened = self._opened[start] = OpenGroup(at=group.end, in_run=group.in_run)
            self.places[group.end] = Place(group.end, opened)
        return self._opened[start]

    def _standing(self, index: int) -> Sequence[Message]:
        """What stands at an index."""
        stays = () if index in self._removed else (self._edited(index),)
        return (*self._exchanged.get(index, ()), *stays)

    def _place(self, gap: int) -> Place:
        group = self._groups.in_front(gap)
        if group is not None and gap < group.end and gap in self._joining:
            return self.places.setdefault(gap, Place(gap, self._open(group.start), is_inside=True))
        if group is not None:
            gap = max(gap, group.end)
            if group.start in self._opened:
                gap = max(gap, self._opened[group.start].at)  # a call that was put behind it belongs to it
        if gap not in self.places:
            if group is not None and gap == group.end:
                self._open(group.start)
            elif group is not None and group.in_run:
                opened = self._open(group.start)
                opened.text_since |= gap > group.text
                self.places[gap] = Place(gap, opened, is_behind=False)
            else:
                self.places[gap] = Place(gap)
        return self.places[gap]
