"""Checking what is stored: the engine's own findings, and conversations that a provider would reject (L93)."""

from __future__ import annotations

from typing import Final

import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.storage.query import ListQuery

INTERRUPTED: Final = "[interrupted: this tool call has no result]"


class Checking(Bound):
    """The consistency check."""

    async def check(self, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right: broken rows, derived data out of step, tool calls without results.

        Calls that wait for a person are in order. A call without a result may have been interrupted, or its agent may
        be running just now; sessions whose run status is `"running"` are therefore never mended.

        Args:
            repair: Mend what can be mended, after a backup where the engine keeps a file. Truth is never dropped: what
                can't be decoded is reported and left. Interrupted calls get a result that says so; should the real one
                come after all, it is the one that models are shown.
        """
        report = await self._storage.check()
        conversations = await self._check_conversations()
        if repair and any(problem.repair for problem in (*report.problems, *conversations)):
            report = await self._storage.check(repair=True)
            conversations = [await self._mended(problem) for problem in conversations]
        return msgspec.structs.replace(report, problems=(*report.problems, *conversations))

    async def _check_conversations(self) -> list[Problem]:
        problems: list[Problem] = []
        try:
            async for head in self._heads(ListQuery(self._namespace, limit=PAGE_MAX, order="created_at")):
                problems.extend(await self._check_conversation(head))
        except StorageCorruptError as exc:  # a head can't be read, as storage has reported; nor can a listing then
            problems.append(Problem(kind="unchecked", detail=f"Not all conversations could be looked at: {exc}"))
        return problems

    async def _check_conversation(self, head: SessionHead) -> list[Problem]:
        try:
            state = await self._storage.read(self._key(head.id))
        except StorageCorruptError:  # storage has reported it
            return []
        if not isinstance(state, Snapshot):
            return []
        running = state.head.run_status == "running"
        return [
            Problem(
                kind="orphan_call",
                session_id=head.id,
                namespace=head.namespace,
                detail=f"Tool call {call_id!r} ({name}) has no result.",
                repair=None if running else "Adds a result that says that the call was interrupted.",
            )
            for call_id, name in unanswered_calls(state)
        ]

    async def _mended(self, problem: Problem) -> Problem:
        if problem.repair is None or problem.session_id is None:
            return problem
        await self._rework(problem.session_id, _answer_all)
        return msgspec.structs.replace(problem, repaired=True)


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
