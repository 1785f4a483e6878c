"""Saves whose outcome stayed unknown: the next save looks the commit id up first (G4)."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions import MemoryStorage, Message, Session, SessionRepository, StorageUnavailableError
from bamboo_sessions.testing import FaultyStorage

pytestmark = pytest.mark.anyio


async def _unsettled(sessions: SessionRepository, storage: FaultyStorage, *, happened: bool) -> Session:
    """A copy whose save raised, while nobody could tell whether it was committed."""
    copy = await sessions.create(Session("chat", model="first"))
    copy.model = "second"
    copy.add_message(Message.user("one"))
    storage.fail("commit", after=happened)
    if happened:
        storage.fail("find_commit")
    with pytest.raises(StorageUnavailableError):
        await sessions.save(copy)
    return copy


async def test_what_was_committed_after_all_is_not_saved_again_over_newer_changes() -> None:
    """A save that happened although it raised is recognised, so a later change of somebody else stands."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        copy = await _unsettled(sessions, storage, happened=True)
        copy.add_message(Message.user("two"))
        await sessions.update("chat", lambda session: setattr(session, "model", "third"))
        report = await sessions.save(copy)
        assert copy.model == "third"
        assert not report.conflicts
        assert [message.text for message in (await sessions.get("chat")).messages] == ["one", "two"]


async def test_what_was_not_committed_is_saved_by_the_next_try() -> None:
    """A save that didn't happen is made by saving again."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        copy = await _unsettled(sessions, storage, happened=False)
        await sessions.save(copy)
        stored = await sessions.load("chat", fresh=True)
        assert stored is not None
        assert stored.model == "second"
        assert [message.text for message in stored.messages] == ["one"]


async def test_a_tolerant_retry_settles_the_outcome_too() -> None:
    """A tolerant save that happened although it failed doesn't undo what others changed before its retry."""
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        copy = await sessions.create(Session("chat", model="first"))
        copy.model = "second"
        storage.fail("commit", after=True)
        storage.fail("find_commit")
        assert not await sessions.save_best_effort(copy)
        await sessions.update("chat", lambda session: setattr(session, "model", "third"))
        assert await sessions.flush() == ()
        stored = await sessions.load("chat", fresh=True)
        assert stored is not None
        assert stored.model == "third"


async def test_a_rename_whose_answer_was_lost_answers_with_the_outcome_of_then() -> None:
    """Somebody renames between the commit and its look-up: each gets the title and version that it made (G4, G5)."""
    engine = MemoryStorage()
    storage = FaultyStorage(engine)
    async with SessionRepository.open(storage) as sessions, SessionRepository.open(engine) as others:
        await sessions.create(Session("chat"))
        storage.fail("commit", after=True)
        stall = storage.stall("find_commit")
        renaming = asyncio.create_task(sessions.rename("chat", "one"))
        await stall.reached.wait()
        theirs = await others.rename("chat", "two")
        stall.release()
        mine = await renaming
    assert (mine.title, mine.metadata_version, mine.revision) == ("one", 1, 2)
    assert (theirs.title, theirs.metadata_version, theirs.revision) == ("two", 2, 3)
