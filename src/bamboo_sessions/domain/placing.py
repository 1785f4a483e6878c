"""Putting messages into a history so that every call group stays one place.

A tool's result goes behind the last result of its call's group, wherever that stands; everything else goes where it is
put. `Place` is one place between two messages of a history, and what is put there, in order. The merge has one for
each gap that it fills; an append has one, at the end (`arranged`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bamboo_sessions.domain.call_groups import Kind, belongs, call_groups, kind_of, makes_call
from bamboo_sessions.domain.message import Message, is_tool_result


class OpenGroup:
    """A call group that may get more: `added` is where that goes, directly behind what the group has.

    `in_run`: it has no results, so that a further call would belong to it; `is_parted`: something stands behind it
    now that ended it; `text_since`: a text of the assistant does. `at` is the number of the place where it ends.
    """

    __slots__ = ("added", "at", "in_run", "is_parted", "text_since")

    def __init__(self, *, at: int, in_run: bool, text_since: bool = False) -> None:
        self.added: list[Message] = []
        self.at = at
        self.in_run = in_run
        self.is_parted = False
        self.text_since = text_since

    def join(self, result: Message) -> None:
        """Add a result."""
        self.added.append(result)
        self.in_run = False


class Place:
    """What is put between two messages of a history, or at one of its ends.

    Args:
        at: Its number: the index of the message in front of which it is.
        group: The group in front of it, if what is put here may still belong to that.
        is_behind: Whether that group ends directly in front of it; else texts or events stand between.
        is_inside: Whether the group goes on behind it; what is put here doesn't end it.
    """

    __slots__ = ("_at", "_blocks", "_group", "_is_inside")

    def __init__(
        self, at: int, group: OpenGroup | None = None, *, is_behind: bool = True, is_inside: bool = False
    ) -> None:
        self._at = at
        self._group = group
        self._is_inside = is_inside
        self._blocks: list[list[Message]] = [group.added] if group is not None and is_behind and not is_inside else []

    def add(self, message: Message) -> OpenGroup | None:
        """Put `message` behind all that was put here; the group that it belongs to, if it makes calls.

        A result whose call is known joins its group instead (`OpenGroup.join`).
        """
        kind, group = kind_of(message), self._group
        if self._is_inside:
            self._blocks.append([message])
            return group if kind is Kind.CALL else None
        member = None
        if group is not None and not group.is_parted:
            member = belongs(kind, in_run=group.in_run, text_since=group.text_since)
        if member is None:
            group = self._next_group(kind)
        block = [message]
        self._blocks.append(block)
        if group is not None and (member or kind is Kind.CALL):
            group.added, group.at, group.in_run, group.text_since = block, self._at, kind is Kind.CALL, False
        elif group is not None and kind is Kind.TEXT:
            group.text_since = True
        return group if kind is Kind.CALL else None

    def _next_group(self, kind: Kind) -> OpenGroup | None:
        """The group in front has ended; a call begins another one."""
        if self._group is not None:
            self._group.is_parted = True
        self._group = OpenGroup(at=self._at, in_run=True) if kind is Kind.CALL else None
        return self._group

    def put_in_front(self, message: Message, call: Message | None = None) -> None:
        """Put `message` directly in front of a call that was put here; `None`: behind all."""
        blocks = self._blocks
        index = len(blocks) if call is None else next(n for n, block in enumerate(blocks) if block and block[0] is call)
        blocks.insert(index, [message])

    def take_out(self, message: Message) -> None:
        """Take out what was put here."""
        for block in self._blocks:
            block[:] = [one for one in block if one is not message]

    def messages(self) -> list[Message]:
        """All that was put here, in order."""
        return [message for block in self._blocks for message in block]


class CommittedGroup(NamedTuple):
    """A group of a committed history.

    Args:
        last: What names its last message.
        behind: How many messages stand behind that.
        is_open: Whether these are only such that what is appended may still belong to the group.
        in_run, text_since: As `belongs` asks.
    """

    last: int
    behind: int
    is_open: bool
    in_run: bool
    text_since: bool


class Arrangement(NamedTuple):
    """Where appended messages go: those that join committed groups, by these groups' last messages, and the rest."""

    joined: list[tuple[int, list[Message]]]
    tail: list[Message]


def newest_group(messages: Sequence[Message], call_id: str) -> CommittedGroup | None:
    """The group of the newest of `messages` that makes a call. Looks no further back than that, nor further on than
    the group.
    """
    start = newest_call(messages, call_id)
    if start is None:
        return None
    kinds = (kind_of(messages[index]) for index in range(start, len(messages)))
    group = next(call_groups(kinds))
    return CommittedGroup(
        last=start + group.end - 1,
        behind=len(messages) - start - group.end,
        is_open=start + group.reach == len(messages),
        in_run=group.in_run,
        text_since=group.text < group.reach,
    )


def newest_call(messages: Sequence[Message], call_id: str | None) -> int | None:
    """The index of the newest message that makes the tool call `call_id`."""
    for behind, message in enumerate(reversed(messages), 1):
        if makes_call(message, call_id):
            return len(messages) - behind
    return None


def arranged(messages: Sequence[Message], newest: Callable[[str], CommittedGroup | None]) -> Arrangement:
    """Where `messages` go that are appended to a history.

    The call that a result belongs to is the nearest before it among `messages`, else the newest committed one.

    Args:
        messages: What is appended, in order.
        newest: The group of the newest committed message that makes a call; asked once for each id that is needed.
    """
    groups: dict[str | None, OpenGroup] = {}
    joined: dict[int, OpenGroup] = {}
    parts: list[tuple[int, list[Message]]] = []
    tail = Place(0)
    for call_id in calls_elsewhere(messages):
        found = newest(call_id)
        if found is None:
            continue
        if found.last not in joined:
            group = joined[found.last] = OpenGroup(at=0, in_run=found.in_run, text_since=found.text_since)
            if found.behind:
                parts.append((found.last, group.added))
            if found.is_open:
                tail = Place(0, group, is_behind=not found.behind)
        groups[call_id] = joined[found.last]
    for message in messages:
        _append(tail, groups, message)
    return Arrangement([part for part in parts if part[1]], tail.messages())


def _append(tail: Place, groups: dict[str | None, OpenGroup], message: Message) -> None:
    group = groups.get(message.tool_call_id) if is_tool_result(message) else None
    if group is not None:
        group.join(message)
    elif (group := tail.add(message)) is not None:
        groups.update((call.id, group) for call in message.tool_calls)


def calls_elsewhere(messages: Sequence[Message]) -> list[str]:
    """The ids of calls that results among `messages` belong to, and that none before them makes."""
    made: set[str] = set()
    elsewhere: dict[str, None] = {}
    for message in messages:
        if kind_of(message) is Kind.CALL:
            made.update(call.id for call in message.tool_calls)
        elif message.role == "tool" and message.tool_call_id is not None and message.tool_call_id not in made:
            elsewhere[message.tool_call_id] = None
    return list(elsewhere)
