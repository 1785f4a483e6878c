"""What the repository's part of the suite shares: repositories over the storage under test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import user
from bamboo_sessions.testing.faults import FaultyStorage


class RepositoryCase(Conformance):
    """Base of the classes that run `SessionRepository` on the storage.

    `sessions` and `others` have caches and locks of their own, as two processes have. Below both lies `faults`, which
    a test may make fail.
    """

    @pytest.fixture
    def faults(self, storage: SessionStorage) -> FaultyStorage:
        """The storage under test, which can be made to fail."""
        return FaultyStorage(storage)

    @pytest.fixture
    async def sessions(self, faults: FaultyStorage, clock: ManualClock) -> AsyncIterator[SessionRepository]:
        """A repository."""
        repository = await SessionRepository.open(faults, clock=clock)
        yield repository
        faults.heal()
        await repository.aclose()

    @pytest.fixture
    def owner(self, faults: FaultyStorage, clock: ManualClock) -> StoreAdmin:
        """The handle of the store's owner, on the same storage."""
        return StoreAdmin(faults, clock=clock)

    @pytest.fixture
    async def others(
        self, sessions: SessionRepository, faults: FaultyStorage, clock: ManualClock
    ) -> AsyncIterator[SessionRepository]:
        """Another repository on the same storage."""
        repository = await SessionRepository.open(faults, clock=clock)
        yield repository
        faults.heal()
        await repository.persistence.tasks.finish()


async def saved(sessions: SessionRepository, *messages: Message, id: str = "s", model: str | None = None) -> Session:
    """A session with these messages, saved."""
    session = await sessions.load_or_create(id, model=model)
    for message in messages:
        session.add_message(message)
    await sessions.save(session)
    return session


async def planted(sessions: SessionRepository) -> None:
    """A root, a child of it, and a child of that; and a session beside them."""
    root = await saved(sessions, id="root")
    child = root.new_child("child")
    await sessions.save(child)
    await sessions.save(child.new_child("leaf"))
    await saved(sessions, user("a"), id="beside")


def ids_of(session: Session | None) -> list[str]:
    """The ids of its messages."""
    assert session is not None
    return [message.id for message in session.messages]
