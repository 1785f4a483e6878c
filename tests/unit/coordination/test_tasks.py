"""Work of the store's that outlives its callers (G10)."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import Message, Session, SessionRepository, SimpleStorage, StorageError
from bamboo_sessions.domain.limits import ENCODE_SLICE_MESSAGES
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from tests.unit.coordination.kit import Rig

pytestmark = pytest.mark.anyio


async def test_its_caller_gets_the_result_or_the_error() -> None:
    """What the work returns or raises comes back, whether it had to wait for something or not."""

    async def outcome(*, waits: bool, fails: bool) -> str:
        if waits:
            await anyio.lowlevel.checkpoint()
        if fails:
            message = "refused"
            raise ValueError(message)
        return "done"

    store = Rig().store
    for waits in (False, True):
        assert await store.tasks.run(outcome(waits=waits, fails=False)) == "done"
        with pytest.raises(ValueError, match="refused"):
            await store.tasks.run(outcome(waits=waits, fails=True))


async def test_it_releases_at_its_end_and_not_before() -> None:
    """G10: the caller is cancelled; the lock is released when the work has ended, and not when it stops waiting."""
    store = Rig().store
    released = asyncio.Event()
    waits = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await waits

    caller = asyncio.ensure_future(store.tasks.run(work(), released.set))
    while not store.tasks._tasks:
        await anyio.lowlevel.checkpoint()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not released.is_set()
    waits.set_result(None)
    await released.wait()


async def test_a_caller_goes_on_as_soon_as_its_work_has_ended() -> None:
    """Work that needn't wait costs its caller two turns of the event loop at most: it begins, and it is told."""
    store = Rig().store
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async def work() -> None:
        pass

    task = asyncio.get_running_loop().create_task(other())
    for _ in range(3):
        before = turns
        await store.tasks.run(work())
        assert turns - before <= 2
        assert len(store.tasks) == 0
    task.cancel()


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

        async def work() -> None:
            await waits

        key = SessionKey("default", "s")
        caller = asyncio.ensure_future(store.tasks.run(work(), await store._locks.acquire(key)))
        while not store.tasks._tasks:
            await anyio.lowlevel.checkpoint()
        for task in store.tasks._tasks:
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
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(anyio.lowlevel.checkpoint())
            with anyio.fail_after(60):
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


# --- event loops, and the end


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
def test_a_second_running_event_loop_is_refused(url: str, tmp_path: Path) -> None:
    """It gets one sentence with the remedy, and the first loop goes on; one loop after another is fine."""
    location = url if "://" in url else tmp_path / "sessions.db"
    sessions = SessionRepository.open(location)._handle
    refused: list[StorageError] = []

    async def elsewhere() -> None:
        for call in (sessions.load("s"), sessions.append("s", Message.user("y"))):
            try:
                await call
            except StorageError as exc:
                refused.append(exc)

    async def first() -> None:
        await sessions.__aenter__()
        await sessions.append("s", Message.user("x"), create=True)
        await asyncio.to_thread(asyncio.run, elsewhere())
        await sessions.append("s", Message.user("z"))
        await sessions.aclose()

    asyncio.run(first())
    assert [exc.hint for exc in refused] == ["Open a repository in each event loop: several may share one file."] * 2

    async def second() -> int:
        async with sessions:
            return (await sessions.append("s", Message.user("later"), create=True)).message_count

    assert asyncio.run(second()) == 3


async def test_a_loop_that_ended_leaves_no_session_locked() -> None:
    """A save was under way when its event loop was closed: in the next one the session can be written."""
    sessions = SessionRepository.open("memory://")._handle
    loop = asyncio.new_event_loop()
    key = SessionKey("default", "s")

    def begin() -> None:
        loop.run_until_complete(sessions.append("s", Message.user("x"), create=True))
        loop.run_until_complete(sessions.persistence._lock(key))  # and nobody will release it
        loop.close()

    await asyncio.to_thread(begin)
    assert (await sessions.rename("s", "free")).title == "free"


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_closing_ends_although_others_go_on(url: str, tmp_path: Path) -> None:
    """Once `aclose` has begun, new calls are refused, so that it ends; opened again, all goes on."""
    sessions = await SessionRepository.open(url if "://" in url else tmp_path / "sessions.db")
    refused = asyncio.Event()

    async def write() -> None:
        for number in count():
            try:
                await sessions.append("s", Message.user(str(number)), create=True)
            except StorageError:
                refused.set()
                return

    writers = [asyncio.create_task(write()) for _ in range(3)]
    await anyio.lowlevel.checkpoint()
    await sessions.aclose()
    await asyncio.gather(*writers)
    assert refused.is_set()
    async with sessions:
        assert (await sessions.get("s")).message_count >= 0


async def test_many_messages_are_encoded_in_slices() -> None:
    """Section by section, other tasks have their turn while a long plan is encoded."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with SessionRepository.open("memory://") as sessions:
        session = Session("s")
        for number in range(10 * ENCODE_SLICE_MESSAGES):
            session.add_message(Message.user(str(number)))
        task = asyncio.get_running_loop().create_task(other())
        await sessions.create(session)
        task.cancel()
        assert turns >= 10
