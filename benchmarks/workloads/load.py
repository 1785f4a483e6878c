"""All messages of a session: on a store object just made, again on the same one, and the last 50 only."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Job
from benchmarks.results import FLOOR, OURS, best
from benchmarks.targets import AGAIN, AGAIN_AFTER, COLD, LAST

_PACKED = "floor, packed"


def run(bench: Bench) -> None:
    """Cold, again, and the end."""
    histories = bench.histories()
    for kind in (_cold, _again, _last):
        bench.progress(f"load: {kind.__name__[1:]}")
        for name, lengths in histories.items():
            for length in lengths:
                bench.everywhere("repeat", [name], key="histories", method="prepare", args=[f"chat-{length}"])
        for length in bench.lengths:
            stores = [name for name, lengths in histories.items() if length in lengths]
            bench.interleave(list(kind(bench, stores, length)), rounds=3 if bench.quick else 10)
    for length in bench.lengths:
        _choose_floor(bench, length)
        for name, lengths in histories.items():
            if length in lengths:
                bench.verify("histories", f"chat-{length}", name)


def _cold(bench: Bench, stores: list[str], length: int) -> Iterator[Job]:
    for name in stores:
        yield _job(bench, COLD, name, length, {"cold": True})
        if name == FLOOR:
            packed = _job(bench, f"{COLD}, from one document", name, length, {"cold": True, "method": "load_packed"})
            yield packed


def _choose_floor(bench: Bench, length: int) -> None:
    """The floor is whichever is faster: rows, or one document."""
    rows = bench.results.find(COLD, FLOOR, length)
    packed = bench.results.find(f"{COLD}, from one document", FLOOR, length)
    if rows is not None and packed is not None:
        faster = best([rows, packed])
        assert faster is not None
        place = bench.results.figures.index(rows)
        bench.results.figures[place] = type(rows)(COLD, FLOOR, "ms", faster.rounds, length, faster.samples)
        bench.results.figures.remove(packed)


def _again(bench: Bench, stores: list[str], length: int) -> Iterator[Job]:
    for name in stores:
        if name == OURS:
            yield _job(bench, AGAIN, name, length, {"times": 200, "unit": "µs"})
            yield _job(bench, AGAIN_AFTER, name, length, {"times": 20, "before": "commit_elsewhere", "unit": "µs"})
        elif name != FLOOR:
            yield _job(bench, AGAIN, name, length, {"times": 10, "unit": "µs"})


def _last(bench: Bench, stores: list[str], length: int) -> Iterator[Job]:
    if length >= 100:
        for name in stores:
            yield _job(bench, LAST, name, length, {"method": "last", "args": [f"chat-{length}", 50], "times": 20})


def _job(bench: Bench, case: str, store: str, length: int, options: dict[str, object]) -> Job:
    unit = str(options.pop("unit", "ms"))
    arguments = {
        "key": "histories",
        "method": "load",
        "args": [f"chat-{length}"],
        "times": 3,
        "seconds_max": bench.seconds_max / 4,
        **options,
    }
    return Job(case, length, store, "repeat", lambda _: arguments, unit)
