"""Agents that run under a lease, one at a time, or each in a fork of its own if the session is busy."""

from __future__ import annotations

from bamboo_sessions import RunLease
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.repository.leases import LeaseBlock
from tests.simulation.clients import append, author, change, load, save
from tests.simulation.world import Client, Work, World


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
        await _in_block(client, session_id, block, "queue")


async def brancher(client: Client, session_id: str) -> None:
    """Runs on a session or on a fork of it, one that is there or, if that is busy, a new one; writes to forks, too."""
    for _ in range(client.world.plan.rounds):
        await client.pause()
        chance = client.chance
        forks = client.world.forks[-3:]
        target = chance.choice((session_id, session_id, *forks))
        block = client.repo.lease(target, ttl=chance.choice((0.1, 0.3, 2.0)), holder=client.name, on_busy="fork")
        await _in_block(client, target, block, "fork")
        if forks:
            await chance.choice((_retitle, append, _look))(client, chance.choice(forks))


async def _retitle(client: Client, session_id: str) -> None:
    await author(client, session_id, "title")


async def _look(client: Client, session_id: str) -> None:
    await load(client, session_id)


async def _in_block(client: Client, session_id: str, block: LeaseBlock, on_busy: str) -> None:
    begun = client.world.loop.time()
    done, lease = await client.do("lease", session_id, block.__aenter__(), on_busy)
    if lease is None:
        return
    done.result = lease.session.id
    _note_lease(client.world, lease, waited=client.world.loop.time() > begun)
    if lease.session.id not in {session_id, *client.world.forks}:
        client.world.forks.append(lease.session.id)
    if link_of(lease.session).fence != lease.token:
        client.world.findings.append(f"{client.name} runs on {lease.session.id} without a fence (G12)")
    try:
        await run(client, lease)
    finally:
        client.copy = None
        if client.world.runs.get(lease.session.id) is lease:
            del client.world.runs[lease.session.id]
        await block.__aexit__(None, None, None)


def _note_lease(world: World, lease: RunLease, *, waited: bool) -> None:
    before = world.runs.get(lease.session.id)
    world.reached["lease: taken over from one that ended"] += before is not None
    world.reached["lease: given after waiting"] += waited
    world.runs[lease.session.id] = lease


async def run(client: Client, lease: RunLease) -> None:
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
