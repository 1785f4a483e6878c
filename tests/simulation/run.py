"""One simulation from one seed. `python -m tests.simulation.run SEED` repeats it and prints its history."""

from __future__ import annotations

import asyncio
import random
import sys
import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from bamboo_sessions import Session, SessionRepository
from bamboo_sessions.domain.working_copy import link_of
from tests.simulation.checks import check
from tests.simulation.clients import Behaviour, finish
from tests.simulation.loop import SimulatedLoop, process
from tests.simulation.population import LAG_FROM, RUNS_FROM, UPKEEP_FROM, population
from tests.simulation.reached import note_world
from tests.simulation.subscribers import follow
from tests.simulation.world import (
    CHAT,
    LIFE,
    LOG,
    Client,
    Operation,
    Process,
    SkewedClock,
    Told,
    World,
    seeded_ids,
)


class Outcome(NamedTuple):
    """What a simulation came to: what is wrong, what was done, and a hash of all that happened."""

    seed: int
    findings: tuple[str, ...]
    history: tuple[Operation, ...]
    steps: int
    seconds: float
    trace: str
    reached: Mapping[str, int] = MappingProxyType({})

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: repeat it with  python -m tests.simulation.run {self.seed}", *self.findings]
        return "\n".join(lines)


def simulate(seed: int) -> Outcome:
    """Run the world of `seed` to its end and judge it."""
    loop = SimulatedLoop(seed)
    world = World(loop, seed, lag=seed if seed >= LAG_FROM else None)
    if seed >= RUNS_FROM:
        troubles = {"pauses": world.chance.choice((0, 1, 3)), "outages": world.chance.choice((0, 0, 1, 4))}
        world.plan = msgspec.structs.replace(world.plan, **troubles)
    if seed >= UPKEEP_FROM:
        world.plan = msgspec.structs.replace(world.plan, page=world.chance.choice((1, 2, 5, None)))
    errors: list[str] = []
    loop.set_exception_handler(lambda _, context: errors.append(f"unhandled: {context}"))
    told: tuple[int, float, str] | None = None
    try:
        findings = loop.run_until_complete(_live(world, seed))
        told = loop.steps, loop.time(), loop.trace  # what is cleared up now depends on the state of the memory
        loop.run_until_complete(loop.shutdown_asyncgens())
    except Exception:  # noqa: BLE001 - whatever it is, it has a seed
        findings = [traceback.format_exc()]
    finally:
        loop.close()
    note_world(world)
    told = told or (loop.steps, loop.time(), loop.trace)
    return Outcome(seed, (*findings, *errors), tuple(world.history), *told, world.reached)


async def _live(world: World, seed: int) -> list[str]:
    seeded_ids(seed)
    random.seed(seed)  # the product's own jitter
    plan = world.plan
    for session_id in (LOG, CHAT, LIFE):
        await _first(world, session_id)
    running = {name: world.loop.create_task(_process(world, name, plan.clients)) for name in _names(plan.processes)}
    for trouble in ["pause"] * plan.pauses + ["outage"] * plan.outages:
        await asyncio.sleep(world.chance.random() * 0.2)  # noqa: TID251 - simulated time
        victim, seconds = world.chance.choice(sorted(running)), world.chance.random() * 3
        world.loop.note(f"{trouble} of {victim}")
        if trouble == "pause":
            world.loop.pause(victim, seconds)
        elif victim in world.processes:
            world.processes[victim].link.back_at = world.loop.time() + seconds / 4
    for number in range(plan.crashes):
        await asyncio.sleep(world.chance.random() * 0.5)  # noqa: TID251 - simulated time
        victim = world.chance.choice(sorted(running))
        world.loop.note(f"crash {victim}")
        world.loop.crash(victim)
        del running[victim]
        name = f"again-{number}"
        running[name] = world.loop.create_task(_process(world, name, 2))
    clients = [client for task in running.values() for client in await task]
    findings = await _end(world, clients)
    await world.loop.bury()
    await _catch_up(world)
    return [*findings, *check(world)]


def _names(count: int) -> list[str]:
    return [f"process-{number}" for number in range(count)]


async def _first(world: World, session_id: str) -> None:
    await world.store.engine.save_session(Session(session_id, clock=SkewedClock(world.loop, 0)))
    world.store.note(0)


async def _process(world: World, name: str, clients: int) -> list[Client]:
    """A process with random clients; it ends when they are done."""
    process.set(name)
    made = Process(world, name)
    chosen: list[tuple[Behaviour, str]] = []
    kinds = [entry for entry in population(world.seed) for _ in range(entry[2])]
    for _ in range(clients):
        behaviour, sessions, _ = world.chance.choice(kinds)
        chosen.append((behaviour, world.chance.choice(sessions)))
    people = [made.client(f"{name}/{behaviour.__name__}-{n}") for n, (behaviour, _) in enumerate(chosen)]
    async with asyncio.TaskGroup() as group:
        for client, (behaviour, session_id) in zip(people, chosen, strict=True):
            group.create_task(behaviour(client, session_id))
    return people


async def _end(world: World, clients: list[Client]) -> list[str]:
    """Nothing fails any more: all work gets through, and nothing is left over (G13)."""
    findings = []
    living = {client.process.name: client.process for client in clients}
    world.unsaved = {
        (name, session_id) for name in set(world.processes) - set(living) for session_id in world.store.log
    }
    world.plan = msgspec.structs.replace(world.plan, faults=0.0, impatience=0.0)
    for each in living.values():
        each.link.heal()
        each.link.back_at = 0.0
    for each in living.values():
        refused = await each.repo.flush()
        world.reached["waiting: refused"] += len(refused)
        world.unsaved.update((each.name, work.session_id) for work in refused)
        findings += [
            f"{each.name} couldn't save: {work.code} {work.session_id}"
            for work in refused
            if work.code not in {"session_deleted", "lease_lost"}
        ]
    for client in clients:
        await finish(client)
    for each in living.values():
        await each.repo.persistence.tasks.finish()
    await asyncio.sleep(1)  # noqa: TID251 - simulated time: what the crashed ones had sent has arrived
    for each in living.values():
        for session_id in list(world.store.log):
            cached, fresh = await each.repo.load(session_id), await each.repo.load(session_id, fresh=True)
            if (cached and link_of(cached).base) != (fresh and link_of(fresh).base):
                findings.append(f"{each.name}: the cache of {session_id} differs from storage (G10)")
        findings += [f"{each.name}: closing with unsaved {w.session_id}" for w in await each.repo.aclose()]
        stats = each.repo.persistence.stats()
        world.reached["cache: hit"] += stats["cache_hits"]
        if stats["locks"] or stats["dirty_bytes"] or stats["cache_bytes"] > each.repo.cache.bytes_max:
            findings.append(f"{each.name}: left over: {stats} (G13)")
    return findings


async def _catch_up(world: World) -> None:
    """Each subscriber reads what is left of the feed, and somebody reads all that is kept."""
    world.told.append(Told("the end"))
    async with SessionRepository.open(world.store.engine) as sessions:
        for told in world.told:
            await follow(world, sessions, told, live=False, seconds=1)
            if told.is_refused:
                told.position = told.follows[-1].oldest
                await follow(world, sessions, told, live=False, seconds=1)


if __name__ == "__main__":
    result = simulate(int(sys.argv[1]))
    for done in result.history:
        sys.stdout.write(" | ".join(f"{value}" for value in msgspec.structs.astuple(done)) + "\n")
    sys.stdout.write(f"{result}\n")
