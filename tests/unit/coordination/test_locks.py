"""One lock per session in use, and none besides."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions.coordination.locks import SessionLocks
from tests.unit.coordination.kit import KEY, key_of

pytestmark = pytest.mark.anyio


async def test_holders_take_turns() -> None:
    """A lock is held by one at a time, in the order of asking."""
    locks = SessionLocks()
    order: list[int] = []
    inside = 0

    async def turn(number: int) -> None:
        nonlocal inside
        release = await locks.acquire(KEY)
        inside += 1
        assert inside == 1
        order.append(number)
        await checkpoint()
        inside -= 1
        release()

    await asyncio.gather(*map(turn, range(10)))
    assert (order, len(locks)) == (list(range(10)), 0)


async def test_sessions_do_not_wait_for_one_another() -> None:
    """Locks of different sessions are free of one another."""
    locks = SessionLocks()
    releases = [await locks.acquire(key_of(str(number))) for number in range(100)]
    assert len(locks) == 100
    for release in releases:
        release()
    assert len(locks) == 0


@pytest.mark.parametrize("steps", range(4))
async def test_L38_a_cancelled_waiter_leaks_nothing(steps: int) -> None:
    """A waiter that is cancelled, at whatever step, leaves no entry behind and takes nobody's turn."""
    locks = SessionLocks()
    release = await locks.acquire(KEY)
    waiters = [asyncio.create_task(locks.acquire(KEY)) for _ in range(3)]
    for _ in range(steps):
        await checkpoint()
    waiters[0].cancel()
    waiters[2].cancel()
    release()
    (await waiters[1])()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert len(locks) == 0
    (await locks.acquire(KEY))()
    assert len(locks) == 0


async def test_L38_cancelled_at_the_moment_of_the_release() -> None:
    """A waiter that is handed the lock and cancelled in the same step passes it on."""
    locks = SessionLocks()
    release = await locks.acquire(KEY)
    first = asyncio.create_task(locks.acquire(KEY))
    second = asyncio.create_task(locks.acquire(KEY))
    await checkpoint()
    release()
    first.cancel()
    (await second)()
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)
    assert len(locks) == 0
