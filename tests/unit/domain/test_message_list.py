from collections.abc import Callable, Iterable
from operator import is_

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bamboo_sessions.domain.errors import InputError, InvalidMessageError
from bamboo_sessions.domain.history import CHUNK_MESSAGES, FrozenMessages, differences
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.message_list import MessageList

PLACES = st.integers(-12, 12) | st.integers(-600, 600)
SLICES = st.slices(12) | st.slices(600)


def _new(count: int) -> list[Message]:
    return [Message.user(str(number)) for number in range(count)]


def _are(one: Iterable[Message], other: list[Message]) -> bool:
    """Whether both are the same objects in the same order."""
    items = list(one)
    return len(items) == len(other) and all(map(is_, items, other))


class ListMachine(RuleBasedStateMachine):
    """Whatever is done to a `MessageList` and to a plain list, both hold the same; snapshots stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = _new(520)  # three chunks
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

    @rule(index=PLACES)
    def insert(self, index: int) -> None:
        """Add anywhere; any index is accepted."""
        message = Message.user("inserted")
        self.list.insert(index, message)
        self.plain.insert(index, message)

    @rule(index=PLACES)
    def set_item(self, index: int) -> None:
        """Replace an item, or fail as a list does."""
        message = Message.user("set")
        self._both(index, lambda target: target.__setitem__(index, message))

    @rule(index=PLACES)
    def delete_item(self, index: int) -> None:
        """Delete an item, or fail as a list does."""
        self._both(index, lambda target: target.__delitem__(index))

    @rule(index=SLICES, count=st.integers(0, 3))
    def set_slice(self, index: slice, count: int) -> None:
        """Replace a slice, or fail as a list does."""
        messages = _new(count)
        self._both(index, lambda target: target.__setitem__(index, messages))

    @rule(index=SLICES)
    def delete_slice(self, index: slice) -> None:
        """Delete a slice."""
        self._both(index, lambda target: target.__delitem__(index))

    @rule(index=PLACES)
    def edit_item(self, index: int) -> None:
        """Give an item another content under its id."""
        if -len(self.plain) <= index < len(self.plain):
            self.list[index] = self.plain[index] = Message.user("edited", id=self.plain[index].id)

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
        self.snapshots.append((self.list._frozen(), list(self.plain)))

    @rule()
    def go_on_with_a_copy(self) -> None:
        """A copy holds the same, and what is done to the original afterwards doesn't reach it."""
        original, self.list = self.list, self.list._copy(self._touch)
        original.append(Message.user("only in the original"))

    @rule()
    def save(self) -> None:
        """After a save the content is the base."""
        self.base = self.list._frozen()
        self.list._rebase(self.base)
        assert self.list._is_clean

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
        assert _are(self.list, self.plain)
        assert _are(reversed(self.list), self.plain[::-1])
        assert len(self.list) == len(self.plain)
        assert _are(self.list[1:-1], self.plain[1:-1])
        assert _are(self.list[::-2], self.plain[::-2])
        for index in (-len(self.plain), -1, 0, len(self.plain) // 2, len(self.plain) - 1)[: len(self.plain)]:
            assert self.list[index] is self.plain[index]
        for outside in (len(self.plain), -len(self.plain) - 1):
            with pytest.raises(IndexError):
                self.list[outside]

    @invariant()
    def snapshots_never_change(self) -> None:
        """Every snapshot holds what it held when it was made."""
        for snapshot, content in self.snapshots:
            assert _are(snapshot, content)
            assert _are(snapshot[::-1], content[::-1])
            assert snapshot.extended(()) is snapshot

    @invariant()
    def the_base_stays(self) -> None:
        """The list remembers what it was loaded as."""
        assert self.list._base is self.base
        assert not self.list._is_clean or self.list._frozen() is self.base

    @invariant()
    def differences_are_what_was_done(self) -> None:
        """Base and content differ by what a comparison of all messages finds; places are found by id."""
        content = self.list._frozen()
        found = differences(self.base, content)
        before, after = ({message.id: message for message in side} for side in (self.base, content))
        assert [message.id for message in found.removed] == [id for id in before if id not in after]
        assert [message.id for message in found.added] == [id for id in after if id not in before]
        assert list(found.edited) == [
            (before[id], after[id]) for id in after if before.get(id, after[id]) is not after[id]
        ]
        for index in (0, len(content) // 2, len(content) - 1)[: len(content)]:
            assert content.index_of(content[index].id) == index
            assert content.find(content[index].id) is content[index]
        for message in found.removed:
            assert content.index_of(message.id) is None
            assert content.find(message.id) is None


TestListMachine = ListMachine.TestCase
TestListMachine.__doc__ = ListMachine.__doc__


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
    assert messages._is_clean


def test_a_change_that_fails_leaves_the_list_clean() -> None:
    """An index out of range, or a slice of another size, changes nothing and records nothing."""
    messages = MessageList(FrozenMessages(_new(3)))
    with pytest.raises(IndexError):
        del messages[3]
    with pytest.raises(IndexError):
        messages[3] = Message.user("x")
    with pytest.raises(ValueError, match="size"):
        messages[::2] = _new(3)
    assert messages._is_clean


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
    messages._frozen()
    assert len(touched) == 5


# --- what took the place of what


def test_an_edit_replaces_nothing() -> None:
    """The same id in the same place is an edit."""
    messages = MessageList(FrozenMessages([Message.user("x", id="a")]))
    messages[0] = Message.user("y", id="a")
    assert messages._replaced == {}


def test_another_id_replaces() -> None:
    """Another message in an item's place stands for it."""
    messages = MessageList(FrozenMessages([Message.user("x", id="a"), Message.user("x", id="b")]))
    messages[1] = Message.user("y", id="c")
    assert messages._replaced == {"c": ("b",)}


def test_a_slice_replaces_what_is_gone_between_the_same_neighbours() -> None:
    """Messages of the slice that stay aren't replaced; each new one stands for what is gone where it stands."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abcde"]))
    a, b, c = messages[0], messages[1], messages[2]
    messages[0:4] = [a, Message.user("s", id="s"), c, Message.user("t", id="t")]
    assert messages._replaced == {"s": ("b",), "t": ("d",)}
    messages[0:1] = [a, b]
    assert messages._replaced == {"s": ("b",), "t": ("d",)}


def test_a_replacement_of_a_replacement_stands_for_the_original() -> None:
    """Compacting twice before saving keeps the place of the first messages."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abc"]))
    messages[0:2] = [Message.user("s", id="s")]
    messages[0:2] = [Message.user("t", id="t")]
    assert messages._replaced == {"t": ("a", "b", "c")}


def test_a_deleted_replacement_is_forgotten() -> None:
    """What was put in and taken out again stands for nothing."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "ab"]))
    messages[0] = Message.user("s", id="s")
    del messages[0]
    assert messages._replaced == {}


def test_a_saved_replacement_is_a_message_like_any_other() -> None:
    """After a save, what is replaced next is the saved message, not what that one once stood for."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "ab"]))
    messages[0] = Message.user("s", id="s")
    saved = messages._frozen()
    messages.append(Message.user("y", id="y"))
    messages._rebase(saved, messages._frozen())
    assert messages._replaced == {}
    messages[0] = Message.user("t", id="t")
    assert messages._replaced == {"t": ("s",)}


# --- after a save


def test_rebasing_on_equal_content_is_clean() -> None:
    """A list whose content is its new base has nothing to save, also when the two were made separately."""
    messages = MessageList(FrozenMessages(_new(2)))
    del messages[0]
    content = messages._frozen()
    messages._rebase(content, FrozenMessages(content))
    assert messages._is_clean
    assert messages._frozen() is content


def test_rebasing_on_a_beginning_keeps_the_rest_as_appended() -> None:
    """Content that goes on behind the new base is a plain addition, whether or not the lists are shared."""
    history = _new(4)
    messages = MessageList()
    messages._rebase(FrozenMessages(history[:2]), FrozenMessages(history))
    assert messages == history
    assert messages._frozen().extends(messages._base)
    assert not messages._is_clean


# --- one id, one message


@pytest.mark.parametrize("again", ["a", "d"])
def test_L115_a_second_message_of_an_id_is_refused(again: str) -> None:
    """By every way in; the error says that it occurs twice, and nothing is changed."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abc"]))
    messages.append(Message.user("x", id="d"))
    second = Message.user("other", id=again)
    attempts: tuple[Callable[[], None], ...] = (
        lambda: messages.append(second),
        lambda: messages.insert(1, second),
        lambda: messages.extend([Message.user("x"), second]),
        lambda: messages.__setitem__(1, second),
        lambda: messages.__setitem__(slice(1, 3), [second]),
        lambda: messages.__setitem__(slice(1, 3), [Message.user("x", id="e"), Message.user("x", id="e")]),
        lambda: messages.__setitem__(slice(1, 3, 2), [second, Message.user("x")]),
    )
    for attempt in attempts:
        with pytest.raises(InvalidMessageError, match="occurs twice") as caught:
            attempt()
        assert caught.value.hint
    assert [message.id for message in messages] == list("abcd")
    assert messages._replaced == {}


@pytest.mark.parametrize("again", ["a", "d"])
def test_L115_a_message_that_is_there_is_added_once(again: str) -> None:
    """Equal content at the end is a repeat, which is noted; to put it anywhere else is refused."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abc"]))
    messages.append(Message.user("x", id="d"))
    second = Message.user("x", id=again)
    messages.append(second)
    messages.extend([second, Message.user("x", id="e"), Message.user("x", id="e")])
    assert [message.id for message in messages] == list("abcde")
    assert messages._repeated == [again, again, "e"]
    with pytest.raises(InvalidMessageError, match="occurs twice"):
        messages.insert(1, second)
    with pytest.raises(InvalidMessageError, match="occurs twice"):
        messages[1:3] = [second]


def test_an_id_that_leaves_may_come_again() -> None:
    """What is replaced or removed makes room for a message of its id, and messages of a slice may change places."""
    messages = MessageList(FrozenMessages([Message.user("x", id=id) for id in "abc"]))
    messages[0:2] = [messages[1], messages[0]]
    del messages[2]
    messages.append(Message.user("again", id="c"))
    assert [message.id for message in messages] == list("bac")


@pytest.mark.parametrize("name", ["reverse", "sort"])
def test_the_order_of_messages_cannot_be_changed(name: str) -> None:
    """Sorting in place is refused by a sentence that says what to do, and nothing is changed."""
    messages = MessageList(FrozenMessages(_new(3)))
    with pytest.raises(InputError, match="order") as caught:
        getattr(messages, name)()
    assert "replace_history" in (caught.value.hint or "")
    assert messages._is_clean


# --- cost


def test_a_change_of_a_long_history_touches_one_chunk() -> None:
    """Editing, removing or inserting one of 10,000 leaves all but one chunk shared, also in copies."""
    base = FrozenMessages(_new(10_000))
    changes: tuple[Callable[[MessageList], object], ...] = (
        lambda messages: messages.__setitem__(-1, Message.user("new", id=messages[-1].id)),
        lambda messages: messages.pop(),
        lambda messages: messages.insert(0, Message.user("first")),
        lambda messages: messages.insert(5_000, Message.user("inside")),
    )
    for change in changes:
        messages = MessageList(base)
        change(messages)
        content = messages._copy(lambda: None)._frozen()
        assert len(list(base.unshared(content))) <= CHUNK_MESSAGES
        assert len(list(content.unshared(base))) <= CHUNK_MESSAGES + 1


def test_a_copy_shares_the_messages() -> None:
    """Copying a list of 10,000 copies no message."""
    base = FrozenMessages(_new(10_000))
    one = MessageList(base)
    two = one._copy(lambda: None)
    assert two._frozen() is one._frozen() is base


def test_each_freeze_extends_the_one_before() -> None:
    """A list that only grows gives snapshots that are known to contain one another, however often it is frozen."""
    base = FrozenMessages(_new(3))
    messages = MessageList(base)
    messages.append(Message.user("a"))
    first = messages._frozen()
    messages.append(Message.user("b"))
    second = messages._frozen()
    assert second.extends(first)
    assert first.extends(base)
    assert messages._frozen() is second


# --- borders that mutants have shown


def test_inserting_at_the_end_is_appending() -> None:
    """A message put behind the last one leaves the history one that extends its base, so that saving stays cheap."""
    base = FrozenMessages(_new(2))
    messages = MessageList(base, lambda: None)
    messages.insert(2, Message.user("x"))
    assert messages._frozen().extends(base)


def test_a_copy_knows_what_was_replaced() -> None:
    """A copied list still says whose place a message took, until both were saved."""
    base = FrozenMessages(_new(2))
    messages = MessageList(base, lambda: None)
    messages[0] = Message.user("x", id="x")
    assert messages._copy(lambda: None)._replaced == {"x": (base[0].id,)}
    messages._rebase(base, base)
    assert messages._replaced == {}


def test_rebasing_on_less_is_a_removal() -> None:
    """A content that is only the beginning of the base stays without the rest."""
    base = FrozenMessages(_new(3))
    messages = MessageList(base, lambda: None)
    messages._rebase(base, FrozenMessages(list(base)[:1]))
    assert list(messages) == list(base)[:1]
    assert not messages._is_clean
