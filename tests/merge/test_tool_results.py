"""Tool results: each joins its call, and one without a call is reported."""

import pytest

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge_history import merge_history
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.placing import newest_call
from bamboo_sessions.domain.splices import Insertion
from tests.merge.helpers import call, ids, load, message, result, snapshot
from tests.merge.history_kit import add, committed_meanwhile, delta_of, insert, remove, saved_on


def test_L105_a_result_joins_its_call() -> None:
    """A call was checkpointed, a person wrote, then the result was saved: the result stands behind the call (L105)."""
    copy = load(snapshot(["a", call("c")]))
    add(copy, result("r", "c"), "n")
    merged = saved_on(copy, committed_meanwhile(["a", call("c"), "x"]))
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
    add(copy, result("r", "c"))
    assert ids(saved_on(copy, base).messages) == "a c r x"


def test_results_stand_in_the_order_of_their_arrival() -> None:
    """A later result goes behind those that the call already has."""
    base = snapshot([call("c", "1", "2", "3"), result("r2", "2"), "x"])
    copy = load(base)
    add(copy, result("r1", "1"), result("r3", "3"))
    assert ids(saved_on(copy, base).messages) == "c r2 r1 r3 x"
    theirs = committed_meanwhile([call("c", "1", "2", "3"), result("r2", "2"), result("r3", "3"), "x"])
    early = load(snapshot([call("c", "1", "2", "3")]))
    add(early, result("r1", "1"))
    assert ids(saved_on(early, theirs).messages) == "c r2 r3 r1 x"


def test_a_turn_with_its_own_call_stays_together() -> None:
    """A call and its results that are saved together go to the end together."""
    copy = load(snapshot("a"))
    add(copy, call("c"), result("r", "c"), "n")
    assert ids(saved_on(copy, committed_meanwhile("ax")).messages) == "a x c r n"


def test_reused_call_ids_mean_the_nearest_call() -> None:
    """Providers reuse call ids: a result belongs to the nearest call before it in the copy that saved it."""
    one, two = call("c1", "k"), call("c2", "k")
    copy = load(snapshot([one, "a"]))
    add(copy, result("r", "k"))
    assert ids(saved_on(copy, committed_meanwhile([one, "a", two])).messages) == "c1 r a c2"
    later = load(snapshot([one, "a"]))
    add(later, two, result("r", "k"))
    assert ids(saved_on(later, committed_meanwhile([one, "a", "x"])).messages) == "c1 a x c2 r"
    at_call = load(snapshot([one]))
    add(at_call, result("r", "k"))
    assert ids(saved_on(at_call, committed_meanwhile([one, "x", two])).messages) == "c1 r x c2"


def test_a_result_never_joins_a_call_that_was_not_meant() -> None:
    """If the call that was meant is gone, another one of the same id isn't its call; nor is one that comes later."""
    copy = load(snapshot([call("c1", "k"), "a"]))
    add(copy, result("r", "k"))
    merged = saved_on(copy, committed_meanwhile(["a", call("c2", "k"), result("r2", "k"), "x"]))
    assert ids(merged.messages) == "a c2 r2 x r"
    assert merged.delta.orphaned == ("r",)
    base = snapshot(["a", call("c2", "k")])
    copy = load(base)
    insert(copy, "a", result("r", "k"))
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "r a c2"
    assert merged.delta.orphaned == ("r",)


def test_a_result_may_join_a_call_that_only_others_have() -> None:
    """A result from a copy that never saw the call finds it among what others committed."""
    copy = load(snapshot("a"))
    add(copy, result("r", "k"))
    merged = saved_on(copy, committed_meanwhile(["a", call("c", "k"), "x"]))
    assert ids(merged.messages) == "a c r x"
    assert merged.delta.orphaned == ()
    base = snapshot(["a", call("c2", "k")])
    copy = load(base)
    insert(copy, "a", result("r", "k"))
    merged = saved_on(copy, committed_meanwhile([call("c1", "k"), "a", call("c2", "k")]))
    assert ids(merged.messages) == "c1 r a c2"


def test_a_result_whose_call_was_removed_is_kept_and_reported() -> None:
    """It is an orphan, which the model's view hides."""
    copy = load(snapshot(["a", call("c"), "b"]))
    add(copy, result("r", "c"))
    merged = saved_on(copy, committed_meanwhile("abx"))
    assert ids(merged.messages) == "a b x r"
    assert merged.delta.orphaned == ("r",)


def test_removing_or_changing_a_call_orphans_its_results() -> None:
    """The save that takes a call out names the results that it leaves behind."""
    base = snapshot(["a", call("c", "1", "2"), result("r1", "1"), result("r2", "2")])
    copy = load(base)
    remove(copy, "c")
    assert saved_on(copy, base).delta.orphaned == ("r1", "r2")
    copy = load(base)
    copy.messages[1] = call("c", "2")
    assert saved_on(copy, base).delta.orphaned == ("r1",)


def test_results_of_another_call_with_the_same_id_are_no_orphans() -> None:
    """Of two calls with one id only the results of the removed one are left behind; an event parts no pair."""
    tick = Message(role="event", content="tick", id="tick")
    base = snapshot([call("c1", "k"), result("r1", "k"), "a", call("c2", "k"), tick, result("r2", "k")])
    copy = load(base)
    remove(copy, "c1")
    assert saved_on(copy, base).delta.orphaned == ("r1",)


def test_old_orphans_are_reported_once() -> None:
    """A later save doesn't repeat what an earlier one reported."""
    base = snapshot(["a", result("r", "gone"), call("c"), result("rc", "c")])
    copy = load(base)
    remove(copy, "a")
    assert saved_on(copy, base).delta.orphaned == ()
    remove(copy, "c")
    assert saved_on(copy, base).delta.orphaned == ("rc",)


def test_a_result_that_moved_is_no_anchor() -> None:
    """What follows a result in the copy doesn't go with it to its call."""
    base = snapshot([call("c"), "u", "z"])
    copy = load(base)
    insert(copy, "z", result("r", "c"), "n")
    assert ids(saved_on(copy, base).messages) == "c r u n z"


def test_a_call_is_not_parted_from_results_that_came_meanwhile() -> None:
    """An addition whose anchor is a call goes behind the results that others gave it."""
    copy = load(snapshot([call("c"), "z"]))
    insert(copy, "z", "n")
    assert ids(saved_on(copy, committed_meanwhile([call("c"), result("r", "c"), "z"])).messages) == "c r n z"


def test_a_result_at_the_end_goes_behind_one_of_another_call() -> None:
    """An orphan that happens to stand behind the call is in its group, where a result that is put at the end stays."""
    base = snapshot([call("c"), result("orphan", "gone")])
    copy = load(base)
    add(copy, result("r", "c"))
    assert ids(saved_on(copy, base).messages) == "c orphan r"
    base = snapshot([result("orphan", "gone")])
    copy = load(base)
    insert(copy, "orphan", call("c"), result("r", "c"), "n")
    assert ids(saved_on(copy, base).messages) == "c r n orphan"


def test_a_result_goes_behind_those_that_came_before() -> None:
    """The results of a group stand in the order in which they came, wherever the copy put a new one."""
    base = snapshot([call("c", "1", "2"), result("r1", "1"), "z"])
    copy = load(base)
    insert(copy, "r1", result("r2", "2"))
    insert(copy, "z", "n")
    assert ids(saved_on(copy, base).messages) == "c r1 r2 n z"
    theirs = committed_meanwhile([call("c", "1", "2", "3"), result("r3", "3"), result("r1", "1"), "z"])
    assert ids(saved_on(copy, theirs).messages) == "c r3 r1 r2 n z"


def test_an_old_result_with_a_reused_id_does_not_part_a_pair() -> None:
    """A call and its result that are put in front of an old result of the same id stay as they were put."""
    base = snapshot([result("old", "k"), "z"])
    copy = load(base)
    insert(copy, "old", call("c", "k"), result("r", "k"), "n")
    assert ids(saved_on(copy, base).messages) == "c r n old z"


def test_a_tool_message_without_a_call_id_is_like_any_other() -> None:
    """Only what names its call can join it."""
    base = snapshot([call("c"), "u"])
    copy = load(base)
    add(copy, Message(role="tool", content="x", id="t"))
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "c u t"
    assert merged.delta.orphaned == ()


def test_finding_a_call() -> None:
    """The newest call of an id is found."""
    messages = [call("c1", "k"), message("u"), call("c2", "k"), message("v")]
    assert newest_call(messages, "k") == 2
    assert newest_call(messages, "other") is None
    assert newest_call(messages, None) is None


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


def test_a_result_joins_its_group_past_a_foreign_one() -> None:
    """A result stands behind all of its group, also if a result of another call has come there."""
    base = FrozenMessages([call("c", "1", "2"), result("r1", "1"), result("x", "other"), message("z")])
    mine = base.extended([result("r2", "2")])
    assert ids(merge_history(base, mine, base, replaced={}).messages) == "c r1 x r2 z"


def test_a_result_never_takes_the_place_of_what_it_replaces() -> None:
    """A tool's result that replaces a message goes behind its call all the same."""
    base = FrozenMessages([message("a"), call("c")])
    mine = FrozenMessages([result("r", "c"), call("c")])
    delta = merge_history(base, mine, base, replaced={"r": ("a",)})
    assert ids(delta.messages) == "r c"
    mine = FrozenMessages([call("c"), result("r", "c")])
    assert ids(merge_history(base, mine, base, replaced={"r": ("a",)}).messages) == "c r"


def test_a_result_goes_behind_a_call_that_others_added() -> None:
    """A result without its call in the copy goes behind the one that was committed meanwhile, even at the end."""
    a = message("a")
    assert ids(delta_of([a], [result("r", "c"), a], [a, call("c")]).messages) == "a c r"


def test_a_run_with_a_result_at_the_end() -> None:
    """Additions at the end are in order already; storage is not to look for calls again."""
    a, c, m, r = message("a"), call("c"), message("m"), result("r", "c")
    assert delta_of([a, c], [c, r, m], [a, c]).insertions == (Insertion((r, m)),)


def test_an_orphan_among_other_additions_is_reported() -> None:
    """A new result without a call is reported, whatever was added beside it."""
    a = message("a")
    assert delta_of([a], [message("m"), result("r", "gone")], [a]).orphaned == ("r",)


def test_a_result_of_nobody_does_not_make_orphans() -> None:
    """A tool's message that doesn't say whose it is doesn't part a call from its results."""
    a, c, t = message("a"), call("c"), Message(role="tool", content="x", id="t")
    delta = delta_of([a, c, t], [c, t, result("r", "c")], [a, c, t])
    assert (ids(delta.messages), delta.orphaned) == ("c t r", ())
