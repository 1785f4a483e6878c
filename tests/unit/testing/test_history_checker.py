"""The checker of histories: each way to break a promise is seen, and a kept promise is never called broken."""

from collections.abc import Iterable

import pytest

from bamboo_sessions import Message, PendingQuestion, Session, ToolCall
from bamboo_sessions.testing.history_checker import (
    Acknowledgement,
    AnswerAcknowledged,
    ChangeAcknowledged,
    DeletionAcknowledged,
    QuestionAcknowledged,
    RemovalAcknowledged,
    StoredMessage,
    StoredSession,
    TurnAcknowledged,
    Verdict,
    check_history,
    read_lines,
    to_line,
)


def user(id: str) -> StoredMessage:
    """What a user says."""
    return StoredMessage(id, "user")


def call(id: str, *calls: str) -> StoredMessage:
    """A message that makes tool calls."""
    return StoredMessage(id, "assistant", calls=calls)


def result(id: str, of: str) -> StoredMessage:
    """The result of a tool call."""
    return StoredMessage(id, "tool", result_of=of)


def turn(*ids: str, writer: str = "w") -> TurnAcknowledged:
    """An acknowledged save of these messages."""
    return TurnAcknowledged("s", writer, ids)


def change(what: str, value: object, version: int, *, writer: str = "p") -> ChangeAcknowledged:
    """An acknowledged change by a person."""
    return ChangeAcknowledged("s", writer, what, value, version)


def check(notes: Iterable[Acknowledgement], *messages: StoredMessage, version: int = 0, **kept: object) -> Verdict:
    """The verdict on one session; `kept` are values of the names that `changeable` has."""
    return check_history(notes, [StoredSession("s", messages, version, kept)])


def broken(verdict: Verdict) -> dict[str, int]:
    """The kinds of broken promises, with how often."""
    counts = {
        "lost": verdict.lost,
        "reverted": verdict.reverted,
        "duplicated": verdict.duplicated,
        "torn": verdict.torn,
        "doubled": verdict.doubled,
    }
    assert sum(counts.values()) == len(verdict.findings)
    assert verdict.ok == (not any(counts.values()))
    return {fault: count for fault, count in counts.items() if count}


# --- G2


def test_everything_kept_is_no_fault() -> None:
    """A history that has all that was acknowledged, once and in order, is clean, and everything is counted."""
    session = StoredSession(
        "s",
        (user("a1"), call("a2", "c"), result("a3", "c"), user("b1")),
        metadata_version=2,
        changeable={"title": "New", "pinned": True},
        answers={"q": "yes"},
    )
    notes: list[Acknowledgement] = [
        turn("a1", "a2"),
        turn("b1", writer="x"),
        change("title", "New", 1),
        change("pinned", True, 2),
        QuestionAcknowledged("s", "w", "q"),
        AnswerAcknowledged("s", "p", "q", "yes", "a3"),
    ]

    verdict = check_history(notes, [session])

    assert broken(verdict) == {}
    assert (verdict.sessions, verdict.acknowledged, verdict.there, verdict.unacknowledged) == (1, 4, 4, 0)
    assert (verdict.changes, verdict.answers) == (2, 1)


def test_a_lost_message_is_found() -> None:
    """G2: an acknowledged message that isn't there is lost."""
    verdict = check([turn("a"), turn("b")], user("a"))

    assert broken(verdict) == {"lost": 1}
    assert (verdict.acknowledged, verdict.there) == (2, 1)
    assert "'b'" in verdict.findings[0].detail


def test_a_lost_session_loses_all() -> None:
    """G2: a session that isn't stored at all has lost everything that was acknowledged for it."""
    notes: list[Acknowledgement] = [turn("a", "b"), change("title", "T", 1), QuestionAcknowledged("s", "w", "q")]

    assert broken(check_history(notes, [])) == {"lost": 2, "reverted": 3}


def test_a_message_in_the_wrong_session_is_lost() -> None:
    """G2: a message counts only in the session for which it was acknowledged."""
    sessions = [StoredSession("s"), StoredSession("other", (user("a"),))]

    verdict = check_history([turn("a")], sessions)

    assert broken(verdict) == {"lost": 1}
    assert (verdict.sessions, verdict.unacknowledged) == (2, 1)


def test_a_duplicate_is_found() -> None:
    """G2: a message that is there twice is duplicated, also when nobody noted it."""
    assert broken(check([turn("a")], user("a"), user("b"), user("a"), user("b"))) == {"duplicated": 2}


def test_a_retry_counts_once() -> None:
    """G4: a message that was acknowledged twice, because the call was repeated, is one message."""
    verdict = check([turn("a"), turn("a")], user("a"))

    assert broken(verdict) == {}
    assert verdict.acknowledged == 1


def test_what_nobody_noted_is_no_fault() -> None:
    """A writer killed between commit and note leaves a message behind that is counted, and no fault."""
    verdict = check([turn("a")], user("a"), user("b"))

    assert broken(verdict) == {}
    assert verdict.unacknowledged == 1


def test_a_removed_message_must_be_gone() -> None:
    """G2: after an acknowledged removal a message isn't missed; if it is there, it came back."""
    notes: list[Acknowledgement] = [turn("a", "b"), RemovalAcknowledged("s", "p", ("a",))]

    assert broken(check(notes, user("b"))) == {}
    assert broken(check(notes, user("a"), user("b"))) == {"reverted": 1}


def test_a_deleted_session_must_be_gone() -> None:
    """G9: after an acknowledged deletion nothing is missed; a session that is there came back."""
    notes: list[Acknowledgement] = [turn("a"), change("title", "T", 1), DeletionAcknowledged("s", "p")]

    assert broken(check_history(notes, [])) == {}
    assert broken(check(notes, user("a"))) == {"reverted": 1}


# --- G3


def test_a_turn_with_others_inside_is_torn() -> None:
    """G3: somebody else's message between those of one save tears the turn."""
    notes: list[Acknowledgement] = [turn("a1", "a2"), turn("b")]

    assert broken(check(notes, user("a1"), user("b"), user("a2"))) == {"torn": 1}


def test_a_turn_in_another_order_is_torn() -> None:
    """G3: the messages of one save stand in the order in which they were given."""
    assert broken(check([turn("a1", "a2")], user("a2"), user("a1"))) == {"torn": 1}


def test_half_a_turn_is_torn_and_lost() -> None:
    """G3: a save of which only some messages are there isn't atomic."""
    assert broken(check([turn("a1", "a2")], user("a1"))) == {"lost": 1, "torn": 1}


def test_a_result_that_joins_its_call_tears_nothing() -> None:
    """G3: a later tool result of somebody else may stand inside a turn, behind the call that the turn makes."""
    notes: list[Acknowledgement] = [turn("a1", "a2", "a3"), turn("r", writer="x")]

    assert broken(check(notes, user("a1"), call("a2", "c"), result("r", "c"), user("a3"))) == {}


def test_a_turn_that_answers_an_earlier_call_is_whole() -> None:
    """G3: a turn's result of an earlier turn's call stands with that call, and not with its turn."""
    notes: list[Acknowledgement] = [turn("a1"), turn("b1"), turn("r", "c1", "c2")]

    assert broken(check(notes, call("a1", "c"), result("r", "c"), user("b1"), user("c1"), user("c2"))) == {}


def test_a_result_parted_from_its_call_is_torn() -> None:
    """G3: a tool result stands behind its call, with other results at most in between."""
    notes: list[Acknowledgement] = [turn("a"), turn("b"), turn("r")]

    assert broken(check(notes, call("a", "c"), user("b"), result("r", "c"))) == {"torn": 1}
    assert broken(check(notes, call("a", "c"), result("r", "c"), user("b"))) == {}


def test_calls_of_one_id_are_told_apart() -> None:
    """G3: providers reuse call ids; each result belongs to the call in front of it."""
    notes: list[Acknowledgement] = [turn("a1", "a2"), turn("b1", "b2")]

    assert broken(check(notes, call("a1", "c"), result("a2", "c"), call("b1", "c"), result("b2", "c"))) == {}


def test_a_result_without_a_call_is_no_fault() -> None:
    """A result whose call nobody made stays where it was put."""
    assert broken(check([turn("a", "r", "b")], user("a"), result("r", "c"), user("b"))) == {}


# --- G5


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [("title", "Old", "New"), ("pinned", False, True), ("archived", False, True), ("value:colour", "red", "blue")],
)
def test_a_reverted_change_is_found(what: str, old: object, new: object) -> None:
    """G5: of a title, a pin, a value the newest acknowledged one stands; an older one there is a step back."""
    notes: list[Acknowledgement] = [change(what, old, 1), change(what, new, 2)]

    assert broken(check(notes, version=2, **{what: new})) == {}
    assert broken(check(notes, version=2, **{what: old})) == {"reverted": 1}
    assert broken(check(notes, version=2)) == {"reverted": 1}


def test_the_version_decides_which_change_is_newest() -> None:
    """G5: of changes by several people the one with the highest version stands, in whatever order the logs come."""
    notes: list[Acknowledgement] = [change("title", "B", 2, writer="q"), change("title", "A", 1)]

    assert broken(check(notes, version=2, title="B")) == {}
    assert broken(check(notes, version=2, title="A")) == {"reverted": 1}


def test_a_stored_version_below_an_acknowledged_one_is_a_step_back() -> None:
    """G5: the stored metadata_version is at least the highest acknowledged one."""
    assert broken(check([change("title", "T", 3)], version=2, title="T")) == {"reverted": 1}


def test_a_version_that_went_back_in_between_is_found() -> None:
    """G5: one writer never gets a lower metadata_version than before, even if all looks well at the end."""
    notes: list[Acknowledgement] = [change("title", "A", 2), change("title", "B", 1), change("title", "C", 3)]

    assert broken(check(notes, version=3, title="C")) == {"reverted": 1}


def test_a_later_change_that_nobody_noted_is_no_fault() -> None:
    """A person killed between commit and note may have changed the title once more."""
    assert broken(check([change("title", "A", 1)], version=2, title="B")) == {}


def test_a_noted_version_explains_nothing_else() -> None:
    """G5: if every later version is accounted for, an older value isn't excused by them."""
    notes: list[Acknowledgement] = [change("title", "A", 1), change("pinned", True, 2)]

    assert broken(check(notes, version=2, title=None, pinned=True)) == {"reverted": 1}


# --- G6


def answered(answers: Iterable[str], stored: dict[str, str | None]) -> dict[str, int]:
    """What is broken if the question `q` accepted `answers`, and `stored` is there."""
    notes: list[Acknowledgement] = [QuestionAcknowledged("s", "w", "q")]
    notes += [AnswerAcknowledged("s", "p", "q", text, "answer-q") for text in answers]
    messages = (StoredMessage("answer-q", "tool", result_of="c"),)
    return broken(check_history(notes, [StoredSession("s", messages, answers=stored)]))


def test_a_question_answered_once_is_no_fault() -> None:
    """G6: open, answered, and the same answer repeated are all well."""
    assert answered([], {"q": None}) == {}
    assert answered(["yes"], {"q": "yes"}) == {}
    assert answered(["yes", "yes"], {"q": "yes"}) == {}


def test_two_acknowledged_answers_are_doubled() -> None:
    """G6: of two different answers only one may be acknowledged."""
    assert answered(["yes", "no"], {"q": "no"}) == {"doubled": 1}


def test_another_answer_than_the_acknowledged_one_is_doubled() -> None:
    """G6: the acknowledged answer is the one that stands."""
    assert answered(["yes"], {"q": "no"}) == {"doubled": 1}


def test_a_question_that_reopened_or_vanished_is_reverted() -> None:
    """G6: an answered question doesn't open again, and no question is dropped."""
    assert answered(["yes"], {"q": None}) == {"reverted": 1}
    assert answered([], {}) == {"reverted": 1}
    assert answered(["yes"], {}) == {"reverted": 1}


def test_a_lost_answer_message_is_lost() -> None:
    """G2: the tool message that carries an answer is an acknowledged message like any other."""
    notes: list[Acknowledgement] = [AnswerAcknowledged("s", "p", "q", "yes", "answer-q")]

    assert broken(check_history(notes, [StoredSession("s", answers={"q": "yes"})])) == {"lost": 1}


# --- logs and sessions


def test_acknowledgements_survive_a_log() -> None:
    """What is written as lines is read back equal, of every kind."""
    notes: list[Acknowledgement] = [
        turn("a", "b"),
        change("value:x", {"deep": [1, None, "ü"]}, 7),
        QuestionAcknowledged("s", "w", "q"),
        AnswerAcknowledged("s", "p", "q", "two\nlines", "m"),
        RemovalAcknowledged("s", "p", ("a",)),
        DeletionAcknowledged("s", "p"),
    ]

    assert list(read_lines(b"".join(map(to_line, notes)).splitlines(keepends=True))) == notes


def test_a_torn_last_line_is_left_out() -> None:
    """A killed writer may leave half a line, which acknowledges nothing; half a line elsewhere is an error."""
    line = to_line(turn("a"))

    assert list(read_lines([line, b"\n", line[:-5]])) == [turn("a")]
    with pytest.raises(ValueError, match="malformed"):
        list(read_lines([line[:-5] + b"\n", line]))


def test_a_session_is_seen_as_it_is() -> None:
    """`StoredSession.of` takes everything that the checker looks at from a session."""
    session = Session("s", title="T", pinned=True, metadata={"colour": "red"})
    session.metadata_version = 3
    session.add_message(Message.assistant(tool_calls=(ToolCall("c", "ask"),), id="a"))
    session.add_message(Message.tool("yes", tool_call_id="c", id="r"))
    session.set_pending_question(PendingQuestion("c", "ask", "Really?", id="q"))

    assert StoredSession.of(session) == StoredSession(
        "s",
        (call("a", "c"), result("r", "c")),
        metadata_version=3,
        changeable={"title": "T", "pinned": True, "archived": False, "value:colour": "red"},
        answers={"q": None},
    )
