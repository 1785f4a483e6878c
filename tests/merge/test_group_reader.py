"""Groups are read around the places that are asked for, and give what reading everything gives."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.call_groups import Kind, groups_of, kind_of
from bamboo_sessions.domain.group_reader import GroupReader
from bamboo_sessions.domain.message import Message
from bamboo_sessions.testing.strategies import new_messages
from tests.merge.helpers import call, message, result


@given(st.lists(new_messages("m"), max_size=14), st.data())
def test_reading_around_places_is_reading_everything(history: list[Message], data: st.DataObject) -> None:
    """Whichever places are asked for, in any order, the group around each is the one of the whole history.

    Where that is parted, each part is read as a history.
    """
    places = range(1, len(history))
    parted = data.draw(st.sets(st.sampled_from(places), max_size=2)) if places else set()
    reader = GroupReader(len(history), lambda index: kind_of(history[index]), parted)
    borders = [0, *sorted(parted), len(history)]
    groups = [
        range(start + group.start, start + group.end)
        for start, stop in pairwise(borders)
        for group in groups_of(history[start:stop])
    ]
    for index in data.draw(st.permutations(range(len(history)))):
        group = reader.around(index)
        expected = next((each for each in groups if index in each), None)
        assert (group and range(group.start, group.end)) == expected


@given(st.lists(new_messages("m"), max_size=14), st.data())
def test_the_group_that_may_go_on_is_found_in_any_order(history: list[Message], data: st.DataObject) -> None:
    """Whichever gaps are asked for first, the group in front is the last that began there and nothing ended since."""
    reader = GroupReader.of(history)
    groups = list(groups_of(history))
    for gap in data.draw(st.permutations(range(len(history) + 1))):
        expected = next((group for group in reversed(groups) if group.start < gap), None)
        assert reader.in_front(gap) == (expected if expected and gap <= expected.reach else None)


def test_a_group_in_front_is_found_after_the_one_behind_it() -> None:
    """Reading the second group doesn't hide that the first may go on behind the event between them."""
    tick = Message(role="event", content="tick", id="e")
    reader = GroupReader.of([call("A"), result("a", "A"), tick, call("B")])
    assert [group and group.start for group in map(reader.in_front, (4, 3))] == [3, 0]


def test_a_question_costs_the_messages_around() -> None:
    """Of a long history only the group, and what ends it on either side, is looked at; and that once."""
    turn = [message("u"), call("c"), result("r", "c")]
    history = turn * 10_000
    looked_at: list[int] = []

    def kind(index: int) -> Kind:
        looked_at.append(index)
        return kind_of(history[index])

    reader = GroupReader(len(history), kind)
    group = reader.around(15_001)
    assert group is not None
    assert (group.start, group.end) == (15_001, 15_003)
    assert len(looked_at) < 10
    del looked_at[:]
    assert reader.around(15_002) == group
    assert looked_at == []
