"""Questions to people: answered exactly once, and never lost (G6)."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InvalidAnswerError,
    NoPendingQuestionError,
    QuestionAlreadyAnsweredError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.question import PendingQuestion, QuestionOption
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import call, user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved


def question(id: str = "q", call_id: str = "1", *, allow_custom: bool = True) -> PendingQuestion:
    """A question with two options; any other text is an answer, too, if that is allowed."""
    options = (QuestionOption("y", "Yes"), QuestionOption("n", "No"))
    return PendingQuestion(call_id, "ask", "Go?", options, allow_custom, id=id, asked_at=START)


async def asked(sessions: SessionRepository, *questions: PendingQuestion) -> None:
    """A session whose agent asks."""
    await saved(sessions, user("a"), call("c", "1", "2"))
    for each in questions:
        await sessions.ask("s", each)


class AskingConformance(RepositoryCase):
    """open → answered → consumed, or withdrawn; a state only goes forward."""

    async def test_asking(self, sessions: SessionRepository) -> None:
        """A question is open until it is answered, listed so, and asking it again changes nothing."""
        await asked(sessions, question())
        session = await sessions.ask("s", question())
        assert (session.revision, session.pending_question) == (2, question())
        page = await sessions.list_sessions(has_question=True)
        assert [head.id for head in page.sessions] == ["s"]
        with pytest.raises(SessionNotFoundError):
            await sessions.ask("unknown", question())

    async def test_answering(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """An answer closes the question and stands behind its call, in front of what came meanwhile."""
        await asked(sessions, question())
        await sessions.append("s", user("meanwhile"))
        session = await others.answer("s", "q", "Yes", answer_id="key")
        assert session.pending_question is None
        (answered,) = session.questions
        assert (answered.state, answered.answer, answered.option_id, answered.answer_id) == (
            "answered",
            "Yes",
            "y",
            "key",
        )
        assert [m.role for m in session.messages] == ["user", "assistant", "tool", "user"]
        message = session.messages[2]
        assert (message.text, message.tool_call_id, message.name) == ("Yes", "1", "ask")
        assert ids_of(await sessions.load("s")) == ids_of(session)

    async def test_an_answer_again(self, sessions: SessionRepository) -> None:
        """L48: the same answer again succeeds and changes nothing, by its id, its text, or the option named."""
        await asked(sessions, question())
        first = await sessions.answer("s", "q", "Yes", answer_id="key")
        for text, answer_id in (("Yes", "key"), ("whatever", "key"), ("Yes", None), ("y", None)):
            again = await sessions.answer("s", "q", text, answer_id=answer_id)
            assert again.revision == first.revision

    async def test_another_answer(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Another answer is refused, and told which one stands."""
        await asked(sessions, question())
        await sessions.answer("s", "q", "Yes", answer_id="key")
        for text, answer_id in (("No", None), ("No", "other"), ("Yes", "other")):
            with pytest.raises(QuestionAlreadyAnsweredError) as refused:
                await others.answer("s", "q", text, answer_id=answer_id)
            assert refused.value.answer == "Yes"

    async def test_L47_one_of_many_answers_wins(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Of many different answers at once exactly one wins, and one message is written."""
        await asked(sessions, question())

        async def answer(number: int) -> str:
            repository = (sessions, others)[number % 2]
            try:
                await repository.answer("s", "q", f"text {number}")
            except QuestionAlreadyAnsweredError:
                return ""
            return f"text {number}"

        outcomes = await asyncio.gather(*map(answer, range(12)))
        (won,) = [outcome for outcome in outcomes if outcome]
        session = await sessions.get("s")
        assert session.questions[0].answer == won
        assert [m.text for m in session.messages if m.role == "tool"] == [won]

    async def test_the_same_answer_from_many(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """One answer that is sent many times at once succeeds each time and is written once."""
        await asked(sessions, question())
        await asyncio.gather(
            *((sessions, others)[number % 2].answer("s", "q", "Yes", answer_id="key") for number in range(8))
        )
        session = await sessions.get("s")
        assert (session.revision, len([m for m in session.messages if m.role == "tool"])) == (3, 1)

    async def test_an_invalid_answer(self, sessions: SessionRepository) -> None:
        """An answer that isn't among the options, or is empty, leaves the question open."""
        await asked(sessions, question(allow_custom=False))
        for text in ("maybe", ""):
            with pytest.raises(InvalidAnswerError):
                await sessions.answer("s", "q", text)
        session = await sessions.get("s")
        assert (session.has_question, session.revision) == (True, 2)
        await sessions.answer("s", "q", "n")

    async def test_no_such_question(self, sessions: SessionRepository) -> None:
        """There must be a session with that question, and it must not be withdrawn."""
        errors: list[tuple[str, type[BambooSessionsError]]] = [
            ("unknown", SessionNotFoundError),
            ("s", NoPendingQuestionError),
        ]
        await asked(sessions)
        for session_id, error in errors:
            with pytest.raises(error):
                await sessions.answer(session_id, "q", "Yes")
        await sessions.ask("s", question())
        session = await sessions.get("s")
        session.clear_pending_question()
        await sessions.save(session)
        for name in ("q", "1"):
            with pytest.raises(NoPendingQuestionError):
                await sessions.answer("s", name, "Yes")

    async def test_by_tool_call(self, sessions: SessionRepository) -> None:
        """A tool-call id names its open question, also when the provider reused it."""
        await asked(sessions, question("q1", "1"), question("q2", "2"))
        await sessions.answer("s", "2", "No")
        await sessions.ask("s", question("q3", "2"))
        await sessions.answer("s", "2", "Yes")
        session = await sessions.get("s")
        assert [(q.id, q.state, q.answer) for q in session.questions] == [
            ("q1", "open", None),
            ("q2", "answered", "No"),
            ("q3", "answered", "Yes"),
        ]

    async def test_L50_a_stale_copy_reopens_nothing(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """A copy that still has the open question neither re-opens it nor withdraws its answer."""
        await asked(sessions, question())
        keeps, clears = await others.get("s"), await others.get("s")
        await sessions.answer("s", "q", "Yes")
        keeps.add_message(user("b"))
        clears.clear_pending_question()
        await others.save(keeps)
        await others.save(clears)
        session = await sessions.get("s")
        assert (session.questions[0].state, session.questions[0].answer) == ("answered", "Yes")

    async def test_a_stale_copy_drops_no_question(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A copy that knows nothing of a question keeps it; clearing withdraws only what it saw."""
        await asked(sessions, question("q1", "1"))
        stale = await others.get("s")
        await sessions.ask("s", question("q2", "2"))
        stale.clear_pending_question()
        await others.save(stale)
        session = await sessions.get("s")
        assert [(q.id, q.state) for q in session.questions] == [("q1", "withdrawn"), ("q2", "open")]

    async def test_L97_consuming(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """The run takes an answer up in its own save; answering again then still tells the same."""
        await asked(sessions, question())
        await others.answer("s", "q", "Yes", answer_id="key")
        run = await sessions.get("s")
        assert run.consume_question("q").answer == "Yes"
        assert (await others.get("s")).questions[0].state == "answered"
        await sessions.save(run)
        assert (await others.get("s")).questions[0].state == "consumed"
        assert (await others.answer("s", "q", "Yes", answer_id="key")).questions[0].state == "consumed"
        with pytest.raises(QuestionAlreadyAnsweredError):
            await others.answer("s", "q", "No")
