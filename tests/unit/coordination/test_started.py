"""Work that is begun at once and goes on as a task: as if it had been one from the beginning."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from bamboo_sessions.coordination.started import going_on

pytestmark = pytest.mark.anyio


async def _twice(first: asyncio.Future[str], second: asyncio.Future[str]) -> str:
    try:
        return await first + await second
    except ValueError as exc:
        return str(exc)


async def test_it_waits_as_often_as_it_has_to() -> None:
    """The result is that of the whole work."""
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    work = _twice(first, second)
    task = loop.create_task(going_on(work, work.send(None)))
    first.set_result("a")
    await anyio.lowlevel.checkpoint()
    second.set_result("b")
    assert await task == "ab"


@pytest.mark.parametrize("place", [0, 1])
async def test_what_it_waits_for_may_fail(place: int) -> None:
    """The error is raised inside the work, where it waits, at the first place and later."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[str]] = [loop.create_future(), loop.create_future()]
    work = _twice(*futures)
    task = loop.create_task(going_on(work, work.send(None)))
    for future in futures[:place]:
        future.set_result("a")
    futures[place].set_exception(ValueError("refused"))
    assert await task == "refused"


async def test_it_may_wait_for_nothing() -> None:
    """Giving others their turn is waiting as well."""

    async def polite() -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    work = polite()
    assert await asyncio.get_running_loop().create_task(going_on(work, work.send(None))) == "done"


@pytest.mark.parametrize("waits_for_a_future", [True, False])
async def test_it_can_be_cancelled(waits_for_a_future: bool) -> None:
    """When the event loop ends, the work runs its `finally`, and the task is cancelled."""
    tidied: list[str] = []
    future = asyncio.get_running_loop().create_future()

    async def tidy() -> None:
        try:
            await (future if waits_for_a_future else anyio.lowlevel.checkpoint())
        finally:
            tidied.append("yes")

    work = tidy()
    task = asyncio.get_running_loop().create_task(going_on(work, work.send(None)))
    await anyio.lowlevel.checkpoint()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied == ["yes"]
