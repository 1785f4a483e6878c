"""Janitors: they prune the feed under those who read it, and start new epochs, as after a restore."""

from __future__ import annotations

from datetime import timedelta

from bamboo_sessions import StoreAdmin
from tests.simulation.world import Client


async def janitor(client: Client, _session_id: str) -> None:
    """Prunes and starts epochs. What was committed a moment ago is old enough to go for it, as for no repository."""
    older_than = timedelta(seconds=client.chance.choice((0.3, 0.0, 0.0)))
    repo, storage = client.process.repo, client.process.link
    owner = StoreAdmin(repo.storage, clock=repo.persistence.clock)
    for _ in range(client.world.plan.rounds):
        await client.pause()
        if client.chance.random() < 0.15:
            await client.do("start_epoch", "", owner.start_epoch())
        else:
            await client.do("prune_changes", "", storage.prune_changes(older_than))
