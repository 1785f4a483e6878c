"""The people of the demo: authoritative writers, who change the same sessions that runtime writers save.

They rename, pin, set values, append notes, and answer questions. Two people answer each question at the same moment,
differently, and a third tries again at the end: one answer counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from bamboo_sessions.cli.demo.conversations import Conversation
from bamboo_sessions.cli.demo.link import NAMESPACE, Counters, Words
from bamboo_sessions.cli.demo.stores import Store
from bamboo_sessions.domain.errors import QuestionError
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.testing.history_checker import (
    AnswerAcknowledged,
    ChangeAcknowledged,
    QuestionAcknowledged,
    TurnAcknowledged,
)

PEOPLE: Final = 2
PAUSE_SECONDS: Final = 0.01
"""Between two changes of a person: people are many times faster here than in life, but don't drown the rest."""

OPTIONS: Final = ("Refund it", "Replace it", "Ask the customer")
TOPICS: Final = ("Delivery", "Refund", "Warranty", "Account", "Invoice", "Complaint")


async def live(
    store: Store, conversations: Sequence[Conversation], counters: Counters, words: Words, *, name: str
) -> None:
    """Create the sessions; on `change` change all of them; from `go` to `stop` change some by chance; answer again."""
    people = [
        _Person(f"{name}.{number + 1}", store, counters, conversations, number=number) for number in range(PEOPLE)
    ]
    await _all(people, _Person.create_sessions)
    counters.report("seeded")
    await words.event("change").wait()
    await _all(people, _Person.change_everything)
    counters.report("changed")
    await words.event("go").wait()
    await _all(people, lambda person: person.go_on(words.event("stop")))
    await _all(people, _Person.answer_again)
    counters.report("replayed")


async def _all(people: Sequence[_Person], step: Callable[[_Person], Awaitable[None]]) -> None:
    async def one(person: _Person) -> None:
        await step(person)

    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(one(person))


class _Person:
    """One person, who looks after a share of the sessions, and changes any of them by chance."""

    def __init__(
        self, name: str, store: Store, counters: Counters, conversations: Sequence[Conversation], *, number: int
    ) -> None:
        self._name = name
        self._random = Random(number)
        self._store = store
        self._counters = counters
        self._own = conversations[number::PEOPLE]
        self._everything = conversations
        self._pinned: set[str] = set()
        self._asked: list[tuple[str, PendingQuestion]] = []
        self._count = 0

    # --- before the writers load

    async def create_sessions(self) -> None:
        for conversation in self._own:
            session = Session(conversation.id, conversation.model, namespace=NAMESPACE, metadata=conversation.metadata)
            for message in conversation.opening:
                session.add_message(message)
            await self._store.create(session)
            self._note_messages(session.id, *conversation.opening)
            await self._ask(session.id)

    # --- while the writers hold copies of everything

    async def change_everything(self) -> None:
        for session_id, question in list(self._asked):
            await self._answer(session_id, question)
            await self._rename(session_id)
            await self._pin(session_id, True)
            await self._set_value(session_id, "priority", "high")
            await self._append(session_id)

    # --- while the writers write

    async def go_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            session_id = self._random.choice(self._everything).id
            match self._random.randrange(6):
                case 0 | 1:
                    await self._rename(session_id)
                case 2:
                    own = self._random.choice(self._own).id if self._own else session_id
                    await self._pin(own, own not in self._pinned)
                case 3:
                    await self._set_value(session_id, "team", f"{self._random.choice(TOPICS)} {self._next()}")
                case 4:
                    await self._append(session_id)
                case _:
                    await self._answer(session_id, await self._ask(session_id))
            await asyncio.sleep(PAUSE_SECONDS)

    # --- afterwards

    async def answer_again(self) -> None:
        for session_id, question in self._asked:
            await self._try_answer(session_id, question, OPTIONS[-1])

    # --- single changes, each noted after it was acknowledged

    def _next(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count:05}"

    def _note_messages(self, session_id: str, *messages: Message) -> None:
        self._counters.messages += len(messages)
        self._counters.note(TurnAcknowledged(session_id, self._name, tuple(message.id for message in messages)))

    async def _append(self, session_id: str) -> None:
        message = Message.user("Any news on this? I am still waiting.", id=self._next(), name=self._name)
        await self._store.append(session_id, message)
        self._note_messages(session_id, message)

    async def _rename(self, session_id: str) -> None:
        title = f"{self._random.choice(TOPICS)} {self._next()}"
        version = await self._store.rename(session_id, title)
        self._counters.note(ChangeAcknowledged(session_id, self._name, "title", title, version))

    async def _pin(self, session_id: str, pinned: bool) -> None:
        version = await self._store.pin(session_id, pinned)
        (self._pinned.add if pinned else self._pinned.discard)(session_id)
        self._counters.note(ChangeAcknowledged(session_id, self._name, "pinned", pinned, version))

    async def _set_value(self, session_id: str, key: str, value: str) -> None:
        version = await self._store.set_value(session_id, key, value)
        self._counters.note(ChangeAcknowledged(session_id, self._name, f"value:{key}", value, version))

    async def _ask(self, session_id: str) -> PendingQuestion:
        """Write the tool call that asks, then ask."""
        call = ToolCall(self._next(), "ask_a_person", '{"question":"What shall we offer?"}')
        message = Message.assistant(tool_calls=(call,), id=f"{call.id}-asks")
        await self._store.append(session_id, message)
        self._note_messages(session_id, message)
        question = PendingQuestion(call.id, call.name, "What shall we offer?", OPTIONS, id=f"{call.id}-question")
        await self._store.ask(session_id, question)
        self._asked.append((session_id, question))
        self._counters.note(QuestionAcknowledged(session_id, self._name, question.id))
        return question

    async def _answer(self, session_id: str, question: PendingQuestion) -> None:
        """Two answers at the same moment."""
        async with asyncio.TaskGroup() as group:
            for text in OPTIONS[:2]:
                group.create_task(self._try_answer(session_id, question, text))

    async def _try_answer(self, session_id: str, question: PendingQuestion, text: str) -> None:
        try:
            await self._store.answer(session_id, question.id, text)
        except QuestionError:
            self._counters.refused += 1
            return
        self._counters.messages += 1
        self._counters.note(AnswerAcknowledged(session_id, self._name, question.id, text, question.answer_message_id))
