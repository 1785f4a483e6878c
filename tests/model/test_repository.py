"""The repository against a plain model, under random interleavings of everything that can be done to sessions.

Several working copies of any age, two repositories on one SQLite file (one of them with hardly any cache), deletions
and new lives, lost answers of storage. After each step storage, a cached load and a fresh load have to agree with one
another and with the model (G2, G4, G5, G6, G7, G9).
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bamboo_sessions import (
    BambooSessionsError,
    MemoryStorage,
    Message,
    MessageIdConflictError,
    NoPendingQuestionError,
    PendingQuestion,
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
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, Committed, SessionKey
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance.kit import SECOND
from tests.model.plain import Kept, PlainStore, Refused, Work

T = TypeVar("T")

IDS = ("a", "b")
COPIES_MAX = 4

ERRORS: dict[str, type[BambooSessionsError]] = {
    "unknown": SessionNotFoundError,
    "deleted": SessionDeletedError,
    "conflict": MessageIdConflictError,
    "no question": NoPendingQuestionError,
    "answered": QuestionAlreadyAnsweredError,
    "exists": SessionExistsError,
}

sids = st.sampled_from(IDS)
numbers = st.integers(0, 15)


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


class Sessions(RuleBasedStateMachine):
    """Everything that writers do, in any order."""

    two_repositories: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
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
        storage = SqliteStorage(Path(self.folder.name) / "sessions.db", durability="relaxed")
        return Storage(storage)

    @initialize()
    def open(self) -> None:
        """One repository with a usual cache, one that can keep hardly anything."""
        caches = (1_000_000, 6_000) if self.two_repositories else (1_000_000,)
        for cache_bytes_max in caches:
            storage = self._storage()
            opening = SessionRepository.open(storage, clock=self.clock, cache_bytes_max=cache_bytes_max)
            self.storages.append(storage)
            self.repositories.append(self.run(opening.__aenter__()))
        self.append("a", 0, [0, 3, 3], create=True)

    def teardown(self) -> None:
        """Read every revision back, let the engine check itself, close."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.folder.cleanup)
            stack.callback(self.runner.close)
            for repository in self.repositories:
                stack.callback(self._close, repository)
            if self.repositories:
                self.run(self._check_past())
                report = self.run(self.repositories[0].storage.check())
                assert report.ok, report.problems
                assert [self.run(repository.flush()) for repository in self.repositories] == [()] * len(self.storages)

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
        if kind == 0:
            id_ = self.fresh_id("call")
            return Message.assistant(f"text of {id_}", [ToolCall(f"id-{id_}", "tool")], id=id_)
        if kind == 1 and calls:
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
        result, error = self.run(_outcome(call))
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
                assert _content(fresh) == _content(Session.from_snapshot(state))
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
        """Between a call and its results stand only results: providers accept nothing else.

        A result that once stood without its call stays where it is, also if somebody brings the call later.
        """
        places = {call.id: index for index, message in enumerate(messages) for call in message.tool_calls}
        for index, message in enumerate(messages):
            call = places.get(message.tool_call_id or "")
            if message.role == "tool" and call is None:
                self.orphans.add(message.id)
            elif call is not None and message.id not in self.orphans:
                assert call < index, "a result in front of its call"
                between = messages[call + 1 : index]
                assert all(each.role == "tool" for each in between), "a call was parted from its result"

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

    # --- the rules: few, for hypothesis switches whole rules off in many of its runs

    @rule(
        what=st.sampled_from(
            ["load", "twin", "add", "add", "rework", "rework", "field", "ask", "save", "save", "down"]
        ),
        sid=sids,
        number=numbers,
        value=numbers,
        flag=st.booleans(),
    )
    def run_works(self, what: str, sid: str, number: int, value: int, flag: bool) -> None:
        """A run does something with a working copy of any age."""
        if what == "load" or not self.copies:
            self.load(sid, number)
        elif what == "twin":
            self.twin(number)
        elif what == "add":
            self.add(number, [value % 4, number % 4][: 1 + flag])
        elif what == "rework" and any(copy.session.messages for copy in self.copies):
            self.rework(number, value, ("insert", "edit", "remove", "replace")[(value + 2 * flag) % 4])
        elif what == "field" and any(copy.work.seen for copy in self.copies):
            self.set_field(number, value, ("model", "note", "forget", "title")[(value + flag) % 4])
        elif what == "ask":
            self.question(number, ("ask", "withdraw", "consume")[value % 3])
        elif what == "save":
            copy = self.copy(number)
            if value % 3 == 1:
                self.twin(number)  # somebody has the same work, and will save it later
            self.save(copy, additions_only=value == 0, elsewhere=flag)
        elif what == "down":
            self.save_while_storage_is_down(number)

    @rule(
        what=st.sampled_from(["append", "append", "append again", "update", "author", "author", "ask", "answer"]),
        sid=sids,
        repo=numbers,
        value=numbers,
        flag=st.booleans(),
    )
    def somebody_changes(self, what: str, sid: str, repo: int, value: int, flag: bool) -> None:
        """Somebody changes the latest state."""
        which = value * 3 + repo
        if what == "append":
            self.append(sid, repo, [value % 4, which % 4][: 1 + flag], create=value % 2 == 0)
        elif what == "append again" and self.originals:
            self.append_again(which, repo, other=flag)
        elif what == "update":
            self.update(sid, repo, value, block=flag)
        elif what == "author":
            self.author(sid, repo, value, ("rename", "pin", "set", "remove")[which % 4])
        elif what == "ask":
            self.ask(sid, repo, value)
        elif what == "answer" and any(kept.questions for kept in self.plain.living.values()):
            self.answer(value, repo, int(flag))

    @rule(
        what=st.sampled_from(
            ["remove", "remove", "rewrite", "rewrite", "create", "child", "delete", "clean", "fork", "lose", "lose"]
        ),
        sid=sids,
        repo=numbers,
        value=numbers,
    )
    def something_happens(self, what: str, sid: str, repo: int, value: int) -> None:
        """Histories are rewritten, sessions begin and end, storage has trouble."""
        if what == "remove":
            self.remove_last(sid, repo, 1 + value % 3)
        elif what == "rewrite" and any(kept.order for kept in self.plain.living.values()):
            self.rewrite(value, repo, value // 2, ("truncate", "clear", "replace", "replace")[value % 4])
        elif what == "create":
            self.create(sid, repo)
        elif what == "child":
            self.create_child(sid, repo)
        elif what == "delete":
            self.delete(sid, repo)
        elif what == "clean":
            self.clean_up(repo)
        elif what == "fork":
            self.fork(sid, repo, value)
        elif what == "lose":
            self.lose_an_answer(repo, ("commit", "commit", "freshness", "peek")[value % 4])

    # --- working copies

    def load(self, sid: str, repo: int) -> None:
        """Somebody takes a working copy."""
        repository = self.repository(repo)

        def begin() -> Work:
            if sid in self.plain.dead:
                raise Refused("deleted")
            return self.plain.begin(sid)

        session = self.expect(repository.load_or_create(sid), begin)
        if session is not None:
            self._add_copy(Copy(session, self.plain.begin(sid), repository))

    def _add_copy(self, copy: Copy) -> None:
        self.copies.append(copy)
        if len(self.copies) > COPIES_MAX:
            self.copies.pop(0)

    def forget(self, copy: Copy) -> None:
        """A copy is thrown away."""
        self.copies = [each for each in self.copies if each is not copy]

    def copy(self, number: int) -> Copy:
        """One of the copies."""
        return self.copies[number % len(self.copies)]

    def twin(self, number: int) -> None:
        """Somebody copies a copy, unsaved work included."""
        one = self.copy(number)
        self._add_copy(Copy(one.session.copy(), _copied(one.work), one.repository))

    def add(self, number: int, kinds: list[int]) -> None:
        """A copy gets messages at its end."""
        copy = self.copy(number)
        for kind in kinds:
            message = self.message(kind, [m.id for m in copy.session.messages])
            copy.session.add_message(message)
            copy.work.added[message.id] = message.text

    def rework(self, number: int, place: int, how: str) -> None:
        """A copy's history is changed inside."""
        copies = [copy for copy in self.copies if copy.session.messages]
        copy = copies[number % len(copies)]
        messages, work = copy.session.messages, copy.work
        index = place % len(messages)
        old = messages[index]
        if how == "edit":
            text = f"edit {self.fresh_id('')}"
            messages[index] = msgspec.structs.replace(old, content=text)
            work.edit(old.id, text)
        elif how == "remove":
            del messages[index]
            work.remove(old.id)
        elif old.role != "tool":  # never between a call and its results
            new = self.message(3, [])
            if how == "insert":
                messages.insert(index, new)
            else:
                end = next((i for i in range(index + 1, len(messages)) if messages[i].role != "tool"), len(messages))
                for message in messages[index:end]:
                    work.remove(message.id)
                messages[index:end] = [new]
            work.added[new.id] = new.text

    def set_field(self, number: int, value: int, what: str) -> None:
        """A copy's fields are changed."""
        copies = [copy for copy in self.copies if copy.work.seen]
        copy = copies[number % len(copies)]
        session, work = copy.session, copy.work
        assert work.seen is not None
        name = f"note{value % 2}"
        if what == "model":
            session.model = f"model {value}"
            work.model = session.model if session.model != work.seen.model else None
        elif what == "title":
            session.title = f"copy's title {value}"
            work.title = session.title
        else:
            note = value if what == "note" else None
            session.metadata.pop(name, None)
            if note is not None:
                session.metadata[name] = note
            work.notes.pop(name, None)
            if note != work.seen.notes.get(name):
                work.notes[name] = note

    def question(self, number: int, what: str) -> None:
        """A run asks, withdraws its questions, or takes an answer up."""
        copy = self.copy(number)
        session, work = copy.session, copy.work
        if what == "ask":
            id_ = self.fresh_id("q")
            session.set_pending_question(PendingQuestion(f"no call {id_}", "ask", "?", id=id_))
            work.asked.add(id_)
        elif what == "withdraw":
            work.withdrawn |= {question.id for question in session.questions if question.is_open}
            session.clear_pending_question()
        else:
            for question in session.questions:
                if question.state == "answered":
                    session.consume_question(question.id)
                    work.consumed.add(question.id)

    def save(self, copy: Copy, *, additions_only: bool, elsewhere: bool) -> None:
        """A copy is saved or checkpointed, by its repository or by another one; afterwards it is up to date."""
        repository = self.repository(self.repositories.index(copy.repository) + elsewhere)
        write = repository.checkpoint if additions_only else repository.save
        work = copy.work
        report = self.expect(write(copy.session), lambda: self.plain.save(work, additions_only=additions_only))
        self.check(work.sid)
        if report is None:
            self.forget(copy)  # refused for good
            return
        kept = self.plain.living[work.sid]
        assert report.revision == kept.revision == copy.session.revision
        copy.work = self.plain.rework(work, additions_only=additions_only)
        expected = {id_: copy.work.edited.get(id_, text) for id_, text in kept.texts.items()}
        for id_ in copy.work.removed:
            del expected[id_]
        assert {message.id: message.text for message in copy.session.messages} == expected
        if not additions_only:
            assert copy.session.is_clean
            assert [message.id for message in copy.session.messages] == kept.order

    def save_while_storage_is_down(self, number: int) -> None:
        """A tolerant save waits in memory, is seen by loads, and becomes durable once storage is back."""
        copy = self.copy(number)
        work, repository = copy.work, copy.repository
        self.forget(copy)
        before = self.plain.living.get(work.sid)
        known = before.known if before else {}
        with self.storages[self.repositories.index(repository)].fail("commit", times=None):
            durable, error = self.run(_outcome(repository.save_best_effort(copy.session)))
            former_life = before is not None and work.seen is not None and before.incarnation != work.incarnation
            if durable is False and not former_life:
                shown = self.run(repository.load(work.sid))
                assert shown is None or {m.id for m in shown.messages} >= set(work.added) - set(known)
        unsaved = [each.code for each in self.run(repository.flush())]
        if error is not None:
            unsaved.append(error.code)
        expected: list[str] = []
        try:
            self.plain.save(work)
        except Refused as refused:
            expected.append(ERRORS[refused.why].code)
        assert unsaved == expected
        self.clock.move(SECOND)
        self.check(work.sid)

    # --- changes of the latest state

    def append(self, sid: str, repo: int, kinds: list[int], create: bool) -> None:
        """Messages are appended without loading."""
        kept = self.plain.living.get(sid)
        messages = [self.message(kind, kept.order if kept else []) for kind in kinds]

        def plan() -> None:
            target = self.plain.living.get(sid)
            if target is None and create and sid not in self.plain.dead:
                target = self.plain.create(sid)
            target = target or self.plain.state(sid)
            for message in messages:
                target.store(message.id, message.text)

        appended = self.expect(self.repository(repo).append(sid, *messages, create=create), plan)
        self.check(sid)
        assert appended is None or appended.revision == self.plain.living[sid].revision

    def append_again(self, which: int, repo: int, other: bool) -> None:
        """A message of some time ago is appended again, as it was, or with other content."""
        (sid, incarnation, id_), message = list(self.originals.items())[which % len(self.originals)]
        if other:
            message = msgspec.structs.replace(message, content=f"other {self.fresh_id('')}")

        def plan() -> None:
            kept = self.plain.state(sid)
            if kept.incarnation != incarnation:
                raise Refused("deleted")
            if message.text not in kept.known[id_]:
                raise Refused("conflict")

        call = self.repository(repo).append(sid, message, incarnation=incarnation)
        appended = self.expect(call, plan)
        assert appended is None or appended.duplicates == (id_,)
        self.check(sid)

    def update(self, sid: str, repo: int, value: int, block: bool) -> None:
        """The latest state is changed by a function, or in a block."""
        repository = self.repository(repo)
        message = self.message(3, [])

        def change(session: Session) -> None:
            session.add_message(message)
            session.model = f"model {value}"
            session.title = f"title {value}"

        async def in_block() -> None:
            async with repository.edit(sid) as session:
                change(session)

        def plan() -> None:
            kept = self.plain.state(sid)
            kept.store(message.id, message.text)
            kept.model = f"model {value}"
            if kept.title != f"title {value}":
                kept.title = f"title {value}"
                kept.bump()

        self.expect(in_block() if block else repository.update(sid, change), plan)
        self.check(sid)

    def author(self, sid: str, repo: int, value: int, what: str) -> None:
        """A person renames, pins, or sets values."""
        repository = self.repository(repo)
        name = f"value{value % 2}"
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "rename": lambda: repository.rename(sid, f"person's {value}"),
            "pin": lambda: repository.pin(sid, pinned=value % 2 == 0),
            "set": lambda: repository.set_value(sid, name, value),
            "remove": lambda: repository.remove_value(sid, name),
        }

        def plan() -> None:
            kept = self.plain.state(sid)
            before = (kept.title, kept.pinned, dict(kept.values))
            if what == "rename":
                kept.title = f"person's {value}"
            elif what == "pin":
                kept.pinned = value % 2 == 0
            elif what == "set":
                kept.values[name] = value
            else:
                kept.values.pop(name, None)
            if before != (kept.title, kept.pinned, kept.values):
                kept.bump()

        self.expect(calls[what](), plan)
        self.check(sid)

    def ask(self, sid: str, repo: int, value: int) -> None:
        """A question is asked on the latest state, for a call or not."""
        kept = self.plain.living.get(sid)
        calls = [id_ for id_ in kept.order if id_.startswith("call")] if kept else []
        id_ = self.fresh_id("q")
        call_id = f"id-{calls[value % len(calls)]}" if calls else "no call"

        def plan() -> None:
            self.plain.save(_asking(self.plain, sid, id_))

        self.expect(self.repository(repo).ask(sid, PendingQuestion(call_id, "ask", "?", id=id_)), plan)
        self.check(sid)

    def answer(self, which: int, repo: int, value: int) -> None:
        """A person answers a question, the first time or again."""
        asked = [(kept.id, id_) for kept in self.plain.living.values() for id_ in kept.questions]
        sid, id_ = asked[which % len(asked)]
        text = f"answer {value}"
        self.expect(self.repository(repo).answer(sid, id_, text), lambda: self.plain.answer(sid, id_, text))
        self.check(sid)

    # --- rewriting

    def remove_last(self, sid: str, repo: int, n: int) -> None:
        """The last messages are taken."""

        def plan() -> None:
            kept = self.plain.state(sid)
            for id_ in kept.order[-n:]:
                del kept.texts[id_]

        before = self.plain.living[sid].order if sid in self.plain.living else []
        removed = self.expect(self.repository(repo).remove_last(sid, n), plan)
        assert removed is None or [message.id for message in removed] == before[-n:]
        self.check(sid)

    def rewrite(self, which: int, repo: int, place: int, how: str) -> None:
        """A history is cut, cleared, or written anew in another order."""
        full = [kept for kept in self.plain.living.values() if kept.order]
        kept = full[which % len(full)]
        repository = self.repository(repo)
        index = place % len(kept.order)
        call: Awaitable[object]
        if how == "truncate":
            gone = kept.order[index + 1 :]
            call = repository.truncate(kept.id, after_message_id=kept.order[index])
        elif how == "clear":
            gone = list(kept.order)
            call = repository.clear(kept.id)
        else:
            state = self.run(repository.get(kept.id))
            users = [message for message in state.messages if message.role == "user"]
            new = [*users[index:], self.message(3, []), *users[:index]]
            gone = [id_ for id_ in kept.order if id_ not in {message.id for message in new}]
            call = repository.replace_history(kept.id, new)

        def plan() -> None:
            for id_ in gone:
                del kept.texts[id_]
            if how == "clear":
                for question in kept.questions.values():
                    question.state = "withdrawn" if question.state == "open" else question.state
            if how == "replace":
                kept.may_reorder = True
                for message in new:
                    kept.store(message.id, message.text)

        self.expect(call, plan)
        self.check(kept.id)

    # --- lives

    def create(self, sid: str, repo: int) -> None:
        """A session is created, also where one was deleted."""

        def plan() -> None:
            if sid in self.plain.living:
                raise Refused("exists")
            self.plain.create(sid)

        self.expect(self.repository(repo).create(Session(sid, clock=self.clock)), plan)
        self.check(sid)

    def create_child(self, sid: str, repo: int) -> None:
        """A child is created below a session, if that lives by then."""
        child = Session(sid, clock=self.clock).new_child(f"{sid}-child")

        def plan() -> None:
            if child.id in self.plain.living:
                raise Refused("exists")
            self.plain.state(sid)
            self.plain.create(child.id, parent=sid)

        self.expect(self.repository(repo).create(child), plan)
        self.check(sid, child.id)

    def delete(self, sid: str, repo: int) -> None:
        """A tree is deleted."""
        existed = self.plain.tree(sid) if sid in self.plain.living else []
        deleted = self.expect(self.repository(repo).delete(sid), lambda: self.plain.delete(sid))
        assert deleted is (sid in existed)
        self.check(sid, *existed)

    def clean_up(self, repo: int) -> None:
        """Empty trees are cleaned away, pinned ones aren't."""
        empty = self.plain.empty_trees()
        report = self.expect(self.repository(repo).cleanup("empty"), lambda: [self.plain.delete(s) for s in empty])
        assert report is not None
        assert set(report.deleted) == empty, (report, empty)
        self.check(*empty)

    def fork(self, sid: str, repo: int, place: int) -> None:
        """A session is forked, now or at one of its revisions."""
        kept = self.plain.living.get(sid)
        revisions = list(kept.past) if kept else []
        at = revisions[place % len(revisions)] if revisions and place % 2 else None
        new = self.fresh_id("fork")

        def plan() -> None:
            original = self.plain.state(sid)
            fork = self.plain.create(new)
            for id_, text in original.past[original.revision if at is None else at]:
                fork.store(id_, text)
            fork.title, fork.model = original.title, original.model
            fork.values, fork.notes = dict(original.values), dict(original.notes)

        self.expect(self.repository(repo).fork(sid, new_id=new, at_revision=at), plan)
        self.check(sid, new)

    # --- trouble

    def lose_an_answer(self, repo: int, call: str) -> None:
        """The next commit's answer is lost, or freshness can't be told: nobody should notice."""
        storage = self.storages[repo % len(self.storages)]
        if call == "commit":
            storage.loses_next_answer = True
        else:
            storage.fail(call, times=3)


class SessionsInMemory(Sessions):
    """One repository on the reference engine."""

    two_repositories = False

    def _storage(self) -> Storage:
        return Storage(MemoryStorage())


def _copied(work: Work) -> Work:
    twin = Work(work.sid, work.base_revision, work.incarnation, work.seen)
    for name in ("added", "removed", "edited", "notes", "asked", "withdrawn", "consumed"):
        setattr(twin, name, getattr(work, name).copy())
    twin.title, twin.model = work.title, work.model
    return twin


def _asking(plain: PlainStore, sid: str, id: str) -> Work:
    plain.state(sid)
    work = plain.begin(sid)
    work.asked.add(id)
    return work


def _content(session: Session | None) -> object:
    if session is None:
        return None
    draft = session.freeze()
    return draft.head, list(draft.messages)


async def _outcome(call: Awaitable[T]) -> tuple[T | None, BambooSessionsError | None]:
    try:
        return await call, None
    except BambooSessionsError as error:
        return None, error


TestSessions = Sessions.TestCase
TestSessions.settings = settings(stateful_step_count=40)
TestSessionsInMemory = SessionsInMemory.TestCase
TestSessionsInMemory.settings = settings(stateful_step_count=40)
