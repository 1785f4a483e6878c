"""Many conversations at once in one process: 200 sessions of 20 turns, by 16 tasks and by 64."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench, Job
from benchmarks.drivers import Driver
from benchmarks.results import FLOOR, MORE_IS_BETTER
from benchmarks.targets import TASKS


def run(bench: Bench) -> None:
    """Turns a second; the floor groups its commits."""
    plain = bench.drivers[FLOOR]
    grouping = Driver(plain.subject, bench.folder, bench.conversations, module="floor_group")
    bench.drivers[FLOOR] = grouping
    try:
        bench.open_all("throughput")
        for tasks, case in TASKS.items():
            bench.progress(f"throughput: {tasks} tasks")
            jobs = [_job(bench, case, name, tasks) for name in bench.drivers]
            bench.interleave(jobs, rounds=2 if bench.quick else 5)
        bench.everywhere("close", key="throughput")
    finally:
        bench.drivers[FLOOR] = plain
        grouping.close()


def _job(bench: Bench, case: str, store: str, tasks: int) -> Job:
    sessions, turns = (64, 4) if bench.quick else (200, 20)

    def arguments(turn: int) -> dict[str, object]:
        return {
            "key": "throughput",
            "prefix": f"{tasks}-{turn}",
            "tasks": tasks,
            "sessions": sessions,
            "turns": turns,
            "seconds_max": bench.seconds_max / 2,
        }

    def read(answer: dict[str, Any]) -> list[float]:
        bench.expect(store, answer["lost"], case)
        return [answer["turns"] / answer["seconds"]]

    return Job(case, None, store, "talk", arguments, MORE_IS_BETTER, read)
