"""The start: what an import takes, and how long it is from opening an existing file until a first load is done."""

from __future__ import annotations

import resource
import subprocess

from benchmarks.bench import Bench, Job
from benchmarks.environments import SOURCE, clean_environment, python_of
from benchmarks.harness import timed_sync
from benchmarks.results import FLOOR, OURS, Figure, rounded
from benchmarks.targets import IMPORT, START


def run(bench: Bench) -> None:
    """Ours against nothing, and every store's opening."""
    bench.progress("starting: import")
    python = python_of("ours")  # of a user: the development environment has packages that others import if they can
    _start(python, "import bamboo_sessions")  # the first start compiles
    pairs = [(_start(python, "pass"), _start(python, "import bamboo_sessions")) for _ in range(3 if bench.quick else 9)]
    for place, case in enumerate((IMPORT, f"{IMPORT}, CPU time")):
        added = tuple(rounded((loaded[place] - empty[place]) * 1e3) for empty, loaded in pairs)
        bench.results.figures.append(Figure(case, OURS, "ms", added, samples=len(added)))
    bench.progress("starting: opening")
    bench.open_all("starting")
    stores = [name for name in bench.fill("starting", "chat", 10, bench.drivers) if name != FLOOR]
    arguments = {"key": "starting", "session": "chat", "times": 3}
    jobs = [Job(START, None, name, "starting", lambda _: arguments, "ms", read=list) for name in stores]
    bench.interleave(jobs, rounds=3 if bench.quick else 10)


def _start(python: str, code: str) -> tuple[float, float]:
    """Seconds of a Python that runs `code`: on the clock, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = timed_sync(lambda: subprocess.run([python, "-c", code], check=True, env=clean_environment(SOURCE)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
