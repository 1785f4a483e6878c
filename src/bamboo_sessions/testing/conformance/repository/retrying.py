"""Calls whose outcome is unknown, and their repetition by the commit's name: exactly once (G4, L118)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import pytest

from bamboo_sessions.domain.errors import InputError, SessionDeletedError, SessionExistsError, StorageUnavailableError
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase
from bamboo_sessions.testing.faults import FaultyStorage

QUESTION: Final = PendingQuestion("call", "ask", "When?", id="question", asked_at=START)
OTHER_QUESTION: Final = PendingQuestion("other", "ask", "Where?", id="other", asked_at=START)
USAGE: Final = TokenUsageRecord(id="usage", at=START, input_tokens=1)


def user(id: str) -> Message:
    """A message with this id and text."""
    return Message.user(id, id=id, created_at=START)


class Case(NamedTuple):
    """A writing call.

    Args:
        name: The call's.
        call: Makes it on a session, by this commit id.
        answer: What of its result is the same whenever it is asked for.
        storage: The port's call that it comes to.
        others_write: Whether others can write to the session between the call and its repetition.
    """

    name: str
    call: Callable[[SessionRepository, str, str | None], Awaitable[Any]]
    answer: Callable[[Any], object] = lambda _: None
    storage: str = "commit"
    others_write: bool = True


def _copy(id: str) -> Session:
    """A copy as a program makes it that has lost the one it had: by hand, and the same each time."""
    copy = Session(id, metadata={"old": True})
    copy.add_message(user("new"))
    return copy


async def _edit(sessions: SessionRepository, id: str, name: str | None) -> None:
    async with sessions.edit(id, commit_id=name) as session:
        session.metadata["count"] = session.metadata.get("count", 0) + 1


def _count(session: Session) -> None:
    session.metadata["count"] = session.metadata.get("count", 0) + 1


async def _save_as_fork(sessions: SessionRepository, id: str, name: str | None) -> object:
    return await sessions.save_as_fork(await sessions.get(id), commit_id=name)


def _ids(messages: Any) -> list[str]:  # noqa: ANN401 - messages of a session, or a tuple of them
    return [message.id for message in messages]


CASES: Final = (
    Case("create", lambda s, id, name: s.create(Session(f"{id}-new", title="New"), commit_id=name), lambda r: r.title),
    Case("save", lambda s, id, name: s.save(_copy(id), commit_id=name)),
    Case("checkpoint", lambda s, id, name: s.checkpoint(_copy(id), commit_id=name)),
    Case(
        "append",
        lambda s, id, name: s.append(id, Message.user("fresh"), user("a"), commit_id=name),
        lambda r: (r.revision, r.message_count),
    ),
    Case("append_token_usage_record", lambda s, id, name: s.append_token_usage_record(id, USAGE, commit_id=name)),
    Case("update", lambda s, id, name: s.update(id, _count, commit_id=name), lambda r: r.metadata["count"]),
    Case("edit", _edit),
    Case("rename", lambda s, id, name: s.rename(id, "New", commit_id=name), lambda r: r.title),
    Case("pin", lambda s, id, name: s.pin(id, commit_id=name), lambda r: r.pinned),
    Case("archive", lambda s, id, name: s.archive(id, commit_id=name), lambda r: r.archived),
    Case("set_value", lambda s, id, name: s.set_value(id, "k", 1, commit_id=name), lambda r: r.metadata["k"]),
    Case("remove_value", lambda s, id, name: s.remove_value(id, "old", commit_id=name), lambda r: dict(r.metadata)),
    Case("set_owner", lambda s, id, name: s.set_owner(id, "new", commit_id=name), lambda r: r.owner, "set_owner"),
    Case(
        "apply_generated_title",
        lambda s, id, name: s.apply_generated_title(id, "New", force=True, commit_id=name),
        lambda r: r.title,
    ),
    Case("ask", lambda s, id, name: s.ask(id, OTHER_QUESTION, commit_id=name), lambda r: len(r.questions)),
    Case("answer", lambda s, id, name: s.answer(id, "question", "Now", commit_id=name)),
    Case("truncate", lambda s, id, name: s.truncate(id, after_message_id="b", commit_id=name)),
    Case("clear", lambda s, id, name: s.clear(id, commit_id=name)),
    Case("remove_last", lambda s, id, name: s.remove_last(id, 2, commit_id=name), _ids),
    Case("replace_history", lambda s, id, name: s.replace_history(id, [user("x")], commit_id=name)),
    Case("fork", lambda s, id, name: s.fork(id, commit_id=name), lambda r: _ids(r.messages)),
    Case("save_as_fork", _save_as_fork, lambda r: _ids(r.messages)),
    Case("delete", lambda s, id, name: s.delete(id, commit_id=name), bool, "delete_tree", others_write=False),
    Case(
        "records.put",
        lambda s, id, name: s.records.put("k", "a", b"2", session=id, commit_id=name),
        lambda version: version > 0,
        "write_records",
    ),
    Case(
        "records.delete",
        lambda s, id, name: s.records.delete("k", "a", session=id, commit_id=name),
        storage="write_records",
    ),
    Case(
        "records.write",
        lambda s, id, name: s.records.write([RecordWrite("k", "b", b"1")], session=id, commit_id=name),
        lambda versions: versions[0] > 0,
        "write_records",
    ),
)
OF_ONE_SESSION: Final = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.storage != "write_records" and case.name not in {"create", "fork", "save_as_fork"}],
    ids=lambda case: case.name,
)
"""The calls whose commits belong to the session that they are made on."""
EACH: Final = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


async def planted(sessions: SessionRepository, id: str) -> None:
    """A session with some of everything."""
    session = Session(id, title="Old", metadata={"old": True})
    for message in (user("a"), user("b"), Message.assistant("", [ToolCall("call", "ask", {})], id="c")):
        session.add_message(message)
    session.set_pending_question(QUESTION)
    await sessions.create(session, records=[RecordWrite("k", "a", b"1")])


async def contents(sessions: SessionRepository, id: str) -> object:
    """All that the calls change, of the session and of those beside it."""
    session = await sessions.load(id)
    beside = [
        head async for head in sessions.iter_sessions() if head.id != id and (head.forked_from or "-new" in head.id)
    ]
    forks = sum(head.forked_from is not None and head.forked_from.session_id == id for head in beside)
    news = sum(head.id == f"{id}-new" for head in beside)
    if session is None:
        return forks, news
    texts = [message.text for message in session.messages]
    state = (
        session.title,
        session.pinned,
        session.archived,
        session.metadata,
        session.revision,
        session.metadata_version,
    )
    questions = [(question.id, question.is_open) for question in session.questions]
    records = [(record.key, record.value) async for record in sessions.records.scan("k", session=id)]
    calls = (await sessions.token_usage(id)).calls
    return forks, news, texts, state, questions, records, calls


class RetryingConformance(RepositoryCase):
    """Each writing call takes a commit id, an error names it, and a call with a known one answers as then."""

    async def _expected(self, case: Case, sessions: SessionRepository, others: SessionRepository) -> object:
        """What one call, and then somebody else's, come to."""
        await planted(sessions, "clean")
        answer = case.answer(await case.call(sessions, "clean", None))
        if case.others_write:
            await others.append("clean", user("later"))
        return answer, await contents(sessions, "clean")

    @EACH
    async def test_L118_a_lost_answer(
        self, case: Case, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """It was done, nobody said so, and somebody else has written since: repeated by name, it is done once."""
        expected = await self._expected(case, sessions, others)
        await planted(sessions, "lost")
        faults.fail(case.storage, after=True)
        faults.fail("find_commit")
        with pytest.raises(StorageUnavailableError) as lost:
            await case.call(sessions, "lost", None)
        assert lost.value.outcome_unknown
        assert lost.value.commit_id
        faults.heal()
        if case.others_write:
            await others.append("lost", user("later"))
        answer = case.answer(await case.call(others, "lost", lost.value.commit_id))
        assert (answer, await contents(sessions, "lost")) == expected

    @EACH
    async def test_L118_a_lost_request(
        self, case: Case, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """It was not done, and nobody could say so: repeated by name, it is done once."""
        expected = await self._expected(case, sessions, others)
        await planted(sessions, "lost")
        faults.fail(case.storage, unknown=True)
        faults.fail("find_commit")
        with pytest.raises(StorageUnavailableError) as lost:
            await case.call(sessions, "lost", "mine")
        assert lost.value.commit_id == "mine"
        faults.heal()
        answer = case.answer(await case.call(sessions, "lost", "mine"))
        if case.others_write:
            await others.append("lost", user("later"))
        assert (answer, await contents(sessions, "lost")) == expected

    @EACH
    async def test_L118_a_known_name_writes_nothing(
        self, case: Case, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Asked for again by its name, a call that was answered answers the same, and changes nothing."""
        await planted(sessions, "s")
        answer = case.answer(await case.call(sessions, "s", "mine"))
        before = await contents(sessions, "s")
        assert case.answer(await case.call(others, "s", "mine")) == answer
        assert await contents(others, "s") == before

    @OF_ONE_SESSION
    @pytest.mark.parametrize("first", ["append", "rename", "remove_last"])
    async def test_a_name_of_another_call(self, case: Case, first: str, sessions: SessionRepository) -> None:
        """G4: a name that another kind of call was made with is refused, never taken for done, whoever wrote since."""
        await planted(sessions, "s")
        await next(each for each in CASES if each.name == first).call(sessions, "s", "mine")
        await sessions.append("s", user("later"))
        before = await contents(sessions, "s")
        if case.name != first:
            with pytest.raises(InputError, match="mine") as refused:
                await case.call(sessions, "s", "mine")
            assert refused.value.hint
        assert await contents(sessions, "s") == before

    async def test_a_repetition_with_fresh_messages(self, sessions: SessionRepository) -> None:
        """G4: the name decides: it is answered as then, and what isn't stored is no duplicate."""
        await planted(sessions, "s")
        first = await sessions.append("s", user("a"), user("x"), commit_id="mine")
        await sessions.append("s", user("later"))
        assert first.duplicates == ("a",)
        assert await sessions.append("s", user("a"), user("x"), commit_id="mine") == first
        again = await sessions.append("s", user("a"), user("fresh"), user("later"), commit_id="mine")
        assert (again.revision, again.duplicates) == (first.revision, ("a", "later"))
        assert _ids((await sessions.get("s")).messages) == ["a", "b", "c", "x", "later"]

    async def test_names_belong_to_a_session(self, sessions: SessionRepository) -> None:
        """The name of a commit of one session is none for another: that call is done, not answered with the other's."""
        await planted(sessions, "s")
        await planted(sessions, "t")
        assert (await sessions.append("s", user("x"), commit_id="mine")).revision == 2
        await sessions.append("t", user("y"), user("z"), commit_id="mine")
        assert _ids((await sessions.get("t")).messages) == ["a", "b", "c", "y", "z"]

    @EACH
    async def test_a_name_that_can_not_be(self, case: Case, sessions: SessionRepository) -> None:
        """What is no commit id is refused with a hint, and nothing is written."""
        await planted(sessions, "s")
        before = await contents(sessions, "s")
        for wrong in ("", "x" * 129, "a\nb", 7):
            with pytest.raises(InputError) as refused:
                await case.call(sessions, "s", wrong)  # type: ignore[arg-type]
            assert refused.value.hint
        assert await contents(sessions, "s") == before

    async def test_L118_a_lost_answer_that_the_store_finds(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """It was done and the store found that out: nobody is told that it failed, whether it can be read or not."""
        await planted(sessions, "s")
        await sessions.load("s", fresh=True)
        faults.fail("commit", after=True)
        faults.fail("read_head")
        assert (await sessions.rename("s", "New")).title == "New"
        faults.heal()
        assert (await sessions.get("s")).revision == 2

    async def test_L118_preconditions_hold_for_the_first_call_only(self, sessions: SessionRepository) -> None:
        """What a call asked for was true when it was made: that it isn't any more doesn't refuse its repetition."""
        await planted(sessions, "s")
        for _ in range(2):
            await sessions.truncate("s", after_message_id="a", if_revision=1, commit_id="one")
        copy = await sessions.get("s")
        copy.add_message(user("x"))
        twin = copy.copy()
        await sessions.save(copy, if_revision=2, if_last_message="a", commit_id="two")
        assert (await sessions.save(twin, if_revision=2, if_last_message="a", commit_id="two")).revision == 3
        assert (await sessions.get("s")).revision == 3

    async def test_L118_what_was_made_and_deleted_since_stays_deleted(self, sessions: SessionRepository) -> None:
        """A creation or a fork that is asked for again by name doesn't bring back what somebody deleted."""
        await sessions.create(Session("new"), commit_id="made")
        await sessions.delete("new")
        with pytest.raises((SessionDeletedError, SessionExistsError)):
            await sessions.create(Session("new"), commit_id="made")
        await planted(sessions, "s")
        fork = await sessions.fork("s", commit_id="forked")
        await sessions.delete(fork.id)
        with pytest.raises(SessionDeletedError):
            await sessions.fork("s", commit_id="forked")

    async def test_L118_a_fork_outlives_its_original(self, sessions: SessionRepository) -> None:
        """A fork whose answer was lost is found by its name, also when the original is gone since."""
        await planted(sessions, "s")
        fork = await sessions.fork("s", commit_id="forked")
        await sessions.delete("s")
        again = await sessions.fork("s", commit_id="forked")
        assert (again.id, _ids(again.messages)) == (fork.id, ["a", "b", "c"])

    async def test_one_name_for_two_forks(self, sessions: SessionRepository) -> None:
        """The name of one session's fork is none for another's: that is refused, not answered with the wrong one."""
        await planted(sessions, "s")
        await planted(sessions, "t")
        await sessions.fork("s", commit_id="forked")
        with pytest.raises(SessionExistsError):
            await sessions.fork("t", commit_id="forked")

    async def test_L118_what_was_added_before_a_repetition_stays_in_the_copy(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """A copy that went on changing is saved again by name: what is new is in no commit, and not lost with it."""
        await planted(sessions, "s")
        copy = await sessions.get("s")
        copy.add_message(user("x"))
        faults.fail("commit", after=True)
        faults.fail("find_commit")
        with pytest.raises(StorageUnavailableError) as lost:
            await sessions.save(copy)
        faults.heal()
        for save in (sessions.save, sessions.checkpoint):
            copy.add_message(user(save.__name__))
            del copy.messages[0]
            report = await save(copy, commit_id=lost.value.commit_id)
            assert (report.revision, report.removed, report.duplicates) == (2, (), ())
        assert _ids(copy.messages) == ["c", "x", "save", "checkpoint"]
        assert _ids((await others.get("s")).messages) == ["a", "b", "c", "x"]
        await sessions.save(copy)
        assert _ids((await others.get("s")).messages) == ["c", "x", "save", "checkpoint"]

    async def test_L118_work_that_waits_is_accepted_once(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """A tolerant save is asked for again by name while it waits: what was added since stays in the copy."""
        await planted(sessions, "s")
        copy = await sessions.get("s")
        with faults.fail("commit", times=None):
            for id in ("x", "y"):
                copy.add_message(user(id))
                assert not await sessions.save_best_effort(copy, commit_id="mine")
            assert _ids((await sessions.get("s")).messages) == ["a", "b", "c", "x"]
        assert await sessions.flush() == ()
        assert _ids(copy.messages) == ["a", "b", "c", "x", "y"]
        await sessions.save(copy)
        assert _ids((await sessions.get("s")).messages) == ["a", "b", "c", "x", "y"]

    async def test_L118_accepted_work_outlives_a_name_that_was_used(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """Work that was accepted under the name of an earlier commit isn't taken for that one."""
        await planted(sessions, "s")
        copy = await sessions.get("s")
        copy.add_message(user("x"))
        assert await sessions.save_best_effort(copy, commit_id="mine")
        copy.add_message(user("y"))
        with faults.fail("commit", times=None), faults.fail("find_commit", times=None):
            assert not await sessions.save_best_effort(copy, commit_id="mine")
        assert await sessions.flush() == ()
        assert _ids((await sessions.get("s")).messages) == ["a", "b", "c", "x", "y"]
