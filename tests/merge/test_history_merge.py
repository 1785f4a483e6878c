"""The rules of the history: what stays, what goes, and where additions stand."""

from collections.abc import Iterable

import pytest

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.merge import Merged, rebase
from bamboo_sessions.domain.merge_history import FRONT, HistoryDelta, Insertion, find_call, merge_history
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from tests.merge.helpers import after, apply, call, changed, commit, history, ids, load, message, result, save, snapshot


def _durable(messages: Iterable[Message | str]) -> Snapshot:
    """What others have committed since revision 1."""
    return snapshot(messages, revision=5)


def _add(copy: Session, *messages: Message | str) -> None:
    copy.messages.extend(message(one) if isinstance(one, str) else one for one in messages)


def _insert(copy: Session, before: str, *messages: Message | str) -> None:
    for one in messages:
        copy.messages.insert(_place(copy, before), message(one) if isinstance(one, str) else one)


def _replace(copy: Session, old: str, *new: Message | str) -> None:
    """Put `new` in the place of the messages from the first to the last of `old`."""
    places = [_place(copy, id) for id in old.split()]
    copy.messages[places[0] : places[-1] + 1] = [message(one) if isinstance(one, str) else one for one in new]


def _remove(copy: Session, *removed: str) -> None:
    for id in removed:
        del copy.messages[_place(copy, id)]


def _edit(copy: Session, id: str, text: str) -> None:
    copy.messages[_place(copy, id)] = message(id, text)


def _place(copy: Session, id: str) -> int:
    return next(place for place, one in enumerate(copy.messages) if one.id == id)


def _saved(copy: Session, durable: Snapshot, *, additions_only: bool = False) -> Merged:
    """The merge, after making sure that its delta leads to its result."""
    merged = save(copy, durable, additions_only=additions_only)
    assert apply(durable.messages, merged.delta) == list(merged.messages)
    return merged


# --- only recorded removals remove


def test_L02_an_old_copy_that_lacks_messages_removes_none() -> None:
    """A copy that is behind adds what it has and takes nothing away (G2, L02)."""
    copy = load(snapshot("ab"))
    _add(copy, "c")
    merged = _saved(copy, _durable(["a", "b", "x", "y"]))
    assert ids(merged.messages) == "a b x y c"
    assert merged.delta.gained == ("x", "y")
    assert merged.delta.removals == ()


def test_a_recorded_removal_removes() -> None:
    """What was deleted from the copy's list is removed, and reported."""
    copy = load(snapshot("abc"))
    _remove(copy, "b")
    merged = _saved(copy, _durable("abcx"))
    assert ids(merged.messages) == "a c x"
    assert merged.delta.removals == ("b",)


def test_what_others_removed_stays_removed() -> None:
    """A copy that still shows a message doesn't bring it back, and removing it twice is no conflict."""
    copy = load(snapshot("abc"))
    assert ids(_saved(copy, _durable("ac")).messages) == "a c"
    _remove(copy, "b")
    merged = _saved(copy, _durable("ac"))
    assert ids(merged.messages) == "a c"
    assert merged.delta.is_empty
    assert merged.conflicts == ()


def test_the_whole_history_may_be_removed_on_purpose() -> None:
    """Clearing the list in the copy removes what the copy saw, and no more."""
    copy = load(snapshot("abc"))
    copy.messages.clear()
    assert ids(_saved(copy, _durable("abcx")).messages) == "x"


# --- edits


def test_an_edit_keeps_its_place() -> None:
    """An edited message stands where it stood."""
    copy = load(snapshot("abc"))
    _edit(copy, "b", "new")
    merged = _saved(copy, _durable("abcx"))
    assert [one.text for one in merged.messages] == ["a", "new", "c", "x"]
    assert ids(merged.delta.edits) == "b"
    assert merged.conflicts == ()


def test_of_two_edits_the_savers_stands() -> None:
    """Edited on both sides: the saver's text, reported; the other one is reachable by its revision."""
    copy = load(snapshot("ab"))
    _edit(copy, "a", "mine")
    merged = _saved(copy, _durable([message("a", "theirs"), "b"]))
    assert merged.messages[0].text == "mine"
    assert merged.conflicts == (MergeConflict("message:a", "mine"),)
    same = _saved(copy, _durable([message("a", "mine"), "b"]))
    assert same.conflicts == ()
    assert not same.changed


def test_others_edits_stay() -> None:
    """A copy with the old text doesn't undo an edit."""
    copy = load(snapshot("ab"))
    _add(copy, "c")
    merged = _saved(copy, _durable([message("a", "theirs"), "b"]))
    assert [one.text for one in merged.messages] == ["theirs", "b", "c"]


@pytest.mark.parametrize("i_remove", [True, False])
def test_removed_here_and_edited_there_is_removed(i_remove: bool) -> None:
    """A removal beats an edit, whichever side did which, and is reported."""
    copy = load(snapshot("ab"))
    if i_remove:
        _remove(copy, "a")
        merged = _saved(copy, _durable([message("a", "theirs"), "b"]))
    else:
        _edit(copy, "a", "mine")
        merged = _saved(copy, _durable("b"))
    assert ids(merged.messages) == "b"
    assert merged.conflicts == (MergeConflict("message:a", "removed"),)


def test_another_time_is_no_edit() -> None:
    """Content is all but id and time, so a message with another time is the same."""
    base = snapshot("ab")
    copy = load(base)
    copy.messages[0] = Message.user("a", id="a")
    assert not _saved(copy, base).changed


def test_an_id_changed_in_place_is_a_removal_and_an_addition() -> None:
    """The new message stands in the old one's place; an edit of the old one doesn't keep it."""
    copy = load(snapshot("abc"))
    _replace(copy, "b", "n")
    merged = _saved(copy, _durable(["a", message("b", "theirs"), "c", "x"]))
    assert ids(merged.messages) == "a n c x"
    assert merged.delta.removals == ("b",)


# --- additions: at the end


def test_additions_go_to_the_end_behind_what_others_added() -> None:
    """Two turns that were saved at the same time stand one behind the other, each in one piece (G3)."""
    copy = load(snapshot("a"))
    _add(copy, "m", "n")
    merged = _saved(copy, _durable("axy"))
    assert ids(merged.messages) == "a x y m n"
    assert merged.delta.insertions == (Insertion(tuple(history("mn"))),)


def test_a_turn_goes_to_the_end_if_what_it_followed_is_gone() -> None:
    """Additions behind a removed message are no less at the end."""
    copy = load(snapshot("abc"))
    _remove(copy, "b", "c")
    _add(copy, "n")
    assert ids(_saved(copy, _durable("abcx")).messages) == "a x n"


def test_a_turn_goes_to_the_end_if_others_removed_all_that_followed() -> None:
    """An addition is inside only while something of the base behind it is alive."""
    copy = load(snapshot("abc"))
    _insert(copy, "c", "n")
    assert ids(_saved(copy, _durable("abx")).messages) == "a b x n"


# --- additions: inside


def test_an_addition_inside_stays_inside() -> None:
    """It stands directly behind its anchor, also where others added at the end."""
    copy = load(snapshot("abc"))
    _insert(copy, "b", "m", "n")
    merged = _saved(copy, _durable("abcx"))
    assert ids(merged.messages) == "a m n b c x"
    assert merged.delta.insertions == (Insertion(tuple(history("mn")), "a"),)


def test_an_addition_in_front_stays_in_front() -> None:
    """Without a message before it, it goes before all."""
    copy = load(snapshot("ab"))
    _insert(copy, "a", "n")
    merged = _saved(copy, _durable("abx"))
    assert ids(merged.messages) == "n a b x"
    assert merged.delta.insertions == (Insertion(tuple(history("n")), FRONT),)


def test_L111_an_anchor_that_is_gone_gives_way_to_the_one_before() -> None:
    """The nearest message before the addition that is still alive is its anchor; it is never dropped (L111)."""
    copy = load(snapshot("abcd"))
    _insert(copy, "d", "n")
    assert ids(_saved(copy, _durable("abd")).messages) == "a b n d"
    assert ids(_saved(copy, _durable("ad")).messages) == "a n d"
    assert ids(_saved(copy, _durable("d")).messages) == "n d"
    _remove(copy, "b", "c")
    assert ids(_saved(copy, _durable("abcdx")).messages) == "a n d x"


def test_L111_around_a_compaction() -> None:
    """Two removed, one edited, one added in between, while others compacted all of it: the addition stays (L111)."""
    copy = load(snapshot("abcdef"))
    _remove(copy, "b", "c")
    _edit(copy, "d", "mine")
    _insert(copy, "d", "n")
    merged = _saved(copy, _durable(["s", "e", "f"]))
    assert ids(merged.messages) == "n s e f"
    assert merged.conflicts == (MergeConflict("message:d", "removed"),)
    behind = load(snapshot("abcd"))
    _insert(behind, "d", "n")
    assert ids(_saved(behind, _durable(["s"])).messages) == "s n"


def test_an_addition_of_both_sides_can_be_an_anchor() -> None:
    """What is alive is what counts, not who brought it."""
    copy = load(snapshot("ab"))
    _insert(copy, "b", "both", "n")
    merged = _saved(copy, _durable(["a", "both", "x", "b"]))
    assert ids(merged.messages) == "a both n x b"
    assert ids(merged.delta.duplicates) == "both"


def test_order_of_committed_messages_is_never_changed() -> None:
    """Moving messages about in a copy changes nothing."""
    base = snapshot("abc")
    copy = load(base)
    copy.messages.reverse()
    merged = _saved(copy, base)
    assert ids(merged.messages) == "a b c"
    assert not merged.changed


# --- replacements


def test_a_compaction_takes_the_place_of_what_it_replaces() -> None:
    """Messages that came behind the replaced ones meanwhile stay behind the summary."""
    copy = load(snapshot("abc"))
    _replace(copy, "a b c", "s")
    _add(copy, "n")
    merged = _saved(copy, _durable("abcxy"))
    assert ids(merged.messages) == "s x y n"
    assert merged.delta.removals == ("a", "b", "c")


def test_a_compaction_in_the_middle() -> None:
    """What others put inside or behind stays, and so does what stands around it."""
    copy = load(snapshot("abcde"))
    _replace(copy, "b c d", "s", "t")
    assert ids(_saved(copy, _durable(["a", "b", "x", "c", "d", "e", "y"])).messages) == "a s t x e y"


def test_a_replacement_whose_place_is_gone_is_an_addition() -> None:
    """If others removed all of what it replaced, it goes where any addition would go."""
    copy = load(snapshot("abcd"))
    _replace(copy, "b c", "s")
    assert ids(_saved(copy, _durable("adx")).messages) == "a s d x"
    assert ids(_saved(copy, _durable("axcd")).messages) == "a x s d"
    assert ids(_saved(copy, _durable("ax")).messages) == "a x s"


def test_messages_that_stay_in_a_replaced_slice_keep_their_place() -> None:
    """Assigning a slice that keeps some of its messages puts each new one where it was put."""
    for new in (["a", "s", "c"], ["s", "b", "t"], ["a", "b", "s"], ["s", "a", "b", "c", "t"], ["a", "s"]):
        base = snapshot("abcd")
        copy = load(base)
        _replace(copy, "a b c", *new)
        assert ids(_saved(copy, base).messages) == " ".join([*new, "d"])


def test_an_addition_before_a_replacement_stays_before_it() -> None:
    """A replacement counts as what it replaced: what stands before it is inside."""
    copy = load(snapshot("ab"))
    _insert(copy, "b", "n")
    _replace(copy, "b", "s")
    assert ids(_saved(copy, snapshot("ab")).messages) == "a n s"
    assert ids(_saved(copy, _durable("abx")).messages) == "a n s x"


def test_compacting_twice_before_a_save() -> None:
    """The second summary takes the place of all that the first one stood for."""
    copy = load(snapshot("abcd"))
    _replace(copy, "a b", "s")
    _replace(copy, "s c", "t")
    assert ids(_saved(copy, _durable("abcdx")).messages) == "t d x"


# --- one id on both sides


def test_what_both_added_is_there_once() -> None:
    """The committed one stays where it is; storage compares the contents (G4)."""
    copy = load(snapshot("a"))
    _add(copy, "m", "n")
    merged = _saved(copy, _durable("amx"))
    assert ids(merged.messages) == "a m x n"
    assert ids(merged.delta.duplicates) == "m"
    assert merged.delta.gained == ("x",)


def test_an_id_added_twice_is_added_once() -> None:
    """The first message of an id counts; one with other content is left to storage, which refuses it (G4)."""
    base = snapshot("ab")
    copy = load(base)
    _add(copy, "m", "m", message("m", "other"))
    _remove(copy, "a")
    merged = _saved(copy, base)
    assert ids(merged.messages) == "b m"
    assert [one.text for one in merged.delta.duplicates] == ["m", "other"]
    plain = load(snapshot("a"))
    _add(plain, "m", message("m", "other"))
    assert ids(_saved(plain, snapshot("a")).messages) == "a m"


# --- tool results


def test_L105_a_result_joins_its_call() -> None:
    """A call was checkpointed, a person wrote, then the result was saved: the result stands behind the call (L105)."""
    copy = load(snapshot(["a", call("c")]))
    _add(copy, result("r", "c"), "n")
    merged = _saved(copy, _durable(["a", call("c"), "x"]))
    assert ids(merged.messages) == "a c r x n"
    assert merged.delta.orphaned == ()
    assert merged.delta.insertions == (
        Insertion((result("r", "c"),), "c"),
        Insertion((message("n"),)),
    )


def test_L105_also_in_the_copy_itself() -> None:
    """If the copy saw the person's message before it got the result, the result still joins its call (L105)."""
    base = snapshot(["a", call("c"), "x"])
    copy = load(base)
    _add(copy, result("r", "c"))
    assert ids(_saved(copy, base).messages) == "a c r x"


def test_results_stand_in_the_order_of_their_arrival() -> None:
    """A later result goes behind those that the call already has."""
    base = snapshot([call("c", "1", "2", "3"), result("r2", "2"), "x"])
    copy = load(base)
    _add(copy, result("r1", "1"), result("r3", "3"))
    assert ids(_saved(copy, base).messages) == "c r2 r1 r3 x"
    theirs = _durable([call("c", "1", "2", "3"), result("r2", "2"), result("r3", "3"), "x"])
    early = load(snapshot([call("c", "1", "2", "3")]))
    _add(early, result("r1", "1"))
    assert ids(_saved(early, theirs).messages) == "c r2 r3 r1 x"


def test_a_turn_with_its_own_call_stays_together() -> None:
    """A call and its results that are saved together go to the end together."""
    copy = load(snapshot("a"))
    _add(copy, call("c"), result("r", "c"), "n")
    assert ids(_saved(copy, _durable("ax")).messages) == "a x c r n"


def test_reused_call_ids_mean_the_nearest_call() -> None:
    """Providers reuse call ids: a result belongs to the nearest call before it in the copy that saved it."""
    one, two = call("c1", "k"), call("c2", "k")
    copy = load(snapshot([one, "a"]))
    _add(copy, result("r", "k"))
    assert ids(_saved(copy, _durable([one, "a", two])).messages) == "c1 r a c2"
    later = load(snapshot([one, "a"]))
    _add(later, two, result("r", "k"))
    assert ids(_saved(later, _durable([one, "a", "x"])).messages) == "c1 a x c2 r"
    at_call = load(snapshot([one]))
    _add(at_call, result("r", "k"))
    assert ids(_saved(at_call, _durable([one, two])).messages) == "c1 r c2"


def test_a_result_never_joins_a_call_that_was_not_meant() -> None:
    """If the call that was meant is gone, another one of the same id isn't its call; nor is one that comes later."""
    copy = load(snapshot([call("c1", "k"), "a"]))
    _add(copy, result("r", "k"))
    merged = _saved(copy, _durable(["a", call("c2", "k"), result("r2", "k"), "x"]))
    assert ids(merged.messages) == "a c2 r2 x r"
    assert merged.delta.orphaned == ("r",)
    base = snapshot(["a", call("c2", "k")])
    copy = load(base)
    _insert(copy, "a", result("r", "k"))
    merged = _saved(copy, base)
    assert ids(merged.messages) == "r a c2"
    assert merged.delta.orphaned == ("r",)


def test_a_result_may_join_a_call_that_only_others_have() -> None:
    """A result from a copy that never saw the call finds it among what others committed."""
    copy = load(snapshot("a"))
    _add(copy, result("r", "k"))
    merged = _saved(copy, _durable(["a", call("c", "k"), "x"]))
    assert ids(merged.messages) == "a c r x"
    assert merged.delta.orphaned == ()
    base = snapshot(["a", call("c2", "k")])
    copy = load(base)
    _insert(copy, "a", result("r", "k"))
    merged = _saved(copy, _durable([call("c1", "k"), "a", call("c2", "k")]))
    assert ids(merged.messages) == "c1 r a c2"


def test_a_result_whose_call_was_removed_is_kept_and_reported() -> None:
    """It is an orphan, which the model's view hides."""
    copy = load(snapshot(["a", call("c"), "b"]))
    _add(copy, result("r", "c"))
    merged = _saved(copy, _durable("abx"))
    assert ids(merged.messages) == "a b x r"
    assert merged.delta.orphaned == ("r",)


def test_removing_or_changing_a_call_orphans_its_results() -> None:
    """The save that takes a call out names the results that it leaves behind."""
    base = snapshot(["a", call("c", "1", "2"), result("r1", "1"), result("r2", "2")])
    copy = load(base)
    _remove(copy, "c")
    assert _saved(copy, base).delta.orphaned == ("r1", "r2")
    copy = load(base)
    copy.messages[1] = call("c", "2")
    assert _saved(copy, base).delta.orphaned == ("r1",)


def test_results_of_another_call_with_the_same_id_are_no_orphans() -> None:
    """Of two calls with one id only the results of the removed one are left behind; an event parts no pair."""
    tick = Message(role="event", content="tick", id="tick")
    base = snapshot([call("c1", "k"), result("r1", "k"), "a", call("c2", "k"), tick, result("r2", "k")])
    copy = load(base)
    _remove(copy, "c1")
    assert _saved(copy, base).delta.orphaned == ("r1",)


def test_old_orphans_are_reported_once() -> None:
    """A later save doesn't repeat what an earlier one reported."""
    base = snapshot(["a", result("r", "gone"), call("c"), result("rc", "c")])
    copy = load(base)
    _remove(copy, "a")
    assert _saved(copy, base).delta.orphaned == ()
    _remove(copy, "c")
    assert _saved(copy, base).delta.orphaned == ("rc",)


def test_a_result_that_moved_is_no_anchor() -> None:
    """What follows a result in the copy doesn't go with it to its call."""
    base = snapshot([call("c"), "u", "z"])
    copy = load(base)
    _insert(copy, "z", result("r", "c"), "n")
    assert ids(_saved(copy, base).messages) == "c r u n z"


def test_a_call_is_not_parted_from_results_that_came_meanwhile() -> None:
    """An addition whose anchor is a call goes behind the results that others gave it."""
    copy = load(snapshot([call("c"), "z"]))
    _insert(copy, "z", "n")
    assert ids(_saved(copy, _durable([call("c"), result("r", "c"), "z"])).messages) == "c r n z"


def test_a_result_does_not_go_behind_results_of_another_call() -> None:
    """An orphan that happens to stand behind the call isn't one of its results, at the end of a history or inside."""
    base = snapshot([call("c"), result("orphan", "gone")])
    copy = load(base)
    _add(copy, result("r", "c"))
    assert ids(_saved(copy, base).messages) == "c r orphan"
    base = snapshot([result("orphan", "gone")])
    copy = load(base)
    _insert(copy, "orphan", call("c"), result("r", "c"), "n")
    assert ids(_saved(copy, base).messages) == "c r n orphan"


def test_a_result_that_stands_behind_its_call_stays_there() -> None:
    """Only a result that is parted from its call moves; among the results of the call the copy's order counts."""
    base = snapshot([call("c", "1", "2"), result("r1", "1"), "z"])
    copy = load(base)
    _insert(copy, "r1", result("r2", "2"))
    _insert(copy, "z", "n")
    assert ids(_saved(copy, base).messages) == "c r2 r1 n z"
    theirs = _durable([call("c", "1", "2", "3"), result("r3", "3"), result("r1", "1"), "z"])
    assert ids(_saved(copy, theirs).messages) == "c r3 r2 r1 n z"


def test_an_old_result_with_a_reused_id_does_not_part_a_pair() -> None:
    """A call and its result that are put in front of an old result of the same id stay as they were put."""
    base = snapshot([result("old", "k"), "z"])
    copy = load(base)
    _insert(copy, "old", call("c", "k"), result("r", "k"), "n")
    assert ids(_saved(copy, base).messages) == "c r n old z"


def test_a_tool_message_without_a_call_id_is_like_any_other() -> None:
    """Only what names its call can join it."""
    base = snapshot([call("c"), "u"])
    copy = load(base)
    _add(copy, Message(role="tool", content="x", id="t"))
    merged = _saved(copy, base)
    assert ids(merged.messages) == "c u t"
    assert merged.delta.orphaned == ()


def test_finding_a_call() -> None:
    """The newest call of an id is found, or the newest before a position."""
    messages = [call("c1", "k"), message("u"), call("c2", "k")]
    assert find_call(messages, "k") == 2
    assert find_call(messages, "k", before=2) == 0
    assert find_call(messages, "other") is None
    assert find_call(messages, None) is None


# --- checkpoints


def test_a_checkpoint_holds_removals_and_edits_back() -> None:
    """It only adds; what was held back stays pending in the copy and is done by the next save."""
    base = snapshot("abcd")
    copy = load(base)
    _remove(copy, "a")
    _edit(copy, "b", "new")
    _replace(copy, "c", "s")
    _add(copy, "n")
    durable = changed(base, append="x")
    merged = _saved(copy, durable, additions_only=True)
    assert [one.text for one in merged.messages] == ["a", "b", "s", "c", "d", "x", "n"]
    assert merged.delta.removals == ()
    assert merged.delta.edits == ()
    committed = after(merged)
    sent = save(copy, base, additions_only=True)
    head, messages = rebase(Snapshot(copy.freeze().head, sent.messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    assert [one.text for one in copy.messages] == ["new", "s", "d", "x", "n"]
    assert not copy.is_clean
    final = _saved(copy, committed)
    assert [one.text for one in final.messages] == ["new", "s", "d", "x", "n"]
    assert final.delta.removals == ("a", "c")
    assert ids(final.delta.edits) == "b"
    assert final.delta.insertions == ()


# --- the copy after a save


def test_L100_messages_added_while_saving_stay() -> None:
    """A message added to the copy while the save was being awaited isn't overwritten by the result (L100)."""
    base = snapshot("a")
    copy = load(base)
    _add(copy, "sent")
    saved = copy.freeze()
    _add(copy, "late")
    committed = after(save(copy.copy(), changed(base, append="x")))
    committed = Snapshot(committed.head, FrozenMessages(history(["a", "x", "sent"])))
    head, messages = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    assert ids(copy.messages) == "a x sent late"
    final = _saved(copy, committed)
    assert ids(final.messages) == "a x sent late"
    assert final.delta.insertions == (Insertion(tuple(history(["late"]))),)


def test_L100_on_the_quick_path_the_copy_goes_on_sharing() -> None:
    """With nothing in between, the result, the copy and its next save share one list at any length (L100)."""
    base = snapshot("abc")
    copy = load(base)
    _add(copy, "sent")
    saved = copy.freeze()
    merged = save(copy, base)
    _add(copy, "late")
    committed = after(merged)
    head, messages = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    assert ids(copy.messages) == "a b c sent late"
    assert copy.freeze().messages.extends(committed.messages)


def test_L100_a_compaction_done_while_saving() -> None:
    """Replacing what was just sent takes its place in the result."""
    base = snapshot("ab")
    copy = load(base)
    _add(copy, "c")
    saved = copy.freeze()
    _replace(copy, "b c", "s")
    committed = commit(changed(base, append="x"), _with(base, "c"))
    head, messages = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    assert ids(copy.messages) == "a s x"
    final = _saved(copy, committed)
    assert final.delta.removals == ("b", "c")


def _with(base: Snapshot, *added: str) -> Session:
    copy = load(base)
    _add(copy, *added)
    return copy


def test_compacting_a_saved_summary() -> None:
    """A summary that was saved, and is compacted again, gives its own place to the next one."""
    base = snapshot("abc")
    copy = load(base)
    _replace(copy, "a b", "s")
    committed = after(save(copy, base))
    head, messages = rebase(Snapshot(copy.freeze().head, copy.freeze().messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    _replace(copy, "s", "t")
    assert ids(_saved(copy, changed(committed, append="x")).messages) == "t c x"


# --- cost


def test_appending_costs_the_same_at_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a save with nothing in between, nor one after others appended, looks at the old messages."""
    base = snapshot(history(str(number) for number in range(1_000)))

    def look(self: FrozenMessages) -> None:
        raise AssertionError("went through the whole history")

    copy, theirs = load(base), load(base)
    _add(copy, "n", call("c"), result("r", "c"))
    _add(theirs, "x")
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


# --- borders that mutants have shown


def _merged(base: Iterable[Message], mine: Iterable[Message], durable: Iterable[Message]) -> HistoryDelta:
    return merge_history(FrozenMessages(base), FrozenMessages(mine), FrozenMessages(durable), replaced={})


@pytest.mark.parametrize(
    "turn",
    [
        [call("c")],
        [call("c", "1", "2"), result("r1", "1")],
        [call("c"), Message(role="tool", content="of nobody", id="t")],
    ],
)
def test_a_result_that_follows_its_call_costs_only_itself(turn: list[Message]) -> None:
    """The next result of the last call is merged without looking at the rest: the copy itself is the result."""
    base = FrozenMessages(turn)
    call_id = turn[0].tool_calls[-1].id
    mine = base.extended([result("new", call_id)])
    assert merge_history(base, mine, base, replaced={}).messages is mine


def test_a_result_joins_its_call_past_a_foreign_one() -> None:
    """A result stands behind those of its call, also if a result of another call has come behind them."""
    base = FrozenMessages([call("c", "1", "2"), result("r1", "1"), result("x", "other")])
    mine = base.extended([result("r2", "2")])
    assert ids(merge_history(base, mine, base, replaced={}).messages) == "c r1 r2 x"


def test_a_rewritten_message_of_equal_content_is_no_edit() -> None:
    """An equal message put in the place of a loaded one doesn't take back somebody's edit of it."""
    delta = _merged([message("a")], [message("a")], [message("a", "edited")])
    assert delta.messages[0].text == "edited"
    assert (delta.is_empty, delta.conflicts) == (True, ())


def test_a_result_never_takes_the_place_of_what_it_replaces() -> None:
    """A tool's result that replaces a message goes behind its call all the same."""
    base = FrozenMessages([message("a"), call("c")])
    mine = FrozenMessages([result("r", "c"), call("c")])
    delta = merge_history(base, mine, base, replaced={"r": ("a",)})
    assert ids(delta.messages) == "r c"
    mine = FrozenMessages([call("c"), result("r", "c")])
    assert ids(merge_history(base, mine, base, replaced={"r": ("a",)}).messages) == "c r"


def test_before_the_only_message_is_inside() -> None:
    """What was put before the first or second message stays before it when others add at the end."""
    a, b, x, y = history(["a", "b", "x", "y"])
    assert ids(_merged([a], [x, a], [a, y]).messages) == "x a y"
    assert ids(_merged([a, b], [a, x, b], [a, b, y]).messages) == "a x b y"


def test_a_result_goes_behind_a_call_that_others_added() -> None:
    """A result without its call in the copy goes behind the one that was committed meanwhile, even at the end."""
    a = message("a")
    assert ids(_merged([a], [result("r", "c"), a], [a, call("c")]).messages) == "a c r"


def test_a_run_with_a_result_names_its_place() -> None:
    """Additions at the end that begin with a result say behind which message they go; storage is not to look again."""
    a, c, m, r = message("a"), call("c"), message("m"), result("r", "c")
    assert _merged([a, c], [c, r, m], [a, c]).insertions == (Insertion((r, m), after="c"),)


def test_an_orphan_among_other_additions_is_reported() -> None:
    """A new result without a call is reported, whatever was added beside it."""
    a = message("a")
    assert _merged([a], [message("m"), result("r", "gone")], [a]).orphaned == ("r",)


def test_a_result_of_nobody_does_not_make_orphans() -> None:
    """A tool's message that doesn't say whose it is doesn't part a call from its results."""
    a, c, t = message("a"), call("c"), Message(role="tool", content="x", id="t")
    delta = _merged([a, c, t], [c, t, result("r", "c")], [a, c, t])
    assert (ids(delta.messages), delta.orphaned) == ("c t r", ())


def test_the_front_is_no_message() -> None:
    """The word for the place before all messages can't be a message's id."""
    with pytest.raises(InvalidMessageError):
        check_message_id(FRONT)
