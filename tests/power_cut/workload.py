"""What the sessions live through while the power may fail: everything that writes to the disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path

import msgspec

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository, TokenUsageRecord, ToolCall
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.connection import connect_reader, row_of
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.conformance.kit import SECOND
from tests.power_cut.mirror import CHILD, FORK, KIND, SESSIONS, Mirror


class Workload:
    """Runs on a repository over a `Mirror`; the same seed does the same. `in_groups`: calls at once commit together."""

    def __init__(
        self, sessions: SessionRepository, clock: ManualClock, path: Path, seed: int, *, in_groups: bool
    ) -> None:
        self.sessions = sessions
        self.clock = clock
        self.path = path
        self.in_groups = in_groups
        self.random = random.Random(seed)
        self.number = 0

    def _message(self, size: int = 40) -> Message:
        self.number += 1
        self.clock.move(SECOND)
        text = f"{self.number} " + "x" * self.random.randrange(size)
        if self.number % 3 == 0:
            call = ToolCall(f"call{self.number}", "look")
            return Message.assistant(text, [call], id=f"m{self.number}", created_at=self.clock.now())
        return Message.user(text, id=f"m{self.number}", created_at=self.clock.now())

    def _session(self, id: str, **fields: object) -> Session:
        return Session(id, clock=self.clock, **fields)  # type: ignore[arg-type]

    async def run(self, rounds: int) -> None:
        """All of it."""
        await self.lives()
        await self.rewriting()
        for number in range(rounds):
            await self.together(number)
            await self.growing()
        await self.held_log()
        await self.ends()

    async def lives(self) -> None:
        """Sessions begin, are asked, answered, named, counted, and keep an adapter's records."""
        for id_ in SESSIONS[:3]:
            await self.sessions.create(self._session(id_))
        s0, s1 = SESSIONS[:2]
        await self.sessions.append(s0, self._message(), self._message(), self._message())
        await self.sessions.rename(s0, "A title")
        question = PendingQuestion("call3", "ask", "Go on?", id="q1", asked_at=self.clock.now())
        await self.sessions.ask(s0, question)
        await self.sessions.answer(s0, "q1", "yes", answer_id="a1")
        await self.sessions.records.put(KIND, "checkpoint", b"\0" * 300, session=s1)
        await self.sessions.records.put(KIND, "shared", b"of all", shared="app")
        record = TokenUsageRecord(id="u1", at=self.clock.now(), input_tokens=5, output_tokens=7)
        await self.sessions.append_token_usage_record(s1, record)
        other = self.sessions.in_namespace("other")
        await other.append(s0, self._message(), create=True)

    async def rewriting(self) -> None:
        """A saved copy with an edit, a removal and additions; a checkpoint; a truncation; a fork; a child."""
        s0 = SESSIONS[0]
        copy = await self.sessions.get(s0)
        copy.messages[0] = msgspec.structs.replace(copy.messages[0], content="edited")
        del copy.messages[1]
        copy.add_message(self._message())
        copy.model = "a model"
        await self.sessions.save(copy)
        copy.add_message(self._message())
        await self.sessions.checkpoint(copy)
        await self.sessions.fork(s0, new_id=FORK)
        await self.sessions.update(FORK, lambda session: session.metadata.update(note="here"))
        await self.sessions.truncate(FORK, after_message_id=copy.messages[0].id)
        child = (await self.sessions.get(s0)).new_child(CHILD)
        await self.sessions.create(child)
        await self.sessions.append(CHILD, self._message())

    async def _all(self, *calls: Awaitable[object]) -> None:
        if self.in_groups:
            await asyncio.gather(*calls)
        else:
            for call in calls:
                await call

    async def together(self, number: int) -> None:
        """Several sessions commit at once: groups."""
        chosen = self.random.sample(SESSIONS, 4)
        writes = [self.sessions.append(id_, self._message(), create=True) for id_ in chosen]
        renames = [self.sessions.rename(id_, f"round {number}") for id_ in SESSIONS[:2]]
        await self._all(*writes, *renames)
        await self.sessions.records.put(KIND, "checkpoint", self.random.randbytes(500), session=SESSIONS[1])

    async def growing(self) -> None:
        """Longer messages, so that the log is checkpointed and starts over."""
        chosen = self.random.sample(SESSIONS, 2)
        await self._all(*(self.sessions.append(id_, self._message(9_000), create=True) for id_ in chosen))
        await self.sessions.append(chosen[0], self._message())

    async def held_log(self) -> None:
        """A reader holds the log, which grows over its bound; then the writer restarts it itself."""
        reader = connect_reader(str(self.path), busy_timeout_ms=1000, cache_kib=100)
        reader.execute("BEGIN")
        row_of(reader, "SELECT count(*) FROM sessions")
        for _ in range(3):
            await self.growing()
        reader.execute("ROLLBACK")
        for _ in range(3):
            await self.growing()
        reader.close()

    async def ends(self) -> None:
        """Another handle comes and goes; a tree is deleted and its root begins again; a check; all is closed."""
        other = SqliteStorage(self.path)
        await other.open()
        await self.sessions.append(SESSIONS[2], self._message())
        await other.aclose()
        await self.sessions.delete(SESSIONS[0])
        await self.sessions.create(self._session(SESSIONS[0]))
        assert (await self.sessions.storage.check()).ok
        await self.sessions.append(SESSIONS[0], self._message())


async def again(mirror: Mirror, clock: ManualClock, seed: int) -> None:
    """The closed file is opened, written to, and closed."""
    async with SessionRepository.open(mirror, clock=clock) as sessions:
        await sessions.append(SESSIONS[3], Message.user("again", id=f"again{seed}"), create=True)
        await sessions.append(SESSIONS[4], Message.user("again", id=f"again{seed}"), create=True)
