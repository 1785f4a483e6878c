"""A merged history as changes of the committed one: what storage is to insert, and the new history, sharing the old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message

FRONT: Final = ""
"""The place before the first message (no message id is empty)."""


class Insertion(msgspec.Struct, frozen=True):
    """Messages that go directly behind the message `after`, in this order; `FRONT`: before all; `None`: behind all."""

    messages: tuple[Message, ...]
    after: str | None = None


class Change(NamedTuple):
    """What is put in front of the committed message at `place` (the length of the history: behind all), and what
    becomes of that: it goes, is edited, or stays as it is.
    """

    place: int
    fresh: Sequence[Message]
    removed: bool
    edited: Message | None


def spliced(durable: FrozenMessages, changes: Sequence[Change]) -> FrozenMessages:
    """`durable` with `changes`, which are in the order of their places."""
    for start, stop, messages in reversed(list(_pieces(changes))):
        durable = durable.spliced(start, stop, messages)
    return durable


def _pieces(changes: Sequence[Change]) -> Iterator[tuple[int, int, list[Message]]]:
    """From where to where something else comes in; neighbouring changes together."""
    start, stop = 0, -1
    messages: list[Message] = []
    for change in changes:
        if change.place != stop:
            if stop >= 0:
                yield start, stop, messages
            start, stop, messages = change.place, change.place, []
        messages += change.fresh
        if change.edited is not None:
            messages.append(change.edited)
        stop += change.removed or change.edited is not None
    if stop >= 0:
        yield start, stop, messages


def insertions(durable: FrozenMessages, changes: Sequence[Change]) -> tuple[Insertion, ...]:
    """The fresh messages by the committed message that stays in front of them."""
    runs: dict[str, list[Message]] = {}
    removed = {change.place for change in changes if change.removed}
    after, seen, last = FRONT, 0, 0
    for change in changes:
        place = change.place
        while place > seen and place - 1 in removed:
            place -= 1
        if place > seen:
            after = durable[place - 1].id
        seen = change.place
        if change.fresh:
            runs.setdefault(after, []).extend(change.fresh)
            last = change.place
    while last in removed:
        last += 1
    found = [Insertion(tuple(run), anchor) for anchor, run in runs.items()]
    if found and last == len(durable):
        found[-1] = Insertion(found[-1].messages)
    return tuple(found)
