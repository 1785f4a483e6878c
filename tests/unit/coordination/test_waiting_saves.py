"""Tolerant saves that wait, beside other saves of the same session."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions import (
    MemoryStorage,
    Message,
    PreconditionFailedError,
    Session,
    SessionDeletedError,
    SessionRepository,
    StorageUnavailableError,
)
from bamboo_sessions.testing import FaultyStorage

pytestmark = pytest.mark.anyio


async def _stored(storage: FaultyStorage) -> Session:
    session = await storage.inner.load_session("chat")
    assert session is not None
    return session


async def test_waiting_work_is_dropped_though_the_caller_whose_save_succeeded_was_cancelled() -> None:
    """G10: the saved copy's earlier state doesn't wait any longer, so no retry puts it back over newer changes."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        stall = storage.stall("commit", after=True)
        impatient = asyncio.create_task(sessions.save(copy))
        await stall.reached.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        stall.release()
        await sessions.persistence.tasks.finish()
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        assert await sessions.flush() == ()
        assert (await _stored(storage)).model == "third"


async def test_a_cancelled_flush_finishes_its_try() -> None:
    """G10: waiting work that was committed by a cancelled `flush` doesn't wait any longer."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        stall = storage.stall("commit", after=True)
        impatient = asyncio.create_task(sessions.flush())
        await stall.reached.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        stall.release()
        await sessions.persistence.tasks.finish()
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        assert await sessions.flush() == ()
        assert (await _stored(storage)).model == "third"


async def test_a_copy_knows_that_its_waiting_work_was_saved_in_the_background() -> None:
    """G4: the next save of a copy goes on from the retry of its earlier state, and puts nothing back."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        copy.add_message(Message.user("one"))
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        copy.add_message(Message.user("two"))
        assert await sessions.flush() == ()
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        await sessions.save(copy)
        assert (await _stored(storage)).model == "third"
        assert [message.text for message in (await _stored(storage)).messages] == ["one", "two"]


async def test_after_a_checkpoint_only_what_it_held_back_goes_on_waiting() -> None:
    """G10: waiting work whose copy was checkpointed puts nothing back over newer changes; its removal still happens."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = Session("chat", model="first")
        copy.add_message(Message.user("one"))
        await sessions.create(copy)
        copy.model = "second"
        del copy.messages[0]
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        await sessions.checkpoint(copy)
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        assert await sessions.flush() == ()
        assert (await _stored(storage)).model == "third"
        assert not (await _stored(storage)).messages
        await sessions.save(copy)
        assert (await _stored(storage)).model == "third"


async def test_waiting_work_is_not_merged_on_top_of_a_later_save_whose_outcome_is_unknown() -> None:
    """G4: a copy of which work waits is saved, and nobody can tell whether that happened; the next save finds out."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        copy.add_message(Message.user("one"))
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        copy.model = "second"
        storage.fail("commit", after=True, nth=2)  # the first one is of what waits
        storage.fail("find_commit")
        with pytest.raises(StorageUnavailableError):
            await sessions.save(copy)
        await others.update("chat", lambda session: setattr(session, "model", "third"))
        assert await sessions.flush() == ()
        await sessions.save(copy)
        assert (await _stored(storage)).model == "third"
        assert [message.text for message in (await _stored(storage)).messages] == ["one"]


async def test_several_copies_that_wait_as_one_know_what_became_of_them() -> None:
    """G4: the work of two copies waits and is saved as one; neither puts its part back when it is saved again."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        await sessions.create(Session("chat", model="first"))
        one, two = await sessions.get("chat"), await sessions.get("chat")
        one.model = "second"
        two.provider = "second"
        with storage.fail("commit", times=None):
            assert not await sessions.save_best_effort(one)
            assert not await sessions.save_best_effort(two)
        assert await sessions.flush() == ()
        stored = await _stored(storage)
        assert (stored.model, stored.provider) == ("second", "second")
        await others.update("chat", lambda session: setattr(session, "model", "3"))
        await others.update("chat", lambda session: setattr(session, "provider", "3"))
        await sessions.save(one)
        await sessions.save(two)
        stored = await _stored(storage)
        assert (stored.model, stored.provider) == ("3", "3")


async def test_waiting_work_of_copies_one_revision_apart_is_united() -> None:
    """G2: the work of a copy that was loaded one revision after another waiting one's doesn't take its place."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await sessions.create(Session("chat"))
        one = await sessions.get("chat")
        await sessions.append("chat", Message.user("between"))
        two = await sessions.get("chat")
        one.add_message(Message.user("one"))
        two.add_message(Message.user("two"))
        with storage.fail("commit", times=None):
            assert not await sessions.save_best_effort(one)
            assert not await sessions.save_best_effort(two)
        assert await sessions.flush() == ()
        assert sorted(message.text for message in (await _stored(storage)).messages) == ["between", "one", "two"]


async def test_a_removal_that_waits_behind_the_work_of_an_older_copy_is_not_lost() -> None:
    """G2: what one waiting copy removes, another, loaded before it was added, never had; it is removed all the same."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await sessions.create(Session("chat"))
        older = await sessions.get("chat")
        await sessions.append("chat", Message.user("removed"), Message.user("kept"))
        newer = await sessions.get("chat")
        older.add_message(Message.user("older"))
        del newer.messages[0]
        with storage.fail("commit", times=None):
            assert not await sessions.save_best_effort(older)
            assert not await sessions.save_best_effort(newer)
            shown = [message.text for message in (await sessions.get("chat")).messages]
        await sessions.save(newer)
        assert shown == ["kept", "older"]
        assert [message.text for message in (await _stored(storage)).messages] == shown
        assert [message.text for message in newer.messages] == shown


async def test_a_copy_that_was_loaded_with_waiting_work_does_not_put_it_back() -> None:
    """G4: the work became durable and somebody changed it further; the copy that showed it goes on from there."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat"))
        copy.metadata["key"] = "waiting"
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        loaded = await sessions.get("chat")
        loaded.add_message(Message.user("more"))
        assert await sessions.flush() == ()
        await others.update("chat", lambda session: session.metadata.update(key="newer"))
        await sessions.save(loaded)
        stored = await _stored(storage)
        assert (stored.metadata["key"], loaded.metadata["key"]) == ("newer", "newer")
        assert [message.text for message in stored.messages] == ["more"]


async def test_a_state_that_was_taken_back_while_it_waits_is_not_taken_for_saved() -> None:
    """G1: the copy is again as it was loaded, so the waiting change is undone by the next save, not left to come."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit")
        assert not await sessions.save_best_effort(copy)
        copy.model = "first"
        await sessions.save(copy)
        assert await sessions.flush() == ()
        assert (await _stored(storage)).model == "first"


async def test_who_expects_a_revision_expects_it_of_the_waiting_work_too() -> None:
    """`if_revision` means what others have committed: what waits in this process goes first, and isn't in the way."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat", model="first"))
        for model, is_alone in (("second", True), ("third", False)):
            copy.model = model
            with storage.fail("commit", times=None):
                assert not await sessions.save_best_effort(copy)
            copy.add_message(Message.user(model))
            if is_alone:
                await sessions.save(copy, if_revision=copy.revision)
            else:
                await others.append("chat", Message.user("theirs"))
                with pytest.raises(PreconditionFailedError):
                    await sessions.save(copy, if_revision=copy.revision)
                assert (await _stored(storage)).model == "second"
        assert await sessions.flush() == ()
        assert (await _stored(storage)).model == "third"


async def test_work_on_a_new_session_waits_on_although_others_made_the_session() -> None:
    """G2: publishing what others committed doesn't drop the waiting work of a copy that was never saved."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        session = Session("chat")
        session.add_message(Message.user("waiting"))
        storage.fail("commit")
        assert not await sessions.save_best_effort(session)
        await storage.inner.save_session(Session("chat"))
        await sessions.update("chat", lambda session: setattr(session, "model", "theirs"))
        assert await sessions.flush() == ()
        stored = await _stored(storage)
        assert (stored.model, [message.text for message in stored.messages]) == ("theirs", ["waiting"])


async def test_work_of_a_former_life_is_refused_while_storage_is_down() -> None:
    """G9: a copy of a deleted session is refused at once if this process knows of the deletion, and nothing waits."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(storage.inner) as others:
        copy = await sessions.create(Session("chat"))
        await sessions.delete("chat")
        await sessions.create(Session("chat", model="new"))
        copy.model = "old"
        await others.append("chat", Message.user("so that storage has to be asked"))
        storage.fail("read_newer", StorageUnavailableError("down"))
        with pytest.raises(SessionDeletedError):
            await sessions.save_best_effort(copy)
        assert (await sessions.get("chat")).model == "new"
        assert await sessions.flush() == ()
