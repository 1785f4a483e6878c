"""The change feed beside a plain list of commits: random commits, a subscriber that stops and resumes at random."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import (
    Message,
    PositionExpiredError,
    Session,
    SessionChange,
    SessionRepository,
    SqliteStorage,
    StoreAdmin,
)
from bamboo_sessions.testing import ManualClock

DAY = timedelta(days=1)


class Expected(NamedTuple):
    """A commit that must be told."""

    session_id: str
    revision: int
    message_ids: tuple[str, ...]
    is_deletion: bool


class Step(NamedTuple):
    """Something that happens: what, in which repository, to which session, and how much of it."""

    what: str
    repository: int
    session_id: str
    amount: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["append", "append", "save", "rename", "clear", "delete", "take", "take", "take", "resume", "prune", "wait"]
        ),
        st.integers(0, 1),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 4),
    ),
    max_size=40,
)


class Machine:
    """Two repositories on one file, a subscriber of the first, and what must be told."""

    def __init__(self, repositories: list[SessionRepository], clock: ManualClock) -> None:
        self.repositories = repositories
        self.clock = clock
        self.revisions: dict[str, int] = {}
        self.living: set[str] = set()
        self.expected: list[Expected] = []
        self.floor = 0
        self.taken = 0
        self.position: str | None = None
        self.feed: AsyncGenerator[SessionChange, None] = repositories[0].changes()
        self.number = 0

    def _committed(self, session_id: str, *ids: str, is_deletion: bool = False) -> None:
        self.revisions[session_id] = self.revisions.get(session_id, 0) + 1
        self.expected.append(Expected(session_id, self.revisions[session_id], ids, is_deletion))

    def _messages(self, count: int) -> list[Message]:
        self.number += count
        return [Message.user("x", id=f"m{self.number - left}") for left in range(count, 0, -1)]

    async def do(self, step: Step) -> None:
        """Take a step."""
        sessions = self.repositories[step.repository]
        if step.what in {"take", "wait", "resume", "prune"}:
            await getattr(self, step.what)(step.amount)
        elif step.session_id not in self.living:
            await self.create(sessions, step)
        else:
            await getattr(self, step.what)(sessions, step)

    # --- commits

    async def create(self, sessions: SessionRepository, step: Step) -> None:
        """A session that wasn't there, or was deleted, begins."""
        session = Session(step.session_id)
        for message in (messages := self._messages(step.amount)):
            session.add_message(message)
        await sessions.create(session)
        self.living.add(step.session_id)
        self._committed(step.session_id, *(message.id for message in messages))

    async def append(self, sessions: SessionRepository, step: Step) -> None:
        """Messages, and then the same again, which is no commit."""
        messages = self._messages(step.amount)
        for _ in range(2):
            await sessions.append(step.session_id, *messages)
        self._committed(step.session_id, *(message.id for message in messages))

    async def save(self, sessions: SessionRepository, step: Step) -> None:
        """A message is edited and others are added, in one commit."""
        session = await sessions.get(step.session_id)
        if session.messages:
            session.messages[0] = Message.user(f"edited {self.number}", id=session.messages[0].id)
        for message in (messages := self._messages(step.amount)):
            session.add_message(message)
        await sessions.save(session)
        self._committed(step.session_id, *(message.id for message in messages))

    async def rename(self, sessions: SessionRepository, step: Step) -> None:
        """A new title."""
        self.number += 1
        await sessions.rename(step.session_id, f"title {self.number}")
        self._committed(step.session_id)

    async def clear(self, sessions: SessionRepository, step: Step) -> None:
        """No messages any more; where there are none it is no commit."""
        if (await sessions.get(step.session_id)).messages:
            self._committed(step.session_id)
        await sessions.clear(step.session_id)

    async def delete(self, sessions: SessionRepository, step: Step) -> None:
        """The session goes."""
        await sessions.delete(step.session_id)
        self.living.discard(step.session_id)
        self._committed(step.session_id, is_deletion=True)

    # --- the subscriber

    async def take(self, count: int) -> None:
        """Some of what was committed, in order."""
        for _ in range(min(count, len(self.expected) - self.taken)):
            async with asyncio.timeout(60):
                self._check(await anext(self.feed))

    def _check(self, change: SessionChange) -> None:
        expected = self.expected[self.taken]
        assert (change.session_id, change.revision) == (expected.session_id, expected.revision)
        assert ("deleted" in change.kinds) == expected.is_deletion
        later = self.expected[self.taken :]
        is_gone = any(each.is_deletion and each.session_id == change.session_id for each in later)
        assert change.message_ids == expected.message_ids or (is_gone and not change.message_ids)
        self.taken += 1
        self.position = change.position

    async def wait(self, _count: int) -> None:
        """Everything, and then what is committed while it waits."""
        await self.take(len(self.expected))
        waiting = asyncio.ensure_future(anext(self.feed))
        await asyncio.sleep(0)  # noqa: TID251 - lets the task begin
        await self.do(Step("create" if "w" not in self.living else "append", 1, "w", 1))
        async with asyncio.timeout(60):
            self._check(await waiting)

    async def resume(self, _count: int) -> None:
        """It stops, and comes again where it was; if that isn't kept any more it is told so."""
        await self.feed.aclose()
        self.feed = self.repositories[0].changes(after=self.position)
        if self.position is not None and self.taken < self.floor:
            with pytest.raises(PositionExpiredError) as refused:
                await anext(self.feed)
            assert refused.value.reason == "pruned"
            self.position = refused.value.oldest
            self.feed = self.repositories[0].changes(after=self.position)
        self.taken = max(self.taken, self.floor)

    async def prune(self, count: int) -> None:
        """All that was committed so far is forgotten; commits go on."""
        self.clock.move(2 * DAY)
        pruned = await StoreAdmin(self.repositories[1].storage, clock=self.clock).prune_changes(older_than=DAY)
        assert pruned == len(self.expected) - self.floor
        self.floor = len(self.expected)
        await self.resume(count)


@given(STEPS)
def test_a_subscriber_that_stops_and_resumes_sees_each_commit_once_in_order(steps: list[Step]) -> None:
    """G11: whatever two repositories commit, delete and prune, each commit is told once, in order, or a gap is told."""

    async def run() -> None:
        clock = ManualClock()
        with tempfile.TemporaryDirectory() as folder:
            async with AsyncExitStack() as stack:
                repositories = [
                    await stack.enter_async_context(
                        SessionRepository.open(
                            SqliteStorage(Path(folder, "sessions.db"), durability="relaxed", clock=clock), clock=clock
                        )
                    )
                    for _ in range(2)
                ]
                machine = Machine(repositories, clock)
                for step in steps:
                    await machine.do(step)
                await machine.resume(0)
                await machine.take(len(machine.expected))
                assert machine.taken == len(machine.expected)
                await machine.feed.aclose()

    asyncio.run(run())
