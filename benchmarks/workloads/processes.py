"""8 processes, one file, each writes turns to a session of its own, one after another. Nothing may be lost."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.drivers import Failed
from benchmarks.results import MORE_IS_BETTER, Figure, percentile, rounded
from benchmarks.targets import PROCESSES, PROCESSES_P99

_PROCESSES = 8
_SHARE = f"{PROCESSES}: turns of the slowest process"


def run(bench: Bench) -> None:
    """Throughput, and the 99th percentile of the latencies."""
    rounds, seconds = (1, 0.4) if bench.quick else (3, 2.0)
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
