"""Google ADK, `DatabaseSessionService` on SQLite by aiosqlite: rollback journal, synchronous = FULL, SQLite's defaults.

A message is an event, and each event a transaction with its fsyncs. A session object is kept between the turns, as
the runner does within an invocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from benchmarks.stores.base import Store, owner_of

_APP = "bench"
_USER = "someone"


class AdkDatabase(Store):
    """The service, and the session objects in hand."""

    bulk = False

    async def open(self) -> None:
        self._sessions: dict[str, Any] = {}
        self._service = self._make()

    def _make(self) -> Any:
        return DatabaseSessionService(f"sqlite+aiosqlite:///{self.path}")

    async def close(self) -> None:
        await self._service.close()

    async def _load(self, session: str, config: Any = None) -> Any:
        return await self._service.get_session(app_name=_APP, user_id=_USER, session_id=session, config=config)

    async def prepare(self, session: str) -> None:
        found = await self._load(session)
        if found is None:
            found = await self._service.create_session(app_name=_APP, user_id=_USER, session_id=session)
        self._sessions[session] = found

    async def append(self, session: str, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts):
            role = "model" if number % 2 else "user"
            content = types.Content(role=role, parts=[types.Part(text=text)])
            await self._service.append_event(self._sessions[session], Event(author=role, content=content))

    async def load(self, session: str) -> int:
        found = await self._load(session)
        return 0 if found is None else len(found.events)

    async def last(self, session: str, count: int) -> int:
        return len((await self._load(session, GetSessionConfig(num_recent_events=count))).events)

    async def add_sessions(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            name = f"chat-{number}"
            await self._service.create_session(app_name=_APP, user_id=owner_of(number), session_id=name)

    async def page(self, owner: str | None) -> int:
        """All of them: it has no pages."""
        return len((await self._service.list_sessions(app_name=_APP, user_id=owner)).sessions[-50:])


STORE = AdkDatabase
