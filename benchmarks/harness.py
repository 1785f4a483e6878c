"""Measuring: interleaved samples, medians, ratios. No verdicts: a machine's speed drifts, a ratio in one run holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One measured figure. `floor` and `ratio` are there where a floor was measured in the same run."""

    workload: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    samples: int = 1


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds that one run of `work` takes."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def timed_sync(work: Callable[[], object]) -> float:
    """Seconds that one run of `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def row(workload: str, seconds: list[float], *, floor: list[float] | None = None) -> Row:
    """The median of `seconds` in milliseconds, against the median of `floor`."""
    value = statistics.median(seconds) * 1e3
    below = statistics.median(floor) * 1e3 if floor else None
    return Row(workload, value, "ms", below, value / below if below else None, len(seconds))
