"""Agents that run under a lease, and subscribers of the feed: the clients of the worlds from `FROM_SEED` on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Final

from bamboo_sessions import RunLease
from tests.simulation.clients import Behaviour, change, load, save
from tests.simulation.network import key_of
from tests.simulation.world import CHAT, LIFE, LOG, Client, Told, Work

FROM_SEED: Final = 2**32
"""Smaller seeds are worlds without these clients, so that what was found in those can be repeated."""


async def runner(client: Client, session_id: str) -> None:
    """Runs again and again, each time under a lease; its process may be paused in the middle of it."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        chance = client.chance
        block = client.repo.lease(
            session_id,
            ttl=chance.choice((0.1, 0.3, 2.0)),
            holder=client.name,
            on_busy=chance.choice(("reject", "wait", "wait")),
            timeout=chance.choice((0.2, 5.0)),
        )
        _, lease = await client.do("lease", session_id, block.__aenter__())
        if lease is not None:
            try:
                await _run(client, lease)
            finally:
                client.copy = None
                await block.__aexit__(None, None, None)


async def _run(client: Client, lease: RunLease) -> None:
    """Some turns; a run that is told that it lost its lease ends, one that isn't goes on."""
    work = client.work = Work()
    client.copy = lease.session
    for _ in range(client.chance.randint(1, 4)):
        change(client, lease.session, work)
        how = client.chance.choice(("save", "save", "checkpoint", "save_best_effort"))
        await save(client, lease.session, work, how)
        await client.pause()
        if client.copy is None or (lease.is_lost and client.chance.random() < 0.5):
            return


async def subscriber(client: Client, _session_id: str) -> None:
    """Follows the feed, stops, and resumes from what it has recorded; a crashed one is followed by another one."""
    told = client.world.subscribe(client.process.name)
    for _ in range(client.world.plan.rounds):
        await client.pause()
        await client.do("follow", "", _follow(client, told))
        if told.changes and client.chance.random() < 0.5:
            await _look(client, told)


async def _follow(client: Client, told: Told) -> None:
    live = client.chance.random() < 0.7
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(client.chance.random()),
            aclosing(client.repo.changes(after=told.position, live=live)) as changes,
        ):
            async for each in changes:
                told.changes.append(each)
                if client.chance.random() < 0.1:
                    return


async def _look(client: Client, told: Told) -> None:
    """A load after a change shows its revision or a newer one (G11)."""
    last = told.changes[-1]
    waits = client.repo.cache.is_dirty(key_of(last.session_id))
    session = await load(client, last.session_id)
    if session is None or waits or client.repo.cache.is_dirty(key_of(last.session_id)):
        return
    if session.revision < last.revision:
        client.world.findings.append(f"{client.name} was told {last} and then loaded {session} (G11)")


MORE: Final[tuple[tuple[Behaviour, tuple[str, ...], int], ...]] = (
    (runner, (CHAT, CHAT, LIFE), 8),
    (subscriber, (LOG,), 5),
)
"""Who else there is."""
