import copy
import pickle
import random

import pytest

from bamboo_sessions.domain.history import CHUNK_MESSAGES, NO_MESSAGES, Differences, FrozenMessages, differences
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.message_list import MessageList


def _new(count: int) -> list[Message]:
    return [Message.user(str(number)) for number in range(count)]


def test_a_longer_history_shares_what_it_extends() -> None:
    """Adding to a long history copies what its last chunks hold, and no more."""
    base = FrozenMessages(_new(10_000))
    longer = base.extended(_new(1))
    assert longer.extends(base)
    assert not base.extends(longer)
    assert len(list(longer.unshared(base))) == 1
    assert len(base) == 10_000


def test_messages_appended_one_by_one_are_copied_a_few_times() -> None:
    """Of 1,000 appends, each copies 8 messages on average at most; there are few chunks in the end."""
    history, copied = NO_MESSAGES, 0
    for message in _new(1_000):
        longer = history.extended([message])
        copied += len(list(longer.unshared(history)))
        history = longer
    assert copied <= 9 * 1_000
    assert len(history._chunks) <= 1_000 // CHUNK_MESSAGES + 9


def test_two_who_extend_one_history_never_mix() -> None:
    """Each has its own messages behind the shared ones, and is known to begin with them."""
    base = FrozenMessages(_new(3))
    mine, theirs = _new(2), _new(2)
    first, second = base.extended(mine), base.extended(theirs)
    assert list(first) == [*base, *mine]
    assert list(second) == [*base, *theirs]
    assert first.extends(base)
    assert second.extended(_new(1)).extends(base)
    assert not second.extends(first)


def test_the_same_messages_elsewhere_are_the_same_history() -> None:
    """A history built anew of the very messages extends the other; one of equal messages doesn't."""
    items = _new(600)
    base = FrozenMessages(items[:400])
    assert FrozenMessages(items).extends(base)
    assert not FrozenMessages(items[:300]).extends(base)
    assert not FrozenMessages([*items[:399], copy.copy(items[399]), items[0]]).extends(base)


def test_the_empty_history_holds_on_to_nothing() -> None:
    """Adding to the one empty history that all new sessions share leaves it empty, and every history extends it."""
    first, second = NO_MESSAGES.extended(_new(1)), NO_MESSAGES.extended(_new(1))
    assert list(NO_MESSAGES) == []
    assert first.extends(NO_MESSAGES)
    assert second.extends(NO_MESSAGES)


def test_equal_histories_do_not_differ() -> None:
    """Neither do those whose chunks were made apart, as long as the messages are the very same."""
    items = _new(3)
    assert differences(FrozenMessages(items), FrozenMessages(items)) == Differences()
    assert differences(NO_MESSAGES, NO_MESSAGES) == Differences()


def test_a_history_survives_pickling_and_copying() -> None:
    """What is copied by value is equal."""
    history = FrozenMessages(_new(300))
    assert pickle.loads(pickle.dumps(history)) == history  # noqa: S301 - made here
    assert copy.copy(history) == history
    assert copy.deepcopy(history) == history


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 513, 1_000])
def test_a_history_is_cut_into_chunks_of_about_equal_length(count: int) -> None:
    """No chunk is longer than a full one, and no tiny one is left over."""
    lengths = [len(chunk.messages) for chunk in FrozenMessages(_new(count))._chunks]
    assert sum(lengths) == count
    assert len(lengths) == -(-count // CHUNK_MESSAGES)
    assert not lengths or min(lengths) >= max(lengths) - len(lengths)


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


def test_a_new_id_is_not_looked_for() -> None:
    """Ids that rise, as UUIDv7 do, are told to be new without looking through a long history for them."""
    history = FrozenMessages(_new(10_000))
    added = _new(3)
    for message in added:
        assert history.index_of(message.id) is None
        history = history.extended([message])
    assert all(chunk._places is None for chunk in history._chunks)
    assert history.index_of(added[-1].id) == len(history) - 1


def test_an_old_id_is_looked_for_where_it_may_be() -> None:
    """A map of ids is made for the one chunk that may have an id that rises with the others, and for no other."""
    history = FrozenMessages(_new(10_000))
    assert history.index_of(history[17].id) == 17
    assert sum(chunk._places is not None for chunk in history._chunks) == 1


@pytest.mark.parametrize("seed", range(5))
def test_ids_in_any_order_are_found(seed: int) -> None:
    """However the ids stand, each is found at its place, also after others came between, and no other is found."""
    chance = random.Random(seed)
    numbers = chance.sample(range(2_000), 1_500)
    history = FrozenMessages(Message.user("x", id=str(number)) for number in numbers[:1_000])
    for number in numbers[1_000:1_400]:
        place = chance.randrange(len(history) + 1)
        history = history.spliced(place, place, [Message.user("x", id=str(number))])
    history = history.extended(Message.user("x", id=str(number)) for number in numbers[1_400:])
    places = {message.id: place for place, message in enumerate(history)}
    assert all(history.index_of(str(number)) == places.get(str(number)) for number in range(2_000))
