"""What the tests of sessions share: a clock, heads, and loaded copies."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppingClock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The next second."""
        self.time += timedelta(seconds=1)
        return self.time


def a_head(**fields: Any) -> SessionHead:  # noqa: ANN401 - any field
    """The head of a session that was saved three times."""
    values = {"id": "s", "root_session_id": "s", "created_at": START, "updated_at": START, "revision": 3, **fields}
    return SessionHead(**values)


def loaded(*messages: Message, **fields: Any) -> Session:  # noqa: ANN401 - any field
    """A working copy of such a session."""
    return copy_of(Snapshot(a_head(**fields), FrozenMessages(messages)), SteppingClock())


def a_question(id: str) -> PendingQuestion:
    """An open question."""
    return PendingQuestion("call", "ask", "Go?", id=id, asked_at=START)
