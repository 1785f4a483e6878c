"""Strands Agents, `FileSessionManager`: a JSON file for each message, renamed into place. It never calls fsync.

So a turn is not durable in a power cut. The calls are those that the manager makes when an agent adds a message and
when it restores one.
"""

from __future__ import annotations

from collections.abc import Sequence

from strands.session.file_session_manager import FileSessionManager
from strands.types.session import SessionAgent, SessionMessage

from benchmarks.stores.base import Store

_AGENT = "default"


class Strands(Store):
    """One manager for each session, all in one folder."""

    bulk = False

    async def open(self) -> None:
        self._managers: dict[str, FileSessionManager] = {}
        self._counts: dict[str, int] = {}

    async def close(self) -> None:
        self._managers.clear()

    def _manager(self, session: str) -> FileSessionManager:
        if session not in self._managers:
            self._managers[session] = FileSessionManager(session, storage_dir=str(self.path))
        return self._managers[session]

    async def prepare(self, session: str) -> None:
        manager = self._manager(session)
        if manager.read_agent(session, _AGENT) is None:
            agent = SessionAgent(agent_id=_AGENT, state={}, conversation_manager_state={})
            manager.create_agent(session, agent)
        self._counts[session] = len(manager.list_messages(session, _AGENT))

    async def append(self, session: str, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts):
            message = {"role": "assistant" if number % 2 else "user", "content": [{"text": text}]}
            stored = SessionMessage.from_message(message, self._counts[session])
            self._manager(session).create_message(session, _AGENT, stored)
            self._counts[session] += 1

    async def load(self, session: str) -> int:
        stored = self._manager(session).list_messages(session, _AGENT)
        return len([message.to_message() for message in stored])

    async def last(self, session: str, count: int) -> int:
        offset = self._counts[session] - count
        return len(self._manager(session).list_messages(session, _AGENT, limit=count, offset=offset))


STORE = Strands
