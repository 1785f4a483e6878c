"""8 processes, one file, each writes turns to a session of its own, one after another; and 2. Nothing may be lost."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.drivers import Failed
from benchmarks.results import FLOOR, MORE_IS_BETTER, OURS, Figure, percentile, rounded
from benchmarks.targets import PROCESSES, PROCESSES_P99, TWO

_PROCESSES = 8
_SHARE = f"{PROCESSES}: turns of the slowest process"


def run(bench: Bench) -> None:
    """Throughput, and the 99th percentile of the latencies."""
    rounds, seconds = (1, 0.4) if bench.quick else (3, 2.0)
    _eight(bench, rounds, seconds)
    _two(bench, rounds, seconds)


def _two(bench: Bench, rounds: int, seconds: float) -> None:
    """Two processes of ours, and one in the floor's column, by turns."""
    rates: dict[int, list[float]] = {2: [], 1: []}
    for number in range(rounds):
        for count, found in rates.items():
            path = bench.path(OURS, f"few-processes-{count}-{number}")
            answer = bench.drivers[OURS].call("processes", path=path, processes=count, seconds=seconds)
            bench.expect(OURS, answer["lost"], TWO)
            found.append(rounded(answer["rate"]))
    for store, count in ((OURS, 2), (FLOOR, 1)):
        bench.results.figures.append(Figure(TWO, store, MORE_IS_BETTER, tuple(rates[count])))


def _eight(bench: Bench, rounds: int, seconds: float) -> None:
    rates: dict[str, list[float]] = {name: [] for name in bench.drivers}
    waits: dict[str, list[float]] = {name: [] for name in bench.drivers}
    shares: dict[str, list[float]] = {name: [] for name in bench.drivers}
    samples = dict.fromkeys(bench.drivers, 0)
    for number in range(rounds):
        bench.progress(f"processes: round {number + 1} of {rounds}")
        for name, driver in bench.drivers.items():
            path = bench.path(name, f"processes-{number}")
            try:
                found = driver.call("processes", path=path, processes=_PROCESSES, seconds=seconds)
            except Failed as exc:
                bench.note(f"{exc} ({PROCESSES})")
                continue
            bench.expect(name, found["lost"], PROCESSES)
            for error in sorted(set(found["errors"])):
                bench.note(f"{name}: {error} ({PROCESSES})")
            if found["latencies"]:
                rates[name].append(rounded(found["rate"]))
                waits[name].append(rounded(percentile(found["latencies"], 99) * 1e3))
                fair = len(found["latencies"]) / _PROCESSES
                shares[name].append(rounded(found["slowest_process"] / fair))
                samples[name] += len(found["latencies"])
    for name in bench.drivers:
        if rates[name]:
            figures = (
                (PROCESSES, MORE_IS_BETTER, rates[name]),
                (PROCESSES_P99, "ms", waits[name]),
                (_SHARE, "× its share", shares[name]),  # throughput is easy if one process has the file to itself
            )
            for case, unit, values in figures:
                bench.results.figures.append(Figure(case, name, unit, tuple(values), samples=samples[name]))
