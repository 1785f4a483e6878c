import copy
from collections.abc import Callable, Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages, MessageList
from bamboo_sessions.domain.message import Message


def _new(count: int) -> list[Message]:
    return [Message.user(str(number)) for number in range(count)]


class ListMachine(RuleBasedStateMachine):
    """Whatever is done to a `MessageList` and to a plain list, both hold the same; snapshots stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = _new(4)
        self.touched = 0
        self.base = FrozenMessages(self.plain)
        self.list = MessageList(self.base, self._touch)
        self.snapshots: list[tuple[FrozenMessages, list[Message]]] = [(self.base, list(self.plain))]

    def _touch(self) -> None:
        self.touched += 1

    @rule()
    def append(self) -> None:
        """Add at the end."""
        message = Message.user("appended")
        self.list.append(message)
        self.plain.append(message)

    @rule(index=st.integers(-12, 12))
    def insert(self, index: int) -> None:
        """Add anywhere; any index is accepted."""
        message = Message.user("inserted")
        self.list.insert(index, message)
        self.plain.insert(index, message)

    @rule(index=st.integers(-12, 12))
    def set_item(self, index: int) -> None:
        """Replace an item, or fail as a list does."""
        message = Message.user("set")
        self._both(index, lambda target: target.__setitem__(index, message))

    @rule(index=st.integers(-12, 12))
    def delete_item(self, index: int) -> None:
        """Delete an item, or fail as a list does."""
        self._both(index, lambda target: target.__delitem__(index))

    @rule(index=st.slices(12), count=st.integers(0, 3))
    def set_slice(self, index: slice, count: int) -> None:
        """Replace a slice, or fail as a list does."""
        messages = _new(count)
        self._both(index, lambda target: target.__setitem__(index, messages))

    @rule(index=st.slices(12))
    def delete_slice(self, index: slice) -> None:
        """Delete a slice."""
        self._both(index, lambda target: target.__delitem__(index))

    @rule()
    def pop(self) -> None:
        """Take the last one away."""
        if self.plain:
            assert self.list.pop() is self.plain.pop()

    @rule(count=st.integers(0, 3))
    def extend(self, count: int) -> None:
        """Add several."""
        messages = _new(count)
        self.list += messages
        self.plain += messages

    @rule()
    def freeze(self) -> None:
        """Take a snapshot, to look at it again after everything that follows."""
        self.snapshots.append((self.list.frozen(), list(self.plain)))

    @rule()
    def go_on_with_a_copy(self) -> None:
        """A copy holds the same, and what is done to the original afterwards doesn't reach it."""
        original, self.list = self.list, self.list.copy(self._touch)
        original.append(Message.user("only in the original"))

    @rule()
    def save(self) -> None:
        """After a save the content is the base."""
        self.base = self.list.frozen()
        self.list.rebase(self.base)
        assert self.list.is_clean

    @rule(index=st.integers(0, 20))
    def extend_an_old_snapshot(self, index: int) -> None:
        """Somebody else goes on from a snapshot, which must not reach the others."""
        snapshot, content = self.snapshots[index % len(self.snapshots)]
        messages = _new(2)
        self.snapshots.append((snapshot.extended(messages), content + messages))

    def _both(self, index: int | slice, change: object) -> None:
        assert callable(change)
        outcomes: list[type[Exception] | None] = []
        targets: tuple[object, object] = (self.list, self.plain)
        for target in targets:
            try:
                change(target)
                outcomes.append(None)
            except (IndexError, ValueError) as exc:
                outcomes.append(type(exc))
        assert outcomes[0] is outcomes[1]

    @invariant()
    def reads_are_equal(self) -> None:
        """All ways to read agree with a list."""
        assert self.list == self.plain
        assert list(self.list) == self.plain
        assert len(self.list) == len(self.plain)
        assert self.list[1:-1] == self.plain[1:-1]
        assert self.list[::-2] == self.plain[::-2]
        for index in range(-len(self.plain), len(self.plain)):
            assert self.list[index] is self.plain[index]
        for outside in (len(self.plain), -len(self.plain) - 1):
            with pytest.raises(IndexError):
                self.list[outside]

    @invariant()
    def snapshots_never_change(self) -> None:
        """Every snapshot holds what it held when it was made."""
        for snapshot, content in self.snapshots:
            assert list(snapshot) == content
            assert snapshot == content
            assert snapshot[:] == content
            assert snapshot[::-1] == content[::-1]
            assert snapshot.extended(()) is snapshot

    @invariant()
    def the_base_stays(self) -> None:
        """The list remembers what it was loaded as."""
        assert self.list.base is self.base
        assert not self.list.is_clean or self.list == self.base


TestListMachine = ListMachine.TestCase
TestListMachine.__doc__ = ListMachine.__doc__


def test_a_copy_shares_the_messages() -> None:
    """Copying a list of 10,000 copies no message."""
    base = FrozenMessages(_new(10_000))
    one = MessageList(base)
    two = one.copy(lambda: None)
    assert two[5_000] is one[5_000] is base[5_000]
    assert two.base is base


def test_appending_extends_the_shared_list_in_place() -> None:
    """A snapshot of a longer history costs what is new: both look at one list."""
    base = FrozenMessages(_new(3))
    longer = base.extended(_new(1))
    assert longer.extends(base)
    assert not base.extends(longer)
    assert longer._items is base._items
    assert len(base) == 3


def test_only_one_may_extend_in_place() -> None:
    """The second who adds to a snapshot gets a list of its own, and is still known to begin with that snapshot."""
    base = FrozenMessages(_new(3))
    first, second = base.extended(_new(1)), base.extended(_new(1))
    further = second.extended(_new(1))
    assert second._items is not first._items
    assert first.extends(base)
    assert second.extends(base)
    assert further.extends(base)
    assert further.extends(second)
    assert not second.extends(first)
    assert not FrozenMessages(base).extends(base)


def test_the_empty_history_holds_on_to_nothing() -> None:
    """Adding to the one empty history that all new sessions share leaves it empty, and every history extends it."""
    first, second = NO_MESSAGES.extended(_new(1)), NO_MESSAGES.extended(_new(1))
    assert NO_MESSAGES._items == []
    assert first.extends(NO_MESSAGES)
    assert second.extends(NO_MESSAGES)


def test_each_freeze_extends_the_one_before() -> None:
    """A list that only grows gives snapshots that are known to contain one another, however often it is frozen."""
    base = FrozenMessages(_new(3))
    messages = MessageList(base)
    messages.append(Message.user("a"))
    first = messages.frozen()
    messages.append(Message.user("b"))
    second = messages.frozen()
    assert second.extends(first)
    assert first.extends(base)
    assert messages.frozen() is second


class _Interrupting(list[Message]):
    """Messages that somebody else gets ahead of, just when they are being added."""

    def __init__(self, messages: list[Message], interrupt: Callable[[], object]) -> None:
        super().__init__(messages)
        self.interrupt = interrupt

    def __iter__(self) -> Iterator[Message]:
        self.interrupt()
        return super().__iter__()


def test_two_threads_that_extend_one_snapshot_never_mix() -> None:
    """If another thread extends the snapshot in the middle of an extension, each still has its own messages only."""
    base = FrozenMessages(_new(3))
    mine, theirs = _new(2), _new(2)
    others: list[FrozenMessages] = []
    result = base.extended(_Interrupting(mine, lambda: others.append(base.extended(theirs))))
    assert others
    assert list(result) == [*base, *mine]
    assert list(others[0]) == [*base, *theirs]


@pytest.mark.parametrize("bad", [{"role": "user"}, "text", None])
def test_only_messages_get_in(bad: object) -> None:
    """Anything but a message is refused by every way in, and the list stays clean."""
    messages = MessageList(FrozenMessages(_new(3)))
    for attempt in (
        lambda: messages.append(bad),  # type: ignore[arg-type]
        lambda: messages.insert(0, bad),  # type: ignore[arg-type]
        lambda: messages.__setitem__(0, bad),  # type: ignore[call-overload]
        lambda: messages.__setitem__(slice(0, 2), [bad]),  # type: ignore[list-item]
    ):
        with pytest.raises(InvalidMessageError):
            attempt()
    assert messages.is_clean


def test_a_change_that_fails_leaves_the_list_clean() -> None:
    """An index out of range, or a slice of another size, changes nothing and records nothing."""
    messages = MessageList(FrozenMessages(_new(3)))
    with pytest.raises(IndexError):
        del messages[3]
    with pytest.raises(IndexError):
        messages[3] = Message.user("x")
    with pytest.raises(ValueError, match="size"):
        messages[::2] = _new(3)
    assert messages.is_clean


def test_every_change_touches() -> None:
    """Each change is told to the session that owns the list; reading isn't."""
    touched: list[int] = []
    messages = MessageList(FrozenMessages(_new(3)), lambda: touched.append(1))
    messages.append(Message.user("x"))
    messages.insert(0, Message.user("x"))
    messages[0] = Message.user("x")
    messages[0:2] = _new(1)
    del messages[0]
    assert len(touched) == 5
    assert list(messages)
    messages.frozen()
    assert len(touched) == 5


# --- what took the place of what


def test_an_edit_replaces_nothing() -> None:
    """The same id in the same place is an edit."""
    messages = MessageList(FrozenMessages([Message.user("x", id="a")]))
    messages[0] = Message.user("y", id="a")
    assert messages.replaced == {}


def test_another_id_replaces() -> None:
    """Another message in an item's place stands for it."""
    messages = MessageList(FrozenMessages([Message.user("x", id="a"), Message.user("x", id="b")]))
    messages[1] = Message.user("y", id="c")
    assert messages.replaced == {"c": ("b",)}


def test_a_slice_replaces_what_is_gone_between_the_same_neighbours() -> None:
    """Messages of the slice that stay aren't replaced; each new one stands for what is gone where it stands."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abcde"]))
    a, b, c = messages[0], messages[1], messages[2]
    messages[0:4] = [a, Message.user("s", id="s"), c, Message.user("t", id="t")]
    assert messages.replaced == {"s": ("b",), "t": ("d",)}
    messages[0:1] = [a, b]
    assert messages.replaced == {"s": ("b",), "t": ("d",)}


def test_a_replacement_of_a_replacement_stands_for_the_original() -> None:
    """Compacting twice before saving keeps the place of the first messages."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abc"]))
    messages[0:2] = [Message.user("s", id="s")]
    messages[0:2] = [Message.user("t", id="t")]
    assert messages.replaced == {"t": ("a", "b", "c")}


def test_a_deleted_replacement_is_forgotten() -> None:
    """What was put in and taken out again stands for nothing."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "ab"]))
    messages[0] = Message.user("s", id="s")
    del messages[0]
    assert messages.replaced == {}


def test_a_saved_replacement_is_a_message_like_any_other() -> None:
    """After a save, what is replaced next is the saved message, not what that one once stood for."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "ab"]))
    messages[0] = Message.user("s", id="s")
    saved = messages.frozen()
    messages.append(Message.user("y", id="y"))
    messages.rebase(saved, messages.frozen())
    assert messages.replaced == {}
    messages[0] = Message.user("t", id="t")
    assert messages.replaced == {"t": ("s",)}


# --- after a save


def test_rebasing_on_equal_content_is_clean() -> None:
    """A list whose content is its new base has nothing to save, also when the two were made separately."""
    messages = MessageList(FrozenMessages(_new(2)))
    del messages[0]
    content = messages.frozen()
    messages.rebase(content, FrozenMessages(content))
    assert messages.is_clean


def test_rebasing_on_a_beginning_keeps_the_rest_as_appended() -> None:
    """Content that goes on behind the new base is a plain addition, whether or not the lists are shared."""
    history = _new(4)
    messages = MessageList()
    messages.rebase(FrozenMessages(history[:2]), FrozenMessages(history))
    assert messages == history
    assert messages.frozen().extends(messages.base)
    assert not messages.is_clean


def test_lists_have_no_hash_and_show_what_they_hold() -> None:
    """They are mutable or as large as a history, so neither is a key; both can be shown and compared."""
    history = _new(1)
    frozen, messages = FrozenMessages(history), MessageList(FrozenMessages(history))
    for one in (frozen, messages):
        with pytest.raises(TypeError):
            hash(one)
        assert history[0].id in repr(one)
        assert one != "text"
        assert one != []
    assert frozen == messages
    assert copy.copy(frozen) == frozen


# --- borders that mutants have shown


def test_only_its_own_base_is_extended() -> None:
    """A copy made because somebody extended the same messages first extends these, and no others."""
    messages, (other,) = FrozenMessages(_new(2)), _new(1)
    messages.extended(_new(1))
    second = messages.extended(_new(1))
    assert second.extends(messages)
    assert not second.extends(FrozenMessages([other]))


def test_indexes_end_with_the_messages() -> None:
    """Both ends can be reached from either side, and nothing that others have put behind."""
    items = _new(3)
    frozen = FrozenMessages(items)
    frozen.extended(_new(2))
    assert [frozen[index] for index in (-3, -1, 0, 2)] == [items[0], items[2], items[0], items[2]]
    for index in (3, -4):
        with pytest.raises(IndexError):
            frozen[index]


@pytest.mark.parametrize("other", [5, "", set(), None])
def test_equal_only_to_sequences(other: object) -> None:
    """Histories equal sequences of equal messages; texts and what has no order are something else."""
    assert FrozenMessages() != other
    assert MessageList(NO_MESSAGES, lambda: None) != other
    assert FrozenMessages() == []


def test_inserting_at_the_end_is_appending() -> None:
    """A message put behind the last one leaves the history one that extends its base, so that saving stays cheap."""
    base = FrozenMessages(_new(2))
    messages = MessageList(base, lambda: None)
    messages.insert(2, Message.user("x"))
    assert messages.frozen().extends(base)


def test_a_copy_knows_what_was_replaced() -> None:
    """A copied list still says whose place a message took, until both were saved."""
    base = FrozenMessages(_new(2))
    messages = MessageList(base, lambda: None)
    messages[0] = Message.user("x", id="x")
    assert messages.copy(lambda: None).replaced == {"x": (base[0].id,)}
    messages.rebase(base, base)
    assert messages.replaced == {}


def test_rebasing_on_less_is_a_removal() -> None:
    """A content that is only the beginning of the base, as a list or frozen, stays without the rest."""
    base = FrozenMessages(_new(3))
    messages = MessageList(base, lambda: None)
    for content in (list(base)[:1], FrozenMessages(list(base)[:1])):
        messages.rebase(base, content)
        assert list(messages) == list(base)[:1]
    assert not messages.is_clean
