"""Two tolerant savers in an outage that comes and goes, at random."""

from __future__ import annotations

import random

import pytest

from tests.unit.coordination.outage import run

pytestmark = pytest.mark.anyio

FOUND = (6, 28, 115, 256, 762, 1341, 1618, 2395, 3547, 5001888)
"""Seeds that once failed."""


@pytest.mark.parametrize("seed", FOUND)
async def test_L127_what_once_failed(seed: int) -> None:
    """Worlds in which accepted work was once lost, or brought back what was removed."""
    await run(range(seed, seed + 1))


async def test_L127_nothing_accepted_is_lost_doubled_or_undone() -> None:
    """G2: additions, edits and removals of both savers stand in the end, in their order; a failure tells its seed."""
    seed = random.SystemRandom().randrange(1_000_000_000)
    await run(range(seed, seed + 150))


@pytest.mark.long
async def test_L127_the_same_for_long() -> None:
    """Many more of these worlds."""
    seed = random.SystemRandom().randrange(1_000_000_000)
    await run(range(seed, seed + 20_000))
