"""OpenAI Agents SDK, `SQLiteSession`: WAL, synchronous = FULL (SQLite's default): an fsync for each turn."""

from __future__ import annotations

from collections.abc import Sequence

from agents.memory.sqlite_session import SQLiteSession

from benchmarks.stores.base import Store


class Agents(Store):
    """One `SQLiteSession` object for each session, all on one file."""

    async def open(self) -> None:
        self._sessions: dict[str, SQLiteSession] = {}

    async def close(self) -> None:
        for session in self._sessions.values():
            session.close()

    def _session(self, name: str) -> SQLiteSession:
        if name not in self._sessions:
            self._sessions[name] = SQLiteSession(name, self.path)
        return self._sessions[name]

    async def prepare(self, session: str) -> None:
        self._session(session)

    async def append(self, session: str, texts: Sequence[str]) -> None:
        items = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]
        await self._session(session).add_items(items)

    async def load(self, session: str) -> int:
        return len(await self._session(session).get_items())

    async def last(self, session: str, count: int) -> int:
        return len(await self._session(session).get_items(limit=count))


STORE = Agents
