"""Questions of a session: stored with its head, whatever became of them."""

from __future__ import annotations

import msgspec

from bamboo_sessions.domain.question import PendingQuestion, QuestionOption, QuestionState
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ListQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    SECOND,
    appending,
    change,
    creation,
    head_of,
    key_of,
    snapshot_of,
    user,
)

STATES: tuple[QuestionState, ...] = ("open", "answered", "consumed", "withdrawn")


def question(id: str, state: QuestionState = "open") -> PendingQuestion:
    """A question with every field set."""
    answered = state in {"answered", "consumed"}
    return PendingQuestion(
        tool_call_id="call",
        tool_name="ask\0\ud800",
        question="Really? 日",
        options=("yes", QuestionOption("n", "no")),
        allow_custom=False,
        source="form",
        id=id,
        state=state,
        answer="no" if answered else None,
        answer_id="key" if answered else None,
        option_id="n" if answered else None,
        asked_at=START,
        answered_at=START + SECOND if answered else None,
    )


class QuestionsConformance(Conformance):
    """Questions come back in their order and state, and listings know about the open ones."""

    async def test_questions_come_back(self, storage: SessionStorage) -> None:
        """Every field of a question in any state is stored, in the order of the head."""
        questions = tuple(question(f"{number}-{state}", state) for number, state in enumerate(STATES * 2))
        await storage.commit(creation(head=head_of(questions=questions)))
        assert (await snapshot_of(storage)).head.questions == questions
        head = await storage.read_head(key_of("s"))
        assert head == (await snapshot_of(storage)).head

    async def test_questions_move_on(self, storage: SessionStorage) -> None:
        """A commit replaces all questions by those of its head, and `read_newer` sees it."""
        await storage.commit(creation(head=head_of(questions=(question("a"), question("b")))))
        known = await snapshot_of(storage)
        later = (question("a", "answered"), question("b"), question("c"))
        await storage.commit(change(known, head=msgspec.structs.replace(known.head, questions=later)))
        newer = await storage.read_newer(key_of("s"), known)
        assert newer is not None
        assert (await snapshot_of(storage)).head.questions == later
        assert (await storage.read_newer(key_of("s"), known)) == await snapshot_of(storage)

    async def test_questions_stay_when_messages_come(self, storage: SessionStorage) -> None:
        """A commit without a head leaves the questions as they are."""
        await storage.commit(creation(head=head_of(questions=(question("a"),))))
        await storage.commit(appending("s", user("m")))
        state = await snapshot_of(storage)
        assert state.head.questions == (question("a"),)
        assert state.head.pending_question == question("a")

    async def test_the_same_question_id_in_two_sessions(self, storage: SessionStorage) -> None:
        """Question ids belong to their session."""
        await storage.commit(creation("s", head=head_of("s", questions=(question("a"),))))
        await storage.commit(creation("t", head=head_of("t", questions=(question("a", "answered"),))))
        assert (await snapshot_of(storage, "s")).head.questions[0].state == "open"
        assert (await snapshot_of(storage, "t")).head.questions[0].state == "answered"

    async def test_listings_know_open_questions(self, storage: SessionStorage) -> None:
        """A session has a question as long as one of them is open."""
        for state in STATES:
            questions = (question("a", "consumed"), question("b", state))
            await storage.commit(creation(state, head=head_of(state, questions=questions)))
        page = await storage.list_heads(ListQuery("default", has_question=True))
        assert [head.id for head in page.heads] == ["open"]
        assert page.heads[0].has_question
