"""Changes inside a long history, copies that crossed one another, large metadata: beside the plain save of a turn.

What each is compared with is measured in turns with it and stands in the floor's column: a save of a turn, an append,
a save of a current copy, a save without metadata.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bamboo_sessions import Message, Session, SessionRepository
from benchmarks.harness import Row, row, timed
from benchmarks.messages import history, texts, turn
from benchmarks.results import MORE_IS_BETTER
from benchmarks.targets import BEHIND, CROSSING, EDIT_LAST, INSERT_FRONT, METADATA_READ, REMOVE_LAST
from benchmarks.workloads import QUICK_SAMPLES, in_process

LENGTH, LENGTH_QUICK = 100_000, 1_000
TASKS = 4
METADATA_BYTES = 1_000_000
_TEXTS = texts()


async def _rows(folder: Path, samples: int) -> AsyncIterator[Row]:
    length = LENGTH if samples > QUICK_SAMPLES else LENGTH_QUICK
    async with SessionRepository.open(folder / "changing.db") as sessions:
        session = await sessions.create(_filled("chat", length))
        async for measured in _changes(sessions, session, samples // 3):
            yield measured
        async for measured in _crossings(sessions, samples):
            yield measured
        yield await _metadata(sessions, samples)


def _filled(session_id: str, length: int) -> Session:
    session = Session(session_id)
    session.messages.extend(Message.user(text) for text in history(_TEXTS, length))
    return session


def _add_turn(session: Session, number: int = 0) -> None:
    said, answered = turn(_TEXTS, number)
    session.messages.extend((Message.user(said), Message.assistant(answered)))


async def _changes(sessions: SessionRepository, session: Session, samples: int) -> AsyncIterator[Row]:
    """Each kind of change in turn with a save of a turn."""

    def edit() -> None:
        session.messages[-1] = msgspec.structs.replace(session.messages[-1], content="edited " * 60)

    def remove() -> None:
        del session.messages[-1]

    def insert() -> None:
        session.messages.insert(0, Message.system("Be brief. " * 40))

    taken: dict[str, list[float]] = {"save": [], EDIT_LAST: [], REMOVE_LAST: [], INSERT_FRONT: []}
    for number in range(samples):
        for name, change in (
            ("save", lambda: _add_turn(session, number)),  # noqa: B023 - called at once
            (EDIT_LAST, edit),
            (REMOVE_LAST, remove),
            (INSERT_FRONT, insert),
        ):
            taken[name].append(await timed(lambda: _changed(sessions, session, change)))  # noqa: B023 - called at once
    saves = taken.pop("save")
    for name, seconds in taken.items():
        yield row(name, seconds, floor=saves)


async def _changed(sessions: SessionRepository, session: Session, change: Callable[[], None]) -> None:
    change()
    await sessions.save(session)


async def _crossings(sessions: SessionRepository, samples: int) -> AsyncIterator[Row]:
    """Several savers of one session in one process, and a copy that is one revision behind."""
    await sessions.create(_filled("crossing", 100))
    copies = [await sessions.get("crossing") for _ in range(TASKS)]

    async def save(session: Session) -> None:
        _add_turn(session)
        await sessions.save(session)

    async def append() -> None:
        said, answered = turn(_TEXTS, 0)
        await sessions.append("crossing", Message.user(said), Message.assistant(answered))

    rates: dict[str, list[float]] = {"save": [], "append": []}
    for _ in range(5):
        rates["save"].append(await _rate([partial(save, copy) for copy in copies], samples // 5))
        rates["append"].append(await _rate([append] * TASKS, samples // 5))
    saved, appended = (statistics.median(rates[name]) for name in ("save", "append"))
    yield Row(CROSSING, saved, MORE_IS_BETTER, appended, saved / appended, 5)

    taken: dict[str, list[float]] = {"current": [], "behind": []}
    for _ in range(samples):
        for name, seconds in taken.items():
            session = await sessions.get("crossing")
            if name == "behind":
                await append()
            _add_turn(session)
            seconds.append(await timed(lambda: sessions.save(session)))  # noqa: B023 - called at once
    yield row(BEHIND, taken["behind"], floor=taken["current"])


async def _metadata(sessions: SessionRepository, samples: int) -> Row:
    """A save of a copy whose large metadata somebody looked at, and didn't change."""
    notes = {f"note {number}": "x" * 1_000 for number in range(METADATA_BYTES // 1_000)}
    heavy = await sessions.create(Session("heavy", metadata=notes))
    light = await sessions.create(Session("light"))
    taken: dict[str, list[float]] = {"heavy": [], "light": []}
    for _ in range(samples):
        for session in (heavy, light):
            session.metadata.get("note 1")
            _add_turn(session)
            taken[session.id].append(await timed(lambda: sessions.save(session)))  # noqa: B023 - called at once
    return row(METADATA_READ, taken["heavy"], floor=taken["light"])


async def _rate(work: Sequence[Callable[[], Awaitable[None]]], times: int) -> float:
    """Turns a second, when each of `work` is a task that does it `times`."""

    async def repeat(once: Callable[[], Awaitable[None]]) -> None:
        for _ in range(times):
            await once()

    began = time.perf_counter()
    await asyncio.gather(*map(repeat, work))
    return len(work) * times / (time.perf_counter() - began)


run = in_process(_rows)
