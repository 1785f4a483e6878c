"""Fixtures of the lessons: two repositories on one file stand for two processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bamboo_sessions import Message, Session, SessionRepository
from tests.lessons.watched import WatchedStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database file."""
    return tmp_path / "sessions.db"


@pytest.fixture
def storage(path: Path) -> WatchedStorage:
    """The storage below `sessions`: it can be stopped, or made to fail."""
    return WatchedStorage(path)


@pytest.fixture
async def sessions(storage: WatchedStorage) -> AsyncIterator[SessionRepository]:
    """A repository: this process."""
    async with SessionRepository.open(storage) as repository:
        try:
            yield repository
        finally:
            storage.let_go()


@pytest.fixture
async def others(path: Path, sessions: SessionRepository) -> AsyncIterator[SessionRepository]:
    """Another repository on the same file: the other process."""
    async with SessionRepository.open(f"sqlite:///{path}") as repository:
        yield repository


@pytest.fixture
async def chat(sessions: SessionRepository) -> Session:
    """A saved session `chat` with one message, `hello`."""
    session = await sessions.load_or_create("chat", model="m1")
    session.add_message(Message.user("hello", id="hello"))
    await sessions.save(session)
    return session
