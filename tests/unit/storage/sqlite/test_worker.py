"""Threads that work for the event loop: whatever goes wrong in one, nobody waits for ever (L134)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.wal import Log
from bamboo_sessions.storage.sqlite.transactions.worker import Request, Worker
from tests.unit.storage.sqlite.commits import appending

pytestmark = pytest.mark.anyio


class _FaultyLog(Log):
    """A log that is always due, and can't be looked after."""

    is_due = True

    def tend(self, connection: apsw.Connection) -> None:
        raise MemoryError


async def test_L134_a_fault_in_looking_after_the_log_stops_no_write(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is thrown away, the fault is logged, and the next commits are made."""
    storage = SqliteStorage(path)
    await storage.open()
    engine = storage._engine
    engine._writer.log = _FaultyLog(engine.path, lambda: None)
    async with asyncio.timeout(60):
        for number in range(1, 6):
            assert (await storage.commit(appending("s", Message.user("x")))).revision == number
        await storage.aclose()
    assert "MemoryError" in caplog.text


def _do(requests: Sequence[Request]) -> None:
    for request in requests:
        request.result = request.work(None)


async def test_L134_a_fault_in_the_work_itself_is_told_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is a storage error to its caller, whose outcome is unknown; the next caller is served."""

    def fail(_: object) -> None:
        raise MemoryError

    worker = Worker("a worker", _do, lambda: None)
    worker.start()
    async with asyncio.timeout(60):
        with pytest.raises(StorageError, match="MemoryError") as told:
            await worker.submit(fail)
        assert told.value.outcome_unknown
        assert await worker.submit(lambda _: 1) == 1
    worker.stop()
    worker.join()
    assert "MemoryError" in caplog.text


async def test_L134_whoever_waits_for_a_thread_that_ends_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """What is queued behind its end, and what comes later, gets an error at once, also if the ending itself fails."""

    def fail() -> None:
        raise MemoryError

    worker = Worker("a worker", _do, fail)
    worker.stop()
    behind = worker.submit(lambda _: 1)
    worker.start()
    async with asyncio.timeout(60):
        with pytest.raises(StorageError, match="has ended"):
            await behind
        worker.join()
        with pytest.raises(StorageError, match="has ended"):
            await worker.submit(lambda _: 1)
    assert "MemoryError" in caplog.text
