"""Checking what is stored: the engine's own findings, and conversations that a provider would reject (L93)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bamboo_sessions.domain.call_groups import unanswered_calls
from bamboo_sessions.domain.errors import LeaseLostError, StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.reworking import rework
from bamboo_sessions.repository.terms import terms
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ListQuery

INTERRUPTED: Final = "[interrupted: this tool call has no result]"


async def check(self: Handle, *, repair: bool = False) -> CheckReport:
    """Look for what can't be right in this namespace: broken rows, derived data out of step, calls without results.

    Other namespaces' sessions are neither seen nor mended; `StoreAdmin.check` is for the whole store.

    Calls that wait for a person are in order. A call without a result may have been interrupted, or its agent may
    be running just now; sessions whose run status is `"running"` are therefore never mended. An open question is
    orphaned if the run that asked it through a lease died: nobody holds or held the session since, and the run
    status still says `"running"`. Of a run that had ended in order, or one without a lease, questions just wait.

    Args:
        repair: Mend what can be mended, after a backup where the engine keeps a file. Truth is never dropped: what
            can't be decoded is reported and left. Interrupted calls get a result that says so; should the real one
            come after all, it is the one that models are shown. Orphaned questions are withdrawn.
    """
    return await checked(self._bound.storage, self._bound.namespace, (self._bound,), repair=repair)


async def stats(self: Handle) -> dict[str, int]:
    """Counters of this namespace: what is stored of it, and how many of its sessions wait to be (`dirty_sessions`).

    How the cache and the locks of this process do is told by `persistence.stats()`.
    """
    stored = await self._bound.storage.stats(self._bound.namespace)
    return {**self._bound.tiers.tolerant.stats(self._bound.namespace), **stored}


async def checked(
    storage: SessionStorage, namespace: str | None, parts: Sequence[Bound], *, repair: bool
) -> CheckReport:
    """What is wrong in a namespace, or in the whole store (`None`), and in the conversations of `parts`."""
    report = await storage.check(namespace)
    conversations = [(bound, problem) for bound in parts for problem in await _check_conversations(bound)]
    if repair and (any(each.repair for each in report.problems) or any(each.repair for _, each in conversations)):
        report = await storage.check(namespace, repair=True)
        conversations = [(bound, await _mended(bound, problem)) for bound, problem in conversations]
    problems = (*report.problems, *(problem for _, problem in conversations))
    return msgspec.structs.replace(report, problems=problems)


async def _check_conversations(bound: Bound) -> list[Problem]:
    problems: list[Problem] = []
    try:
        async for head in bound.heads(ListQuery(bound.namespace, limit=PAGE_MAX, order="created_at")):
            problems.extend(await _check_conversation(bound, head))
    except StorageCorruptError as exc:  # a head can't be read, as storage has reported; nor can a listing then
        problems.append(Problem(kind="unchecked", detail=f"Not all conversations could be looked at: {exc}"))
    return problems


async def _check_conversation(bound: Bound, head: SessionHead) -> list[Problem]:
    try:
        state = await bound.storage.read(bound.key(head.id))
    except StorageCorruptError:  # storage has reported it
        return []
    if not isinstance(state, Snapshot):
        return []
    running = state.head.run_status == "running"
    return await _orphaned_questions(bound, state.head) + [
        Problem(
            kind="orphan_call",
            session_id=head.id,
            namespace=head.namespace,
            detail=f"Tool call {call.id!r} ({call.name}) has no result.",
            repair=None if running else "Adds a result that says that the call was interrupted.",
        )
        for _, call in interrupted_calls(state)
    ]


async def _orphaned_questions(bound: Bound, head: SessionHead) -> list[Problem]:
    token = await _dead_run(bound, head.id) if head.has_question and head.run_status == "running" else None
    return [
        Problem(
            kind="orphan_question",
            session_id=head.id,
            namespace=head.namespace,
            detail=f"Question {question.id!r} was asked by a run that died (lease {token}).",
            repair="Withdraws the question.",
        )
        for question in head.questions
        if question.is_open and question.lease_token == token is not None
    ]


async def _dead_run(bound: Bound, session_id: str) -> int | None:
    """The newest token of a session that nobody holds; `None` if somebody does, or there never was one."""
    view = await bound.storage.read_lease(bound.key(session_id))
    return None if view is None or view.state.is_held(view.now) else view.state.token or None


async def _mended(bound: Bound, problem: Problem) -> Problem:
    if problem.repair is None or problem.session_id is None:
        return problem
    if problem.kind == "orphan_question":
        return msgspec.structs.replace(problem, repaired=await _withdrawn(bound, problem.session_id))
    await rework(bound, problem.session_id, _answer_all, terms("repair"))
    return msgspec.structs.replace(problem, repaired=True)


async def _withdrawn(bound: Bound, session_id: str) -> bool:
    token = await _dead_run(bound, session_id)
    if token is None:
        return False
    try:
        await rework(bound, session_id, _withdraw_of(token), terms("repair"))
    except LeaseLostError:
        return False
    return True


def _withdraw_of(token: int) -> Callable[[Session], None]:
    """Withdraws the open questions that the run with this lease asked."""

    def change(session: Session) -> None:
        link_of(session).fence = token  # a run that takes over meanwhile may take up the question: then this is refused
        for question in session.questions:
            if question.is_open and question.lease_token == token:
                session.withdraw_question(question.id)

    return change


def interrupted_calls(snapshot: Snapshot | Session) -> list[tuple[int, ToolCall]]:
    """The tool calls without a result, each with the place that one would have; not those that wait for a person.

    Providers reuse call ids: of the calls with the id that an open question names, the newest waits.
    """
    questions = snapshot.questions if isinstance(snapshot, Session) else snapshot.head.questions
    waiting = {question.tool_call_id for question in questions if question.is_open}
    interrupted = []
    for place, call in reversed(unanswered_calls(snapshot.messages)):
        if call.id in waiting:
            waiting.remove(call.id)
        else:
            interrupted.append((place, call))
    return interrupted[::-1]


def _answer_all(session: Session) -> None:
    for place, call in reversed(interrupted_calls(session)):
        result = Message.tool(INTERRUPTED, tool_call_id=call.id, name=call.name, tool_success=False)
        session.messages.insert(place, result)
