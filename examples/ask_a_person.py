"""An agent asks, and stops. Two people answer at the same moment; one answer wins. The agent goes on with it."""

import asyncio
import tempfile
from pathlib import Path

from bamboo_sessions import (
    Message,
    PendingQuestion,
    QuestionAlreadyAnsweredError,
    Session,
    SessionRepository,
    ToolCall,
)


async def ask(store: Path) -> None:
    """The agent's first run: it ends with a question."""
    async with SessionRepository.open(store) as sessions:
        session = Session("order-17")
        session.add_message(Message.user("My parcel never came."))
        session.add_message(Message.assistant(tool_calls=[ToolCall("call-1", "ask_person", {"question": "Refund?"})]))
        session.set_pending_question(
            PendingQuestion("call-1", "ask_person", "Refund?", options=("yes", "no"), allow_custom=False)
        )
        await sessions.create(session)


async def answer(sessions: SessionRepository, name: str, text: str) -> None:
    """A person who clicks."""
    page = await sessions.list_sessions(has_question=True)
    for head in page.sessions:
        assert head.pending_question is not None
        try:
            await sessions.answer(head.id, head.pending_question.id, text, answer_id=f"click of {name}")
        except QuestionAlreadyAnsweredError as error:
            print(f"{name} clicked {text!r}, too late: the answer is {error.answer!r}")
        else:
            print(f"{name} clicked {text!r}, and that counts")


async def go_on(store: Path) -> None:
    """The agent's second run: it takes up the answer, and saves that together with what it makes of it."""
    async with SessionRepository.open(store) as sessions:
        session = await sessions.get("order-17")
        for question in session.questions:
            if question.state == "answered":
                session.consume_question(question.id)
                session.add_message(Message.assistant(f"A person decided: {question.answer}."))
        await sessions.save(session)
        for message in session.messages:
            print(f"  {message.role:>9}: {message.text}")
        assert session.pending_question is None


async def main() -> None:
    """Ask, answer twice, go on."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "agents.db")
        await ask(store)
        async with SessionRepository.open(store) as sessions:
            await asyncio.gather(answer(sessions, "Ada", "yes"), answer(sessions, "Grace", "no"))
        await go_on(store)


if __name__ == "__main__":
    asyncio.run(main())
