"""Reading the call groups of a long history only around the places that are asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from bamboo_sessions.domain.call_groups import CallGroup, GroupScan, Kind, kind_of
from bamboo_sessions.domain.message import Message


class _Stretch(NamedTuple):
    """A part of a history whose groups are known. No group reaches over `stop`."""

    start: int
    stop: int
    groups: list[CallGroup]


class GroupReader:
    """The groups of a history of `length` messages, of which `kind` tells what each is; `None`: it isn't there.

    No group reaches over a place of `parted`. What was read once isn't read again, so that all questions together cost
    the messages around them.
    """

    def __init__(self, length: int, kind: Callable[[int], Kind | None], parted: Container[int] = ()) -> None:
        self._length = length
        self._kind = kind
        self._parted = parted
        self._stretches: list[_Stretch] = []

    @classmethod
    def of(cls, messages: Sequence[Message]) -> GroupReader:
        """The groups of these messages."""
        return cls(len(messages), lambda index: kind_of(messages[index]))

    def in_front(self, gap: int) -> CallGroup | None:
        """The group that begins in front of the message at `gap`, if it ends or may go on there or further on."""
        for group in reversed(self._stretch(gap).groups if gap else ()):
            if group.start < gap:
                return group if gap <= group.reach else None
        return None

    def around(self, index: int) -> CallGroup | None:
        """The group that the message at `index` stands in, or that stands around it."""
        group = self.in_front(index + 1)
        return group if group is not None and index < group.end else None

    def _stretch(self, gap: int) -> _Stretch:
        number = bisect_left(self._stretches, gap, key=lambda stretch: stretch.stop)
        if number == len(self._stretches) or self._stretches[number].start >= gap:
            known_until = self._stretches[number - 1].stop if number else 0
            self._stretches.insert(number, self._read(self._beginning(gap, known_until), gap))
        return self._stretches[number]

    def _beginning(self, gap: int, known_until: int) -> int:
        """A place from which the groups around `gap` can be read: none reaches over it."""
        index = gap
        border: int | None = None  # what ends the group of the results in front of it
        while index > known_until:
            kind = self._kind(index - 1)
            if kind is Kind.OTHER:
                break
            if kind is Kind.RESULT and border is not None:
                return border
            index -= 1
            if index in self._parted:
                break
            if kind in {Kind.CALL, Kind.TEXT}:
                border = index
        return index

    def _read(self, start: int, gap: int) -> _Stretch:
        """Read on from `start` until no group is open behind `gap`."""
        groups: list[CallGroup] = []
        scan: GroupScan | None = None
        index = start
        while index < self._length and (index < gap or scan is not None):
            kind = self._kind(index)
            if scan is not None and (index in self._parted or not (kind is None or scan.takes(kind, index))):
                groups.append(scan.group(index))
                scan = None
                continue
            if scan is None and kind is Kind.CALL:
                scan = GroupScan(index)
            index += 1
        if scan is not None:
            groups.append(scan.group(index))
        return _Stretch(start, index, groups)
