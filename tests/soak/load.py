"""One process of the soak: writers of every kind on many sessions with a few hot ones, beside slow readers."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
from itertools import count
from pathlib import Path

from bamboo_sessions import Message, PendingQuestion, QuestionAlreadyAnsweredError, Session, SessionRepository
from bamboo_sessions.testing.history_checker import (
    Acknowledgement,
    AnswerAcknowledged,
    ChangeAcknowledged,
    QuestionAcknowledged,
    TurnAcknowledged,
)
from tests.kills.notes import Acknowledged, Ready, Sample, say

HOT = 5
STEPS_PER_HOT_SPOT = 400
CACHE_BYTES = 2 * 1024 * 1024
COPIES_MAX = 20
OPERATIONS_PER_SAMPLE = 200


def name_of(number: int) -> str:
    """The id of a session."""
    return f"session-{number:04}"


class Client:
    """A task that does everything that clients do, to any session."""

    def __init__(self, sessions: SessionRepository, name: str, rng: random.Random, amount: int) -> None:
        self.sessions = sessions
        self.name = name
        self.rng = rng
        self.amount = amount
        self.numbers = count()
        self.copies: dict[str, Session] = {}
        self.steps = 0

    def next(self) -> str:
        """A word that nothing else has."""
        return f"{self.name}-{next(self.numbers)}"

    def any_session(self) -> str:
        """One of all, or often one of the hot ones; these move on, so that no session grows without end."""
        if self.rng.random() < 0.7:
            return name_of(self.rng.randrange(self.amount))
        first = self.steps // STEPS_PER_HOT_SPOT * HOT
        return name_of((first + self.rng.randrange(HOT)) % self.amount)

    def say(self, what: Acknowledgement) -> None:
        """Tell what was acknowledged."""
        say(Acknowledged(what))

    async def step(self) -> None:
        """Do one thing."""
        self.steps += 1
        ways = [self.save, self.save, self.save, self.append, self.append, self.rename, self.set_value, self.ask]
        await self.rng.choice(ways)(self.any_session())

    async def save(self, session_id: str) -> None:
        """Save a turn from a copy that may be long out of date."""
        copy = self.copies.pop(session_id, None) or await self.sessions.get(session_id)
        ids = (self.next(), self.next())
        copy.add_message(Message.user(f"question {ids[0]} " + "x" * 300, id=ids[0]))
        copy.add_message(Message.assistant(f"answer {ids[1]} " + "y" * 300, id=ids[1]))
        await self.sessions.save(copy)
        self.say(TurnAcknowledged(session_id, self.name, ids))
        self.copies[session_id] = copy
        if len(self.copies) > COPIES_MAX:
            del self.copies[next(iter(self.copies))]

    async def append(self, session_id: str) -> None:
        """Append without loading."""
        id = self.next()
        await self.sessions.append(session_id, Message.user("any news?", id=id))
        self.say(TurnAcknowledged(session_id, self.name, (id,)))

    async def rename(self, session_id: str) -> None:
        """Give it a title."""
        head = await self.sessions.rename(session_id, self.next())
        self.say(ChangeAcknowledged(session_id, self.name, "title", head.title, head.metadata_version))

    async def set_value(self, session_id: str) -> None:
        """Set one of a few values."""
        key, value = f"key {self.rng.randrange(3)}", self.next()
        head = await self.sessions.set_value(session_id, key, value)
        self.say(ChangeAcknowledged(session_id, self.name, f"value:{key}", value, head.metadata_version))

    async def ask(self, session_id: str) -> None:
        """Ask a question, and answer it twice at the same moment: one answer wins."""
        call = self.next()
        asked = PendingQuestion(call, "ask", "Really?", id=f"question-{call}")
        await self.sessions.ask(session_id, asked)
        self.say(QuestionAcknowledged(session_id, self.name, asked.id))
        await asyncio.gather(*(self._answer(session_id, asked, text) for text in ("yes", "no")))

    async def _answer(self, session_id: str, asked: PendingQuestion, text: str) -> None:
        try:
            await self.sessions.answer(session_id, asked.id, text)
        except QuestionAlreadyAnsweredError:
            return
        self.say(AnswerAcknowledged(session_id, self.name, asked.id, text, asked.answer_message_id))


async def read_slowly(sessions: SessionRepository, moved: asyncio.Event) -> None:
    """List everything and page through histories, going on only now and then, again and again."""
    while True:
        async for head in sessions.iter_sessions(page_size=20):
            page = await sessions.history(head.id, limit=10)
            while page.has_earlier:
                page = await sessions.history(head.id, before=page.messages[0].id, limit=10)
            moved.clear()
            await moved.wait()


async def sample(sessions: SessionRepository, life: int) -> Sample:
    """What this process uses now."""
    stats = sessions.persistence.stats()
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Sample(
        life=life,
        memory_kib=int(status["RssAnon"].split()[0]),
        blocks=sys.getallocatedblocks(),
        files=len(list(Path("/proc/self/fd").iterdir())),
        threads=threading.active_count(),
        cache_bytes=stats["cache_bytes"],
        locks=stats["locks"],
    )


async def live(path: Path, life: int, seed: int) -> None:
    """Work until somebody kills this process."""
    rng = random.Random(seed)
    async with SessionRepository.open(path, cache_bytes_max=CACHE_BYTES) as sessions:
        amount = (await sessions.list_sessions(limit=1, total=True)).total
        assert amount
        say(Ready(life))
        moved = asyncio.Event()
        reader = asyncio.create_task(read_slowly(sessions, moved))
        clients = [Client(sessions, f"{life}.{task}", random.Random(rng.random()), amount) for task in range(4)]
        while not reader.done():
            for _ in range(OPERATIONS_PER_SAMPLE // len(clients)):
                await asyncio.gather(*(client.step() for client in clients))
                moved.set()
            say(await sample(sessions, life))
        await reader
