"""Where additions stand: at the end, inside, or in the place of what they replace."""

import pytest

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.splices import FRONT, Insertion
from tests.merge.helpers import history, ids, load, snapshot
from tests.merge.history_kit import add, committed_meanwhile, delta_of, edit, insert, remove, replace, saved_on

# --- at the end


def test_additions_go_to_the_end_behind_what_others_added() -> None:
    """Two turns that were saved at the same time stand one behind the other, each in one piece (G3)."""
    copy = load(snapshot("a"))
    add(copy, "m", "n")
    merged = saved_on(copy, committed_meanwhile("axy"))
    assert ids(merged.messages) == "a x y m n"
    assert merged.delta.insertions == (Insertion(tuple(history("mn"))),)


def test_a_turn_goes_to_the_end_if_what_it_followed_is_gone() -> None:
    """Additions behind a removed message are no less at the end."""
    copy = load(snapshot("abc"))
    remove(copy, "b", "c")
    add(copy, "n")
    assert ids(saved_on(copy, committed_meanwhile("abcx")).messages) == "a x n"


def test_a_turn_goes_to_the_end_if_others_removed_all_that_followed() -> None:
    """An addition is inside only while something of the base behind it is alive."""
    copy = load(snapshot("abc"))
    insert(copy, "c", "n")
    assert ids(saved_on(copy, committed_meanwhile("abx")).messages) == "a b x n"


def test_before_the_only_message_is_inside() -> None:
    """What was put before the first or second message stays before it when others add at the end."""
    a, b, x, y = history(["a", "b", "x", "y"])
    assert ids(delta_of([a], [x, a], [a, y]).messages) == "x a y"
    assert ids(delta_of([a, b], [a, x, b], [a, b, y]).messages) == "a x b y"


# --- inside


def test_an_addition_inside_stays_inside() -> None:
    """It stands directly behind its anchor, also where others added at the end."""
    copy = load(snapshot("abc"))
    insert(copy, "b", "m", "n")
    merged = saved_on(copy, committed_meanwhile("abcx"))
    assert ids(merged.messages) == "a m n b c x"
    assert merged.delta.insertions == (Insertion(tuple(history("mn")), "a"),)


def test_an_addition_in_front_stays_in_front() -> None:
    """Without a message before it, it goes before all."""
    copy = load(snapshot("ab"))
    insert(copy, "a", "n")
    merged = saved_on(copy, committed_meanwhile("abx"))
    assert ids(merged.messages) == "n a b x"
    assert merged.delta.insertions == (Insertion(tuple(history("n")), FRONT),)


def test_L111_an_anchor_that_is_gone_gives_way_to_the_one_before() -> None:
    """The nearest message before the addition that is still alive is its anchor; it is never dropped (L111)."""
    copy = load(snapshot("abcd"))
    insert(copy, "d", "n")
    assert ids(saved_on(copy, committed_meanwhile("abd")).messages) == "a b n d"
    assert ids(saved_on(copy, committed_meanwhile("ad")).messages) == "a n d"
    assert ids(saved_on(copy, committed_meanwhile("d")).messages) == "n d"
    remove(copy, "b", "c")
    assert ids(saved_on(copy, committed_meanwhile("abcdx")).messages) == "a n d x"


def test_L111_around_a_compaction() -> None:
    """Two removed, one edited, one added in between, while others compacted all of it: the addition stays (L111)."""
    copy = load(snapshot("abcdef"))
    remove(copy, "b", "c")
    edit(copy, "d", "mine")
    insert(copy, "d", "n")
    merged = saved_on(copy, committed_meanwhile(["s", "e", "f"]))
    assert ids(merged.messages) == "n s e f"
    assert merged.conflicts == (MergeConflict("message:d", "removed"),)
    behind = load(snapshot("abcd"))
    insert(behind, "d", "n")
    assert ids(saved_on(behind, committed_meanwhile(["s"])).messages) == "s n"


def test_an_addition_of_both_sides_can_be_an_anchor() -> None:
    """What is alive is what counts, not who brought it."""
    copy = load(snapshot("ab"))
    insert(copy, "b", "both", "n")
    merged = saved_on(copy, committed_meanwhile(["a", "both", "x", "b"]))
    assert ids(merged.messages) == "a both n x b"
    assert ids(merged.delta.duplicates) == "both"


def test_order_of_committed_messages_is_never_changed() -> None:
    """Moving messages about in a copy changes nothing."""
    base = snapshot("abc")
    copy = load(base)
    copy.messages[:] = copy.messages[::-1]
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "a b c"
    assert not merged.changed


# --- replacements


def test_a_compaction_takes_the_place_of_what_it_replaces() -> None:
    """Messages that came behind the replaced ones meanwhile stay behind the summary."""
    copy = load(snapshot("abc"))
    replace(copy, "a b c", "s")
    add(copy, "n")
    merged = saved_on(copy, committed_meanwhile("abcxy"))
    assert ids(merged.messages) == "s x y n"
    assert merged.delta.removals == ("a", "b", "c")


def test_a_compaction_in_the_middle() -> None:
    """What others put inside or behind stays, and so does what stands around it."""
    copy = load(snapshot("abcde"))
    replace(copy, "b c d", "s", "t")
    assert ids(saved_on(copy, committed_meanwhile(["a", "b", "x", "c", "d", "e", "y"])).messages) == "a s t x e y"


def test_a_replacement_whose_place_is_gone_is_an_addition() -> None:
    """If others removed all of what it replaced, it goes where any addition would go."""
    copy = load(snapshot("abcd"))
    replace(copy, "b c", "s")
    assert ids(saved_on(copy, committed_meanwhile("adx")).messages) == "a s d x"
    assert ids(saved_on(copy, committed_meanwhile("axcd")).messages) == "a x s d"
    assert ids(saved_on(copy, committed_meanwhile("ax")).messages) == "a x s"


def test_messages_that_stay_in_a_replaced_slice_keep_their_place() -> None:
    """Assigning a slice that keeps some of its messages puts each new one where it was put."""
    for new in (["a", "s", "c"], ["s", "b", "t"], ["a", "b", "s"], ["s", "a", "b", "c", "t"], ["a", "s"]):
        base = snapshot("abcd")
        copy = load(base)
        replace(copy, "a b c", *new)
        assert ids(saved_on(copy, base).messages) == " ".join([*new, "d"])


def test_an_addition_before_a_replacement_stays_before_it() -> None:
    """A replacement counts as what it replaced: what stands before it is inside."""
    copy = load(snapshot("ab"))
    insert(copy, "b", "n")
    replace(copy, "b", "s")
    assert ids(saved_on(copy, snapshot("ab")).messages) == "a n s"
    assert ids(saved_on(copy, committed_meanwhile("abx")).messages) == "a n s x"


def test_compacting_twice_before_a_save() -> None:
    """The second summary takes the place of all that the first one stood for."""
    copy = load(snapshot("abcd"))
    replace(copy, "a b", "s")
    replace(copy, "s c", "t")
    assert ids(saved_on(copy, committed_meanwhile("abcdx")).messages) == "t d x"


def test_the_front_is_no_message() -> None:
    """The word for the place before all messages can't be a message's id."""
    with pytest.raises(InvalidMessageError):
        check_message_id(FRONT)


def test_what_replaced_an_addition_that_others_made_too_goes_to_the_end() -> None:
    """It took no place of the base; the same if storage shares nothing with the base, which came from elsewhere."""
    base = snapshot("ab")
    for theirs in (base.messages.extended(history("cd")), FrozenMessages(history("abcd"))):
        copy = load(base)
        add(copy, "c")
        replace(copy, "c", "n")
        assert ids(saved_on(copy, committed_meanwhile(theirs)).messages) == "a b c d n"
