"""Checking what is stored: the engine's own findings, and conversations that a provider would reject (L93)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.storage.query import ListQuery

IDLE: Final = timedelta(minutes=10)
"""A call without a result is an interrupted one only if the session wasn't touched for so long."""

INTERRUPTED: Final = "[interrupted: this tool call has no result]"


class Checking(Bound):
    """The consistency check."""

    async def check(self, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right: broken rows, derived data out of step, tool calls without results.

        Args:
            repair: Mend what can be mended, after a backup where the engine makes one. Truth is never dropped: what
                can't be decoded is reported and left. Calls that were interrupted get a result that says so.
        """
        report = await self._storage.check(repair=repair)
        problems = [*report.problems]
        try:
            async for head in self._all_heads():
                problems.extend(await self._check_conversation(head, repair=repair))
        except StorageCorruptError as exc:  # a head can't be read, as storage has reported; nor can a listing then
            problems.append(Problem(kind="unchecked", detail=f"Not all conversations could be looked at: {exc}"))
        return CheckReport(
            sessions=report.sessions, messages=report.messages, problems=tuple(problems), backup=report.backup
        )

    async def _all_heads(self) -> AsyncIterator[SessionHead]:
        cursor = None
        while True:
            query = ListQuery(self._namespace, limit=PAGE_MAX, cursor=cursor, order="created_at")
            page = await self._storage.list_heads(query)
            for head in page.heads:
                yield head
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _check_conversation(self, head: SessionHead, *, repair: bool) -> list[Problem]:
        try:
            state = await self._storage.read(self._key(head.id))
        except StorageCorruptError:  # storage has reported it
            return []
        if not isinstance(state, Snapshot) or self._clock.now() - state.head.updated_at < IDLE:
            return []
        missing = unanswered_calls(state)
        if missing and repair:
            await self._rework(head.id, _answer_all)
        return [
            Problem(
                kind="orphan_call",
                session_id=head.id,
                namespace=head.namespace,
                detail=f"Tool call {call_id!r} ({name}) has no result.",
                repair="Adds a result that says that the call was interrupted.",
                repaired=repair,
            )
            for call_id, name in missing
        ]


def unanswered_calls(snapshot: Snapshot | Session) -> list[tuple[str, str]]:
    """Ids and names of tool calls without a result, leaving out those that wait for a person."""
    questions = snapshot.questions if isinstance(snapshot, Session) else snapshot.head.questions
    waiting = {question.tool_call_id for question in questions if question.is_open}
    results = {message.tool_call_id for message in snapshot.messages if message.role == "tool"}
    return [
        (call.id, call.name)
        for message in snapshot.messages
        for call in message.tool_calls
        if call.id not in results and call.id not in waiting
    ]


def _answer_all(session: Session) -> None:
    for call_id, name in unanswered_calls(session):
        session.add_message(Message.tool(INTERRUPTED, tool_call_id=call_id, name=name, tool_success=False))
