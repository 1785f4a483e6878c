"""Janitors: they prune the feed under those who read it, and start new epochs, as after a restore."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from bamboo_sessions import SessionCache, StoreAdmin
from bamboo_sessions.domain.limits import COMMIT_ID_HOURS_MIN
from tests.simulation.world import Client, SkewedClock

DAY: Final = timedelta(hours=COMMIT_ID_HOURS_MIN)


async def janitor(client: Client, _session_id: str) -> None:
    """Prunes and starts epochs. Its clock is a day ahead, so what was committed a moment ago is old enough to go."""
    seconds = DAY.total_seconds() + client.chance.choice((-0.3, 0.0, 0.0, 3_601.0))
    repo = client.process.repository(SessionCache(0), SkewedClock(client.world.loop, seconds))
    owner = StoreAdmin(repo.storage, clock=repo.persistence.clock)
    for _ in range(client.world.plan.rounds):
        await client.pause()
        if client.chance.random() < 0.15:
            await client.do("start_epoch", "", owner.start_epoch())
        else:
            await client.do("prune_changes", "", owner.prune_changes(older_than=DAY))
