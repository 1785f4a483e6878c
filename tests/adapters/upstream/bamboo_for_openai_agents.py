"""A plugin for the OpenAI Agents SDK's own tests: they get our session in place of the SDK's, and of their own.

In the folder of the SDK's sources, with this folder in PYTHONPATH: `python -m pytest -p bamboo_for_openai_agents …`.
"""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import agents
import agents.extensions.memory.encrypt_session  # which knows the SDK's own session, and has to be imported before
import agents.memory.sqlite_session

from bamboo_sessions.adapters.openai_agents import BambooSession, Item

_folder = tempfile.mkdtemp(prefix="bamboo-sessions-")
_numbers = count()


class SQLiteSession(BambooSession):
    """Our session with the arguments of theirs; one without a path has a store of its own."""

    def __init__(
        self,
        session_id: str,
        db_path: str | Path = ":memory:",
        sessions_table: str = "agent_sessions",
        messages_table: str = "agent_messages",
        session_settings: Any = None,  # noqa: ANN401 - the SDK's
    ) -> None:
        path = f"{_folder}/{next(_numbers)}.db" if str(db_path) == ":memory:" else str(db_path)
        self.url = f"sqlite:///{path}"
        super().__init__(session_id, self.url, session_settings=session_settings)


class Stored:
    """The parts of the session that their tests bring along, on ours."""

    def __init__(self, session_id: str = "test", history: list[Item] | None = None) -> None:
        self.session_id = session_id
        self._ignore_ids_for_matching = False
        self._stored = SQLiteSession(session_id)
        if history:
            _at_once(self._stored.add_items(list(history)))

    async def get_items(self, limit: int | None = None) -> list[Item]:
        """As ours."""
        return await self._stored.get_items(limit)

    async def add_items(self, items: list[Item]) -> None:
        """As ours."""
        await self._stored.add_items(items)

    async def pop_item(self) -> Item | None:
        """As ours."""
        return await self._stored.pop_item()

    async def clear_session(self) -> None:
        """As ours."""
        await self._stored.clear_session()

    @property
    def saved_items(self) -> list[Item]:
        """What is stored, for tests that look inside."""
        items: list[Item] = _at_once(BambooSession(self.session_id, self._stored.url).get_items())
        return items

    _items = saved_items


def _at_once(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it gives
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def pytest_configure() -> None:
    """Put ours in the place of theirs, before their tests import them."""
    for module in (agents, agents.memory, agents.memory.sqlite_session):
        module.SQLiteSession = SQLiteSession  # type: ignore[attr-defined,misc,assignment,unused-ignore]
    theirs = importlib.import_module("tests.utils.simple_session").SimpleListSession
    for name, part in vars(Stored).items():
        if not name.startswith("__") or name == "__init__":
            setattr(theirs, name, part)
