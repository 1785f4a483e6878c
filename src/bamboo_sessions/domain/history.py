"""The messages of a session, cheap to copy at any length.

`FrozenMessages` is an immutable sequence: a list that several of them share, and how many of its items are its own.
Adding at the end extends the shared list in place (the others don't look that far), so a snapshot of a longer
history costs as much as what is new. Only one of them may do that; the right to it is a token that one atomic step
takes, since snapshots are shared between threads.

`MessageList` is what a working copy holds: a frozen base, and what was done to it since. Only what was *done* is ever
saved: a list that merely lacks newer messages removes nothing (L02, L104).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from itertools import islice
from operator import eq, is_
from typing import Final, overload

from bamboo_sessions.domain.message import Message, check_message


class FrozenMessages(Sequence[Message]):
    """An immutable sequence of messages with structural sharing."""

    __slots__ = ("_items", "_length", "_origin", "_origin_length", "_right")

    def __init__(self, items: Iterable[Message] = ()) -> None:
        self._items = list(items)
        self._length = len(self._items)
        self._right: list[None] = [None]  # to extend `_items` in place; empty once it was taken
        self._origin: list[Message] | None = None  # the list that `_items` was copied from, if it begins with a copy
        self._origin_length = 0

    def extended(self, messages: Sequence[Message]) -> FrozenMessages:
        """These messages and `messages` behind them; O(new) unless somebody else extended these already."""
        if not messages:
            return self
        if not self._length:  # nothing to share, and `NO_MESSAGES` must not hold on to anybody's
            return FrozenMessages(messages)
        result = FrozenMessages.__new__(FrozenMessages)
        try:
            self._right.pop()
            result._items, result._origin, result._origin_length = self._items, self._origin, self._origin_length
        except IndexError:
            result._items, result._origin, result._origin_length = (
                self._items[: self._length],
                self._items,
                self._length,
            )
        result._items.extend(messages)
        result._length = self._length + len(messages)
        result._right = [None]
        return result

    def extends(self, base: FrozenMessages) -> bool:
        """Whether this is `base` with something behind it, seen without comparing items."""
        if self._items is base._items:
            return self._length >= base._length
        return not base._length or (self._origin is base._items and self._origin_length >= base._length)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            return self._items[start:stop:step] if step > 0 else [self._items[i] for i in range(start, stop, step)]
        if not -self._length <= index < self._length:
            message = f"message index {index} is out of range: there are {self._length}"
            raise IndexError(message)
        return self._items[index if index >= 0 else self._length + index]

    def __iter__(self) -> Iterator[Message]:
        return islice(self._items, self._length)

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"FrozenMessages({list(self)!r})"


NO_MESSAGES: Final = FrozenMessages()


Replaced = Mapping[str, tuple[str, ...]]
"""For an added message that took the place of others: its id, and the ids of those, in order."""


class MessageList(MutableSequence[Message]):
    """The messages of a working copy: a list that remembers what it was loaded as.

    Messages can be appended, inserted, replaced and deleted. Replacing one by a message with the same id is an edit;
    assigning other messages to an item or a slice replaces: they take the place of what they replace, also where
    somebody else added behind it meanwhile. The order of existing messages can't be changed.
    """

    __slots__ = ("_base", "_edited", "_frozen", "_replaced", "_tail", "_touch")

    def __init__(self, base: FrozenMessages = NO_MESSAGES, touch: Callable[[], None] = lambda: None) -> None:
        self._base = base
        self._frozen = base  # what `frozen` gave last, so that the next one extends it
        self._tail: list[Message] = []
        self._edited: list[Message] | None = None  # the whole content, once more than appending was done
        self._replaced: dict[str, tuple[str, ...]] = {}
        self._touch = touch

    # --- reading

    def __len__(self) -> int:
        if self._edited is not None:
            return len(self._edited)
        return len(self._base) + len(self._tail)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if self._edited is not None:
            return self._edited[index]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = index if index >= 0 else len(self) + index
        if position >= len(self._base):
            return self._tail[position - len(self._base)]
        return self._base[position if position >= 0 else index]

    def __iter__(self) -> Iterator[Message]:
        if self._edited is not None:
            return iter(self._edited)
        return iter(self._base) if not self._tail else iter([*self._base, *self._tail])

    def __eq__(self, other: object) -> bool:
        return _equal(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MessageList({list(self)!r})"

    # --- changing

    def append(self, value: Message) -> None:
        """Add a message at the end."""
        check_message(value)
        (self._tail if self._edited is None else self._edited).append(value)
        self._touch()

    def insert(self, index: int, value: Message) -> None:
        """Add a message in front of the one at `index`."""
        check_message(value)
        if index >= len(self):
            self.append(value)
            return
        self._editable().insert(index, value)
        self._touch()

    @overload
    def __setitem__(self, index: int, value: Message) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Message]) -> None: ...
    def __setitem__(self, index: int | slice, value: Message | Iterable[Message]) -> None:
        if isinstance(index, slice):
            new = [value] if isinstance(value, Message) else list(value)
            for message in new:
                check_message(message)
            items = list(self)  # a copy, for the assignment may be refused
            old = items[index]
            items[index] = new
        else:
            check_message(value)
            assert isinstance(value, Message)  # noqa: S101 - tells the type checker what was checked
            old, new = [self[index]], [value]
            items = self._editable()
            items[index] = value
        self._edited, self._tail = items, []
        self._remember_replaced(new, old)
        self._touch()

    def __delitem__(self, index: int | slice) -> None:
        gone = self[index]
        del self._editable()[index]
        for message in [gone] if isinstance(gone, Message) else gone:
            self._replaced.pop(message.id, None)
        self._touch()

    def _editable(self) -> list[Message]:
        if self._edited is None:
            self._edited = [*self._base, *self._tail]
            self._tail = []
        return self._edited

    def _remember_replaced(self, new: list[Message], old: list[Message]) -> None:
        """Note for each new message which ones it stands for: those gone from between the same kept neighbours."""
        kept = {message.id for message in old} & {message.id for message in new}
        gone: dict[str, list[str]] = {}
        neighbour = ""
        for message in old:
            if message.id in kept:
                neighbour = message.id
            else:  # a replacement of a replacement stands for what that one stood for
                place = self._replaced.pop(message.id, (message.id,))
                gone.setdefault(neighbour, []).extend(place)
        neighbour = ""
        for message in new:
            if message.id in kept:
                neighbour = message.id
            elif neighbour in gone:
                self._replaced[message.id] = tuple(gone[neighbour])

    # --- for the store

    @property
    def base(self) -> FrozenMessages:
        """What this was loaded as, or last saved as."""
        return self._base

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done since."""
        return not self._tail and self._edited is None

    @property
    def replaced(self) -> Replaced:
        """Which messages took the place of which."""
        return self._replaced

    def frozen(self) -> FrozenMessages:
        """The content at this moment; O(appended) if messages were only appended."""
        if self._edited is not None:
            return FrozenMessages(self._edited)
        self._frozen = self._frozen.extended(self._tail[len(self._frozen) - len(self._base) :])
        return self._frozen

    def copy(self, touch: Callable[[], None]) -> MessageList:
        """An independent list with the same base and content; contents are shared."""
        result = MessageList(self._base, touch)
        result._frozen = self._frozen
        result._tail = list(self._tail)
        result._edited = None if self._edited is None else list(self._edited)
        result._replaced = dict(self._replaced)
        return result

    def rebase(self, base: FrozenMessages, content: Sequence[Message] | None = None) -> None:
        """Become a list loaded as `base`, whose content is `content` (`None`: the base itself)."""
        self._base = self._frozen = base
        self._tail, self._edited = [], None
        if content is None or content is base:
            self._replaced = {}
            return
        if isinstance(content, FrozenMessages) and content.extends(base):
            self._tail, self._frozen = content[len(base) :], content
        elif len(content) >= len(base) and all(map(is_, base, content)):
            self._tail = list(content[len(base) :])
        else:
            self._edited = list(content)
        self._forget_saved_replacements()

    def _forget_saved_replacements(self) -> None:
        """A replacement that is saved is a message like any other: what it stood for is history."""
        if self._replaced:
            saved = {message.id for message in self._base}
            self._replaced = {id_: place for id_, place in self._replaced.items() if id_ not in saved}


def _equal(one: Sequence[Message], other: object) -> bool:
    if not isinstance(other, Sequence) or isinstance(other, str):
        return False
    return len(one) == len(other) and all(map(eq, one, other))
