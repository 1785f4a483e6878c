"""The questions of a working copy: set, withdrawn, consumed."""

import msgspec
import pytest

from bamboo_sessions.domain.errors import InputError, LimitExceededError
from bamboo_sessions.domain.limits import QUESTIONS_PER_SESSION_MAX, QUESTIONS_SETTLED_KEPT
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import freeze, is_clean, link_of
from tests.unit.domain.session_kit import a_question, loaded


def test_setting_a_question_adds_one() -> None:
    """A second question doesn't displace the first; the oldest open one is pending (G6)."""
    session = loaded()
    session.set_pending_question(a_question("b"))
    session.set_pending_question(a_question("a"))
    session.set_pending_question(a_question("a"))
    assert [question.id for question in session.questions] == ["b", "a"]
    assert session.pending_question == a_question("a")
    assert session.has_question
    assert freeze(session).head.has_question


def test_L50_a_known_question_is_not_opened_again() -> None:
    """Setting a question that was consumed leaves it consumed (L50)."""
    consumed = msgspec.structs.replace(a_question("q"), state="consumed")
    session = loaded(questions=(consumed,))
    session.set_pending_question(a_question("q"))
    assert session.questions == (consumed,)
    assert is_clean(session)


def test_clearing_withdraws_what_is_open() -> None:
    """Open questions are withdrawn; answered ones stay."""
    answered = msgspec.structs.replace(a_question("a"), state="answered")
    session = loaded(questions=(answered, a_question("b"), a_question("c")))
    session.clear_pending_question()
    assert [question.state for question in session.questions] == ["answered", "withdrawn", "withdrawn"]
    assert session.pending_question is None


def test_L97_an_answer_is_consumed_by_the_run() -> None:
    """Consuming moves an answered question on in the copy; it counts once that is saved (L97)."""
    answered = msgspec.structs.replace(a_question("q"), state="answered", answer="yes")
    session = loaded(questions=(answered,))
    assert session.consume_question("q").answer == "yes"
    assert session.questions[0].state == "consumed"
    assert session.consume_question("q").answer == "yes"
    for wrong in ("unknown", "open"):
        session.set_pending_question(a_question("open"))
        with pytest.raises(InputError):
            session.consume_question(wrong)


def test_questions_are_checked_and_bounded() -> None:
    """What isn't a question is refused, and so is one too many (G13)."""
    session = loaded(questions=tuple(a_question(str(number)) for number in range(QUESTIONS_PER_SESSION_MAX)))
    with pytest.raises(LimitExceededError):
        session.set_pending_question(a_question("one more"))
    with pytest.raises(InputError):
        session.set_pending_question("Go?")  # type: ignore[arg-type]


def test_a_question_names_the_lease_that_asks() -> None:
    """A question asked through a lease carries its token; any other carries none."""
    session = Session("s")
    session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q1"))
    link_of(session).fence = 3
    session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q2"))
    assert [question.lease_token for question in session.questions] == [None, 3]


def test_without_a_lease_a_question_keeps_its_token() -> None:
    """Only a copy of a lease puts its token on a question."""
    session = loaded()
    session.set_pending_question(msgspec.structs.replace(a_question("q"), lease_token=7))
    assert session.questions[0].lease_token == 7


def test_withdrawing_one_question() -> None:
    """An open question is withdrawn, the others stay; one that isn't open is left as it is."""
    session = Session("s")
    for id in ("q1", "q2"):
        session.set_pending_question(PendingQuestion("1", "ask", "Go?", id=id))
    session.withdraw_question("q1")
    session.withdraw_question("unknown")
    assert [question.state for question in session.questions] == ["withdrawn", "open"]


def test_only_an_open_question_can_be_withdrawn() -> None:
    """Withdrawing an answered question, or one that isn't there, does nothing, whatever else is open."""
    questions = (msgspec.structs.replace(a_question("q"), state="answered", answer="yes"), a_question("other"))
    session = loaded(questions=questions)
    session.withdraw_question("q")
    session.withdraw_question("unknown")
    assert session.questions == questions
    assert is_clean(session)


def test_the_last_question_that_fits() -> None:
    """A session takes exactly as many questions as the limit says."""
    questions = tuple(a_question(str(number)) for number in range(QUESTIONS_PER_SESSION_MAX - 1))
    session = loaded(questions=questions)
    session.set_pending_question(a_question("last"))
    assert len(session.questions) == QUESTIONS_PER_SESSION_MAX


def test_a_session_takes_questions_all_its_life() -> None:
    """Settled ones are forgotten in time, so that ten thousand of them don't close the session to new ones (G13)."""
    session = loaded()
    for number in range(QUESTIONS_PER_SESSION_MAX + 1_000):
        session.set_pending_question(a_question(str(number)))
        if number % 500 == 499:
            session.clear_pending_question()
    assert len(session.questions) <= 2 * QUESTIONS_SETTLED_KEPT + 500
    assert session.questions[-1].id == str(QUESTIONS_PER_SESSION_MAX + 999)
