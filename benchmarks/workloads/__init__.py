"""The workloads: one file each, with `run(bench)`, which adds figures. The order here is the order of a run.

A workload that measures in this process, without workers, is an async generator of rows
(`(folder, samples) -> AsyncIterator[Row]`, see `harness`), made a module's `run` by `in_process`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.harness import Row

WORKLOADS = (
    "processes",  # first: it forks workers that have opened nothing yet
    "load",
    "append",
    "throughput",
    "changing",
    "listing",
    "search",
    "unchanged",
    "standing_still",
    "memory",
    "file_size",
    "starting",
)
"""Modules of this package."""


QUICK_SAMPLES = 20


def in_process(workload: Callable[[Path, int], AsyncIterator[Row]]) -> Callable[[Bench], None]:
    """A workload of rows as one for the bench."""

    async def rows(folder: Path, samples: int) -> list[Row]:
        return [row async for row in workload(folder, samples)]

    def run(bench: Bench) -> None:
        for row in asyncio.run(rows(bench.folder, QUICK_SAMPLES if bench.quick else 300)):
            bench.add_row(row)

    return run
