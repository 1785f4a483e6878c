"""A durable turn of two messages, from a working copy (`save`) and blind (`append`), at growing histories.

All lengths are measured in turn, so that they can be compared with one another as well. At short histories several
sessions take turns, or they would not stay short.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Job
from benchmarks.results import OURS
from benchmarks.targets import BLIND, SAVE

_TURNS = 5
_SHORT = 200


def run(bench: Bench) -> None:
    """One job for each length and store."""
    histories = bench.histories()
    jobs: list[Job] = []
    sessions: list[tuple[str, str]] = []
    for length in bench.lengths:
        stores = [name for name, lengths in histories.items() if length in lengths]
        for name, case in [*((name, SAVE) for name in stores), (OURS, BLIND)]:
            names = list(_sessions(bench, name, case, length))
            sessions += [(name, session) for session in names]
            jobs.append(_job(bench, name, case, length, names))
    bench.progress("append: measuring")
    bench.interleave(jobs)
    for name, session in sessions:
        bench.verify("histories", session, name)


def _sessions(bench: Bench, store: str, case: str, length: int) -> Iterator[str]:
    for number in range(max(1, min(_SHORT // length, bench.rounds))):
        session = f"{'blind' if case == BLIND else 'append'}-{length}-{number}"
        if case == SAVE and length > _SHORT:
            session = f"chat-{length}"
        if (store, session) not in bench.counts:
            bench.fill("histories", session, length, [store])
        bench.everywhere(
            "repeat", [store], key="histories", method="prepare", args=[session]
        )  # loading isn't what is measured
        yield session


def _job(bench: Bench, store: str, case: str, length: int, sessions: list[str]) -> Job:
    session = ""

    def arguments(turn: int) -> dict[str, object]:
        nonlocal session
        session = sessions[turn % len(sessions)]
        return {
            "key": "histories",
            "method": "append_blind" if case == BLIND else "append",
            "args": [session],
            "times": _TURNS,
            "seconds_max": bench.seconds_max / 4,
        }

    def read(answer: dict[str, list[float]]) -> list[float]:
        bench.counts[store, session] += 2 * len(answer["seconds"])
        return answer["seconds"]

    return Job(case, length, store, "repeat", arguments, "ms", read)
