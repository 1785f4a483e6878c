"""One life of a writer: several tasks do everything that writers do, and say so, until the process is killed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository, ToolCall
from tests.kills.notes import (
    Answer,
    Append,
    Ask,
    Begun,
    Create,
    Delete,
    Done,
    Edit,
    Fork,
    Operation,
    Ready,
    RemoveLast,
    Rename,
    Save,
    say,
)

SHARED = tuple(f"shared-{number}" for number in range(6))
"""Sessions that all writers add to."""

TASKS = 3


def turn(ids: tuple[str, ...]) -> list[Message]:
    """Messages of these ids: in turn a question, a tool call and its result."""
    made = []
    for place, id in enumerate(ids):
        if place % 3 == 1:
            made.append(Message.assistant(f"text of {id}", tool_calls=(ToolCall(f"call-{id}", "look", "{}"),), id=id))
        elif place % 3 == 2:
            made.append(Message.tool(f"text of {id}", tool_call_id=f"call-{ids[place - 1]}", id=id))
        else:
            made.append(Message.user(f"text of {id}", id=id))
    return made


class Writer:
    """One task: works on the shared sessions, and on one session at a time of its own."""

    def __init__(self, sessions: SessionRepository, name: str, rng: random.Random) -> None:
        self.sessions = sessions
        self.name = name
        self.rng = rng
        self.numbers = count()
        self.copies: dict[str, Session] = {}
        self.own: list[str] = []

    async def run(self) -> None:
        """Work for ever."""
        while True:
            await self.live_through_a_session()
            for _ in range(self.rng.randint(1, 6)):
                await self.rng.choice([self.append_shared, self.save_shared, self.save_shared, self.fork])()

    async def done(self, operation: Operation, work: Awaitable[object]) -> None:
        """Say that it begins, do it, and say that it was acknowledged."""
        number = f"{self.name}-{next(self.numbers)}"
        say(Begun(number, operation))
        await work
        say(Done(number))

    def fresh(self, what: str) -> str:
        """A name that nothing else has."""
        return f"{what}-{self.name}-{next(self.numbers)}"

    def fresh_ids(self) -> tuple[str, ...]:
        """Ids for a turn."""
        return tuple(self.fresh("m") for _ in range(self.rng.randint(1, 4)))

    # --- shared sessions

    async def append_shared(self) -> None:
        """Add a turn without loading."""
        session, ids = self.rng.choice(SHARED), self.fresh_ids()
        await self.done(Append(session, ids), self.sessions.append(session, *turn(ids)))

    async def save_shared(self) -> None:
        """Add a turn to the copy that this task took once and never renews."""
        name, ids = self.rng.choice(SHARED), self.fresh_ids()
        copy = self.copies.get(name)
        if copy is None:
            copy = self.copies[name] = await self.sessions.get(name)
        for message in turn(ids):
            copy.add_message(message)
        await self.done(Save(name, ids), self.sessions.save(copy))

    async def fork(self) -> None:
        """Fork a shared session now and then."""
        if self.rng.random() < 0.1:
            source, session = self.rng.choice(SHARED), self.fresh("fork")
            await self.done(Fork(session, source), self.sessions.fork(source, new_id=session))

    # --- a session of its own, from its creation to its end, if this process gets that far

    async def live_through_a_session(self) -> None:
        """Create one, change it in every way, and delete it or leave it."""
        name = self.fresh("own")
        self.own = [self.fresh("m") for _ in range(self.rng.randint(3, 12))]
        created = Session(name)
        for message in turn(tuple(self.own)):
            created.add_message(message)
        await self.done(Create(name, tuple(self.own)), self.sessions.create(created))
        ways: list[Callable[[str], Awaitable[None]]] = [self.edit, self.remove_last, self.rename, self.ask_and_answer]
        for way in self.rng.choices(ways, k=self.rng.randint(0, 5)):
            await way(name)
        if self.rng.random() < 0.4:
            await self.done(Delete(name), self.sessions.delete(name))

    async def edit(self, name: str) -> None:
        """Give one message another text."""
        place, text = self.rng.randrange(len(self.own)), self.fresh("edited")
        id = self.own[place]

        def change(session: Session) -> None:
            session.messages[place] = Message.user(text, id=id)

        await self.done(Edit(name, id, text), self.sessions.update(name, change))

    async def remove_last(self, name: str) -> None:
        """Take the last message out."""
        if len(self.own) > 1:
            await self.done(RemoveLast(name), self.sessions.remove_last(name))
            self.own.pop()

    async def rename(self, name: str) -> None:
        """Give it a title."""
        title = self.fresh("title")
        await self.done(Rename(name, title), self.sessions.rename(name, title))

    async def ask_and_answer(self, name: str) -> None:
        """Ask a question, and answer it."""
        question = self.fresh("question")
        asked = PendingQuestion(question, "ask", "Really?", id=question)
        await self.done(Ask(name, question), self.sessions.ask(name, asked))
        text = self.fresh("yes")
        await self.done(Answer(name, question, text), self.sessions.answer(name, question, text))
        self.own.append(asked.answer_message_id)


async def live(path: Path, life: int, seed: int) -> None:
    """Open the store and write until the end."""
    rng = random.Random(seed)
    async with SessionRepository.open(path) as sessions:
        say(Ready(life))
        async with asyncio.TaskGroup() as group:
            for task in range(TASKS):
                group.create_task(Writer(sessions, f"{life}.{task}", random.Random(rng.random())).run())
