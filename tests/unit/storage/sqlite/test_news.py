"""Hearing of what other processes do: who is told of what, and what is looked at for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bamboo_sessions import SqliteStorage
from bamboo_sessions.domain.lease import Claim, LeaseWish
from bamboo_sessions.storage.port import News
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.storage.sqlite.sessions import news
from bamboo_sessions.storage.sqlite.transactions.tuning import NEWS_ROWS_MAX
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.freshness import listening
from bamboo_sessions.testing.conformance.kit import KEY, SECOND, creation, key_of

pytestmark = pytest.mark.anyio


async def opened(path: Path) -> SqliteStorage:
    """A storage on the file."""
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    return storage


async def test_each_change_is_found_by_its_session(storage: SqliteStorage, path: Path) -> None:
    """Commits, deletions and leases since somebody looked, and nothing that was there before; unchanged: nothing."""
    await storage.commit(creation("old"))
    other = await opened(path)
    seen = other._read_on_loop(news.ends)
    assert other._read_on_loop(lambda c: news.since(c, seen)) == (seen, [])
    await storage.commit(creation())
    await storage.commit(creation("t"))
    await storage.delete_tree(key_of("t"), DeleteQuery(at=START))
    await storage.change_lease(KEY, LeaseWish("acquire", Claim("a", "a", SECOND)))
    seen, found = other._read_on_loop(lambda c: news.since(c, seen))
    assert sorted(found, key=str) == sorted(
        [News(KEY, has_commit=True), News(key_of("t"), has_commit=True), News(KEY, has_commit=False)], key=str
    )
    assert other._read_on_loop(lambda c: news.since(c, seen)) == (seen, [])
    await other.aclose()


async def test_too_much_news_is_told_as_one(storage: SqliteStorage, path: Path) -> None:
    """After more changes than one look reads, everybody looks for what concerns them."""
    await storage.commit(creation())
    other = await opened(path)
    seen = other._read_on_loop(news.ends)
    await asyncio.gather(*(storage.commit(creation(str(number))) for number in range(NEWS_ROWS_MAX)))
    assert other._read_on_loop(lambda c: news.since(c, seen))[1] == [News(None, has_commit=True)]
    await other.aclose()


async def test_it_is_looked_for_only_while_somebody_listens(storage: SqliteStorage) -> None:
    """One timer for all who listen, and none without them."""
    desk = storage._news
    with listening(storage):
        timer = desk._timer
        with listening(storage):
            assert desk._timer is timer is not None
        assert desk._timer is timer
    assert desk._timer is None


async def test_a_storage_that_was_closed_wakes_those_who_wait(path: Path) -> None:
    """They look, and are told by what they read."""
    storage = await opened(path)
    with listening(storage) as ear:
        await storage.aclose()
        await ear.until(KEY)


def test_a_loop_that_was_closed_leaves_the_next_one_its_hearing(path: Path) -> None:
    """The timer that died with the first event loop is set anew in the second."""

    async def listen() -> SqliteStorage:
        storage = await opened(path)
        storage.listen(lambda _: None)  # and nobody ends it
        return storage

    first = asyncio.new_event_loop()
    storage = first.run_until_complete(listen())
    first.close()

    async def hears() -> None:
        other = await opened(path)
        with listening(storage) as ear:
            await other.commit(creation())
            await ear.until(KEY)
        await other.aclose()
        await storage.aclose()

    asyncio.run(hears())
