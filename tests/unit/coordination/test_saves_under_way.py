"""Two saves of one working copy, and callers who stop waiting: what was saved is never saved again over newer work."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions import (
    InputError,
    MemoryStorage,
    Message,
    Session,
    SessionDeletedError,
    SessionExistsError,
    SessionRepository,
    StorageUnavailableError,
)
from bamboo_sessions.testing import FaultyStorage

pytestmark = pytest.mark.anyio


async def _stored(storage: FaultyStorage) -> Session:
    session = await storage.inner.load_session("chat")
    assert session is not None
    return session


async def test_a_second_save_of_a_copy_that_is_being_saved_puts_nothing_back() -> None:
    """G10: the caller timed out and saves again; what somebody else changed between both commits stands."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        stall = storage.stall("commit", after=True)
        impatient = asyncio.create_task(sessions.save(copy))
        await stall.reached.wait()
        impatient.cancel()
        again = asyncio.create_task(sessions.save(copy))
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        stall.release()
        await again
        assert (await _stored(storage)).model == "third"
        assert copy.model == "third"


async def test_a_second_save_behind_an_unknown_outcome_settles_it_first() -> None:
    """G4: the save before it was committed, though nobody could tell: it isn't made again over newer changes."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit", after=True)
        stall = storage.stall("find_commit")
        storage.fail("find_commit")
        first = asyncio.create_task(sessions.save(copy))
        await stall.reached.wait()
        second = asyncio.create_task(sessions.save(copy))
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        stall.release()
        with pytest.raises(StorageUnavailableError):
            await first
        await second
        assert (await _stored(storage)).model == "third"


async def test_creating_again_after_an_unknown_outcome_finds_its_own_commit() -> None:
    """G4: `create` that happened although it raised can be repeated with the same object; another object can't."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        session = Session("chat")
        session.add_message(Message.user("hello"))
        storage.fail("commit", after=True)
        storage.fail("find_commit")
        with pytest.raises(StorageUnavailableError):
            await sessions.create(session)
        session.add_message(Message.user("added meanwhile"))
        assert await sessions.create(session) is session
        assert session.revision == 1
        with pytest.raises(SessionExistsError):
            await sessions.create(Session("chat"))
        await sessions.save(session)
        assert [message.text for message in (await _stored(storage)).messages] == ["hello", "added meanwhile"]


async def test_an_unknown_outcome_in_a_former_life_is_not_taken_for_this_one() -> None:
    """G9: the unsettled save was of a session that was deleted and created again; its copy stays refused."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        session = Session("chat", model="old")
        storage.fail("commit", after=True)
        storage.fail("find_commit")
        with pytest.raises(StorageUnavailableError):
            await sessions.create(session)
        await others.delete("chat")
        with pytest.raises(SessionDeletedError):
            await sessions.create(session)
        await others.create(Session("chat", model="new"))
        for again in (sessions.create, sessions.save):
            with pytest.raises(SessionDeletedError):
                await again(session)
        assert (await _stored(storage)).model == "new"
        assert session.revision == 0


async def test_an_error_after_the_commit_leaves_the_outcome_unknown() -> None:
    """G4: reading what a commit led to fails, or its answer is lost twice: the error says that it may have happened."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit", after=True)
        storage.fail("commit", nth=2)
        with pytest.raises(StorageUnavailableError) as caught:
            await sessions.save(copy)
        assert caught.value.outcome_unknown
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        await sessions.save(copy)
        assert copy.model == "third"
        copy.model = "fourth"
        storage.fail("commit", after=True)
        storage.fail("read_newer")
        with pytest.raises(StorageUnavailableError) as caught:
            await sessions.save(copy)
        assert caught.value.outcome_unknown
        storage.fail("read")
        with pytest.raises(StorageUnavailableError) as caught:
            await sessions.fork("chat", new_id="fork")
        assert caught.value.outcome_unknown


async def test_a_commit_of_a_former_life_does_not_make_its_copy_one_of_the_new_life() -> None:
    """G9: the save was committed, then the session was deleted and created again before the saver could look."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="old"))
        copy.add_message(Message.user("of the old life"))
        storage.fail("commit", after=True)
        stall = storage.stall("find_commit")
        saving = asyncio.create_task(sessions.save(copy))
        await stall.reached.wait()
        await others.delete("chat")
        await others.create(Session("chat", model="new"))
        stall.release()
        with pytest.raises(SessionDeletedError):
            await saving
        assert copy.incarnation == 1
        with pytest.raises(SessionDeletedError):
            await sessions.save(copy)


async def test_an_unknown_retry_is_settled_by_the_next_save_of_the_copy() -> None:
    """G4: the retry was committed, though nobody could tell; the next tolerant save of the copy finds that out."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        copy.add_message(Message.user("one"))
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        storage.fail("commit", after=True)
        storage.fail("find_commit")
        assert len(await sessions.flush()) == 1
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        copy.add_message(Message.user("two"))
        assert await sessions.save_best_effort(copy)
        assert (await _stored(storage)).model == "third"
        assert [message.text for message in (await _stored(storage)).messages] == ["one", "two"]


async def test_creating_again_what_was_deleted_meanwhile_is_refused() -> None:
    """G9: `create` was committed and the session deleted before the caller knew; the same object stays refused."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        session = Session("chat")
        storage.fail("commit", after=True)
        stall = storage.stall("find_commit")
        creating = asyncio.create_task(sessions.create(session))
        await stall.reached.wait()
        await others.delete("chat")
        stall.release()
        with pytest.raises(SessionDeletedError):
            await creating
        with pytest.raises(SessionDeletedError):
            await sessions.create(session)


async def test_an_edit_block_is_entered_once() -> None:
    """The object that `edit` gives is refused the second time, before anything is loaded."""
    async with SessionRepository.open("memory://") as sessions:
        await sessions.create(Session("chat"))
        block = sessions.edit("chat")
        async with block as session:
            session.model = "one"
        with pytest.raises(InputError, match="entered already"):
            async with block:
                pass
        assert (await sessions.get("chat")).model == "one"


async def test_a_deleted_copy_is_not_created_again() -> None:
    """G9: `create` with a copy that was loaded before the deletion is refused, from a stale cache as well."""
    storage = MemoryStorage()
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage) as others:
        copy = await sessions.create(Session("chat"))
        await others.delete("chat")
        with pytest.raises(SessionDeletedError):
            await sessions.create(copy)


async def test_a_cleanup_tells_what_it_deleted_although_the_listing_failed() -> None:
    """L40: a failing page of the listing ends the clean-up, and the report says what was deleted until then."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        for number in range(1_001):
            await sessions.create(Session(f"chat-{number}"))
        storage.fail("list_heads", nth=2)
        report = await sessions.cleanup("all")
        assert len(report.deleted) == 1_000
        assert [failure.session_id for failure in report.failed] == [""]
        storage.fail("list_heads")
        with pytest.raises(StorageUnavailableError):
            await sessions.cleanup("all")
