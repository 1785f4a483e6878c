"""Questions: united by id, and a state only goes forward (G6)."""

import msgspec
import pytest

from bamboo_sessions.domain.merge import (
    merge,
)
from bamboo_sessions.domain.question import QuestionState
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft
from tests.merge.helpers import NOW, a_question, changed, load, message, save, snapshot

STATES: tuple[QuestionState, ...] = ("open", "withdrawn", "answered", "consumed")


@pytest.mark.parametrize("mine", STATES)
@pytest.mark.parametrize("theirs", STATES)
def test_G6_states_only_go_forward(mine: QuestionState, theirs: QuestionState) -> None:
    """Of two states of one question the later one stands, whoever saves last (G6)."""
    base = snapshot(questions=(a_question(),))
    draft = Draft(msgspec.structs.replace(base.head, questions=(a_question(state=mine),)), base.messages)
    merged = merge(base, draft, changed(base, {"questions": (a_question(state=theirs),)}), now=NOW)
    (kept,) = merged.head.questions
    assert kept.state == max(mine, theirs, key=STATES.index)


def test_L50_a_stale_copy_does_not_reopen_a_question() -> None:
    """A copy in which a question is still open changes nothing about its answer (G6, L50)."""
    base = snapshot(questions=(a_question(),))
    for state in STATES:
        copy = load(base)
        copy.add_message(message("m"))
        durable = changed(base, {"questions": (a_question(state=state),)})
        assert save(copy, durable).head.questions == durable.head.questions
        by_hand = Session("s")
        by_hand.set_pending_question(a_question())
        assert save(by_hand, durable).head.questions == durable.head.questions


def test_G6_a_stale_copy_does_not_drop_an_open_question() -> None:
    """A question that was asked meanwhile stays open, whatever the copy has (G6)."""
    base = snapshot()
    copy = load(base)
    copy.set_pending_question(a_question("mine"))
    merged = save(copy, changed(base, {"questions": (a_question("theirs"),)}))
    assert [(question.id, question.state) for question in merged.head.questions] == [
        ("theirs", "open"),
        ("mine", "open"),
    ]


def test_clearing_withdraws_only_what_the_copy_saw() -> None:
    """A question that came meanwhile isn't withdrawn by a copy that didn't know it."""
    base = snapshot(questions=(a_question("old"),))
    copy = load(base)
    copy.clear_pending_question()
    merged = save(copy, changed(base, {"questions": (a_question("old"), a_question("new"))}))
    assert [question.state for question in merged.head.questions] == ["withdrawn", "open"]
    assert merged.head.pending_question == a_question("new")


def test_clearing_does_not_take_an_answer_back() -> None:
    """An answer that came meanwhile beats the withdrawal."""
    base = snapshot(questions=(a_question(),))
    copy = load(base)
    copy.clear_pending_question()
    durable = changed(base, {"questions": (a_question(state="answered"),)})
    assert save(copy, durable).head.questions == durable.head.questions
