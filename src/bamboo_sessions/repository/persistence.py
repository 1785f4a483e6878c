"""What an agent loop depends on, and nothing more."""

from __future__ import annotations

from typing import Protocol

from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.repository.reading import load
from bamboo_sessions.repository.saving import checkpoint, save


class RuntimeSessionPersistence(Protocol):
    """Persistence as a runtime writer sees it. `SessionRepository` satisfies it."""

    async def save_runtime_session(self, session: Session) -> MergeReport:
        """Persist a working copy, merged with what others committed."""
        ...

    async def checkpoint_runtime_session(self, session: Session) -> MergeReport:
        """Persist what was added to a working copy."""
        ...

    async def load_runtime_session(self, session_id: str) -> Session | None:
        """A working copy, or `None`; a storage error is raised."""
        ...

    async def append_token_usage_record(self, session_id: str, record: TokenUsageRecord) -> None:
        """Add a model call to the ledger; the same id again changes nothing."""
        ...


async def save_runtime_session(self: Handle, session: Session) -> MergeReport:
    """`save`, by the name that agent loops depend on."""
    return await save(self, session)


async def checkpoint_runtime_session(self: Handle, session: Session) -> MergeReport:
    """`checkpoint`, by the name that agent loops depend on."""
    return await checkpoint(self, session)


async def load_runtime_session(self: Handle, session_id: str) -> Session | None:
    """`load`, by the name that agent loops depend on."""
    return await load(self, session_id)
