"""Where adapters keep their sessions: one repository for each URL and running event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import InputError, Message, SessionRepository, StorageError
from bamboo_sessions.adapters.opening import Store, finished


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of the test's own."""
    return f"sqlite:///{tmp_path}/agents.db"


async def appended(url: str) -> SessionRepository:
    """The repository of this loop, after a write."""
    sessions = await Store(url).repository()
    await sessions.append("s", Message.user("hi"), create=True)
    return sessions


def test_a_loop_shares_a_repository_which_ends_with_it(url: str, tmp_path: Path) -> None:
    """Whoever names the URL gets the same one, at once or later; when the loop ends, it is closed."""

    async def main() -> SessionRepository:
        first, second = await asyncio.gather(appended(url), appended(url))
        assert first is second is await appended(url)
        return first

    asyncio.run(main())
    assert list(tmp_path.glob("*-wal")) == []
    asyncio.run(main())


def test_each_running_loop_has_one(url: str) -> None:
    """Threads with a loop each write one session at the same time, and nobody is refused."""
    barrier = Barrier(4)

    async def main() -> None:
        for _ in range(10):
            await appended(url)
        await asyncio.to_thread(barrier.wait)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(asyncio.run, [main() for _ in range(4)]))

    async def count() -> int:
        return len((await (await Store(url).repository()).get("s")).messages)

    assert asyncio.run(count()) == 40


def test_a_loop_that_stopped_hands_over(url: str) -> None:
    """A loop that nobody ended, as some frameworks leave it, leaves its repository to the next one."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    first, second = (loop.run_until_complete(appended(url)) for loop in loops)
    assert first is second
    loops[0].run_until_complete(loops[0].shutdown_asyncgens())
    assert loops[1].run_until_complete(appended(url)) is first
    loops[1].run_until_complete(loops[1].shutdown_asyncgens())
    for loop in loops:
        loop.close()


def test_memory_outlives_a_loop() -> None:
    """What is kept in memory is there for the next loop."""
    first = asyncio.run(appended("memory://"))
    assert asyncio.run(appended("memory://")) is first


def test_what_can_t_be_opened(tmp_path: Path) -> None:
    """The error comes from each call that needs the store; once it can be opened, calls go through."""
    path = tmp_path / "folder"
    path.mkdir()

    async def main() -> None:
        store = Store(path)
        for _ in range(2):
            with pytest.raises(StorageError):
                await store.repository()
        path.rmdir()
        await store.repository()

    asyncio.run(main())
    with pytest.raises(InputError, match="not in int"):
        Store(7)  # type: ignore[arg-type]


def test_a_repository_is_its_user_s() -> None:
    """One that is handed in is used as it is, and not closed."""

    async def main() -> None:
        async with SessionRepository.open("memory://") as sessions:
            assert await Store(sessions).repository() is sessions

    asyncio.run(main())


def test_an_outcome_is_waited_for() -> None:
    """A cancelled caller, even twice, ends when the work has ended, and with the cancellation."""

    async def main() -> None:
        goes_on, done = asyncio.Event(), []

        async def work() -> None:
            await goes_on.wait()
            done.append(True)
            raise StorageError("late")

        task = asyncio.create_task(finished(work()))
        for _ in range(2):
            await checkpoint()
            task.cancel()
        await checkpoint()
        assert not task.done()
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done
        with pytest.raises(StorageError):
            await finished(work())

    asyncio.run(main())
