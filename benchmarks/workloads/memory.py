"""What a session takes in memory, as a multiple of its JSON: at the peak of a cold load, and once cached."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bamboo_sessions import SessionRepository
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey
from benchmarks.bench import Bench
from benchmarks.results import OURS
from benchmarks.targets import MEMORY, PEAK


def run(bench: Bench) -> None:
    """Counted by tracemalloc: all that Python allocates, without SQLite's own pages."""
    driver = bench.drivers[OURS]
    path = bench.path(OURS, "memory")
    driver.call("open", key="memory", path=path)
    for length in (1_000,) if bench.quick else (100, 1_000, 10_000):
        session = f"chat-{length}"
        bench.fill("memory", session, length, [OURS])
        found = driver.call("memory", key="memory", session=session)
        size = asyncio.run(_json_bytes(Path(path), session))
        bench.add_value(MEMORY, OURS, found["kept"] / size, "× its JSON", length)
        bench.add_value(PEAK, OURS, found["peak"] / size, "× its JSON", length)
    bench.progress("memory: done")


async def _json_bytes(path: Path, session: str) -> int:
    async with SessionRepository.open(path) as sessions:
        state = await sessions.storage.read(SessionKey("default", session))
        assert isinstance(state, Snapshot)
        return state.messages_bytes
