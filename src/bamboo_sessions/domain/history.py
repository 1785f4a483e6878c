"""The messages of a session, cheap to copy and to change at any length.

`FrozenMessages` is an immutable sequence of *chunks* of some hundred messages, and a directory of them. A changed
history shares all chunks but those that the change touches, so that an edit, a removal or an insertion copies one chunk
and the directory, and what differs between two histories is found by looking at the chunks that they don't share.

Chunks at the end grow as the digits of a binary counter carry: an addition takes in the chunks before it that aren't
longer than itself. So a message that is appended is copied a few times in all, however long the history is.

Nothing here is ever changed in place, but for what a chunk knows of its ids, which it works out when it is first asked:
snapshots may be shared between threads. Ids are unique within a history; whoever builds one sees to that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, takewhile
from operator import attrgetter, eq, is_
from typing import Final, overload

import msgspec

from bamboo_sessions.domain.message import Message

CHUNK_MESSAGES: Final = 256
"""Messages of a chunk that is full. Copying one costs as much as copying the directory of 65,000 messages."""

_LAST_CHUNKS: Final = 16
"""Chunks at an end in which histories that go on from one another may differ: those of a binary counter, and some."""

Replaced = Mapping[str, tuple[str, ...]]
"""For an added message that took the place of others: its id, and the ids of those, in order."""

_id_of: Final = attrgetter("id")


class _Chunk:
    """Neighbouring messages, at least one. Equal only to itself: histories that share it share the object.

    What is said of ids is worked out when it is first asked. Two threads may both do that; they get the same.
    """

    __slots__ = ("_id_range", "_places", "messages")

    def __init__(self, messages: tuple[Message, ...]) -> None:
        self.messages = messages
        self._id_range: tuple[str, str] | None = None
        self._places: dict[str, int] | None = None

    @property
    def id_range(self) -> tuple[str, str]:
        """The lowest id and the highest: ids mostly rise along a history, so few chunks may have a given one."""
        found = self._id_range
        if found is None:
            ids = list(map(_id_of, self.messages))
            found = self._id_range = (min(ids), max(ids))
        return found

    def place_of(self, message_id: str) -> int | None:
        """Where the message with this id stands, or `None`."""
        lowest, highest = self.id_range
        if not lowest <= message_id <= highest:
            return None
        places = self._places
        if places is None:
            places = self._places = dict(zip(map(_id_of, self.messages), count(), strict=False))
        return places.get(message_id)


def _chunked(messages: tuple[Message, ...]) -> tuple[_Chunk, ...]:
    """As few chunks as possible, of about equal length."""
    count = len(messages)
    if count <= CHUNK_MESSAGES:
        return (_Chunk(messages),) if messages else ()
    length = -(-count // -(-count // CHUNK_MESSAGES))
    return tuple(_Chunk(messages[start : start + length]) for start in range(0, count, length))


class FrozenMessages(Sequence[Message]):
    """An immutable sequence of messages with structural sharing."""

    __slots__ = ("_chunks", "_ends", "_id_max", "length")

    def __init__(self, items: Iterable[Message] = ()) -> None:
        chunks = _chunked(tuple(items))
        self._hold(chunks, (), max((chunk.id_range[1] for chunk in chunks), default=""))

    def _hold(self, chunks: tuple[_Chunk, ...], ends: tuple[int, ...], id_max: str) -> None:
        """Hold `chunks`; `ends` are those of the first ones."""
        length = ends[-1] if ends else 0
        more = [length := length + len(chunk.messages) for chunk in chunks[len(ends) :]]
        self._chunks = chunks
        self._ends = (*ends, *more)
        self._id_max = id_max  # no id is higher: new ones usually are, and needn't be looked for
        self.length = length

    # --- other histories

    def extended(self, messages: Iterable[Message]) -> FrozenMessages:
        """These messages and `messages` behind them; O(new), amortised."""
        new = tuple(messages)
        if not new:
            return self
        id_max = max(self._id_max, _highest_id(new))
        kept = len(self._chunks)
        while kept:
            last = self._chunks[kept - 1].messages
            if len(last) > len(new) or len(last) + len(new) > CHUNK_MESSAGES:
                break
            new = last + new
            kept -= 1
        return self._with_chunks(kept, len(self._chunks), _chunked(new), id_max)

    def spliced(self, start: int, stop: int, messages: Iterable[Message] = ()) -> FrozenMessages:
        """These messages with `messages` in the place of those from `start` up to `stop`.

        Copies the chunks that are touched, and the directory. 0 <= `start` <= `stop` <= the length.
        """
        if start == self.length:
            return self.extended(messages)
        first = bisect_right(self._ends, start)
        last = bisect_right(self._ends, stop - 1, lo=first) if stop > start else first
        touched = tuple(chain.from_iterable(chunk.messages for chunk in self._chunks[first : last + 1]))
        offset = self._start_of(first)
        new = (*touched[: start - offset], *messages, *touched[stop - offset :])
        return self._with_chunks(first, last + 1, _chunked(new), max(self._id_max, _highest_id(new)))

    def _with_chunks(self, first: int, last: int, new: tuple[_Chunk, ...], id_max: str) -> FrozenMessages:
        """These messages with the chunks `new` in the place of those from `first` up to `last`."""
        result = FrozenMessages.__new__(FrozenMessages)
        result._hold((*self._chunks[:first], *new, *self._chunks[last:]), self._ends[:first], id_max)
        return result

    def _start_of(self, chunk: int) -> int:
        return self._ends[chunk - 1] if chunk else 0

    # --- comparing

    def extends(self, base: FrozenMessages) -> bool:
        """Whether this is `base`, the very objects, with something or nothing behind it.

        Chunks that both have cost next to nothing.
        """
        if self is base:
            return True
        if self.length < base.length:
            return False
        chunks = _shared_chunks(self._chunks, base._chunks)
        ours, theirs = (chain.from_iterable(c.messages for c in one._chunks[chunks:]) for one in (self, base))
        return all(map(is_, theirs, ours))

    def unshared(self, other: FrozenMessages) -> Iterator[tuple[int, Message]]:
        """The messages of the chunks that `other` hasn't, and their places: all that differ, and some neighbours."""
        theirs = frozenset(other._chunks)
        for number, chunk in enumerate(self._chunks):
            if chunk not in theirs:
                yield from enumerate(chunk.messages, self._start_of(number))

    # --- finding

    def index_of(self, message_id: str) -> int | None:
        """The index of the message with this id, or `None`; the end is looked through first."""
        if message_id > self._id_max:
            return None
        number = len(self._chunks)
        for chunk in reversed(self._chunks):
            number -= 1
            place = chunk.place_of(message_id)
            if place is not None:
                return self._start_of(number) + place
        return None

    def finder(self, questions: int) -> Callable[[str], int | None]:
        """`index_of`, made for so many questions: for many, one walk through all is quicker than each by itself."""
        if questions < CHUNK_MESSAGES:
            return self.index_of
        return {message.id: index for index, message in enumerate(self)}.get

    def find(self, message_id: str) -> Message | None:
        """The message with this id, or `None`."""
        index = self.index_of(message_id)
        return None if index is None else self[index]

    # --- the sequence

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        length = self.length
        if isinstance(index, slice):
            wanted = range(*index.indices(length))
            if not wanted:
                return []
            low, high = sorted((wanted[0], wanted[-1]))
            return self._between(low, high + 1)[:: wanted.step]
        if not -length <= index < length:
            message = f"message index {index} is out of range: there are {length}"
            raise IndexError(message)
        if index < 0:
            index += length
        chunk = bisect_right(self._ends, index)
        return self._chunks[chunk].messages[index - self._start_of(chunk)]

    def _between(self, low: int, high: int) -> list[Message]:
        first, last = bisect_right(self._ends, low), bisect_right(self._ends, high - 1)
        offset = self._start_of(first)
        items = list(chain.from_iterable(chunk.messages for chunk in self._chunks[first : last + 1]))
        return items[low - offset : high - offset]

    def __iter__(self) -> Iterator[Message]:
        return chain.from_iterable(chunk.messages for chunk in self._chunks)

    def __reversed__(self) -> Iterator[Message]:
        return chain.from_iterable(reversed(chunk.messages) for chunk in reversed(self._chunks))

    def __eq__(self, other: object) -> bool:
        return equal_sequences(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FrozenMessages({list(self)!r})"

    def __reduce__(self) -> tuple[type[FrozenMessages], tuple[list[Message]]]:
        """Pickle and copy by content."""
        return FrozenMessages, (list(self),)


def _shared_chunks(ours: tuple[_Chunk, ...], theirs: tuple[_Chunk, ...]) -> int:
    """How many chunks both begin with. Mostly they differ near the end: what is before is compared at once."""
    start = max(0, min(len(ours), len(theirs)) - _LAST_CHUNKS)
    if ours[:start] != theirs[:start]:
        start = 0
    return start + sum(takewhile(bool, map(is_, ours[start:], theirs[start:])))


def _highest_id(messages: Iterable[Message]) -> str:
    return max(map(_id_of, messages), default="")


NO_MESSAGES: Final = FrozenMessages()


class Differences(msgspec.Struct, frozen=True):
    """What was done between two histories, by message id, each in the order of its history.

    An edited message is there as it was and as it is. Its content may be equal all the same.
    """

    removed: tuple[Message, ...] = ()
    added: tuple[Message, ...] = ()
    edited: tuple[tuple[Message, Message], ...] = ()


def differences(base: FrozenMessages, other: FrozenMessages) -> Differences:
    """How `other` differs from `base`; costs as much as the chunks that they don't share."""
    if base is other:
        return Differences()
    before = {message.id: message for _, message in base.unshared(other)}
    after = {message.id: message for _, message in other.unshared(base)}
    return Differences(
        removed=tuple(message for id_, message in before.items() if id_ not in after),
        added=tuple(message for id_, message in after.items() if id_ not in before),
        edited=tuple(
            (before[id_], message) for id_, message in after.items() if before.get(id_, message) is not message
        ),
    )


def equal_sequences(one: Sequence[Message], other: object) -> bool:
    """Whether `other` is a sequence of equal messages."""
    if one is other:
        return True
    if not isinstance(other, Sequence) or isinstance(other, str):
        return False
    return len(one) == len(other) and all(map(eq, one, other))
