"""The memory engine: what a change of a long history costs."""

from __future__ import annotations

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.domain.history import CHUNK_MESSAGES, FrozenMessages
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.storage.memory.storage import MemoryStorage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("place", [0, 5_000, 9_999])
@pytest.mark.parametrize("what", ["edit", "remove", "insert"])
async def test_a_change_inside_a_long_history_copies_its_neighbours(what: str, place: int) -> None:
    """An edit, a removal and an insertion leave all messages but the next few hundred where they are in memory."""
    storage = MemoryStorage()
    async with SessionRepository.open(storage) as sessions:
        await sessions.append("s", *(Message.user("m") for _ in range(10_000)), create=True)
        before = await _live(storage)
        copy = await sessions.get("s")
        if what == "edit":
            copy.messages[place] = Message.user("edited", id=copy.messages[place].id)
        elif what == "remove":
            del copy.messages[place]
        else:
            copy.messages.insert(place, Message.user("new"))
        await sessions.save(copy)
        after = await _live(storage)
    assert list(after) == list(freeze(copy).messages)
    assert len(list(after.unshared(before))) <= 2 * CHUNK_MESSAGES


async def _live(storage: MemoryStorage) -> FrozenMessages:
    session = await storage.load_session("s")
    assert session is not None
    return freeze(session).messages
