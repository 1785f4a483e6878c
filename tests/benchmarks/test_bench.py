from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench import Bench, Job
from benchmarks.drivers import Failed
from benchmarks.harness import Row, row
from benchmarks.results import FLOOR, OURS, Results
from benchmarks.workloads import in_process


class _Store:
    """Answers calls with the given seconds; remembers who was called in what order."""

    def __init__(self, name: str, calls: list[str], seconds: list[float] | None, error: str = "") -> None:
        self.name, self.calls, self.seconds, self.error = name, calls, seconds, error

    def call(self, _call: str, **_arguments: object) -> dict[str, Any] | None:
        self.calls.append(self.name)
        if self.error:
            raise Failed(self.error)
        return None if self.seconds is None else {"seconds": self.seconds}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A run without any store."""
    return Bench([], tmp_path, Results("now", quick=True, machine={}, versions={}), quick=True)


def _job(store: str) -> Job:
    return Job("case", 10, store, "repeat", lambda _: {})


def _with(bench: Bench, *stores: _Store) -> list[Job]:
    bench.drivers.update({store.name: store for store in stores})  # type: ignore[misc]
    return [_job(store.name) for store in stores]


def test_stores_take_turns(bench: Bench) -> None:
    """Each round begins with another store, and a figure has the median of each round."""
    calls: list[str] = []
    jobs = _with(bench, *(_Store(name, calls, [0.001, 0.002, 0.9]) for name in "abc"))
    bench.interleave(jobs, rounds=3)
    assert "".join(calls) == "abcbcacab"
    figure = bench.results.find("case", "b", 10)
    assert figure is not None
    assert (figure.rounds, figure.samples) == ((2.0, 2.0, 2.0), 9)


def test_what_a_store_can_t_do_is_left_empty(bench: Bench) -> None:
    """A store without the call has no figure; one that failed is noted in one line, and isn't asked again."""
    calls: list[str] = []
    broken = _Store("broken", calls, None, "broken: locked\nand a long explanation")
    bench.interleave(_with(bench, _Store("without", calls, None), broken), rounds=3)
    assert sorted(calls) == ["broken", "without"]
    assert not bench.results.figures
    assert bench.results.notes == ["broken: locked …"]


def test_a_lost_message_of_ours_fails_the_run(bench: Bench) -> None:
    """What a peer loses is noted; ours must lose nothing."""
    bench.expect("agents", 2, "8 processes")
    bench.expect(OURS, 0, "8 processes")
    assert bench.results.notes == ["agents: 2 messages lost (8 processes)"]
    with pytest.raises(SystemExit):
        bench.expect(OURS, 1, "8 processes")


def test_a_workload_may_measure_in_this_process(bench: Bench) -> None:
    """Rows become figures of ours and of the floor."""

    async def workload(_folder: Path, samples: int) -> AsyncIterator[Row]:
        yield row("search", [0.002] * samples, floor=[0.001])

    in_process(workload)(bench)
    mine, floor = bench.results.find("search", OURS), bench.results.find("search", FLOOR)
    assert mine is not None
    assert floor is not None
    assert (mine.value, floor.value, mine.unit) == (2.0, 1.0, "ms")
