"""Agno, `SqliteDb`: WAL, synchronous = FULL (SQLite's default). A turn is a run.

An agent saves the session's row and the run's row at the end of a run: two transactions. The database is synchronous,
and agents call it on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from uuid import uuid4

from agno.db.base import SessionType
from agno.db.sqlite import SqliteDb
from agno.models.message import Message
from agno.run.agent import RunOutput
from agno.run.base import RunStatus
from agno.session import AgentSession

from benchmarks.stores.base import Store, owner_of

_AGENT = "bench"


class Agno(Store):
    """The database, and the session objects in hand."""

    bulk = False

    async def open(self) -> None:
        self._db = SqliteDb(db_file=str(self.path))
        self._sessions: dict[str, AgentSession] = {}
        self._seconds = count(int(time.monotonic()))

    async def close(self) -> None:
        self._db.close()

    async def prepare(self, session: str) -> None:
        found = self._db.get_session(session, session_type=SessionType.AGENT)
        self._sessions[session] = found or AgentSession(session, agent_id=_AGENT, session_data={}, runs=[])

    async def append(self, session: str, texts: Sequence[str]) -> None:
        held = self._sessions[session]
        for start in range(0, len(texts), 2):
            said = [Message(role="assistant" if n % 2 else "user", content=t) for n, t in enumerate(texts[start:][:2])]
            run = RunOutput(
                run_id=str(uuid4()),
                agent_id=_AGENT,
                session_id=session,
                messages=said,
                content=said[-1].content,
                status=RunStatus.completed,
            )
            held.runs.append(run)
            self._db.upsert_session(held)
            self._db.upsert_run(run, session_id=session, run_index=len(held.runs) - 1)

    async def load(self, session: str) -> int:
        found = self._db.get_session(session, session_type=SessionType.AGENT)
        return 0 if found is None else sum(len(run.messages) for run in found.runs)

    async def last(self, session: str, count: int) -> int:
        found = self._db.get_session(session, session_type=SessionType.AGENT, runs_limit=count // 2)
        return sum(len(run.messages) for run in found.runs)

    async def add_sessions(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            name = f"chat-{number}"
            self._db.upsert_session(AgentSession(name, agent_id=_AGENT, user_id=owner_of(number), session_data={}))

    async def page(self, owner: str | None) -> int:
        order = {"sort_by": "updated_at", "sort_order": "desc", "include_runs": False}
        found = self._db.get_sessions(session_type=SessionType.AGENT, user_id=owner, limit=50, **order)
        return len(found)


STORE = Agno
