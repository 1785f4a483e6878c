"""Waiting for changes: of one session, or in one namespace."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import MemoryStorage, StorageError
from bamboo_sessions.coordination.signal import CommitSignal, Topic, Watch
from bamboo_sessions.storage.port import News
from bamboo_sessions.testing.conformance.kit import KEY, appending, creation, head_of, key_of, user

pytestmark = pytest.mark.anyio

FEED = "default"


@pytest.fixture
def storage() -> MemoryStorage:
    """A storage that tells what happens."""
    return MemoryStorage()


@pytest.fixture
def signal(storage: MemoryStorage) -> CommitSignal:
    """Passes it on."""
    return CommitSignal(storage)


def tell(storage: MemoryStorage, *news: News) -> None:
    """Let everybody who listens hear it."""
    for hear in storage._contents.listeners.values():
        for each in news:
            hear(each)


async def waiting(signal: CommitSignal, topic: Topic, seconds: float | None = None) -> asyncio.Task[bool]:
    """A task that waits, and has begun to."""

    async def wait() -> bool:
        with Watch(signal, topic) as watch:
            return await watch.wait(timeout_seconds=seconds)

    task = asyncio.create_task(wait())
    await checkpoint()
    return task


async def test_a_commit_wakes_those_whom_it_concerns(signal: CommitSignal, storage: MemoryStorage) -> None:
    """Whoever waits for its session or its namespace is woken; for others nothing happened."""
    others = [await waiting(signal, topic) for topic in (key_of("t"), "other", key_of("s", "other"))]
    tasks = [await waiting(signal, topic) for topic in (KEY, KEY, FEED)]
    await storage.commit(creation())
    assert await asyncio.gather(*tasks) == [True, True, True]
    assert not any(task.done() for task in others)
    await storage.commit(creation(key=key_of("s", "other"), head=head_of(namespace="other")))
    assert await asyncio.gather(*others[1:]) == [True, True]
    assert not others[0].done()
    others[0].cancel()


async def test_a_change_of_a_lease_is_nothing_for_the_feed(signal: CommitSignal, storage: MemoryStorage) -> None:
    """It wakes whoever waits for the session, and no subscriber."""
    tasks = [await waiting(signal, topic) for topic in (KEY, FEED)]
    tell(storage, News(KEY, has_commit=False))
    assert await tasks[0]
    assert not tasks[1].done()
    tasks[1].cancel()


async def test_news_of_nobody_wakes_all(signal: CommitSignal, storage: MemoryStorage) -> None:
    """If storage may have missed something, everybody looks."""
    tasks = [await waiting(signal, topic) for topic in (KEY, FEED, "other")]
    tell(storage, News(None, has_commit=True))
    assert await asyncio.gather(*tasks) == [True, True, True]


async def test_nothing_falls_between_looking_and_waiting(signal: CommitSignal, storage: MemoryStorage) -> None:
    """L56: a change after the block was entered, but before the wait began, ends the first wait at once."""
    with signal.session(KEY) as watch:
        await storage.commit(creation())
        assert await watch.wait(timeout_seconds=0)
        assert not await watch.wait(timeout_seconds=0.001)
        await storage.commit(appending("s", user()))
        assert await watch.wait()


async def test_news_that_comes_twice_wakes_once(signal: CommitSignal, storage: MemoryStorage) -> None:
    """Whoever hasn't looked yet looks once."""
    with signal.session(KEY) as watch:
        tell(storage, News(KEY, has_commit=True), News(KEY, has_commit=True))
        assert await watch.wait()
        assert not await watch.wait(timeout_seconds=0.001)


async def test_who_stops_waiting_leaves_nothing(signal: CommitSignal, storage: MemoryStorage) -> None:
    """After a time-out or a cancellation nobody listens, so an idle store is left alone."""
    assert not await (await waiting(signal, KEY, 0.001))
    task = await waiting(signal, FEED)
    assert signal.is_waiting
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not signal.is_waiting
    assert storage._contents.listeners == {}


async def test_closing_ends_all_waiting_until_it_is_opened_again(signal: CommitSignal, storage: MemoryStorage) -> None:
    """Who waits is told, and who comes later, too; after `open` waiting works as before."""
    tasks = [await waiting(signal, topic) for topic in (KEY, FEED)]
    signal.close()
    for task in tasks:
        with pytest.raises(StorageError, match="closed"):
            await task
    assert not signal.is_waiting
    with pytest.raises(StorageError, match="closed"):
        await (await waiting(signal, KEY))
    signal.open()
    task = await waiting(signal, KEY)
    await storage.commit(creation())
    assert await task


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_loop_that_ends_leaves_the_others_their_hearing(*, is_closed: bool) -> None:
    """Whoever waited in an event loop that was closed, or just stopped, keeps nobody in the next one from hearing."""
    storage = MemoryStorage()
    signal = CommitSignal(storage)
    first = asyncio.new_event_loop()
    left = first.run_until_complete(waiting(signal, KEY))
    if is_closed:
        first.close()

    async def following() -> bool:
        task = await waiting(signal, KEY)
        await storage.commit(creation())
        return await task

    assert asyncio.run(following())
    if is_closed:
        assert not signal.is_waiting
        left._log_destroy_pending = False  # type: ignore[attr-defined] # it was destroyed on purpose
    else:
        assert first.run_until_complete(left)
        first.close()
