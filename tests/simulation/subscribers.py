"""Subscribers of the feed: they stop, resume from what they have recorded, and begin anew before a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from bamboo_sessions import PositionExpiredError, SessionRepository, SubscriberTooSlowError
from bamboo_sessions.storage.feed_position import parse_position
from tests.simulation.clients import load
from tests.simulation.network import key_of
from tests.simulation.world import Client, Follow, Told, World


async def subscriber(client: Client, _session_id: str) -> None:
    """Follows the feed, stops, and resumes from what it has recorded; a crashed one is followed by another one."""
    told = client.world.subscribe(client.process.name)
    for _ in range(client.world.plan.rounds):
        await client.pause()
        await client.do("follow", "", _follow(client, told))
        if told.is_refused:
            await _begin_anew(client, told)
        elif told.last is not None and client.chance.random() < 0.5:
            await _look(client, told)


async def _follow(client: Client, told: Told) -> None:
    live = client.chance.random() < 0.7
    seconds = client.chance.random()
    await follow(client.world, client.repo, told, live=live, seconds=seconds, stop=lambda: client.chance.random() < 0.1)


async def follow(
    world: World, repo: SessionRepository, told: Told, *, live: bool, seconds: float, stop: Callable[[], bool] = bool
) -> None:
    """Read on from where `told` ends, and record what that comes to."""
    this = Follow(told.position, world.loop.steps)
    told.follows.append(this)
    try:
        async with (
            asyncio.timeout(seconds),
            aclosing(repo.changes(after=told.position, live=live)) as changes,
        ):
            async for each in changes:
                this.changes.append(each)
                told.position = each.position
                if stop():
                    this.ending = "left"
                    break
            else:
                this.ending = "all"
    except TimeoutError:
        this.ending = "left"
    except (PositionExpiredError, SubscriberTooSlowError) as exc:
        this.ending, this.oldest = "refused", exc.oldest
        this.reason = exc.reason if isinstance(exc, PositionExpiredError) else "too slow"
    this.end = world.loop.steps


async def _begin_anew(client: Client, told: Told) -> None:
    """Do as the error's hint says; or take what there still is, and do without the rest."""
    how = client.chance.choice(("state", "state", "oldest", "beginning"))
    if how == "oldest":
        told.position = told.follows[-1].oldest
    elif how == "beginning":
        told.position = None
    else:
        _, position = await client.do("feed_position", "", client.repo.feed_position())
        if position is not None:
            await _read_state(client, position)
            told.position = position


async def _read_state(client: Client, position: str) -> None:
    """What is read, freshly if reads may lag, after a position was taken shows all commits up to it (G11, L56)."""
    number = parse_position(position).number
    newest = {made.session_id: made.revision for made in client.world.store.commits[:number]}
    for session_id, revision in newest.items():
        await _read(client, session_id, revision, f"position {number}", fresh=not client.world.store.is_exact)


async def _look(client: Client, told: Told) -> None:
    """A load after a change shows its revision or a newer one (G11)."""
    if (last := told.last) is not None:
        await _read(client, last.session_id, last.revision, f"{last}")


async def _read(client: Client, session_id: str, revision: int, behind: str, *, fresh: bool = False) -> None:
    waits = key_of(session_id) in client.repo.persistence.waiting
    session = await load(client, session_id, fresh=fresh)
    if session is None or waits or key_of(session_id) in client.repo.persistence.waiting:
        return
    if session.revision < revision:
        client.world.findings.append(f"{client.name} knew of {behind} and then loaded {session} (G11)")
