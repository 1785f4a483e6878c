"""The first page of all sessions, and of one owner's: must not cost more when there are more sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.bench import Bench, Job, seconds_of
from benchmarks.results import FLOOR, OURS
from benchmarks.targets import FILTERED, PAGE

_PEERS_MAX = 1_000
"""Sessions that peers are given: some have no pages, and take milliseconds to create one."""


def run(bench: Bench) -> None:
    """Pages at several numbers of sessions."""
    sizes = (100, 1_000) if bench.quick else (1_000, 10_000, 100_000)
    jobs: list[Job] = []
    for size in sizes:
        bench.progress(f"listing: {size:,} sessions")
        key = f"listing-{size}"
        stores = [name for name in bench.drivers if size <= _peers_max(bench) or name in {OURS, FLOOR}]
        bench.open_all(key, stores)
        filled = bench.everywhere("repeat", stores, key=key, method="add_sessions", args=[0, size])
        stores = [name for name, answer in filled.items() if answer is not None]
        jobs += [
            _job(case, name, size, owner) for name in stores for case, owner in ((PAGE, None), (FILTERED, "alice"))
        ]
    bench.interleave(jobs)


def _peers_max(bench: Bench) -> int:
    return 100 if bench.quick else _PEERS_MAX


def _job(case: str, store: str, size: int, owner: str | None) -> Job:
    arguments = {"key": f"listing-{size}", "method": "page", "args": [owner], "times": 5, "seconds_max": 1.0}
    wanted = min(50, size if owner is None else size // 10)

    def read(answer: dict[str, Any]) -> Sequence[float]:
        assert answer["result"] == wanted, f"{store} lists {answer['result']} of {wanted} sessions"
        return seconds_of(answer)

    return Job(case, size, store, "repeat", lambda _: arguments, "ms", read)
