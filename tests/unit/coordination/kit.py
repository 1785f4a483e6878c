"""Stores and sessions for the tests of this folder."""

from __future__ import annotations

import asyncio

from bamboo_sessions import LockedSessionStore, MemoryStorage, Message, Session, SessionCache
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance.kit import head_of

KEY = SessionKey("default", "s")


class Pauses:
    """Waits that a test sees and ends."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.seconds: list[float] = []
        self._go_on = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        """Wait until the test goes on."""
        self.seconds.append(seconds)
        self.begun.release()
        await self._go_on.acquire()

    def go_on(self, times: int = 1) -> None:
        """End so many waits."""
        for _ in range(times):
            self._go_on.release()

    def backoff(self) -> Backoff:
        """A back-off that waits here."""
        return Backoff(first_seconds=1, longest_seconds=8, chance=lambda: 0.0, sleep=self.sleep)


async def no_wait(_: float) -> None:
    """Let others run, and go on."""
    await asyncio.sleep(0)  # noqa: TID251 - one step of the loop, no time


class Rig:
    """A locked store over a storage that can fail, and over it another one, as another process has."""

    def __init__(self, *, bytes_max: int = 1_000_000) -> None:
        self.clock = ManualClock()
        self.storage = FaultyStorage(MemoryStorage())
        self.cache = SessionCache(bytes_max)
        backoff = Backoff(first_seconds=0.001, longest_seconds=0.02, sleep=no_wait)
        self.store = LockedSessionStore(self.storage, self.cache, clock=self.clock, backoff=backoff)
        self.others = LockedSessionStore(self.storage.inner, SessionCache(), clock=self.clock)

    async def saved(self, *messages: Message, id: str = "s") -> Session:
        """A session with these messages, saved."""
        session = Session(id, clock=self.clock)
        for message in messages:
            session.add_message(message)
        await self.store.merge_save(session)
        return session

    async def loaded(self, store: LockedSessionStore | None = None) -> Session:
        """A working copy of session `s`."""
        state = await (store or self.store).load(KEY)
        assert isinstance(state, Snapshot)
        return copy_of(state, self.clock)

    async def ids(self) -> list[str]:
        """The ids of the messages in storage."""
        state = await self.storage.inner.read(KEY)
        assert isinstance(state, Snapshot)
        return [message.id for message in state.messages]


def snapshot(session_id: str = "s", *, revision: int = 1, size: int = 100, title: str | None = None) -> Snapshot:
    """A snapshot that counts as so many bytes of messages."""
    head = head_of(session_id, revision=revision, incarnation=1, title=title)
    return Snapshot(head, FrozenMessages(), size)


def key_of(session_id: str) -> SessionKey:
    """A key in the usual namespace."""
    return SessionKey("default", session_id)
