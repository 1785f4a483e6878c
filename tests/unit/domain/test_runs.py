"""The order of a history over its log agrees with a plain list of versions, whatever is done to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.runs import (
    END,
    FRONT_ADDRESS,
    UNSHAPED,
    Order,
    Runs,
    Shape,
    Span,
    address_of,
    ended,
    grouped,
    reshaped,
    without,
)


class _Line(msgspec.Struct):
    """A version in the plain list."""

    address: int
    lives: bool = True


class _Model:
    """A history as a plain list of all versions, and the same as runs."""

    def __init__(self) -> None:
        self.versions: list[_Line] = []
        self.runs: Runs = UNSHAPED
        self.position = 0
        self.rows: list[tuple[int, int]] = []
        self.log: list[tuple[Shape, Span]] = []

    def living(self) -> list[int]:
        return [line.address for line in self.versions if line.lives]

    def commit(self, removed: Sequence[int], places: Sequence[tuple[int, int]], added: int, gap: int) -> None:
        """Remove lines, place some lines behind others (an index of the living, or -1: in front), add some at the end.

        `gap` rows of other sessions come before.
        """
        self.position += 1 + gap
        first = number = address_of(self.position, 0)
        living = self.living()
        gone = {living[index % len(living)] for index in removed} if living else set()
        placed: dict[int, tuple[int, int]] = {}
        for index, count in places:
            anchor = living[index % len(living)] if index >= 0 and living else FRONT_ADDRESS
            if anchor not in placed:
                placed[anchor] = (number, number + count)
                number += count
        for line in self.versions:
            line.lives &= line.address not in gone
        for anchor, (start, stop) in placed.items():
            at = 0
            if anchor != FRONT_ADDRESS:
                at = 1 + next(index for index, line in enumerate(self.versions) if line.address == anchor)
            self.versions[at:at] = map(_Line, range(start, stop))
        self.versions += map(_Line, range(number, number + added))
        number += added
        shape = Shape(grouped(gone, self.rows), tuple((anchor, *span) for anchor, span in placed.items()))
        own = (first, number)
        self.rows.append((self.position, number - first))
        if shape.is_ordering:
            self.runs = reshaped(self.runs, shape, own)
        self.log.append((shape, own))

    def lines_in(self, spans: Sequence[Span]) -> list[int]:
        """The lines that there are in spans, in their order."""
        all_lines = [address_of(position, line) for position, count in self.rows for line in range(count)]
        return [address for start, stop in spans for address in all_lines if start <= address < stop]


_commits = st.lists(
    st.tuples(
        st.lists(st.integers(0, 30), max_size=4),
        st.lists(st.tuples(st.integers(-1, 30), st.integers(1, 3)), max_size=3),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=12,
)


@given(_commits, st.data())
def test_runs_agree_with_a_plain_list(
    commits: list[tuple[list[int], list[tuple[int, int]], int, int]], data: st.DataObject
) -> None:
    """Living lines, places and stretches between any two lines are those of a list of all versions."""
    model = _Model()
    for commit in commits:
        model.commit(*commit)
    order = Order(model.runs)
    versions = [line.address for line in model.versions]
    assert model.lines_in(order.living()) == model.living()
    assert sorted(versions, key=order.place) == versions
    assert [order.lives(address) for address in versions] == [line.lives for line in model.versions]
    if versions:
        after, before = (data.draw(st.one_of(st.none(), st.sampled_from(versions))) for _ in range(2))
        low = -1 if after is None else versions.index(after)
        high = len(versions) if before is None else versions.index(before)
        between = [line.address for index, line in enumerate(model.versions) if line.lives and low < index < high]
        assert model.lines_in(order.living(after, before)) == between


@given(_commits, st.integers(0, 12))
def test_looking_back_gives_the_lines_of_then(
    commits: list[tuple[list[int], list[tuple[int, int]], int, int]], seen: int
) -> None:
    """The whole log, replayed without the removals of later commits, has what lived then, in the order of now."""
    model = _Model()
    then: list[int] = []
    for number, commit in enumerate(commits):
        if number == seen:
            then = model.living()
        model.commit(*commit)
    if seen >= len(commits):
        then = model.living()
    runs: Runs = UNSHAPED
    for number, (shape, own) in enumerate(model.log):
        if shape.is_ordering:
            runs = reshaped(runs, shape, own, removes=number < seen)
    end = model.log[seen][1][0] if seen < len(model.log) else END
    order = Order(ended(runs, [(end, END)]))
    assert model.lines_in(order.living()) == then
    versions = [line.address for line in model.versions]
    assert sorted(versions, key=order.place) == versions


@given(_commits)
def test_runs_stay_few(commits: list[tuple[list[int], list[tuple[int, int]], int, int]]) -> None:
    """A commit adds two runs at most for each stretch that it ends or place that it fills, and two for its end."""
    model = _Model()
    for commit in commits:
        before = len(model.runs)
        model.commit(*commit)
        shape = model.log[-1][0]
        assert len(model.runs) <= before + 2 * (len(shape.removed) + len(shape.placed)) + 2
        assert model.runs[-1].stop == END


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [([], ()), ([5], ((5, 6),)), ([7, 5, 6], ((5, 8),)), ([address_of(1, 1), address_of(4, 0)], None)],
)
def test_addresses_become_few_spans(addresses: list[int], expected: tuple[Span, ...] | None) -> None:
    """Neighbouring lines of a row, and of neighbouring rows that are known, are one span."""
    if expected is None:
        assert len(grouped(addresses)) == 2
        assert grouped(addresses, [(1, 2), (4, 1)]) == ((addresses[0], addresses[1] + 1),)
        assert len(grouped(addresses, [(1, 2), (3, 1), (4, 1)])) == 2
    else:
        assert grouped(addresses) == expected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_what_is_left_of_spans(lengths: list[int]) -> None:
    """Spans without every second of their parts are the other parts."""
    edges = list(accumulate(lengths, initial=0))
    parts = list(pairwise(edges))
    left = without([(0, edges[-1])], parts[1::2])
    assert [n for span in left for n in range(*span)] == [n for span in parts[::2] for n in range(*span)]
