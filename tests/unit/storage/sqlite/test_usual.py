"""The usual commit asks nothing but what its one UPDATE asks. Ids here are made in the order of time, as by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bamboo_sessions import (
    LeaseLostError,
    Message,
    MessageIdConflictError,
    PreconditionFailedError,
    Session,
    SessionDeletedError,
    SessionRepository,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sessions(path: Path) -> AsyncIterator[SessionRepository]:
    """A store with a session of three messages."""
    async with SessionRepository.open(path, durability="relaxed") as sessions:
        await sessions.create(Session("s"))
        for text in "abc":
            await sessions.append("s", Message.user(text))
        yield sessions
        assert (await sessions.check()).ok


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_message_that_is_there_is_a_duplicate(sessions: SessionRepository, place: int) -> None:
    """G4: whichever of the messages comes again, first, middle or last, it is there once."""
    messages = (await sessions.get("s")).messages
    appended = await sessions.append("s", messages[place])
    assert (appended.revision, appended.duplicates) == (4, (messages[place].id,))
    assert [message.text for message in (await sessions.get("s")).messages] == ["a", "b", "c"]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_other_content_under_an_id_that_is_there_is_refused(sessions: SessionRepository, place: int) -> None:
    """G4: nothing of the append is written, of its new message neither."""
    known = (await sessions.get("s")).messages[place]
    with pytest.raises(MessageIdConflictError):
        await sessions.append("s", known.replace(content="other"), Message.user("d"))
    assert [message.text for message in (await sessions.get("s")).messages] == ["a", "b", "c"]


async def test_a_run_that_lost_its_lease_writes_nothing(sessions: SessionRepository) -> None:
    """G12: the fence is part of the UPDATE."""
    async with sessions.lease("s") as lease:
        await sessions.release_lease("s", token=lease.token)
        async with sessions.lease("s"):
            with pytest.raises(LeaseLostError):
                await lease.append(Message.user("late"))
    assert (await sessions.get("s")).message_count == 3


async def test_a_revision_that_is_gone_is_refused(sessions: SessionRepository) -> None:
    """So is the revision that the caller names."""
    with pytest.raises(PreconditionFailedError):
        await sessions.append("s", Message.user("d"), if_revision=3)
    assert (await sessions.append("s", Message.user("d"), if_revision=4)).revision == 5


async def test_a_deleted_session_takes_nothing(sessions: SessionRepository) -> None:
    """G9: so is whether it lives, and in which life."""
    incarnation = (await sessions.get("s")).incarnation
    await sessions.delete("s")
    with pytest.raises(SessionDeletedError):
        await sessions.append("s", Message.user("late"))
    await sessions.create(Session("s"))
    with pytest.raises(SessionDeletedError):
        await sessions.append("s", Message.user("late"), incarnation=incarnation)
    assert (await sessions.get("s")).message_count == 0
