"""Questions to a person: asked, and answered exactly once (G6)."""

from __future__ import annotations

from datetime import datetime

from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion, answered, find
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import record_answer
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.repository.reworking import rework
from bamboo_sessions.repository.terms import terms


async def ask(self: Handle, session_id: str, question: PendingQuestion, *, commit_id: str | None = None) -> Session:
    """Add an open question to the latest state. Asking the same question (same id) again changes nothing.

    Raises:
        SessionNotFoundError, SessionDeletedError, InputError, StorageError.
    """
    return await rework(
        self._bound, session_id, lambda session: session.set_pending_question(question), terms("ask", commit_id)
    )


async def answer(
    self: Handle,
    session_id: str,
    question: str,
    text: str,
    *,
    answer_id: str | None = None,
    commit_id: str | None = None,
) -> Session:
    """Answer a question, and write the answer as the result of its tool call, exactly once.

    Of two different answers one wins. Repeating the same answer succeeds again: the same `answer_id`, or, without
    one, the same text.

    Args:
        session_id: Which session.
        question: The question's id, or the tool-call id of the open one.
        text: The answer; the id or label of an option, or any text where the question allows that.
        answer_id: The caller's idempotency key of this answer.
        commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

    Raises:
        NoPendingQuestionError: No open question has this id, or it was withdrawn.
        QuestionAlreadyAnsweredError: Another answer was faster.
        InvalidAnswerError: Not among the options; the question stays open.
        SessionNotFoundError, SessionDeletedError, StorageError.
    """
    on = terms("answer", commit_id)

    def change(session: Session) -> None:
        now = self._bound.clock.now()
        asked = find(session_id, session.questions, question)
        settled = answered(session_id, asked, text, answer_id=answer_id, at=now)
        if settled is not None:
            record_answer(session, settled)
            session.add_message(_result(settled, text, at=now))

    return await rework(self._bound, session_id, change, on)


def _result(question: PendingQuestion, text: str, *, at: datetime) -> Message:
    """The answer as a tool's result. Its id is fixed by the question, so it can't be written twice."""
    return Message.tool(
        text,
        tool_call_id=question.tool_call_id,
        id=question.answer_message_id,
        name=question.tool_name,
        tool_success=True,
        created_at=at,
    )
