"""Work that is begun at once and goes on as a task: as if it had been one from the beginning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import Message, Session, SessionRepository, SimpleStorage
from bamboo_sessions.coordination.started import going_on
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter

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


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_who_writes_without_a_pause_starves_nobody(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that needn't wait still let other tasks run, every few of them."""
    monkeypatch.setattr(LoopWriter, "is_quick", True)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with SessionRepository.open(url if "://" in url else tmp_path / "sessions.db") as sessions:
        session = await sessions.load_or_create("s")
        task = asyncio.get_running_loop().create_task(other())
        for _ in range(20):
            session.add_message(Message.user("x"))
            await sessions.save(session)
        assert turns >= 5
        task.cancel()


async def test_a_write_that_is_cancelled_before_its_task_begins_is_told(tmp_path: Path) -> None:
    """Who cancels all tasks, the store's as well, leaves no caller waiting, and no session locked (G10)."""
    async with SessionRepository.open(tmp_path / "sessions.db") as sessions:
        await sessions.append("s", Message.user("x"), create=True)
        store = sessions.persistence
        waits = asyncio.get_running_loop().create_future()

        async def work(release: Callable[[], None]) -> None:
            try:
                await waits
            finally:
                release()

        key = SessionKey("default", "s")
        caller = asyncio.ensure_future(store.own(work(await store._locks.acquire(key))))
        while not store._tasks:
            await anyio.lowlevel.checkpoint()
        for task in store._tasks:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert (await sessions.rename("s", "free")).title == "free"


class _Slow:
    """A storage of somebody's own, which uses a time limit and a task group."""

    def __init__(self) -> None:
        self.saved: dict[str, Session] = {}

    async def save_session(self, session: Session) -> None:
        """Save, within a time limit."""
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(anyio.lowlevel.checkpoint())
            with anyio.fail_after(10):
                await anyio.lowlevel.checkpoint()
        self.saved[session.id] = session

    async def load_session(self, session_id: str) -> Session | None:
        """Load."""
        return self.saved.get(session_id)

    async def delete_session(self, session_id: str) -> bool:
        """Delete."""
        return self.saved.pop(session_id, None) is not None


async def test_storages_of_ones_own_may_use_what_belongs_to_a_task() -> None:
    """Time limits and task groups work in them: a call runs in one task from its beginning to its end."""
    async with SessionRepository.open(SimpleStorage(_Slow())) as sessions:
        session = await sessions.load_or_create("s")
        session.add_message(Message.user("x"))
        assert (await sessions.save(session)).revision == 1
        assert (await sessions.append("s", Message.user("y"))).revision == 2
