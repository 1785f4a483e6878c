"""Call groups: what was found to part calls from their results, each as a save that merges."""

import msgspec
import pytest

from bamboo_sessions.domain.call_groups import CallGroup, groups_of, orphans, unanswered_calls
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.window import model_view
from tests.merge.helpers import call, ids, load, message, result, save, snapshot
from tests.merge.history_kit import add, committed_meanwhile, edit, insert, remove, replace, saved_on


def text(id: str) -> Message:
    """What the assistant says without calling anything."""
    return Message.assistant("t", id=id)


def event(id: str) -> Message:
    """Something that no model sees."""
    return Message(role="event", id=id)


# --- L124: results that are in the copy and were appended, too


def test_L124_a_message_in_front_of_a_result_that_was_appended_too() -> None:
    """The tool's process appended the result; the copy has it as well, with a message before it: that goes behind."""
    copy = load(snapshot([call("c"), "z"]))
    insert(copy, "z", "n", result("r", "c"))
    theirs = committed_meanwhile([call("c"), result("r", "c"), "z"])
    assert ids(saved_on(copy, theirs).messages) == "c r n z"


def test_L124_a_message_at_the_end_in_front_of_a_result_that_was_appended_too() -> None:
    """The same at the end of the history."""
    copy = load(snapshot([call("c")]))
    add(copy, "n", result("r", "c"))
    assert ids(saved_on(copy, committed_meanwhile([call("c"), result("r", "c")])).messages) == "c r n"


def test_L124_a_message_in_the_place_of_an_appended_result() -> None:
    """A result that somebody appended stays, and is no place that a replacement could fill."""
    copy = load(snapshot([call("c"), "z"]))
    insert(copy, "z", result("r", "c"))
    replace(copy, "r", "n")
    theirs = committed_meanwhile([call("c"), result("r", "c"), result("r2", "c"), "z"])
    assert ids(saved_on(copy, theirs).messages) == "c r r2 n z"


def test_L124_a_message_in_the_place_of_one_of_several_results() -> None:
    """A replacement of something inside a group goes to the group's end."""
    base = snapshot([call("c", "1", "2"), result("r1", "1"), result("r2", "2"), "z"])
    copy = load(base)
    replace(copy, "r1", "n")
    assert ids(saved_on(copy, base).messages) == "c r2 n z"


def test_L124_messages_inside_a_run_of_calls() -> None:
    """An anchor inside a group stands for its end, and what is put there keeps its order."""
    base = snapshot([call("A"), call("B"), result("a", "A"), result("b", "B"), "z"])
    copy = load(base)
    insert(copy, "B", "n1")
    insert(copy, "a", text("n2"), "n3")
    insert(copy, "z", "n4")
    insert(copy, "b", call("n5"))
    assert [message.id for message in copy.messages] == ["A", "n1", "B", "n2", "n3", "a", "n5", "b", "n4", "z"]
    assert ids(saved_on(copy, base).messages) == "A B a b n1 n2 n3 n5 n4 z"


def test_a_call_takes_the_place_of_a_call() -> None:
    """A call that is exchanged for another message keeps its results, whatever stands around and came meanwhile."""
    base = snapshot([call("b"), result("rb", "b"), call("c"), "z"])
    copy = load(base)
    replace(copy, "c", call("x", "c"))
    insert(copy, "z", "n")
    theirs = committed_meanwhile([call("b"), result("rb", "b"), call("c"), result("rc", "c"), "z"])
    merged = saved_on(copy, theirs)
    assert ids(merged.messages) == "b rb x rc n z"
    assert merged.delta.orphaned == ()


def test_a_call_is_parted_in_two() -> None:
    """Two messages that take the place of one with two calls are one group with its results."""
    base = snapshot([call("c", "1", "2"), result("r1", "1"), result("r2", "2"), "z"])
    copy = load(base)
    replace(copy, "c", call("x", "1"), call("y", "2"))
    assert ids(saved_on(copy, base).messages) == "x y r1 r2 z"


def test_what_stood_between_two_groups_can_be_exchanged() -> None:
    """A message that takes the place of what parted two calls stays between them."""
    base = snapshot([call("A"), "u", call("B"), result("b", "B")])
    copy = load(base)
    replace(copy, "u", "n")
    assert ids(saved_on(copy, base).messages) == "A n B b"


def test_a_message_in_the_place_of_a_result_stays_between_two_calls() -> None:
    """If the copy parts two calls where a result did, the save parts them there, too; else they are one run."""
    base = snapshot([call("A"), result("a", "A"), call("B")])
    copy = load(base)
    replace(copy, "a", "n")
    assert ids(saved_on(copy, base).messages) == "A n B"
    copy = load(base)
    remove(copy, "a")
    add(copy, result("a2", "A"), result("b", "B"))
    assert ids(saved_on(copy, base).messages) == "A B a2 b"


def test_a_result_between_two_calls_stays_there() -> None:
    """A result in the place of what stood between two calls parts them: the copy has each with its own."""
    base = snapshot([call("A"), "u", call("B"), "z"])
    copy = load(base)
    replace(copy, "u", result("a", "A"))
    insert(copy, "z", result("b", "B"))
    assert ids(saved_on(copy, base).messages) == "A a B b z"


@pytest.mark.parametrize("between", [text("n"), event("n"), call("n")])
def test_what_a_run_may_have_inside_makes_one_of_two_calls(between: Message) -> None:
    """In the place of what parted them, such a message stays between the calls; their results stand behind the last."""
    base = snapshot([call("A"), "u", call("B"), "z"])
    copy = load(base)
    replace(copy, "u", between)
    insert(copy, "z", result("a", "A"))
    insert(copy, "z", result("n1", "n"))
    insert(copy, "z", result("b", "B"))
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "A n B a n1 b z"
    assert merged.delta.orphaned == (() if between.tool_calls else ("n1",))


@pytest.mark.parametrize("between", [call("n"), text("n")])
def test_a_call_or_a_text_behind_results_parts_what_follows(between: Message) -> None:
    """In the place of what a person said between two results, it ends the group of the first."""
    base = snapshot([call("A", "1", "2"), result("a", "1"), "u", result("b", "2"), "z"])
    copy = load(base)
    replace(copy, "u", between)
    insert(copy, "z", result("c", "2"))
    assert ids(saved_on(copy, base).messages) == "A a c n b z"


def test_a_call_and_a_message_in_the_places_between_two_calls() -> None:
    """The message parts them; the call in front of it belongs to the first part, which ends with its result."""
    base = snapshot([call("A"), "u", "v", event("e"), "w", call("B")])
    copy = load(base)
    remove(copy, "u")
    replace(copy, "v", call("N"))
    replace(copy, "w", "n")
    add(copy, result("n1", "N"))
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "A N n1 e n B"
    assert merged.delta.orphaned == ()


def test_a_message_in_front_of_a_call_that_an_edit_brings_near_another() -> None:
    """An edit makes a run of two messages; what the copy has between them stays there."""
    base = snapshot(["x", call("B")])
    copy = load(base)
    copy.messages[0] = call("x", "X")
    insert(copy, "B", "n")
    assert ids(saved_on(copy, base).messages) == "x n B"


def test_a_text_behind_a_run_keeps_later_results_apart() -> None:
    """A text put inside a run goes behind it; a result without a call behind that isn't one of the run's."""
    base = snapshot([call("A"), call("B"), event("e")])
    copy = load(base)
    insert(copy, "B", text("t"))
    add(copy, result("o", "gone"), result("a", "A"))
    merged = saved_on(copy, base)
    assert ids(merged.messages) == "A B a t e o"
    assert merged.delta.orphaned == ("o",)


# --- L125: calls that edits bring


def test_L125_a_result_finds_a_call_that_an_edit_brought() -> None:
    """A result whose call came by somebody's edit goes behind it, as when it is appended."""
    copy = load(snapshot(["m", "u"]))
    add(copy, result("r", "k"))
    brought = Message.assistant("", call("m", "k").tool_calls, id="m")
    merged = saved_on(copy, committed_meanwhile([brought, "u", "x"]))
    assert ids(merged.messages) == "m r u x"
    assert merged.delta.orphaned == ()


def test_L125_a_call_that_an_edit_took_away_is_gone() -> None:
    """A result whose call was edited away meanwhile is reported, and joins no other call of that id."""
    copy = load(snapshot([call("c", "k"), "u"]))
    add(copy, result("r", "k"))
    merged = saved_on(copy, committed_meanwhile([text("c"), "u", call("d", "k"), "x"]))
    assert ids(merged.messages) == "c u d x r"
    assert merged.delta.orphaned == ("r",)


@pytest.mark.parametrize("namesakes", [["d"], ["d", "e"]])
def test_a_result_without_a_call_is_none_of_a_call_that_the_save_adds(namesakes: list[str]) -> None:
    """Its call was removed meanwhile. In front of it the save adds others of that id; it goes in front of them."""
    copy = load(snapshot(["a", call("c", "k")]))
    for id_ in namesakes:
        insert(copy, "c", call(id_, "k"), result(f"{id_}1", "k"))
    add(copy, result("r", "k"), "u")
    merged = saved_on(copy, committed_meanwhile(["a", "x"]))
    theirs = " ".join(f"{id_} {id_}1" for id_ in namesakes)
    assert ids(merged.messages) == f"a x r {theirs} u"
    assert merged.delta.orphaned == ("r",)
    assert orphans(merged.messages) == ["r"]


def test_a_result_without_a_call_goes_in_front_of_all_neighbouring_groups_of_its_id() -> None:
    """Committed groups of that id stand next to one another: it goes in front of the first."""
    groups = [call("d", "k"), result("d1", "k"), call("e", "k"), result("e1", "k")]
    copy = load(snapshot(["a", *groups, call("c", "k")]))
    add(copy, result("r", "k"))
    merged = saved_on(copy, committed_meanwhile(["a", *groups]))
    assert ids(merged.messages) == "a r d d1 e e1"
    assert merged.delta.orphaned == ("r",)


def test_a_result_without_a_call_is_none_of_a_call_that_is_exchanged() -> None:
    """The same of a call that takes the place of a committed one."""
    copy = load(snapshot(["a", call("d"), call("c", "k")]))
    replace(copy, "d", call("e", "k"))
    add(copy, result("r", "k"))
    merged = saved_on(copy, committed_meanwhile(["a", call("d")]))
    assert ids(merged.messages) == "a r e"
    assert merged.delta.orphaned == ("r",)


def test_an_edit_orphans_what_it_parts() -> None:
    """A message of the assistant that becomes a person's parts a run: the results of the calls before it are named."""
    base = snapshot([call("A"), text("t"), call("B"), result("a", "A"), result("b", "B")])
    copy = load(base)
    edit(copy, "t", "said by a person")
    assert saved_on(copy, base).delta.orphaned == ("a",)


def test_removing_the_last_call_of_a_run_orphans_the_others_results() -> None:
    """If a text is left at the end of the run, the results don't stand behind a call any more."""
    base = snapshot([call("A"), text("t"), call("B"), result("a", "A"), result("b", "B")])
    copy = load(base)
    remove(copy, "B")
    assert saved_on(copy, base).delta.orphaned == ("a", "b")


# --- L126: parallel calls in messages of their own


@pytest.mark.parametrize(
    "turn",
    [
        [call("A"), call("B"), result("a", "A"), result("b", "B")],
        [call("A"), text("t"), call("B"), result("b", "B"), result("a", "A")],
        [call("A"), event("e"), call("B"), result("a", "A"), result("b", "B"), text("t")],
    ],
)
def test_L126_parallel_calls_stay_as_they_were_put(turn: list[Message]) -> None:
    """Calls in messages of their own, then their results: saved at once or one by one, it comes back as it was put."""
    at_once = load(snapshot("u"))
    add(at_once, *turn)
    expected = ids([message("u"), *turn])
    assert ids(saved_on(at_once, snapshot("u")).messages) == expected
    assert ids(saved_on(at_once, committed_meanwhile("ux")).messages) == expected.replace("u", "u x", 1)
    one_by_one = load(snapshot("u"))
    committed = snapshot("u")
    for one in turn:
        add(one_by_one, one)
        merged = save(one_by_one, committed)
        committed = snapshot(merged.messages, revision=committed.revision + 1)
        one_by_one = load(committed)
    assert ids(committed.messages) == expected
    spoken = [one for one in committed.messages if one.role != "event"]
    assert list(model_view(committed.messages)) == spoken


def test_calls_that_come_behind_committed_ones_join_their_run() -> None:
    """A call that is put behind one without results belongs to its group, also past a text and with others behind."""
    base = snapshot([call("A"), text("t"), "z"])
    copy = load(base)
    insert(copy, "z", result("b", "B"))
    insert(copy, "b", result("a", "A"))
    insert(copy, "a", call("B"))
    insert(copy, "z", "n")
    assert ids(saved_on(copy, base).messages) == "A t B a b n z"


def test_a_late_result_goes_behind_all_of_its_group() -> None:
    """A result of the first of two parallel calls goes behind the results of both, and in front of what followed."""
    base = snapshot([call("A"), call("B"), result("b", "B"), text("t"), "u"])
    copy = load(base)
    add(copy, result("a", "A"))
    assert ids(saved_on(copy, base).messages) == "A B b a t u"


# --- reading groups


def test_what_a_group_is() -> None:
    """A run begins and ends with a call; texts and events may stand inside it, only events among the results."""
    history = [
        result("r0", "A"),
        call("A"),
        text("t1"),
        event("e1"),
        call("B"),
        event("e2"),
        result("a", "A"),
        event("e3"),
        result("b", "B"),
        event("e4"),
        call("C"),
        text("t2"),
        result("c", "C"),
        call("D"),
        event("e5"),
    ]
    assert list(groups_of(history)) == [
        CallGroup(1, 9, in_run=False, text=10, reach=10),
        CallGroup(10, 11, in_run=True, text=11, reach=12),
        CallGroup(13, 14, in_run=True, text=15, reach=15),
    ]
    assert orphans(history) == ["r0", "c"]
    assert [(place, call.id) for place, call in unanswered_calls(history)] == [(11, "C"), (14, "D")]


def test_only_an_assistant_makes_calls() -> None:
    """What looks like a call in a person's message begins no group."""
    assert list(groups_of([msgspec.structs.replace(call("c"), role="user"), result("r", "c")])) == []


def test_of_n_calls_with_one_id_the_last_are_answered() -> None:
    """Nobody can tell which of them a result is for; the nearest is taken."""
    history = [call("c", "k", "k"), result("r", "k"), call("d", "k", "k"), result("s", "k"), result("t", "k")]
    assert [place for place, _ in unanswered_calls(history)] == [2]
