"""Many processes start on one new file (L85)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bamboo_sessions import SessionRepository, StoreAdmin
from tests.multiprocess.processes import Worker, together

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]


async def test_L85_thirty_two_processes_open_one_new_file(tmp_path: Path) -> None:
    """All of 32 processes that open an empty path at the same moment succeed, and each saves its session."""
    path = tmp_path / "sessions.db"
    workers = [Worker("open_and_save", path, f"worker-{number}") for number in range(32)]
    async with together(*workers):
        said = await asyncio.gather(*(worker.line() for worker in workers))
    assert said == ["saved"] * 32
    async with SessionRepository.open(path) as sessions:
        heads = [head async for head in sessions.iter_sessions()]
        assert {head.id for head in heads} == {f"worker-{number}" for number in range(32)}
        assert all(head.message_count == 1 for head in heads)
        assert (await StoreAdmin(sessions.storage).check()).ok
