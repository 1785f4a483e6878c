"""A save without changes: nothing is written."""

from __future__ import annotations

from benchmarks.bench import Bench, Job
from benchmarks.results import OURS
from benchmarks.targets import UNCHANGED


def run(bench: Bench) -> None:
    """Ours only: no peer knows what changed."""
    driver = bench.drivers[OURS]
    driver.call("open", key="unchanged", path=bench.path(OURS, "unchanged"))
    for length in bench.lengths:
        session = f"unchanged-{length}"
        bench.fill("unchanged", session, length, [OURS])
        driver.call("repeat", key="unchanged", method="prepare", args=[session])
        before = driver.call("repeat", key="unchanged", method="writes")["result"]
        bench.interleave([_job(session, length)])
        after = driver.call("repeat", key="unchanged", method="writes")["result"]
        assert before == after, "a save without changes wrote something"
    bench.progress("unchanged: done")


def _job(session: str, length: int) -> Job:
    arguments = {"key": "unchanged", "method": "save_unchanged", "args": [session], "times": 200}
    return Job(UNCHANGED, length, OURS, "repeat", lambda _: arguments, "µs")
