"""The system under test beside the plain model, and the check that they agree."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from bamboo_sessions import (
    BambooSessionsError,
    Message,
    MessageIdConflictError,
    NoPendingQuestionError,
    QuestionAlreadyAnsweredError,
    Session,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
    SessionRepository,
    SqliteStorage,
    StorageTimeoutError,
    ToolCall,
)
from bamboo_sessions.domain.call_groups import groups_of
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, freeze
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance.kit import SECOND
from tests.model.plain import Kept, PlainStore, Refused, Work

T = TypeVar("T")

ERRORS: dict[str, type[BambooSessionsError]] = {
    "unknown": SessionNotFoundError,
    "deleted": SessionDeletedError,
    "conflict": MessageIdConflictError,
    "no question": NoPendingQuestionError,
    "answered": QuestionAlreadyAnsweredError,
    "exists": SessionExistsError,
}


class Storage(FaultyStorage):
    """A storage that can lose the answer to a commit; one that changed nothing leaves no trace to settle it by."""

    loses_next_answer = False

    async def commit(self, commit: Commit) -> Committed:
        """Pass on, and lose the answer if that was asked for."""
        committed = await super().commit(commit)
        if self.loses_next_answer and committed.changed and not committed.replayed:
            self.loses_next_answer = False
            raise StorageTimeoutError("The answer was lost on purpose.")
        return committed


@dataclass
class Copy:
    """A working copy, what the model knows of it, and the repository that it came from."""

    session: Session
    work: Work
    repository: SessionRepository


class Machine:
    """Repositories, the model, and the check that they agree."""

    two_repositories: ClassVar[bool] = True

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.plain = PlainStore()
        self.copies: list[Copy] = []
        self.originals: dict[tuple[str, int, str], Message] = {}  # by session, life and id: as it was first stored
        self.orphans: set[str] = set()
        self.times: dict[str, datetime] = {}
        self.number = 0
        self.steps = 0
        self.storages: list[Storage] = []
        self.repositories: list[SessionRepository] = []

    # --- the system under test

    def _storage(self) -> Storage:
        storage = SqliteStorage(Path(self.folder.name) / "sessions.db", durability="relaxed", clock=self.clock)
        return Storage(storage)

    def hear(self) -> None:
        """Hear of what others did, where that isn't known at once."""

    def open_repositories(self) -> None:
        """One repository with a usual cache, one that can keep hardly anything."""
        caches = (1_000_000, 6_000) if self.two_repositories else (1_000_000,)
        for cache_bytes_max in caches:
            storage = self._storage()
            opening = SessionRepository.open(storage, clock=self.clock, cache_bytes_max=cache_bytes_max)
            self.storages.append(storage)
            self.repositories.append(self.run(opening.__aenter__()))

    def check_at_the_end(self) -> None:
        """Read every revision back, let the engine check itself, and see that nothing waits any more."""
        self.hear()
        self.run(self._check_past())
        report = self.run(self.repositories[0].storage.check())
        assert report.ok, report.problems
        assert [self.run(repository.flush()) for repository in self.repositories] == [()] * len(self.storages)

    def close(self) -> None:
        """Close what was opened."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.folder.cleanup)
            stack.callback(self.runner.close)
            for repository in self.repositories:
                stack.callback(self._close, repository)

    def _close(self, repository: SessionRepository) -> None:
        self.run(repository.aclose())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call to its end."""
        return self.runner.run(call)

    def fresh_id(self, prefix: str) -> str:
        """An id that never was before."""
        self.number += 1
        return f"{prefix}{self.number}"

    def repository(self, number: int) -> SessionRepository:
        """One of the repositories."""
        return self.repositories[number % len(self.repositories)]

    def message(self, kind: int, ids: list[str]) -> Message:
        """A new message; a result belongs to one of the calls among `ids`, if there is one."""
        id_ = self.fresh_id("m")
        calls = [each for each in ids if each.startswith("call")]
        if kind == 1:
            id_ = self.fresh_id("call")
            return Message.assistant(f"text of {id_}", [ToolCall(f"id-{id_}", "tool")], id=id_)
        if kind == 2 and calls:
            return Message.tool(f"text of {id_}", tool_call_id=f"id-{calls[self.number % len(calls)]}", id=id_)
        return Message.user(f"text of {id_}", id=id_)

    # --- expectations

    def expect(self, call: Awaitable[T], plan: Callable[[], object]) -> T | None:
        """Do it in the model and in the system; both succeed or are refused alike."""
        expected: type[BambooSessionsError] | None = None
        try:
            plan()
        except Refused as refused:
            expected = ERRORS[refused.why]
        result, error = self.run(outcome_of(call))
        assert type(error) is (expected or type(None)), (expected, error)
        self.clock.move(SECOND)
        for storage in self.storages:
            storage.heal()
        return result

    def check(self, *touched: str) -> None:
        """Storage, a cache and the model agree about these sessions, and about which sessions live.

        Loads refresh caches, so only one of them is looked at, and sometimes none: the others are to grow old.
        """
        self.steps += 1
        looked_at = [self.repositories[self.steps // 3 % len(self.repositories)]] if self.steps % 3 else []
        if looked_at:
            self.hear()
        for sid in touched:
            self.run(self._check_session(sid, looked_at))
        self.run(self._check_listing())

    async def _check_session(self, sid: str, repositories: list[SessionRepository]) -> None:
        kept = self.plain.living.get(sid)
        state = await self.repositories[0].storage.read(SessionKey("default", sid))
        for repository in repositories:
            cached, fresh = await repository.load(sid), await repository.load(sid, fresh=True)
            assert _content(cached) == _content(fresh)
            if isinstance(state, Snapshot):
                assert _content(fresh) == _content(copy_of(state))
            else:
                assert fresh is None
        if kept is None:
            assert not isinstance(state, Snapshot)
            if state is not None:
                assert (state.revision, state.metadata_version) == self.plain.dead[sid]
            return
        assert isinstance(state, Snapshot)
        self._compare(kept, state)

    def _compare(self, kept: Kept, state: Snapshot) -> None:
        ids = [message.id for message in state.messages]
        assert len(ids) == len(set(ids)), "a message twice"
        assert {message.id: message.text for message in state.messages} == kept.texts
        if not kept.may_reorder:
            stayed = [id_ for id_ in kept.order if id_ in kept.texts]
            known = set(stayed)
            assert [id_ for id_ in ids if id_ in known] == stayed, "messages changed places"
        self._check_pairs(list(state.messages))
        head = state.head
        assert (head.title, head.pinned, head.metadata_version) == (kept.title, kept.pinned, kept.version)
        assert head.metadata == {**kept.values, **kept.notes}
        assert head.model == kept.model
        assert {q.id: (q.state, q.answer) for q in head.questions} == {
            id_: (question.state, question.answer) for id_, question in kept.questions.items()
        }
        assert head.incarnation == kept.incarnation
        assert head.message_count == len(ids)
        assert head.revision in {kept.revision, kept.revision + 1} or kept.revision == 0
        if head.revision == kept.revision:
            assert kept.past[kept.revision] == [(message.id, message.text) for message in state.messages]
        elif kept.revision:
            assert head.updated_at > self.times[kept.id]
        self._remember(kept, state, ids)

    def _check_pairs(self, messages: list[Message]) -> None:
        """A result stands in the group of its call, where no message parts them: providers accept nothing else.

        A result that once stood without its call stays where it is, also if somebody brings the call later.
        """
        made = {call.id for message in messages for call in message.tool_calls}
        answered: set[str] = set()
        for group in groups_of(messages):
            members = messages[group.start : group.end]
            calls = {call.id for message in members for call in message.tool_calls}
            answered |= {message.id for message in members if message.tool_call_id in calls}
        for message in messages:
            if message.role == "tool" and message.tool_call_id not in made:
                self.orphans.add(message.id)
            elif message.role == "tool" and message.id not in self.orphans:
                assert message.id in answered, "a call was parted from its result"

    def _remember(self, kept: Kept, state: Snapshot, ids: list[str]) -> None:
        kept.revision = state.revision
        kept.order = ids
        kept.may_reorder = False
        kept.past[state.revision] = [(message.id, message.text) for message in state.messages]
        self.times[kept.id] = state.head.updated_at
        for message in state.messages:
            self.originals.setdefault((kept.id, kept.incarnation, message.id), message)

    async def _check_listing(self) -> None:
        for repository in self.repositories:
            page = await repository.list_sessions(limit=1_000)
            rows = {head.id: (head.message_count, head.pinned, head.has_question) for head in page.sessions}
            assert rows == {
                sid: (len(kept.texts), kept.pinned, any(q.state == "open" for q in kept.questions.values()))
                for sid, kept in self.plain.living.items()
            }

    async def _check_past(self) -> None:
        for sid, kept in self.plain.living.items():
            await self._check_session(sid, self.repositories)
            for revision, messages in kept.past.items():
                page = await self.repositories[-1].history(sid, at_revision=revision, limit=1_000)
                assert [(message.id, message.text) for message in page.messages] == messages


def _content(session: Session | None) -> object:
    if session is None:
        return None
    draft = freeze(session)
    return draft.head, list(draft.messages)


async def outcome_of(call: Awaitable[T]) -> tuple[T | None, BambooSessionsError | None]:
    """The result of a call, or its error."""
    try:
        return await call, None
    except BambooSessionsError as error:
        return None, error
