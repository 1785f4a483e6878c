"""Giving leases back, and waiting for them, when storage doesn't do its part."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import MemoryStorage, SessionBusyError, StorageUnavailableError
from bamboo_sessions.coordination import leasing
from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.leasing import Leasing
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.lease import Claim, LeaseWish
from bamboo_sessions.domain.limits import LEASE_TICKET_SECONDS, LEASE_WAITERS_MAX
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance.kit import KEY, creation

pytestmark = pytest.mark.anyio

TTL = timedelta(seconds=30)


class Desk:
    """Leases of one session on a storage that can fail."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.storage = FaultyStorage(MemoryStorage(clock=self.clock))
        self.store = LockedSessionStore(self.storage, SessionCache(), clock=self.clock)
        self.leasing = Leasing(self.store)

    async def holder(self) -> str | None:
        """Who holds the session."""
        view = await self.storage.read_lease(KEY)
        assert view is not None
        return view.state.holder

    async def queue(self) -> list[str]:
        """Who waits."""
        view = await self.storage.read_lease(KEY)
        assert view is not None
        return [ticket.claim_id for ticket in view.state.waiting]


@pytest.fixture
async def desk() -> Desk:
    """With a session."""
    desk = Desk()
    await desk.storage.commit(creation())
    return desk


def claim(name: str) -> Claim:
    """A claim whose id and holder are its name."""
    return Claim(name, name, TTL)


async def test_giving_back_never_hangs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run ends although storage doesn't answer; when it does, the lease is given back, and closing waits for that."""
    monkeypatch.setattr(leasing, "_GIVING_BACK_SECONDS_MAX", 0.01)
    await desk.leasing.take(KEY, claim("a"))
    stall = desk.storage.stall("change_lease")
    await desk.leasing.give_back(KEY, claim("a"))
    assert stall.hits == 1
    assert await desk.holder() == "a"
    stall.release()
    await desk.store.tasks.finish()
    assert await desk.holder() is None


async def test_giving_back_goes_on_without_the_caller(desk: Desk) -> None:
    """Whoever is cancelled while a lease is given back leaves it given back."""
    await desk.leasing.take(KEY, claim("a"))
    stall = desk.storage.stall("change_lease")
    task = asyncio.create_task(desk.leasing.give_back(KEY, claim("a")))
    await stall.reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    stall.release()
    await desk.store.tasks.finish()
    assert await desk.holder() is None


async def test_giving_back_never_fails(desk: Desk) -> None:
    """What can't be given back is left to run out."""
    await desk.leasing.take(KEY, claim("a"))
    desk.storage.fail("change_lease", StorageUnavailableError)
    await desk.leasing.give_back(KEY, claim("a"))
    assert await desk.holder() == "a"


async def test_a_waiter_behind_one_that_died(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter refreshes its ticket and so outlives the one in front, which doesn't; then it is its turn."""
    monkeypatch.setattr(leasing, "_REFRESH_SECONDS", 0.001)
    await desk.leasing.take(KEY, claim("a"))
    dead = asyncio.create_task(desk.leasing.wait(KEY, claim("dead"), None))
    while await desk.queue() != ["dead"]:
        await checkpoint()
    dead.cancel()  # nobody withdraws its ticket
    waiter = asyncio.create_task(desk.leasing.wait(KEY, claim("b"), None))
    while await desk.queue() != ["dead", "b"]:
        await checkpoint()
    await desk.leasing.give_back(KEY, claim("a"))
    while not waiter.done():
        assert await desk.holder() in {None, "b"}
        desk.clock.move(timedelta(seconds=LEASE_TICKET_SECONDS / 4))
        calls = desk.storage.calls["change_lease"]
        while desk.storage.calls["change_lease"] == calls and not waiter.done():
            await checkpoint()
    assert (await waiter).state.claim_id == "b"


async def test_a_waiter_is_woken_at_once_in_its_own_process(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needn't wait until somebody looks at storage, nor until its ticket is refreshed."""
    monkeypatch.setattr(leasing, "_REFRESH_SECONDS", 3600)
    await desk.leasing.take(KEY, claim("a"))
    waiter = asyncio.create_task(desk.leasing.wait(KEY, claim("b"), None))
    while await desk.queue() != ["b"]:
        await checkpoint()
    await desk.leasing.give_back(KEY, claim("a"))
    async with asyncio.timeout(60):
        assert (await waiter).state.token == 2


async def test_a_waiter_wakes_when_the_lease_runs_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is committed then, and nobody says anything: it watches the clock."""
    monkeypatch.setattr(leasing, "_REFRESH_SECONDS", 3600)
    storage = FaultyStorage(MemoryStorage())
    await storage.commit(creation())
    leasing_now = Leasing(LockedSessionStore(storage, SessionCache()))
    await leasing_now.take(KEY, Claim("a", "a", timedelta(milliseconds=50)))
    async with asyncio.timeout(60):
        assert (await leasing_now.wait(KEY, claim("b"), None)).state.token == 2


@pytest.mark.parametrize("seconds", [-5, 5])
async def test_L136_a_waiter_whose_clock_is_wrong_waits(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """By whatever clock it lives, it sleeps until the lease runs out by storage's, and writes its ticket once."""
    monkeypatch.setattr(leasing, "_REFRESH_SECONDS", 3600)
    clock = ManualClock()
    storage = FaultyStorage(MemoryStorage(clock=clock))
    await storage.commit(creation())
    wrong = ManualClock(clock.now() + timedelta(seconds=seconds))
    waiting = Leasing(LockedSessionStore(storage, SessionCache(), clock=wrong))
    await waiting.take(KEY, Claim("a", "a", timedelta(seconds=1)))
    storage.calls.clear()
    waiter = asyncio.create_task(waiting.wait(KEY, claim("b"), None))
    for _ in range(1_000):
        await checkpoint()
    assert (storage.calls["change_lease"], storage.calls["read_lease"]) == (1, 1)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)


async def test_too_many_waiters_are_refused(desk: Desk) -> None:
    """One above the limit is told so at once, and has no ticket."""
    await desk.leasing.take(KEY, claim("a"))
    for number in range(LEASE_WAITERS_MAX):
        await desk.storage.change_lease(KEY, LeaseWish("wait", claim(str(number))))
    with pytest.raises(SessionBusyError, match="100 runs wait for it already"):
        await desk.leasing.wait(KEY, claim("b"), None)
    assert "b" not in await desk.queue()
