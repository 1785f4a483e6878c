"""The renewal of a run lease in the background, in simulated time: what the machine's speed must not decide."""

from __future__ import annotations

import asyncio

from bamboo_sessions import MemoryStorage, Session, SessionRepository, StorageUnavailableError
from bamboo_sessions.testing import FaultyStorage
from tests.simulation.loop import SimulatedLoop

TTL_SECONDS = 30.0


async def _seconds_held(outage_seconds: float) -> float | None:
    """For how long a run is sure of its lease if storage fails from its beginning; `None`: for five times its `ttl`."""
    loop = asyncio.get_running_loop()
    storage = FaultyStorage(MemoryStorage())
    async with SessionRepository.open(storage) as sessions:
        await sessions.create(Session("s"))
        async with sessions.lease("s", ttl=TTL_SECONDS) as lease:
            taken = loop.time()
            storage.fail("change_lease", StorageUnavailableError, times=None)
            loop.call_later(outage_seconds, storage.heal)
            try:
                async with asyncio.timeout_at(taken + 5 * TTL_SECONDS):
                    await lease.lost.wait()
            except TimeoutError:
                return None
            return loop.time() - taken


def _run(outage_seconds: float) -> float | None:
    loop = SimulatedLoop(0)
    try:
        return loop.run_until_complete(_seconds_held(outage_seconds))
    finally:
        loop.close()


def test_an_outage_shorter_than_the_ttl_costs_no_lease() -> None:
    """Renewals that fail are tried again until one gets through."""
    assert _run(0.8 * TTL_SECONDS) is None


def test_a_longer_outage_costs_the_lease() -> None:
    """It is told soon after the `ttl` has passed since the last renewal, and not before."""
    held = _run(3 * TTL_SECONDS)
    assert held is not None
    assert TTL_SECONDS <= held <= 1.2 * TTL_SECONDS
