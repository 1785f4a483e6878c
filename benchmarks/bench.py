"""The harness: the drivers of all stores, rounds that go from store to store, and what came out."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.drivers import Driver, Failed, Subject
from benchmarks.harness import Row
from benchmarks.results import FLOOR, OURS, Figure, Results, rounded

_FACTOR = {"ms": 1e3, "µs": 1e6}


def seconds_of(answer: Mapping[str, Any]) -> Sequence[float]:
    """The seconds in the answer of a worker's `repeat`."""
    seconds: Sequence[float] = answer["seconds"]
    return seconds


class Job(NamedTuple):
    """What is measured of one store: a call in each round, made of the round's number."""

    case: str
    size: int | None
    store: str
    call: str
    arguments: Callable[[int], Mapping[str, object]]
    unit: str = "ms"
    read: Callable[[Any], Sequence[float]] = seconds_of


class Bench:
    """One run.

    Args:
        subjects: The stores, ours and the floor among them.
        folder: Where all files go; decides which disk is measured.
        quick: Fewer rounds and smaller sizes.
        results: Where the figures go.
        conversations: Where texts come from; `None`: made up.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        folder: Path,
        results: Results,
        *,
        quick: bool,
        conversations: Path | None = None,
    ) -> None:
        self.quick = quick
        self.folder = folder
        self.results = results
        self.conversations = conversations
        self.drivers = {subject.name: Driver(subject, folder, conversations) for subject in subjects}
        self.counts: dict[tuple[str, str], int] = {}
        """How many messages each session of each store has to have."""
        self._histories: dict[str, list[int]] | None = None
        self._began = time.monotonic()
        self.progress(f"starting {len(self.drivers)} workers")
        for driver in self.drivers.values():  # while one is still importing, nothing can be measured
            driver.wait_until_ready()

    # --- sizes of a run

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of histories."""
        return (10, 1_000) if self.quick else (10, 100, 1_000, 10_000, 100_000)

    @property
    def rounds(self) -> int:
        """How often each store has its turn."""
        return 3 if self.quick else 20

    @property
    def seconds_max(self) -> float:
        """What one store may take for one case at one size, in all rounds together."""
        return 0.6 if self.quick else 6.0

    @property
    def fill_seconds_max(self) -> float:
        """What filling one session may take."""
        return 2.0 if self.quick else 30.0

    @property
    def peers(self) -> list[str]:
        """The names of the peers."""
        return [name for name in self.drivers if name not in {OURS, FLOOR}]

    # --- calls

    def path(self, store: str, what: str) -> str:
        """A place for a store's file."""
        return str(self.folder / f"{what}-{store}")

    def open_all(self, what: str, stores: Iterable[str] | None = None) -> None:
        """Open a file of each store, under the key `what`."""
        for name in self.drivers if stores is None else stores:
            self.drivers[name].call("open", key=what, path=self.path(name, what))

    def everywhere(self, call: str, stores: Iterable[str] | None = None, **arguments: object) -> dict[str, Any]:
        """Make a call on several stores at once, untimed; the answers of those that could."""
        names = list(self.drivers if stores is None else stores)
        for name in names:
            self.drivers[name].send(call, **arguments)
        answers = {}
        for name in names:
            try:
                answers[name] = self.drivers[name].receive()
            except Failed as exc:
                self.note(f"{name}: {call} failed: {exc}")
        return answers

    def histories(self) -> dict[str, list[int]]:
        """Open a file of each store, under the key "histories", with sessions `chat-LENGTH`; the lengths there are."""
        if self._histories is None:
            self.progress("filling histories")
            self.open_all("histories")
            self._histories = {name: [] for name in self.drivers}
            for length in self.lengths:
                stores = [name for name, done in self._histories.items() if len(done) == self.lengths.index(length)]
                for name in self.fill("histories", f"chat-{length}", length, stores):
                    self._histories[name].append(length)
        return self._histories

    def fill(self, key: str, session: str, length: int, stores: Iterable[str]) -> list[str]:
        """Fill a session of some stores; those that managed in time. The others are noted as cut."""
        answers = self.everywhere(
            "fill", stores, key=key, session=session, length=length, seconds_max=self.fill_seconds_max
        )
        done = []
        for name, answer in answers.items():
            if answer["count"] == length:
                self.counts[name, session] = length
                done.append(name)
            else:
                self.note(f"{name}: cut at {length:,} messages, which would take {answer['seconds_expected']:.0f} s")
        return done

    def verify(self, key: str, session: str, store: str) -> None:
        """Make sure that all messages are there, and no others."""
        found = self.drivers[store].call("repeat", key=key, method="load", args=[session])["result"]
        self.expect(store, self.counts[store, session] - found, session)

    def expect(self, store: str, lost: int, what: str) -> None:
        """Nothing may be lost or doubled: ours fails the run, a peer's is noted."""
        if lost:
            text = f"{store}: {abs(lost)} messages {'lost' if lost > 0 else 'too many'} ({what})"
            if store == OURS:
                raise SystemExit(text)
            self.note(text)

    # --- measuring

    def interleave(self, jobs: Sequence[Job], rounds: int | None = None) -> None:
        """Run all jobs in turn, round by round, beginning with another one each time; add the figures."""
        found: dict[int, list[Sequence[float]]] = {number: [] for number in range(len(jobs))}
        spent = dict.fromkeys(found, 0.0)
        for turn in range(self.rounds if rounds is None else rounds):
            first = turn % max(1, len(jobs))
            for number in [*range(first, len(jobs)), *range(first)]:
                if number in found and spent[number] < self.seconds_max:
                    start = time.perf_counter()
                    values = self._values(jobs[number], turn)
                    spent[number] += time.perf_counter() - start
                    if values is None:
                        del found[number]
                    else:
                        found[number].append(values)
        for number, rounds_found in found.items():
            self.add(jobs[number], rounds_found)

    def _values(self, job: Job, turn: int) -> list[float] | None:
        try:
            answer = self.drivers[job.store].call(job.call, **job.arguments(turn))
        except Failed as exc:
            self.note(f"{exc} ({job.case}, {job.size})")
            return None
        if answer is None:
            return None
        factor = _FACTOR.get(job.unit, 1.0)
        return [value * factor for value in job.read(answer)]

    def add(self, job: Job, rounds: Sequence[Sequence[float]]) -> None:
        """Add what one job measured."""
        medians = tuple(rounded(statistics.median(values)) for values in rounds if values)
        if medians:
            samples = sum(len(values) for values in rounds)
            self.results.figures.append(Figure(job.case, job.store, job.unit, medians, job.size, samples))

    def add_value(self, case: str, store: str, value: float, unit: str, size: int | None = None) -> None:
        """Add a single figure."""
        self.results.figures.append(Figure(case, store, unit, (rounded(value),), size))

    def add_row(self, row: Row) -> None:
        """Add what a workload measured in this process."""
        self.results.figures.append(Figure(row.workload, OURS, row.unit, (row.value,), None, row.samples))
        if row.floor is not None:
            self.results.figures.append(Figure(row.workload, FLOOR, row.unit, (row.floor,), None, row.samples))

    # --- telling

    def note(self, text: str) -> None:
        """Note something that the reader of the results has to know."""
        first, *more = text.splitlines()
        text = f"{first} …" if more else first
        if text not in self.results.notes:
            self.results.notes.append(text)
            self.progress(f"note: {text}")

    def progress(self, text: str) -> None:
        """Tell how far it is."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the workers."""
        for driver in self.drivers.values():
            driver.close()
