"""The order of a session's messages over a log that only grows.

The log of a session is rows of lines: what each commit added. An *address* names a line for ever: the row's position,
shifted, and the line's place in the row. A session that was never edited *is* its log, in the order of the addresses.
Removals, edits and insertions change the order alone: *runs* of addresses, living or removed, one behind the other. A
removed line keeps its place, so that a reader who stands there can go on. An edit is a removal with the new version
placed behind it.

Each address is in exactly one run. A run may have addresses that no line has: rows of other sessions lie between.
Everything here is a pure function of runs, and doesn't know of messages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

LINE_BITS: Final = 14
"""Bits of an address that count the line in its row; the others are the row's position."""

FRONT_ADDRESS: Final = 0
"""The place in front of all lines (no row has the position 0)."""

END: Final = 1 << 61
"""Above all addresses; an address, shifted by a bit, still fits into 63 bits."""

Span = tuple[int, int]
"""Addresses from the first up to the second, which is not among them."""

Place = tuple[int, int]
"""Where an address stands: the number of its run, and the address. Sorts by the order of the history."""


class Run(NamedTuple):
    """Lines that follow one another, all living or all removed."""

    start: int
    stop: int
    lives: bool


Runs = tuple[Run, ...]

UNSHAPED: Final[Runs] = (Run(0, END, lives=True),)
"""The order of a session that was only ever added to."""


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a commit did to the order besides adding lines at its end.

    Args:
        removed: Lines that it ended.
        placed: Lines of its own that don't stand at the end: behind which line, the first, and the end.
        quiet: Lines of its own that aren't new to the history: edited versions, and copies. The feed doesn't tell them.
    """

    removed: tuple[Span, ...] = ()
    placed: tuple[tuple[int, int, int], ...] = ()
    quiet: tuple[Span, ...] = ()

    @property
    def is_ordering(self) -> bool:
        """Whether it changes the order."""
        return bool(self.removed or self.placed)


def address_of(position: int, line: int) -> int:
    """The address of a line of the row at `position`."""
    return position << LINE_BITS | line


def position_of(address: int) -> int:
    """The position of the row that a line is in."""
    return address >> LINE_BITS


def reshaped(runs: Runs, shape: Shape, own: Span, *, removes: bool = True) -> Runs:
    """The order after a commit.

    Args:
        runs: The order before it.
        shape: What it did.
        own: Its own lines; those that it didn't place elsewhere stand at the end.
        removes: Whether to end lines. `False` when looking back to before the commit.
    """
    first, stop = own
    placed = {behind: Run(start, end, lives=True) for behind, start, end in shape.placed}
    appended = without([own], [run[:2] for run in placed.values()])
    in_front = placed.pop(FRONT_ADDRESS, None)
    removed = sorted(shape.removed) if removes else []
    cuts = sorted({edge for span in removed for edge in span} | {behind + 1 for behind in placed})
    result = [] if in_front is None else [in_front]
    for run in _closed(runs, first):
        for piece in _pieces(run, cuts):
            result.append(piece._replace(lives=piece.lives and not _is_in(piece.start, removed)))
            if (run_behind := placed.get(piece.stop - 1)) is not None:
                result.append(run_behind)
    result += (Run(*span, lives=True) for span in appended)
    return _joined([*result, Run(stop, END, lives=True)])


def ended(runs: Runs, spans: Sequence[Span]) -> Runs:
    """The order when the lines of `spans`, which are in order and apart, don't live."""
    cuts = [edge for span in spans for edge in span]
    pieces = (piece for run in runs for piece in _pieces(run, cuts))
    return _joined([piece._replace(lives=piece.lives and not _is_in(piece.start, spans)) for piece in pieces])


def _closed(runs: Runs, first: int) -> Iterator[Run]:
    """The runs without what is yet to come, from the address `first` on."""
    yield from runs[:-1]
    last = runs[-1]
    if last.start < first:
        yield last._replace(stop=first)


def _pieces(run: Run, cuts: Sequence[int]) -> Iterator[Run]:
    """The run, cut in front of the addresses `cuts`, which are in order."""
    start = run.start
    for cut in cuts[bisect_right(cuts, start) : bisect_left(cuts, run.stop)]:
        yield run._replace(start=start, stop=cut)
        start = cut
    yield run._replace(start=start)


def _is_in(address: int, spans: Sequence[Span]) -> bool:
    """Whether one of the spans, which are in order and apart, has the address."""
    index = bisect_right(spans, (address, END)) - 1
    return index >= 0 and address < spans[index][1]


def _joined(runs: Iterable[Run]) -> Runs:
    """The same order in as few runs as possible; the last one stays open."""
    joined: list[Run] = []
    for run in runs:
        if joined and joined[-1].stop == run.start and joined[-1].lives == run.lives:
            run = joined.pop()._replace(stop=run.stop)  # noqa: PLW2901 - grown
        joined.append(run)
    return tuple(joined)


def without(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What is left of `spans` without `others`, which lie within them."""
    edges = sorted(others)
    left: list[Span] = []
    for start, stop in spans:
        for low, high in edges:
            if start <= low < stop:
                left.append((start, low))
                start = high  # noqa: PLW2901 - what is left of it
        left.append((start, stop))
    return [(start, stop) for start, stop in left if start < stop]


def grouped(addresses: Iterable[int], rows: Iterable[tuple[int, int]] = ()) -> tuple[Span, ...]:
    """Addresses as few spans, which have no other line.

    Args:
        addresses: Of lines.
        rows: Positions of the session's rows, in order, and how many lines each has, at least from the first to the
            last of the addresses: then spans may go over several rows.
    """
    spans: list[Span] = []
    following = {address_of(before, lines): address_of(after, 0) for (before, lines), (after, _) in pairwise(rows)}
    for address in sorted(addresses):
        if spans and address in {spans[-1][1], following.get(spans[-1][1])}:
            spans[-1] = (spans[-1][0], address + 1)
        else:
            spans.append((address, address + 1))
    return tuple(spans)


class Order:
    """Runs, and where an address stands in them."""

    __slots__ = ("_numbers", "_starts", "runs")

    def __init__(self, runs: Runs = UNSHAPED) -> None:
        self.runs = runs
        by_start = sorted(range(len(runs)), key=lambda number: runs[number].start)
        self._starts = [runs[number].start for number in by_start]
        self._numbers = by_start

    def place(self, address: int) -> Place:
        """Where a line stands."""
        return self._numbers[bisect_right(self._starts, address) - 1], address

    def lives(self, address: int) -> bool:
        """Whether a line lives."""
        return self.runs[self.place(address)[0]].lives

    def living(self, after: int | None = None, before: int | None = None) -> list[Span]:
        """The living lines behind the line `after` and in front of the line `before`; `None`: no such border."""
        low, high = self._border(after, (-1, 0)), self._border(before, (len(self.runs), 0))
        spans = []
        for number, (start, stop, lives) in enumerate(self.runs):
            if lives and low[0] <= number <= high[0]:
                start = low[1] + 1 if number == low[0] else start  # noqa: PLW2901 - the part that is meant
                stop = high[1] if number == high[0] else stop  # noqa: PLW2901 - likewise
                if start < stop:
                    spans.append((start, stop))
        return spans

    def _border(self, address: int | None, default: Place) -> Place:
        return default if address is None else self.place(address)

    def version(self, addresses: Sequence[int]) -> int:
        """Of a message's versions the living one, else the last."""
        return next((address for address in addresses if self.lives(address)), max(addresses, key=self.place))
