"""The messages of a working copy: a list that knows what it was loaded as.

It holds a frozen base, and what was made of it, which shares with the base all that wasn't touched. Only what was
*done* is ever saved: a list that merely lacks newer messages removes nothing (L02, L104).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from typing import NoReturn, overload

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages, Replaced, equal_sequences
from bamboo_sessions.domain.message import Message, check_message, occurs_twice, same_content
from bamboo_sessions.domain.values import shown


class MessageList(MutableSequence[Message]):
    """The messages of a working copy: a list that remembers what it was loaded as.

    Messages can be appended, inserted, replaced and deleted. Replacing one by a message with the same id is an edit;
    assigning other messages to an item or a slice replaces: they take the place of what they replace, also where
    somebody else added behind it meanwhile. The order of existing messages can't be changed, and an id occurs once.
    Adding a message at the end that is there already changes nothing (G4); the next save's report names it among the
    duplicates.

    Raises:
        InvalidMessageError: What is put in isn't a message, or its id would occur twice; nothing was changed.
        InputError: `reverse` and `sort`.
    """

    __slots__ = ("_additions", "_appended", "_base", "_content", "_repeated", "_replaced", "_touch")

    def __init__(self, base: FrozenMessages = NO_MESSAGES, touch: Callable[[], None] = lambda: None) -> None:
        self._base = base
        self._content = base
        self._appended: dict[str, Message] = {}  # stands behind `_content`, by id, until somebody looks at all
        self._replaced: dict[str, tuple[str, ...]] = {}
        self._additions: list[Message] | None = []  # what `_content` has behind the base, if that is all
        self._repeated: list[str] = []  # ids that were added again, until a save has told
        self._touch = touch

    # --- reading

    def __len__(self) -> int:
        return len(self._content) + len(self._appended)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        return self._frozen()[index]

    def __iter__(self) -> Iterator[Message]:
        return iter(self._frozen())

    def __reversed__(self) -> Iterator[Message]:
        return reversed(self._frozen())

    def index_of(self, message_id: str) -> int | None:
        """The index of the message with this id, or `None`; quick at any length."""
        return self._frozen().index_of(message_id)

    def __eq__(self, other: object) -> bool:
        return equal_sequences(self._frozen(), other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MessageList{shown(tuple(self))}"

    # --- changing

    def append(self, value: Message) -> None:
        """Add a message at the end."""
        self.extend((value,))

    def extend(self, values: Iterable[Message]) -> None:
        """Add messages at the end: all of them, or none if one is refused."""
        new: dict[str, Message] = {}
        repeated: list[str] = []
        for message in values:
            id_ = check_message(message).id
            known = new.get(id_) or self._appended.get(id_) or self._content.find(id_)
            if known is None:
                new[id_] = message
            elif same_content(known, message):
                repeated.append(id_)
            else:
                raise occurs_twice(id_)
        self._repeated += repeated
        if new:
            self._appended |= new
            self._touch()

    def insert(self, index: int, value: Message) -> None:
        """Add a message in front of the one at `index`."""
        place = slice(index, index).indices(len(self))[0]
        self[place:place] = (value,)

    @overload
    def __setitem__(self, index: int, value: Message) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Message]) -> None: ...
    def __setitem__(self, index: int | slice, value: Message | Iterable[Message]) -> None:
        content = self._frozen()
        values = value if isinstance(index, slice) and not isinstance(value, Message) else (value,)
        new = tuple(map(check_message, values))
        place = _place(index, len(content))
        old = content[place]
        _check_unique(content, old, new)
        if place.step == 1:
            self._change(content.spliced(place.start, place.stop, new))
        else:
            items = list(content)
            items[place] = new
            self._change(FrozenMessages(items))
        self._remember_replaced(new, old)

    def __delitem__(self, index: int | slice) -> None:
        content = self._frozen()
        place = _place(index, len(content))
        gone = content[place]
        if place.step == 1:
            self._change(content.spliced(place.start, place.stop))
        else:
            items = list(content)
            del items[place]
            self._change(FrozenMessages(items))
        for message in gone:
            self._replaced.pop(message.id, None)

    def clear(self) -> None:
        """Remove all messages."""
        del self[:]

    def reverse(self) -> NoReturn:
        """Refused: the order of messages can't be changed."""
        raise _fixed_order()

    def sort(self, **_: object) -> NoReturn:
        """Refused: the order of messages can't be changed."""
        raise _fixed_order()

    def _change(self, content: FrozenMessages) -> None:
        self._content = content
        self._additions = None
        self._touch()

    def _remember_replaced(self, new: Sequence[Message], old: Sequence[Message]) -> None:
        """Note for each new message which ones it stands for: those gone from between the same kept neighbours."""
        if not old:
            return
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
    def _is_clean(self) -> bool:
        """Whether nothing was done since."""
        return self._content is self._base and not self._appended

    def _drafted(self) -> tuple[FrozenMessages, tuple[Message, ...] | None]:
        """The content at this moment, and what of it was appended since, if nothing else was done."""
        content = self._frozen()
        return content, None if self._additions is None else tuple(self._additions)

    def _frozen(self) -> FrozenMessages:
        """The content at this moment; costs as much as what was appended since the last look at it."""
        if self._appended:
            new = tuple(self._appended.values())
            self._content = self._content.extended(new)
            self._appended = {}
            if self._additions is not None:
                self._additions += new
        return self._content

    def _copy(self, touch: Callable[[], None]) -> MessageList:
        """An independent list with the same base and content; both are shared."""
        result = MessageList(self._base, touch)
        result._content = self._frozen()
        result._replaced = dict(self._replaced)
        result._additions = None if self._additions is None else list(self._additions)
        result._repeated = list(self._repeated)
        return result

    def _rebase(
        self, base: FrozenMessages, content: FrozenMessages | None = None, replaced: Replaced | None = None
    ) -> None:
        """Become a list loaded as `base`, whose content is `content` (`None`: the base itself).

        `replaced` says which messages took the place of which (`None`: it stays). One that is saved is a message like
        any other: what it stood for is history.
        """
        if content is None or (len(content) == len(base) and content.extends(base)):
            content = base
        self._base, self._content, self._appended = base, content, {}
        self._additions = [] if content is base else content[base.length :] if content.extends(base) else None
        places = {} if content is base else self._replaced if replaced is None else replaced
        self._replaced = {id_: place for id_, place in places.items() if base.index_of(id_) is None}


def _place(index: int | slice, length: int) -> slice:
    """The slice that `index` means; with the step 1 its ends are positions, and in order."""
    if not isinstance(index, slice):
        if not -length <= index < length:
            message = f"Message index {index} is out of range: there are {length}. `add_message` adds at the end."
            raise IndexError(message)
        return slice(index % length, index % length + 1, 1)
    start, stop, step = index.indices(length)
    return slice(start, max(start, stop), 1) if step == 1 else index


def _check_unique(content: FrozenMessages, old: Sequence[Message], new: Sequence[Message]) -> None:
    """Raise `InvalidMessageError` if an id occurs twice once `new` takes the place of `old` in `content`."""
    leaving = {message.id for message in old}
    seen: set[str] = set()
    for message in new:
        if message.id in seen or (message.id not in leaving and content.index_of(message.id) is not None):
            raise occurs_twice(message.id)
        seen.add(message.id)


def _fixed_order() -> InputError:
    return InputError(
        "The order of a session's messages can't be changed.",
        hint="Sort a copy: sorted(session.messages, …). To rewrite a history on purpose use `replace_history`.",
    )
