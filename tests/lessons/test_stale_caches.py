"""Lessons L14 to L25: how a cache brings old state back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from bamboo_sessions import (
    Message,
    PendingQuestion,
    PreconditionFailedError,
    Session,
    SessionRepository,
    StorageTimeoutError,
    StorageUnavailableError,
    ToolCall,
)
from bamboo_sessions.domain.clock import now
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.testing.clock import ManualClock
from tests.lessons.watched import WatchedStorage, texts

pytestmark = pytest.mark.anyio


def asking(question: str = "Shall I?") -> PendingQuestion:
    """An open question."""
    return PendingQuestion("call-1", "ask", question, id="q1")


async def test_L14_an_answered_question_does_not_come_back(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """After another process answered, neither reconciling nor the cache shows the question as open again."""
    await sessions.ask("chat", asking())
    assert (await sessions.get("chat")).pending_question
    await others.answer("chat", "q1", "yes")
    found = await sessions.load_merged("chat")
    assert found is not None
    assert found.pending_question is None
    cached = sessions.cache.get("chat")
    assert cached is not None
    assert cached.pending_question is None


async def test_L14_an_older_storage_copy_neither_wins_nor_is_cached() -> None:
    """A copy in storage that is older than the one in memory, with a question, changes nothing in the cache."""
    async with SessionRepository.open("memory://") as sessions:
        stored = Session("chat")
        stored.set_pending_question(asking())
        stored.updated_at = now() - timedelta(seconds=10)
        await sessions.storage.save_session(stored)
        newer = Session("chat")
        newer.updated_at = now()
        sessions.cache.insert(newer)
        found = await sessions.load_merged("chat")
        cached = sessions.cache.get("chat")
    assert found is not None
    assert found.pending_question is None
    assert cached is not None
    assert cached.pending_question is None


async def test_L15_a_late_publish_does_not_take_the_cache_back(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """Write A, write B, publish B, publish A: the cache ends with both, and never showed less than before."""
    stall = storage.stall("commit", after=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.append, "chat", Message.user("A"))
        await stall.reached.wait()  # A is committed, not published
        await sessions.append("chat", Message.user("B"))
        assert texts(await sessions.get("chat")) == ["hello", "A", "B"]
        stall.release()
    assert texts(await sessions.get("chat")) == ["hello", "A", "B"]
    cached = sessions.cache.get("chat")
    assert cached is not None
    assert texts(cached) == ["hello", "A", "B"]


async def test_L15_a_late_read_does_not_take_the_cache_back(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """What was read before a write, and is published after it, doesn't replace the newer copy in the cache."""
    stall = storage.stall("read_newer", after=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: sessions.load("chat", fresh=True))
        await stall.reached.wait()  # the old state was read, not published
        await sessions.append("chat", Message.user("newer"))
        stall.release()
    cached = sessions.cache.get("chat")
    assert cached is not None
    assert texts(cached) == texts(await sessions.get("chat")) == ["hello", "newer"]


async def test_L16_a_slow_load_does_not_hide_a_newer_write(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """A load that read the old state before a write, and fills the cache after it, doesn't make later loads old."""
    await others.append("chat", Message.user("first"))
    stall = storage.stall("read_newer", after=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.load, "chat")
        await stall.reached.wait()  # it has read, and not yet filled
        await sessions.append("chat", Message.user("second"))
        await others.append("chat", Message.user("third"))
        stall.release()
    assert texts(await sessions.get("chat")) == ["hello", "first", "second", "third"]


async def test_L16_a_hit_takes_no_lock(sessions: SessionRepository, chat: Session, storage: WatchedStorage) -> None:
    """While a save of the session holds its lock, loads are answered from the cache at once."""
    stall = storage.stall("commit")
    chat.add_message(Message.user("slow"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.save, chat)
        await stall.reached.wait()
        with anyio.fail_after(60):
            assert texts(await sessions.get("chat")) == ["hello"]
        stall.release()


MUTATIONS: dict[str, Callable[[SessionRepository], Awaitable[object]]] = {
    "append": lambda repository: repository.append("chat", Message.user("new")),
    "clear": lambda repository: repository.clear("chat"),
    "truncate": lambda repository: repository.truncate("chat", after_message_id="hello"),
    "replace_history": lambda repository: repository.replace_history("chat", [Message.user("only this")]),
    "remove_last": lambda repository: repository.remove_last("chat"),
    "update": lambda repository: repository.update("chat", lambda session: session.messages.pop()),
    "rename": lambda repository: repository.rename("chat", "new"),
    "pin": lambda repository: repository.pin("chat"),
    "archive": lambda repository: repository.archive("chat"),
    "set_value": lambda repository: repository.set_value("chat", "key", 1),
    "ask": lambda repository: repository.ask("chat", asking()),
    "delete": lambda repository: repository.delete("chat"),
}


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_L17_every_mutation_reaches_the_cache(
    sessions: SessionRepository, others: SessionRepository, chat: Session, mutation: str, where: str
) -> None:
    """After any change, made here or by another process, a cached load shows what storage has."""
    chat.add_message(Message.assistant("answer"))
    await sessions.save(chat)
    before = await sessions.get("chat")
    await MUTATIONS[mutation](sessions if where == "here" else others)
    cached, fresh = await sessions.load("chat"), await sessions.load("chat", fresh=True)
    if mutation == "delete":
        assert cached is fresh is None
        return
    assert cached is not None
    assert fresh is not None
    assert freeze(cached).head == freeze(fresh).head
    assert cached.messages == fresh.messages
    assert cached.revision == before.revision + 1


async def test_L18_compare_and_clear_sees_the_message_just_queued(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Clearing what one looked at is refused, or decided on the newest state, once a message was queued after it."""
    seen = await sessions.get("chat")
    await others.append("chat", Message.user("queued"))
    with pytest.raises(PreconditionFailedError):
        await sessions.clear("chat", if_revision=seen.revision)

    def clear_if_handled(session: Session) -> None:
        if session.messages[-1].id == "hello":
            del session.messages[:]

    await sessions.update("chat", clear_if_handled)
    assert texts(await others.get("chat")) == ["hello", "queued"]


@pytest.mark.parametrize("change", ["rename", "pin", "set_value"])
async def test_L19_a_change_that_reads_no_messages_keeps_the_cached_transcript(
    sessions: SessionRepository, others: SessionRepository, chat: Session, change: str
) -> None:
    """A change made without reading messages, a listing and a head leave the transcript in the cache whole."""
    await others.append("chat", Message.user("theirs"))
    await MUTATIONS[change](sessions)
    await sessions.list_sessions()
    assert texts(await sessions.get("chat")) == ["hello", "theirs"]
    await MUTATIONS["archive"](sessions)
    cached = sessions.cache.get("chat")
    assert cached is not None
    assert texts(cached) == ["hello", "theirs"]


async def test_L20_a_failed_save_is_not_published(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """What a save couldn't commit is neither shown by `load` nor carried into the next write of somebody else."""
    chat.add_message(Message.user("never committed"))
    chat.model = "m9"
    storage.fail_commits()
    with pytest.raises(StorageUnavailableError):
        await sessions.save(chat)
    storage.heal()
    found = await sessions.get("chat")
    assert (texts(found), found.model) == (["hello"], "m1")
    await sessions.update("chat", lambda session: setattr(session, "workspace", "/work"))
    stored = await others.get("chat")
    assert (texts(stored), stored.model, stored.workspace) == (["hello"], "m1", "/work")
    await sessions.save(chat)  # and the copy still has its work
    assert texts(await others.get("chat")) == ["hello", "never committed"]


async def test_L21_a_save_with_an_unknown_outcome_is_settled_by_its_commit_id(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If storage fails after the commit happened, the save finds that out and succeeds, once."""
    chat.add_message(Message.user("committed"))
    storage.fail("commit", StorageTimeoutError, after=True)
    report = await sessions.save(chat)
    assert report.revision == chat.revision == 2
    assert texts(await others.get("chat")) == texts(await sessions.get("chat")) == ["hello", "committed"]


async def test_L21_after_an_unknown_outcome_the_cache_asks_storage(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If the outcome can't be settled, the cached copy isn't believed any more, and trying again adds nothing twice."""
    assert texts(await sessions.get("chat")) == ["hello"]
    chat.add_message(Message.user("committed"))
    storage.fail("commit", StorageTimeoutError, after=True)
    storage.fail("find_commit", StorageTimeoutError)
    with pytest.raises(StorageTimeoutError) as caught:
        await sessions.save(chat)
    assert caught.value.outcome_unknown
    storage.heal()
    assert texts(await sessions.get("chat")) == ["hello", "committed"]
    await sessions.save(chat)
    assert texts(await sessions.get("chat")) == ["hello", "committed"]


async def test_L22_work_that_waits_in_memory_becomes_durable(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """A tolerant save that fails is visible here, counted, and durable once storage is back."""
    chat.add_message(Message.user("waiting"))
    storage.fail_commits()
    assert not await sessions.save_best_effort(chat)
    assert texts(await sessions.get("chat")) == ["hello", "waiting"]
    assert (await sessions.stats())["dirty_sessions"] == 1
    storage.heal()
    assert await sessions.flush() == ()
    assert texts(await others.get("chat")) == ["hello", "waiting"]
    assert (await sessions.stats())["dirty_sessions"] == 0


async def test_L22_work_that_is_refused_for_good_is_told(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If the session was deleted while work waited, `flush` says which work is lost and why."""
    chat.add_message(Message.user("waiting"))
    storage.fail_commits()
    assert not await sessions.save_best_effort(chat)
    await others.delete("chat")
    storage.heal()
    (unsaved,) = await sessions.flush()
    assert (unsaved.session_id, unsaved.code) == ("chat", "session_deleted")
    assert await sessions.load("chat") is None


async def test_L23_a_clock_that_is_ahead_does_not_win(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A copy whose time lies years ahead isn't taken for the newer one: revisions decide, and the time is bounded."""
    ahead = await others.get("chat")
    ahead.updated_at = datetime(2099, 1, 1, tzinfo=UTC)
    ahead.add_message(Message.user("from the future"))
    await others.save(ahead)
    await sessions.append("chat", Message.user("newer"))
    found = await others.load_merged("chat")
    assert found is not None
    assert texts(found) == ["hello", "from the future", "newer"]
    assert found.updated_at < now() + timedelta(minutes=6)


async def test_L24_a_question_that_memory_lost_comes_back_at_the_same_age() -> None:
    """Storage and memory of one age: the open question that only storage has is shown."""
    moment = now()
    async with SessionRepository.open("memory://") as sessions:
        stored, remembered = Session("chat"), Session("chat")
        stored.set_pending_question(asking())
        stored.updated_at = remembered.updated_at = moment
        await sessions.storage.save_session(stored)
        sessions.cache.insert(remembered)
        found = await sessions.load_merged("chat")
    assert found is not None
    assert found.pending_question


async def test_L24_clearing_and_saving_in_one_tick_re_opens_nothing(storage: WatchedStorage) -> None:
    """With a clock that stands still, an answered question stays answered for merged and for cached reads."""
    async with SessionRepository.open(storage, clock=ManualClock()) as sessions:
        session = await sessions.load_or_create("chat")
        session.add_message(Message.assistant(tool_calls=[ToolCall("call-1", "ask")]))
        session.set_pending_question(asking())
        await sessions.save(session)
        await sessions.answer("chat", "q1", "yes")
        await sessions.save(session)  # the stale copy, in which it is open
        for found in (await sessions.load("chat"), await sessions.load_merged("chat")):
            assert found is not None
            assert found.pending_question is None
            assert texts(found) == ["", "yes"]


async def test_L25_a_pin_during_a_run_keeps_the_transcript_that_is_not_durable_yet(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """A pin doesn't replace what memory has of a run with the shorter transcript of the disk."""
    chat.add_message(Message.assistant("unsaved"))
    storage.fail_commits()
    assert not await sessions.save_best_effort(chat)
    storage.heal()
    await sessions.pin("chat")
    for found in (await sessions.load("chat"), await sessions.load_merged("chat")):
        assert found is not None
        assert texts(found) == ["hello", "unsaved"]
        assert found.pinned
    await sessions.save(chat)
    found = await sessions.get("chat")
    assert (texts(found), found.pinned) == (["hello", "unsaved"], True)
