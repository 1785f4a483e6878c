"""The rules of the history: what stays and what goes, and what it costs."""

import pytest

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import rebase
from bamboo_sessions.domain.merge_history import HistoryDelta, merge_history
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import freeze, is_clean, rebase_copy
from tests.merge.helpers import after, call, changed, history, ids, load, message, result, save, snapshot
from tests.merge.history_kit import add, committed_meanwhile, delta_of, edit, remove, replace, saved_on

# --- only recorded removals remove


def test_L02_an_old_copy_that_lacks_messages_removes_none() -> None:
    """A copy that is behind adds what it has and takes nothing away (G2, L02)."""
    copy = load(snapshot("ab"))
    add(copy, "c")
    merged = saved_on(copy, committed_meanwhile(["a", "b", "x", "y"]))
    assert ids(merged.messages) == "a b x y c"
    assert merged.delta.gained == ("x", "y")
    assert merged.delta.removals == ()


def test_a_recorded_removal_removes() -> None:
    """What was deleted from the copy's list is removed, and reported."""
    copy = load(snapshot("abc"))
    remove(copy, "b")
    merged = saved_on(copy, committed_meanwhile("abcx"))
    assert ids(merged.messages) == "a c x"
    assert merged.delta.removals == ("b",)


def test_what_others_removed_stays_removed() -> None:
    """A copy that still shows a message doesn't bring it back, and removing it twice is no conflict."""
    copy = load(snapshot("abc"))
    assert ids(saved_on(copy, committed_meanwhile("ac")).messages) == "a c"
    remove(copy, "b")
    merged = saved_on(copy, committed_meanwhile("ac"))
    assert ids(merged.messages) == "a c"
    assert merged.delta.is_empty
    assert merged.conflicts == ()


def test_the_whole_history_may_be_removed_on_purpose() -> None:
    """Clearing the list in the copy removes what the copy saw, and no more."""
    copy = load(snapshot("abc"))
    copy.messages.clear()
    assert ids(saved_on(copy, committed_meanwhile("abcx")).messages) == "x"


# --- edits


def test_an_edit_keeps_its_place() -> None:
    """An edited message stands where it stood."""
    copy = load(snapshot("abc"))
    edit(copy, "b", "new")
    merged = saved_on(copy, committed_meanwhile("abcx"))
    assert [one.text for one in merged.messages] == ["a", "new", "c", "x"]
    assert ids(merged.delta.edits) == "b"
    assert merged.conflicts == ()


def test_of_two_edits_the_savers_stands() -> None:
    """Edited on both sides: the saver's text, reported; the other one is reachable by its revision."""
    copy = load(snapshot("ab"))
    edit(copy, "a", "mine")
    merged = saved_on(copy, committed_meanwhile([message("a", "theirs"), "b"]))
    assert merged.messages[0].text == "mine"
    assert merged.conflicts == (MergeConflict("message:a", "mine"),)
    same = saved_on(copy, committed_meanwhile([message("a", "mine"), "b"]))
    assert same.conflicts == ()
    assert not same.changed


def test_others_edits_stay() -> None:
    """A copy with the old text doesn't undo an edit."""
    copy = load(snapshot("ab"))
    add(copy, "c")
    merged = saved_on(copy, committed_meanwhile([message("a", "theirs"), "b"]))
    assert [one.text for one in merged.messages] == ["theirs", "b", "c"]


@pytest.mark.parametrize("i_remove", [True, False])
def test_removed_here_and_edited_there_is_removed(i_remove: bool) -> None:
    """A removal beats an edit, whichever side did which, and is reported."""
    copy = load(snapshot("ab"))
    if i_remove:
        remove(copy, "a")
        merged = saved_on(copy, committed_meanwhile([message("a", "theirs"), "b"]))
    else:
        edit(copy, "a", "mine")
        merged = saved_on(copy, committed_meanwhile("b"))
    assert ids(merged.messages) == "b"
    assert merged.conflicts == (MergeConflict("message:a", "removed"),)


def test_another_time_is_no_edit() -> None:
    """Content is all but id and time, so a message with another time is the same."""
    base = snapshot("ab")
    copy = load(base)
    copy.messages[0] = Message.user("a", id="a")
    assert not saved_on(copy, base).changed


def test_an_id_changed_in_place_is_a_removal_and_an_addition() -> None:
    """The new message stands in the old one's place; an edit of the old one doesn't keep it."""
    copy = load(snapshot("abc"))
    replace(copy, "b", "n")
    merged = saved_on(copy, committed_meanwhile(["a", message("b", "theirs"), "c", "x"]))
    assert ids(merged.messages) == "a n c x"
    assert merged.delta.removals == ("b",)


def test_a_rewritten_message_of_equal_content_is_no_edit() -> None:
    """An equal message put in the place of a loaded one doesn't take back somebody's edit of it."""
    delta = delta_of([message("a")], [message("a")], [message("a", "edited")])
    assert delta.messages[0].text == "edited"
    assert (delta.is_empty, delta.conflicts) == (True, ())


# --- one id on both sides


def test_what_both_added_is_there_once() -> None:
    """The committed one stays where it is; storage compares the contents (G4)."""
    copy = load(snapshot("a"))
    add(copy, "m", "n")
    merged = saved_on(copy, committed_meanwhile("amx"))
    assert ids(merged.messages) == "a m x n"
    assert ids(merged.delta.duplicates) == "m"
    assert merged.delta.gained == ("x",)


# --- checkpoints


def test_a_checkpoint_holds_removals_and_edits_back() -> None:
    """It only adds; what was held back stays pending in the copy and is done by the next save."""
    base = snapshot("abcd")
    copy = load(base)
    remove(copy, "a")
    edit(copy, "b", "new")
    replace(copy, "c", "s")
    add(copy, "n")
    durable = changed(base, append="x")
    merged = saved_on(copy, durable, additions_only=True)
    assert [one.text for one in merged.messages] == ["a", "b", "s", "c", "d", "x", "n"]
    assert merged.delta.removals == ()
    assert merged.delta.edits == ()
    committed = after(merged)
    sent = save(copy, base, additions_only=True)
    head, messages = rebase(Snapshot(freeze(copy).head, sent.messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    assert [one.text for one in copy.messages] == ["new", "s", "d", "x", "n"]
    assert not is_clean(copy)
    final = saved_on(copy, committed)
    assert [one.text for one in final.messages] == ["new", "s", "d", "x", "n"]
    assert final.delta.removals == ("a", "c")
    assert ids(final.delta.edits) == "b"
    assert final.delta.insertions == ()


# --- cost


def test_appending_costs_the_same_at_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a save with nothing in between, nor one after others appended, looks at the old messages."""
    base = snapshot(history(str(number) for number in range(1_000)))

    def look(self: FrozenMessages) -> None:
        raise AssertionError("went through the whole history")

    copy, theirs = load(base), load(base)
    add(copy, "n", call("c"), result("r", "c"))
    add(theirs, "x")
    with monkeypatch.context() as patch:
        patch.setattr(FrozenMessages, "__iter__", look)
        alone = save(copy, base)
        committed = after(save(theirs, base))
        later = Snapshot(changed(base).head, committed.messages)
        behind = save(copy, later)
    assert ids(alone.messages[1_000:]) == "n c r"
    assert ids(behind.messages[1_000:]) == "x n c r"
    assert ids(base.messages[-1:]) == "999"


def test_a_delta_of_nothing_is_empty() -> None:
    """Two equal histories differ by nothing, and the committed list itself is the result."""
    one, other = FrozenMessages(history("ab")), FrozenMessages(history("ab"))
    for mine in (one, other):
        delta = merge_history(one, mine, one, replaced={})
        assert delta == HistoryDelta(one)
        assert delta.messages is one
        assert delta.is_empty
