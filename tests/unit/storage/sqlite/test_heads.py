"""Heads put together from their document and their counters: whole, shared while nothing changes, or an error (G8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bamboo_sessions import SessionRepository
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.query import HeadPage, ListQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.tuning import RECENT_HEAD_BYTES_MAX
from tests.unit.storage.sqlite.commits import appending, head_of, key_of

pytestmark = pytest.mark.anyio


async def _page(storage: SqliteStorage) -> HeadPage:
    return await storage.list_heads(ListQuery("default"))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE heads SET document = x'7b' WHERE session = 2",
        "UPDATE heads SET document = CAST(document || ',' || document AS BLOB) WHERE session = 2",
        "DELETE FROM heads WHERE session = 2",
    ],
)
async def test_a_head_that_cannot_be_read_fails_its_page_by_name(path: Path, damage: str) -> None:
    """A page with a damaged head raises; it names the session and the remedy, after which it lists the others (G8)."""
    async with SessionRepository.open(path) as sessions:
        storage = sessions.storage
        assert isinstance(storage, SqliteStorage)
        for name in ("one", "damaged", "three"):
            await sessions.append(name, Message.user("x"), create=True)
        await storage._engine.write(lambda c: c.execute(damage).fetchall())
        with pytest.raises(StorageCorruptError, match="'damaged'") as caught:
            await sessions.list_sessions()
        assert caught.value.hint is not None
        assert "delete the session" in caught.value.hint
        await sessions.delete("damaged")
        assert {head.id for head in (await sessions.list_sessions()).sessions} == {"one", "three"}


async def test_a_head_that_did_not_change_is_listed_as_the_same_object(storage: SqliteStorage) -> None:
    """Of a list that is asked for again, only the heads of sessions that changed are made anew."""
    for name in ("one", "two"):
        await storage.commit(appending(name, Message.user("x")))
    before = {head.id: head for head in (await _page(storage)).heads}
    await storage.commit(appending("two", Message.user("y")))
    after = {head.id: head for head in (await _page(storage)).heads}
    assert after["one"] is before["one"]
    assert (before["two"].message_count, after["two"].message_count) == (1, 2)
    assert (before["two"].revision, after["two"].revision) == (1, 2)


async def test_long_heads_are_not_kept(storage: SqliteStorage) -> None:
    """A head with a long document isn't kept in memory for the next listing (G13)."""
    head = head_of("s", metadata={"k": "x" * RECENT_HEAD_BYTES_MAX})
    await storage.commit(appending("s", Message.user("x"), initial_head=head))
    (one,), (other,) = (await _page(storage)).heads, (await _page(storage)).heads
    assert one == other == await storage.read_head(key_of("s"))
    assert one is not other
