"""What is aimed at, and whether it was met. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from benchmarks.results import FLOOR, MORE_IS_BETTER, OURS, Figure, Results, Verdict, best, ratio

SAVE, BLIND = "save a turn", "append a turn blind"
TASKS = {16: "200 sessions, 16 tasks", 64: "200 sessions, 64 tasks"}
PROCESSES, PROCESSES_P99 = "8 processes, one file", "8 processes, one file: p99 of a turn"
TWO = "2 processes, one file"
COLD, AGAIN, AGAIN_AFTER = "load all, cold", "load all again", "load all again, after another's commit"
LAST = "last 50"
PAGE, FILTERED = "first page of sessions", "first page of one owner's sessions"
SEARCH, SEARCHED_APPEND = "search: all of these", "append a turn, searched store"
UNCHANGED = "save without changes"
MEMORY, PEAK = "memory of a cached session", "peak of a cold load"
FILE = "file size per message"
EDIT_LAST, REMOVE_LAST, INSERT_FRONT = "edit the last message", "remove the last message", "insert at the front"
CROSSING, BEHIND = "4 tasks save their own copies", "save a copy one revision behind"
METADATA_READ = "save, 1 MB of metadata was read"
STALL, FORK, FORK_WAIT = "longest stall of the loop", "fork with tool calls", "wait of others during a fork"
IMPORT, START = "import", "open a file, load 10 messages"


class Target(msgspec.Struct, frozen=True):
    """A bound on a case: as a multiple of another store's figure, of its own at the smallest size, or by itself.

    Args:
        case: Which case of ours.
        bound: At most this (at least, for throughput).
        against: `"floor"`, `"peers"` (the fastest), `"itself"` (at the smallest size), or `"limit"`.
        than: What stands in the floor's column, if it isn't the floor.
        like: The other store's case, if it isn't the same.
        sizes: Only at these; `None`: at all.
        writes: Peers that don't make turns durable aren't compared.
    """

    case: str
    bound: float
    against: str
    like: str | None = None
    than: str = "the floor"
    sizes: frozenset[int] | None = None
    writes: bool = False


def _writes(case: str, floor: float, peers: float, like: str | None = None) -> tuple[Target, ...]:
    return Target(case, floor, "floor", like), Target(case, peers, "peers", like, writes=True)


_COLD = {10: 2.0, 100: 1.7, 1_000: 1.5, 10_000: 1.0}
"""Bounds by length: opening a session weighs more than its messages where there are few."""

TARGETS = (
    *_writes(SAVE, 1.4, 0.6),
    Target(SAVE, 1.1, "itself"),
    *_writes(BLIND, 1.3, 0.55, like=SAVE),
    Target(BLIND, 1.1, "itself"),
    *_writes(TASKS[16], 0.65, 10),
    *_writes(TASKS[64], 0.6, 10),
    *_writes(PROCESSES, 1.2, 1.8),
    Target(PROCESSES_P99, 0.1, "peers", writes=True),
    Target(TWO, 1.2, "floor", than="one process"),
    Target(EDIT_LAST, 2, "floor", than="a save"),
    Target(REMOVE_LAST, 2, "floor", than="a save"),
    Target(INSERT_FRONT, 10, "floor", than="a save"),
    Target(CROSSING, 0.5, "floor", than="appends"),
    Target(BEHIND, 2, "floor", than="a current one"),
    Target(METADATA_READ, 2, "floor", than="a save without"),
    Target(FORK, 1.5, "floor", than="a copy by SQL"),
    Target(FORK_WAIT, 50, "limit"),
    Target(STALL, 5, "limit"),
    *(Target(COLD, bound, "floor", sizes=frozenset({size})) for size, bound in _COLD.items()),
    Target(COLD, 0.35, "peers", sizes=frozenset({1_000, 10_000, 100_000})),
    Target(AGAIN, 20, "limit"),
    Target(AGAIN, 1 / 150, "peers", sizes=frozenset({1_000})),
    Target(AGAIN_AFTER, 60, "limit"),
    Target(LAST, 1.2, "floor"),
    Target(PAGE, 1.5, "floor"),
    Target(FILTERED, 1.5, "floor"),
    Target(SEARCH, 20, "limit"),
    Target(SEARCHED_APPEND, 1.05, "floor"),
    Target(UNCHANGED, 10, "limit"),
    Target(MEMORY, 1.5, "limit"),
    Target(PEAK, 3, "limit"),
    Target(FILE, 1.35, "floor"),
    Target(IMPORT, 150, "limit"),
    Target(START, 15, "limit"),
)
"""All of them; limits are in the figure's own unit."""


def judge(results: Results, durable: Mapping[str, bool]) -> Iterator[Verdict]:
    """A verdict for each target at each size that was measured. `durable` has the peers."""
    for target in TARGETS:
        sizes = results.sizes(target.case, OURS)
        for size in sizes:
            mine = results.find(target.case, OURS, size)
            if mine is None or (target.sizes is not None and size not in target.sizes):
                continue
            if target.against == "limit":
                yield _verdict(target, mine, mine.value, None)
            elif (other := _other(results, target, size, durable)) is not None and other is not mine:
                yield _verdict(target, mine, ratio(mine, other), other)


def _other(results: Results, target: Target, size: int | None, durable: Mapping[str, bool]) -> Figure | None:
    case = target.like or target.case
    if target.against == "floor":
        return results.find(case, FLOOR, size)
    if target.against == "itself":
        sizes = results.sizes(case, OURS)
        return results.find(case, OURS, sizes[0]) if size == sizes[-1] else None
    names = [name for name, is_durable in durable.items() if is_durable or not target.writes]
    return best([figure for name in names if (figure := results.find(case, name, size))])


def _verdict(target: Target, mine: Figure, measured: float, other: Figure | None) -> Verdict:
    at_least = mine.unit == MORE_IS_BETTER
    met = measured >= target.bound if at_least else measured <= target.bound
    unit = mine.unit if other is None else "×"
    names = {"floor": f" {target.than}", "peers": " the fastest peer", "itself": " the shortest", "limit": ""}
    than = names[target.against]
    bound = f"{target.bound:.3g}" if target.bound >= 0.1 else f"1/{1 / target.bound:.0f}"
    text = f"{'≥' if at_least else '≤'} {bound} {unit}{than}"
    against = other.store if other is not None and target.against != "itself" else None
    return Verdict(target.case, mine.size, text, measured, unit, met, against)
