"""The start: what an import takes, and how long it is from opening an existing file until a first load is done."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.bench import Bench, Job
from benchmarks.harness import timed_sync
from benchmarks.results import FLOOR, OURS, Figure
from benchmarks.targets import IMPORT, START


def run(bench: Bench) -> None:
    """Ours against nothing, and every store's opening."""
    bench.progress("starting: import")
    imports, without = [], []
    for _ in range(3 if bench.quick else 9):
        without.append(_start("pass"))
        imports.append(_start("import bamboo_sessions"))
    added = tuple((one - other) * 1e3 for one, other in zip(imports, without, strict=True))
    bench.results.figures.append(Figure(IMPORT, OURS, "ms", added, samples=len(added)))
    bench.progress("starting: opening")
    bench.open_all("starting")
    stores = [name for name in bench.fill("starting", "chat", 10, bench.drivers) if name != FLOOR]
    arguments = {"key": "starting", "session": "chat", "times": 3}
    jobs = [Job(START, None, name, "starting", lambda _: arguments, "ms", read=list) for name in stores]
    bench.interleave(jobs, rounds=3 if bench.quick else 10)


def _start(code: str) -> float:
    return timed_sync(lambda: subprocess.run([sys.executable, "-c", code], check=True))
