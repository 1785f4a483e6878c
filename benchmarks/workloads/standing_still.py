"""How long the event loop stands still, and others wait, while long work is done: 1 MB heads, long histories, forks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import apsw

from bamboo_sessions import Message, RecordWrite, Session, SessionRepository, ToolCall
from benchmarks.harness import Row
from benchmarks.messages import history, texts
from benchmarks.targets import FORK, FORK_WAIT, STALL
from benchmarks.workloads import QUICK_SAMPLES, in_process

LENGTH, LENGTH_QUICK = 100_000, 2_000
FORKED, FORKED_QUICK = 60_000, 1_500
RECORD_BYTES, RECORD_BYTES_QUICK = 50_000_000, 1_000_000
METADATA_BYTES = 1_000_000
_TEXTS = texts()


async def _rows(folder: Path, samples: int) -> AsyncIterator[Row]:
    is_quick = samples <= QUICK_SAMPLES
    async with SessionRepository.open(folder / "standing-still.db", durability="relaxed") as sessions:
        yield await _stalls(
            sessions, LENGTH_QUICK if is_quick else LENGTH, RECORD_BYTES_QUICK if is_quick else RECORD_BYTES
        )
        forked = FORKED_QUICK if is_quick else FORKED
        async for measured in _forks(sessions, folder, forked):
            yield measured


async def _stalls(sessions: SessionRepository, length: int, record_bytes: int) -> Row:
    """The longest time that the loop took nothing up, under long work of many kinds, one after the other."""
    long = Session("long")
    long.messages.extend(Message.user(text) for text in history(_TEXTS, length))
    await sessions.create(long)
    await sessions.create(Session("heavy", metadata={"text": ["x" * 100] * (METADATA_BYTES // 100)}))
    record = b"x" * record_bytes

    async def edit_front() -> None:
        session = await sessions.get("long")
        session.messages.insert(0, Message.system("Be brief."))
        del session.messages[len(session.messages) // 2]
        await sessions.save(session)

    async def write_record() -> None:
        await sessions.records.write([RecordWrite("blob", "key", record)], session="heavy")
        await sessions.records.get("blob", "key", session="heavy")

    work: list[Callable[[], Awaitable[object]]] = [
        lambda: sessions.load("long", fresh=True),
        lambda: sessions.history("long", limit=50),
        lambda: sessions.append("long", Message.user("x")),
        edit_front,
        lambda: sessions.rename("heavy", "Heavy"),
        lambda: sessions.set_value("heavy", "key", 1),
        sessions.list_sessions,
        write_record,
        sessions.check,
    ]
    longest = 0.0
    for once in work:
        longest = max(longest, await _longest_stall(once))
    return Row(STALL, longest * 1e3, "ms", samples=len(work))


async def _longest_stall(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds between two turns of the event loop at most, while `work` is done."""
    doing = asyncio.ensure_future(work())
    longest, last = 0.0, time.perf_counter()
    while not doing.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await doing
    return longest


async def _forks(sessions: SessionRepository, folder: Path, length: int) -> AsyncIterator[Row]:
    """A fork of a long history with tool calls, beside a plain copy of as many rows; how long another writer waits."""
    agent = Session("agent")
    for number, text in enumerate(history(_TEXTS, length // 3)):
        call = ToolCall(f"call-{number}", "find", {"number": number})
        agent.messages.extend(
            (Message.user(text), Message.assistant("", [call]), Message.tool(text, tool_call_id=call.id))
        )
    await sessions.create(agent)
    await sessions.append("other", Message.user("x"), create=True)
    forking = asyncio.ensure_future(sessions.fork("agent", new_id="fork"))
    began = time.perf_counter()
    waited = 0.0
    while not forking.done():
        start = time.perf_counter()
        await sessions.append("other", Message.user("x"))
        waited = max(waited, time.perf_counter() - start)
    await forking
    seconds = time.perf_counter() - began
    copied = await asyncio.to_thread(_copy_rows, folder / "rows.db", length)
    yield Row(FORK, seconds * 1e3, "ms", copied * 1e3, seconds / copied)
    yield Row(FORK_WAIT, waited * 1e3, "ms")


def _copy_rows(path: Path, length: int) -> float:
    """Seconds that `INSERT … SELECT` takes for as many messages, a row each."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
    connection.execute(
        "CREATE TABLE messages (session INTEGER, position INTEGER, body BLOB, PRIMARY KEY (session, position))"
    )
    rows = ((number, text.encode()) for number, text in enumerate(history(_TEXTS, length)))
    with connection:
        connection.executemany("INSERT INTO messages VALUES (1, ?, ?)", rows)
    began = time.perf_counter()
    with connection:
        connection.execute("INSERT INTO messages SELECT 2, position, body FROM messages WHERE session = 1")
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


run = in_process(_rows)
