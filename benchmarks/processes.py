"""Several processes that write to one file at once, each its own session. The standard library only.

They are forked from a worker that has imported its store and hasn't opened any, wait until all are ready, and write
until the time is over.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.messages import turn
from benchmarks.stores.base import Store


class _Writing(NamedTuple):
    """What every process does."""

    make: type[Store]
    source: Sequence[str]
    path: str
    seconds: float


def run_processes(
    make: type[Store], source: Sequence[str], path: str, processes: int, seconds: float
) -> dict[str, Any]:
    """Latencies of all turns in seconds, turns a second, errors, and how many acknowledged messages are missing."""
    asyncio.run(_prepare(make, source, path, processes))
    go_read, go_write = os.pipe()
    writing = _Writing(make, source, path, seconds)
    pipes = [_start(writing, f"process-{number}", go_read) for number in range(processes)]
    for answers in pipes:
        answers.read(1)
    os.write(go_write, b"!" * processes)
    reports = [json.loads(answers.read()) for answers in pipes]
    for _ in pipes:
        os.wait()
    os.close(go_read)
    os.close(go_write)
    latencies = [latency for report in reports for latency in report["seconds"]]
    counts = asyncio.run(_counts(make, path, processes))
    lost = sum(2 * len(report["seconds"]) + 2 - found for report, found in zip(reports, counts, strict=True))
    errors = [report["error"] for report in reports if report["error"]]
    return {
        "rate": sum(len(report["seconds"]) / report["elapsed"] for report in reports),
        "latencies": latencies,
        "slowest_process": min(len(r["seconds"]) for r in reports),
        "errors": errors,
        "lost": lost,
    }


async def _prepare(make: type[Store], source: Sequence[str], path: str, processes: int) -> None:
    store = make(Path(path))
    await store.open()
    for number in range(processes):
        await store.prepare(f"process-{number}")
        await store.append(f"process-{number}", turn(source, number))  # some make their tables only now
    await store.close()


async def _counts(make: type[Store], path: str, processes: int) -> list[int]:
    store = make(Path(path))
    await store.open()
    counts = [await store.load(f"process-{number}") for number in range(processes)]
    await store.close()
    return counts


def _start(writing: _Writing, session: str, go: int) -> IO[str]:
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        return os.fdopen(read, "r", encoding="utf-8")
    status = 1
    try:
        report = asyncio.run(_write(writing, session, write, go))
        with os.fdopen(write, "w", encoding="utf-8") as answer:
            json.dump(report, answer)
        status = 0
    finally:
        os._exit(status)


async def _write(writing: _Writing, session: str, ready: int, go: int) -> dict[str, Any]:
    store = writing.make(Path(writing.path))
    await store.open()
    await store.prepare(session)
    os.write(ready, b"r")
    os.read(go, 1)
    taken: list[float] = []
    error = ""
    start = time.perf_counter()
    end = start + writing.seconds
    while (now := time.perf_counter()) < end:
        try:
            await store.append(session, turn(writing.source, len(taken)))
        except Exception as exc:  # noqa: BLE001 - part of the result
            error = f"{type(exc).__name__}: {exc}"
            break
        taken.append(time.perf_counter() - now)
    elapsed = time.perf_counter() - start
    await store.close()
    return {"seconds": taken, "elapsed": elapsed, "error": error}
