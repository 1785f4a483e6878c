"""The map of one save: which of our functions it goes through, printed by `python -m benchmarks.save_map [--trace]`.

What a newcomer has to follow, and not how long it takes: a *call* is a function of ours that begins (going on after
an `await` is none, comprehensions are part of their function), a *move* is a call into another file than that of the
nearest caller of ours, and *depth* counts our functions on the stack. All threads are watched.

And what a save makes SQLite do: the statements of its transaction, and the pages that it writes to the log, on average
of many saves, for some of them also bring an index up to date.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import apsw

import bamboo_sessions
from bamboo_sessions import Message, Session, SessionRepository, SqliteStorage

PACKAGE = str(Path(bamboo_sessions.__file__).parent)
WARM_UP = 30
"""Calls before the one that is followed: caches are filled then, and the log has its size."""
ROUNDS = 9
"""How many calls are followed; the usual one of them is shown, as upkeep may fall into any."""
COUNTED = 128
"""Saves whose statements and pages are counted: four times as many as bring the index of ids up to date once."""
INLINE = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


class Call(NamedTuple):
    """A function that began: its file within the package, its name, the depth, and whether the caller is elsewhere."""

    file: str
    name: str
    depth: int
    is_move: bool


class Recorder:
    """Notes the calls of our functions, in all threads that begin after it was installed."""

    def __init__(self) -> None:
        self._calls: list[Call] | None = None

    def install(self) -> None:
        """Watch this thread and those that begin later."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    async def follow(self, work: Callable[[], Awaitable[object]]) -> list[Call]:
        """The calls of `work`."""
        calls = self._calls = []
        try:
            await work()
        finally:
            self._calls = None
        return calls

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or self._calls is None or not _is_ours(frame) or _goes_on(frame):
            return
        callers = _callers(frame)
        file = frame.f_code.co_filename
        is_move = not callers or callers[0].f_code.co_filename != file
        self._calls.append(Call(file[len(PACKAGE) + 1 :], frame.f_code.co_qualname, len(callers) + 1, is_move))


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PACKAGE) and frame.f_code.co_name not in INLINE


def _goes_on(frame: FrameType) -> bool:
    """Whether the frame had begun before: its RESUME has 0 as argument at the beginning only."""
    return frame.f_code.co_code[frame.f_lasti + 1] != 0


def _callers(frame: FrameType) -> list[FrameType]:
    callers = []
    caller = frame.f_back
    while caller is not None:
        if _is_ours(caller):
            callers.append(caller)
        caller = caller.f_back
    return callers


async def followed() -> dict[str, list[Call]]:
    """The calls of a save of two new messages, and of an append of two, on SQLite and warmed up."""
    recorder = Recorder()
    recorder.install()
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with SessionRepository.open(SqliteStorage(Path(folder, "sessions.db"))) as sessions:
                await sessions.create(Session("followed"))
                copy = await sessions.get("followed")

                async def save() -> list[Call]:
                    for message in _turn():
                        copy.add_message(message)
                    return await recorder.follow(lambda: sessions.save(copy))

                async def append() -> list[Call]:
                    messages = _turn()
                    return await recorder.follow(lambda: sessions.append("followed", *messages))

                return {"save": await _usual(save), "append": await _usual(append)}
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _turn() -> tuple[Message, Message]:
    return Message.user("What is the capital of France?"), Message.assistant("Paris.")


async def _usual(follow: Callable[[], Awaitable[list[Call]]]) -> list[Call]:
    """The run of median length, when it is warm."""
    for _ in range(WARM_UP):
        await follow()
    runs = [await follow() for _ in range(ROUNDS)]
    return sorted(runs, key=len)[ROUNDS // 2]


class Work(NamedTuple):
    """What SQLite does for one call, on average."""

    statements: float
    pages: float


async def counted() -> dict[str, Work]:
    """What SQLite does for a save of two new messages, and for an append of two."""
    with tempfile.TemporaryDirectory() as folder:
        storage = SqliteStorage(Path(folder, "sessions.db"))
        async with SessionRepository.open(storage) as sessions:
            await sessions.create(Session("counted"))
            copy = await sessions.get("counted")
            connection = storage._engine._writer.connection()  # noqa: SLF001 - what is measured

            async def save() -> None:
                for message in _turn():
                    copy.add_message(message)
                await sessions.save(copy)

            async def append() -> None:
                await sessions.append("counted", *_turn())

            return {"save": await _work_of(save, connection), "append": await _work_of(append, connection)}


async def _work_of(call: Callable[[], Awaitable[None]], connection: apsw.Connection) -> Work:
    for _ in range(WARM_UP):
        await call()
    statements: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        if statements[-1:] != [sql]:  # one that is run for many rows counts once
            statements.append(sql)
        return True

    connection.exec_trace = trace
    before, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
    for _ in range(COUNTED):
        await call()
    after, _ = connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
    connection.exec_trace = None
    return Work(len(statements) / COUNTED, (after - before) / COUNTED)


def summary(calls: list[Call]) -> str:
    """One line: calls, moves, files and depth."""
    files = len({call.file for call in calls})
    moves = sum(call.is_move for call in calls)
    return f"{len(calls)} calls, {moves} moves between {files} files, {max(call.depth for call in calls)} deep"


def trace(calls: list[Call]) -> str:
    """The calls in their order, indented by their depth."""
    return "\n".join(f"{'  ' * (call.depth - 1)}{call.name}  [{call.file}]" for call in calls)


def main() -> None:
    """Follow, and print."""
    parser = argparse.ArgumentParser(prog="scripts/save-map", description="Which functions one save goes through.")
    parser.add_argument("--trace", action="store_true", help="all calls, indented by their depth")
    arguments = parser.parse_args()
    work = asyncio.run(counted())
    for name, calls in asyncio.run(followed()).items():
        statements, pages = work[name]
        print(f"{name}: {summary(calls)}; {statements:.1f} statements, {pages:.1f} pages written")
        if arguments.trace:
            print(trace(calls), end="\n\n")


if __name__ == "__main__":
    main()
