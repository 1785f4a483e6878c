"""Several processes search, index and write at the same time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from bamboo_sessions import Message, SessionRepository, StoreAdmin
from tests.multiprocess.processes import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

MESSAGES = 900


async def _filled(path: Path) -> None:
    async with SessionRepository.open(path) as sessions:
        said = [Message.user(f"common number{number} text", id=str(number)) for number in range(MESSAGES)]
        await sessions.append("chat", *said, create=True)


async def test_what_another_process_wrote_is_found_at_once(tmp_path: Path) -> None:
    """A word in a message that another process has just appended is found by the next search, each time."""
    path = tmp_path / "sessions.db"
    await _filled(path)
    async with SessionRepository.open(path) as sessions, Worker("append_on_request", path, "chat") as writer:
        await writer.ready()
        for number in range(30):
            writer.tell(f"fresh{number} words")
            assert await writer.line() == f"fresh{number} words"
            assert len((await sessions.search(f"fresh{number}")).hits) == 1
        writer.tell("")


async def test_L46_many_processes_share_one_index(tmp_path: Path) -> None:
    """Searchers in several processes index the same file while it grows and shrinks; all find the same, exactly."""
    path = tmp_path / "sessions.db"
    await _filled(path)
    async with (
        SessionRepository.open(path) as sessions,
        Worker("search_on_request", path) as one,
        Worker("search_on_request", path) as two,
    ):
        searchers = [await worker.ready() for worker in (one, two)]
        for number in range(20):
            await sessions.append("chat", Message.user(f"later{number}", id=f"later{number}"))
            for worker in searchers:
                worker.tell(f"later{number}")
            found = await asyncio.gather(*(worker.line() for worker in searchers))
            assert found == [f"later{number}"] * 2
            assert [hit.message_id for hit in (await sessions.search(f"later{number}")).hits] == [f"later{number}"]
            await sessions.remove_last("chat")
            for worker in searchers:
                worker.tell(f"later{number}")
            assert await asyncio.gather(*(worker.line() for worker in searchers)) == ["", ""]
        for worker in searchers:
            worker.tell("")
        assert (await StoreAdmin(sessions.storage).check()).ok


async def test_an_indexer_that_is_killed(tmp_path: Path) -> None:
    """After each SIGKILL in the middle of building the index, the next search is complete and right."""
    path = tmp_path / "sessions.db"
    await _filled(path)
    rng = random.Random(46)
    for _ in range(8):
        async with Worker("search_for_ever", path, "common") as worker:
            for _ in range(rng.randint(1, 6)):  # steps: there are five for each time that it is built
                await worker.line()
            worker.kill()
        async with SessionRepository.open(path) as sessions:
            assert len((await sessions.search("common", limit=1000)).hits) == MESSAGES
            assert [hit.message_id for hit in (await sessions.search("umber899")).hits] == ["899"]
            assert (await StoreAdmin(sessions.storage).check()).ok
