"""Waiting for commits."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import MemoryStorage, StorageError
from bamboo_sessions.coordination.signal import CommitSignal
from bamboo_sessions.testing import FaultyStorage
from bamboo_sessions.testing.conformance.kit import appending, creation, user

pytestmark = pytest.mark.anyio


@pytest.fixture
def storage() -> FaultyStorage:
    """A storage whose commits nobody announces."""
    return FaultyStorage(MemoryStorage())


async def waiting(signal: CommitSignal) -> asyncio.Task[bool]:
    """A task that waits for the next commit, and has begun to."""
    task = asyncio.create_task(signal.changed_since(signal.now()))
    await checkpoint()
    return task


async def test_a_notification_wakes_all_at_once(storage: FaultyStorage) -> None:
    """Whoever waits is woken by a commit of this process, however seldom storage is asked."""
    signal = CommitSignal(storage, poll_seconds=3600)
    tasks = [await waiting(signal) for _ in range(3)]
    signal.notify()
    assert await asyncio.gather(*tasks) == [True, True, True]


async def test_a_commit_that_nobody_announced_is_noticed(storage: FaultyStorage) -> None:
    """A commit of another process shows in the freshness of storage."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    task = await waiting(signal)
    await storage.commit(creation("a"))
    assert await task


@pytest.mark.parametrize("announced", [True, False])
async def test_nothing_falls_between_looking_and_waiting(storage: FaultyStorage, *, announced: bool) -> None:
    """A change after the moment was taken, but before the wait began, ends the wait at once."""
    signal = CommitSignal(storage, poll_seconds=3600)
    moment = signal.now()
    if announced:
        signal.notify()
    else:
        await storage.commit(creation("a"))
    assert await signal.changed_since(moment)


async def test_a_late_waiter_misses_nothing_that_an_early_one_was_told(storage: FaultyStorage) -> None:
    """Whoever looked before a commit is woken by it, also if the timer of another waiter runs already."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    early = await waiting(signal)
    await storage.commit(creation("a"))
    late = asyncio.create_task(signal.changed_since(signal.now()))
    assert await early
    await storage.commit(appending("a", user()))
    assert await late


async def test_it_gives_up_after_the_timeout(storage: FaultyStorage) -> None:
    """Without a commit the wait ends with `False`, and nothing is asked any more."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    assert not await signal.changed_since(signal.now(), timeout_seconds=0.01)
    assert signal._timer is None


async def test_a_cancelled_wait_leaves_nothing(storage: FaultyStorage) -> None:
    """Neither a timer nor an entry stays behind."""
    signal = CommitSignal(storage)
    task = await waiting(signal)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (signal._timer, signal._waiting) == (None, set())


async def test_a_storage_that_cannot_tell_just_now_is_asked_again(storage: FaultyStorage) -> None:
    """An unknown freshness wakes nobody, and the next one counts."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    task = await waiting(signal)
    with storage.fail("freshness", times=3) as fault:
        while fault.hits < 3:
            await checkpoint()
    assert not task.done()
    await storage.commit(creation("a"))
    assert await task


async def test_a_storage_that_was_closed_ends_the_wait(storage: FaultyStorage) -> None:
    """Whoever waits is told, in place of waiting for ever."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    task = await waiting(signal)

    def closed() -> int | None:
        raise StorageError("It isn't open.")

    storage.freshness = closed  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="isn't open"):
        await task


async def test_closing_ends_all_waiting_until_it_is_opened_again(storage: FaultyStorage) -> None:
    """Who waits is told, and who comes later, too; after `open` waiting works as before."""
    signal = CommitSignal(storage, poll_seconds=3600)
    tasks = [await waiting(signal) for _ in range(2)]
    assert signal.is_waiting
    signal.close()
    for task in tasks:
        with pytest.raises(StorageError, match="closed"):
            await task
    assert not signal.is_waiting
    with pytest.raises(StorageError, match="closed"):
        await signal.changed_since(signal.now())
    signal.open()
    task = await waiting(signal)
    signal.notify()
    assert await task


async def test_a_waiter_that_could_not_look_is_woken_by_the_next_look(storage: FaultyStorage) -> None:
    """If storage couldn't tell when somebody looked, whatever it tells next counts, also if others know it already."""
    signal = CommitSignal(storage, poll_seconds=0.001)
    first = await waiting(signal)
    storage.fail("freshness")
    moment = signal.now()
    await storage.commit(creation("a"))
    assert await first
    second = await waiting(signal)
    storage.fail("freshness")
    late = asyncio.create_task(signal.changed_since(moment))
    async with asyncio.timeout(60):
        assert await late
    assert await second
