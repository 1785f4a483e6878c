"""Work that waits for storage to come back, among saves that don't (G2, G7, L22)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bamboo_sessions import (
    LockedSessionStore,
    MemoryStorage,
    Message,
    Session,
    SessionCache,
    SessionRepository,
    SqliteStorage,
    StorageFullError,
    StorageUnavailableError,
)
from bamboo_sessions.testing import FaultyStorage

pytestmark = pytest.mark.anyio


async def _waiting(sessions: SessionRepository, storage: FaultyStorage) -> Session:
    """A copy whose change to the model waits in memory."""
    copy = await sessions.create(Session("chat", model="first"))
    copy.model = "second"
    copy.add_message(Message.user("kept", id="kept"))
    storage.fail("commit")
    assert not await sessions.save_best_effort(copy)
    return copy


async def test_a_later_save_of_the_same_copy_is_not_reverted_by_the_retry() -> None:
    """What waited was an earlier state of this copy: once a later one is durable, there is nothing to retry."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        copy = await _waiting(sessions, storage)
        copy.model = "third"
        del copy.messages[0]
        await sessions.save(copy)
        assert await sessions.flush() == ()
        stored = await sessions.get("chat")
        assert (stored.model, list(stored.messages)) == ("third", [])


async def test_a_later_save_of_another_copy_goes_on_top_of_what_waited() -> None:
    """Waiting work is brought in before newer work, so the newer one stands and nothing of the older is lost."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await _waiting(sessions, storage)
        other = await sessions.get("chat")
        other.model = "third"
        await sessions.save(other)
        assert await sessions.flush() == ()
        stored = await sessions.get("chat")
        assert (stored.model, [message.id for message in stored.messages]) == ("third", ["kept"])


async def test_storage_errors_never_refuse_waiting_work() -> None:
    """A full disk can be emptied: the work goes on waiting, is told each time, and becomes durable in the end."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await _waiting(sessions, storage)
        storage.fail("commit", StorageFullError("full"))
        (unsaved,) = await sessions.flush()
        assert [message.id for message in unsaved.session.messages] == ["kept"]
        assert await sessions.flush() == ()
        assert [message.id for message in (await sessions.get("chat")).messages] == ["kept"]


async def test_refused_work_is_handed_back() -> None:
    """Work of a session that was deleted meanwhile can't be saved; the caller gets it back, once."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await _waiting(sessions, storage)
        await storage.delete_session("chat")
        assert await sessions.in_namespace("other").flush() == ()  # never another tenant's
        (unsaved,) = await sessions.flush()
        assert (unsaved.code, unsaved.session.messages[0].text) == ("session_deleted", "kept")
        assert await sessions.flush() == ()


async def test_a_load_while_storage_is_down_shows_no_less_than_before() -> None:
    """G7: what was shown as committed stays visible beside the waiting work when storage can't be asked."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await _waiting(sessions, storage)
        await sessions.append("chat", Message.user("acknowledged", id="acknowledged"))
        shown = {message.id for message in (await sessions.get("chat")).messages}
        storage.fail("read", StorageUnavailableError("down"), times=None)
        storage.fail("read_newer", StorageUnavailableError("down"), times=None)
        assert shown == {"kept", "acknowledged"}
        assert {message.id for message in (await sessions.get("chat")).messages} == shown
        storage.heal()


async def test_the_same_tiers_opened_again_are_not_taken_for_unchanged(tmp_path: Path) -> None:
    """G7: a cache that outlives its connection asks storage anew; an equal token of another one proves nothing."""
    cache, storage = SessionCache(), SqliteStorage(tmp_path / "sessions.db")
    sessions = SessionRepository(cache, storage, LockedSessionStore(storage, cache))
    async with sessions:
        await sessions.append("chat", Message.user("one"), create=True)
        await sessions.get("chat")
    async with SessionRepository.open(tmp_path / "sessions.db") as others:
        await others.append("chat", Message.user("two"))
    async with sessions:
        assert len((await sessions.get("chat")).messages) == 2


@pytest.mark.parametrize("made", [False, True])
async def test_a_save_isn_t_taken_for_made_because_somebody_appended_a_part_of_it(*, made: bool) -> None:
    """G2: the copy has a message that a tool appended as well; nothing of an unknown save, nor of the next, is lost."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await sessions.append("chat", Message.user("zero", id="zero"), create=True)
        copy = await sessions.get("chat")
        twin = Message.user("twin", id="twin")
        copy.add_message(twin)
        copy.add_message(Message.user("one", id="one"))
        await sessions.append("chat", twin)
        storage.fail("commit", after=made, unknown=True)
        storage.fail("find_commit")
        with pytest.raises(StorageUnavailableError):
            await sessions.save(copy)
        copy.add_message(Message.user("two", id="two"))
        with storage.fail("commit", times=None), storage.fail("find_commit", times=None):
            assert not await sessions.save_best_effort(copy)
        assert await sessions.flush() == ()
        stored = await sessions.get("chat")
    assert [message.id for message in stored.messages] == ["zero", "twin", "one", "two"]
