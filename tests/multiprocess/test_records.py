"""Several processes write records of one session, and of one shared name (L121)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bamboo_sessions import Session, SessionRepository
from tests.multiprocess.processes import Worker, together

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

WRITES = 40


async def test_processes_lose_no_record_and_count_right(tmp_path: Path) -> None:
    """Records of three processes' blind commits are all there, and a number raised by `if_version` is right."""
    path = tmp_path / "sessions.db"
    async with SessionRepository.open(path) as sessions:
        await sessions.create(Session("chat"))
    workers = [Worker("put_records", path, "chat", name, WRITES) for name in "abc"]
    async with together(*workers):
        counts = await asyncio.gather(*(_count(worker) for worker in workers))
    assert counts == [WRITES] * 3
    async with SessionRepository.open(path) as sessions:
        keys = [key async for key in sessions.records.scan("own", session="chat", keys_only=True)]
        assert set(keys) == {f"{name}{number}" for name in "abc" for number in range(WRITES)}
        assert (await sessions.get("chat")).revision == 1 + 3 * WRITES
        counter = await sessions.records.get("counter", "all", shared="app")
        assert counter is not None
        assert int(counter.value) == 3 * WRITES
        assert (await sessions.check()).ok


async def _count(worker: Worker) -> int:
    return len([line async for line in worker.lines()])
