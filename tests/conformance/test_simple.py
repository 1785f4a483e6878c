"""Three calls of somebody else's, wrapped, keep the contract of every storage, in one namespace and one process."""

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import Session, SimpleStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.conformance import MakeStorage, RepositoryConformance, StorageConformance


class Copies:
    """The three calls: copies of sessions in a dictionary, which others may get ahead of at every call."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}

    async def save_session(self, session: Session) -> None:
        """Keep a copy."""
        await checkpoint()
        self.kept[session.id] = session.copy()

    async def load_session(self, session_id: str) -> Session | None:
        """A copy of what was kept."""
        await checkpoint()
        kept = self.kept.get(session_id)
        return kept.copy() if kept else None

    async def delete_session(self, session_id: str) -> None:
        """Forget it."""
        await checkpoint()
        self.kept.pop(session_id, None)


class TestSimpleStorage(StorageConformance, RepositoryConformance):
    moves_clock = True
    namespaces = False

    @pytest.fixture
    def make_storage(self, clock: ManualClock) -> MakeStorage:
        """Wrapped calls need no opening."""

        async def make() -> SessionStorage:
            return SimpleStorage(Copies(), clock=clock)

        return make
