"""What was measured: figures in rounds, and ratios of figures. Pure.

All stores are measured in turn, round by round. A ratio is the median of the rounds' own ratios: when the machine slows
down for a while, it does so for both.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

OURS, FLOOR = "ours", "floor"
MORE_IS_BETTER = "turns/s"


class Figure(msgspec.Struct, frozen=True):
    """What one store took for one case, at one size (the messages or sessions there are; `None`: no matter).

    `rounds` has the median of each round, `samples` says of how many samples altogether.
    """

    case: str
    store: str
    unit: str
    rounds: tuple[float, ...]
    size: int | None = None
    samples: int = 1

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.rounds)


class Verdict(msgspec.Struct, frozen=True):
    """A target, and what was measured; `against` names the store that it was compared with."""

    case: str
    size: int | None
    target: str
    measured: float
    unit: str
    met: bool
    against: str | None = None


class Results(msgspec.Struct):
    """One run."""

    at: str
    quick: bool
    machine: dict[str, str]
    versions: dict[str, str]
    figures: list[Figure] = []
    verdicts: list[Verdict] = []
    notes: list[str] = []

    def find(self, case: str, store: str, size: int | None = None) -> Figure | None:
        """The figure of a store."""
        wanted = (case, store, size)
        return next((figure for figure in self.figures if (figure.case, figure.store, figure.size) == wanted), None)

    def sizes(self, case: str, store: str) -> list[int | None]:
        """The sizes at which a store was measured, in order."""
        found = {figure.size for figure in self.figures if (figure.case, figure.store) == (case, store)}
        return sorted(found, key=lambda size: size or 0)


def document(results: Results) -> str:
    """The results as JSON, a line for each figure, verdict and note, so that two runs can be compared by `diff`."""
    parts = []
    for name, value in msgspec.structs.asdict(results).items():
        text = msgspec.json.encode(value).decode()
        if isinstance(value, list):
            text = "[\n" + ",\n".join(msgspec.json.encode(item).decode() for item in value) + "\n]"
        parts.append(f'"{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def rounded(value: float) -> float:
    """Four digits: more than any measurement is worth."""
    return float(f"{value:.4g}")


def ratio(one: Figure, other: Figure) -> float:
    """How many times `other` the figure is, round by round."""
    pairs = zip(one.rounds, other.rounds, strict=False)  # a slow store may have been left out of later rounds
    return statistics.median(mine / theirs for mine, theirs in pairs)


def best(figures: Sequence[Figure]) -> Figure | None:
    """The fastest of some figures of one unit."""
    if not figures:
        return None
    pick = max if figures[0].unit == MORE_IS_BETTER else min
    return pick(figures, key=lambda figure: figure.value)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values don't exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, -(-len(ordered) * percent // 100) - 1)
    return ordered[int(rank)]


def shown(value: float, unit: str) -> str:
    """A figure with three significant digits: `1,240 turns/s`, `0.52 ms`, `9.8 µs`."""
    if unit == "×" and value < 0.1:
        return f"1/{1 / value:,.0f} ×"
    if unit == "ms" and value < 0.1:
        value, unit = value * 1_000, "µs"
    elif unit == "µs" and value >= 1_000:
        value, unit = value / 1_000, "ms"
    if unit == "ms" and value >= 10_000:
        value, unit = value / 1_000, "s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()
