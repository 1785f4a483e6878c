"""`python -m tests.simulation.branches COUNT`: how often that many worlds of each kind went through each branch."""

from __future__ import annotations

import logging
import sys
from collections import Counter

from tests.simulation.population import WORLDS
from tests.simulation.reached import BRANCHES
from tests.simulation.run import simulate


def main(count: int) -> None:
    """Simulate, and print: findings as they come, at the end a line for each branch, the rarest first."""
    logging.disable(logging.CRITICAL)
    reached: Counter[str] = Counter()
    for first in WORLDS:
        for seed in range(first, first + count):
            outcome = simulate(seed)
            reached.update(outcome.reached)
            sys.stdout.write(f"{outcome}\n" if outcome.findings else "")
    for branch in sorted(BRANCHES, key=lambda branch: reached[branch]):
        sys.stdout.write(f"{reached[branch]:>9,}  {branch}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
