"""The workloads: each yields rows. Messages have about 500 bytes, a turn has two of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bamboo_sessions import Message, Session, SessionRepository
from benchmarks.floor import Floor
from benchmarks.harness import Row, row, timed, timed_sync
from benchmarks.search import search, search_cost

_TEXT = "The parcel left our warehouse on Tuesday and is due tomorrow. " * 8


def turn() -> tuple[Message, Message]:
    """What a person says, and what the model answers."""
    return Message.user(_TEXT), Message.assistant(_TEXT)


async def _filled(sessions: SessionRepository, session_id: str, length: int) -> Session:
    session = Session(session_id)
    session.messages.extend(message for _ in range(length // 2) for message in turn())
    await sessions.save(session)
    return session


async def append_turn(folder: Path, samples: int) -> AsyncIterator[Row]:
    """A durable turn from a working copy (`save`) and blind (`append`), at short and long histories."""
    for length in (10, 10_000):
        path = folder / f"append-{length}.db"
        floor = Floor(folder / f"append-floor-{length}.db")
        floor.append([message for _ in range(length // 2) for message in turn()])
        async with SessionRepository.open(path) as sessions:
            session = await _filled(sessions, "chat", length)
            below: list[float] = []
            saves: list[float] = []
            appends: list[float] = []
            for _ in range(samples):
                said = turn()
                below.append(timed_sync(lambda: floor.append(said)))  # noqa: B023 - called at once
                session.messages.extend(turn())
                saves.append(await timed(lambda: sessions.save(session)))  # noqa: B023 - called at once
                blind = turn()
                appends.append(await timed(lambda: sessions.append("chat", *blind)))  # noqa: B023 - called at once
                session = await sessions.get("chat")
        floor.close()
        yield row(f"save a turn, history of {length:,}", saves, floor=below)
        yield row(f"append a turn, history of {length:,}", appends, floor=below)


async def load(folder: Path, samples: int) -> AsyncIterator[Row]:
    """A whole session: from a file just opened, and again from the cache, with the freshness check."""
    for length in (1_000, 10_000):
        path = folder / f"load-{length}.db"
        floor = Floor(folder / f"load-floor-{length}.db")
        floor.append([message for _ in range(length // 2) for message in turn()])
        async with SessionRepository.open(path) as sessions:
            await _filled(sessions, "chat", length)
        cold: list[float] = []
        cached: list[float] = []
        below: list[float] = []
        for _ in range(max(5, samples // 20)):
            below.append(timed_sync(floor.load))
            async with SessionRepository.open(path) as sessions:
                cold.append(await timed(lambda: sessions.load("chat")))
                cached.extend([await timed(lambda: sessions.load("chat")) for _ in range(20)])
        floor.close()
        yield row(f"load cold, history of {length:,}", cold, floor=below)
        yield row(f"load cached, history of {length:,}", cached)


async def unchanged(folder: Path, samples: int) -> AsyncIterator[Row]:
    """A save without changes."""
    async with SessionRepository.open(folder / "unchanged.db") as sessions:
        session = await _filled(sessions, "chat", 1_000)
        yield row("save without changes", [await timed(lambda: sessions.save(session)) for _ in range(samples)])


async def group_commit(folder: Path, samples: int) -> AsyncIterator[Row]:
    """64 sessions that save turns at the same time: one fsync for many."""
    turns = max(5, samples // 10)
    floor = Floor(folder / "group-floor.db")
    below = [timed_sync(lambda: floor.append_group([turn() for _ in range(64)])) for _ in range(turns)]
    floor.close()
    async with SessionRepository.open(folder / "group.db") as sessions:
        copies = [await _filled(sessions, f"chat-{index}", 10) for index in range(64)]

        async def talk(session: Session) -> None:
            for _ in range(turns):
                session.messages.extend(turn())
                await sessions.save(session)

        start = time.perf_counter()
        await asyncio.gather(*(talk(session) for session in copies))
        seconds = time.perf_counter() - start
    rate, best = 64 * turns / seconds, 64 * turns / sum(below)
    yield Row("64 sessions at once", rate, "turns/s", best, rate / best, 64 * turns)


async def imports(_folder: Path, _samples: int) -> AsyncIterator[Row]:
    """What `import bamboo_sessions` adds to the start of Python."""

    def start(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    with_package: list[float] = []
    without: list[float] = []
    for _ in range(7):
        without.append(timed_sync(start("pass")))
        with_package.append(timed_sync(start("import bamboo_sessions")))
    added = [one - other for one, other in zip(with_package, without, strict=True)]
    yield row("import of the package", added)


WORKLOADS = (append_turn, load, unchanged, group_commit, imports, search, search_cost)
